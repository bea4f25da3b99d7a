"""Which runs used this value, in what do the configurations of two runs differ, and what was one?

Each question is one statement over ``task``, ``config_value`` and ``config_history``.  A chain
stands for its runs: of each task that of the first run that has it.  How a field came to its value
is in `registry.provenance.questions`; how values become a configuration again, in
`workflow.recorded_configs`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import collections as coll
from registry.database import rows_of
from registry.provenance.settings import Configuration
from registry.schema import provenance as schema
from registry.schema.collections import collection

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

__all__ = [
    "ConfigDifference",
    "Use",
    "config_differences",
    "config_of",
    "field_paths",
    "find_config_values",
]

CLASS = "(class)"
"""Stands in place of a field for the class of a task."""
WHERE = " where "
"""Between the label of a task and the data IDs that one of its configurations is for."""


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """A field that has another value in another run.

    Parameters
    ----------
    task_label, path : str
        Task and dotted path of the field; ``(class)`` for the class of the task. A configuration
        that some quanta have is compared as ``isr where detector = 3``.
    first, second : str or None
        The value in each run as a literal; None for None, and where ``in_first`` or ``in_second``
        says that there is no such field or task.
    in_first, in_second : bool
        Whether it is there.
    first_origin, second_origin : str or None
        Where the value was set: kind and place.
    """

    task_label: str
    path: str
    first: str | None
    second: str | None
    in_first: bool
    in_second: bool
    first_origin: str | None
    second_origin: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """A task that ran with a value.

    Parameters
    ----------
    run, task_label, class_name : str
        Which task, in which run, of which class.
    selection : str or None
        Which of its data IDs; None for all that no other configuration of the task is for.
    path, value : str
        The field, and its value as a literal.
    origin_kind, origin, set_by : str or None
        Where the value was set, and by which account.
    created_at : datetime
        When the task was recorded, UTC.
    """

    run: str
    task_label: str
    class_name: str
    selection: str | None
    path: str
    value: str | None
    origin_kind: str | None
    origin: str | None
    set_by: str | None
    created_at: dt.datetime


def config_differences(
    connection: sa.Connection, first: str, second: str
) -> list[ConfigDifference]:
    """List the fields whose values differ between two runs, and the tasks that only one has.

    Parameters
    ----------
    first, second : str
        RUN collections, or CHAINED ones.
    """
    tasks = _tasks_of(connection, (first, second))
    t, v, h = tasks.c, schema.config_value, schema.config_history
    shared = (
        sa.select(t.label)
        .group_by(t.label)
        .having(sa.func.count() == 2, sa.func.min(t.config_id) != sa.func.max(t.config_id))
        .cte("shared")
    )
    last = (
        sa.select(h.c.task_id, h.c.path, sa.func.max(h.c.step).label("step"))
        .where(h.c.task_id.in_(sa.select(t.task_id)))
        .group_by(h.c.task_id, h.c.path)
        .cte("last")
    )
    origin = h.c.origin_kind + sa.literal(" ") + h.c.origin
    values = (
        sa.select(t.side, t.label, v.c.path, v.c.value, v.c.type, origin.label("origin"))
        .join_from(tasks, shared, shared.c.label == t.label)
        .join(v, v.c.config_id == t.config_id)
        .outerjoin(last, (last.c.task_id == t.task_id) & (last.c.path == v.c.path))
        .outerjoin(
            h,
            (h.c.task_id == last.c.task_id) & (h.c.path == last.c.path) & (h.c.step == last.c.step),
        )
    )
    nothing = sa.cast(sa.null(), sa.Text)
    classes = sa.select(
        t.side,
        t.label,
        sa.literal(CLASS).label("path"),
        sa.cast(t.class_name, sa.Text).label("value"),
        sa.literal("class").label("type"),
        nothing.label("origin"),
    )
    every = sa.union_all(values, classes).subquery("every")
    e = every.c

    def on(side: int, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.max(sa.case((e.side == side, column)))

    there = [sa.func.coalesce(on(side, sa.literal(1)), 0) for side in (0, 1)]
    known = [
        sa.func.coalesce(on(side, sa.case((e.value.is_(None), 0), else_=1)), 0) for side in (0, 1)
    ]
    statement = (
        sa.select(
            e.label,
            e.path,
            on(0, e.value),
            on(1, e.value),
            there[0],
            there[1],
            on(0, e.origin),
            on(1, e.origin),
        )
        .group_by(e.label, e.path)
        .having(
            sa.or_(
                there[0] != there[1],
                known[0] != known[1],
                on(0, e.value) != on(1, e.value),
                on(0, e.type) != on(1, e.type),
            )
        )
        .order_by(e.label, e.path)
    )
    return [
        ConfigDifference(label, path, one, two, bool(has_one), bool(has_two), *origins)
        for label, path, one, two, has_one, has_two, *origins in connection.execute(statement)
    ]


def find_config_values(
    connection: sa.Connection,
    field: str,
    value: str | None = None,
    *,
    label: str | None = None,
    run: str | None = None,
) -> list[Use]:
    """List the tasks of all runs that have a field, or that have it with a value.

    Parameters
    ----------
    field : str
        Its dotted path, or the end of it: ``binSize`` finds ``background.binSize`` too.
    value : str, optional
        As on the command line: ``256`` is 256 and 256.0, ``nan`` is not-a-number, ``None`` is None.
    label, run : str, optional
        Only tasks of this label; only this RUN, or the runs of this chain.
    """
    v, t, h = schema.config_value, schema.task, schema.config_history
    variant, of = schema.task_variant, schema.task.alias("of")
    of_label = sa.func.coalesce(of.c.label, t.c.label)
    conditions: list[sa.ColumnElement[bool]] = [
        sa.or_(v.c.path == field, v.c.path.endswith(f".{field}", autoescape=True))
    ]
    if value is not None:
        texts = _texts(value)
        same = v.c.value.in_([x for x in texts if x is not None])
        conditions.append(sa.or_(same, v.c.value.is_(None)) if None in texts else same)
    if label is not None:
        conditions.append(of_label == label)
    if run is not None:
        runs = [c.id for c in coll.flatten(connection, run) if c.type == "RUN"]
        conditions.append(t.c.run_id.in_(runs))
    step = h.alias("step")
    newest = (
        sa.select(sa.func.max(step.c.step))
        .where(step.c.task_id == t.c.id, step.c.path == v.c.path)
        .scalar_subquery()
    )
    statement = (
        sa.select(
            collection.c.name.label("run"),
            of_label.label("task_label"),
            t.c.class_name,
            variant.c.selection,
            v.c.path,
            v.c.value,
            h.c.origin_kind,
            h.c.origin,
            h.c.set_by,
            t.c.created_at,
        )
        .join_from(v, t, t.c.config_id == v.c.config_id)
        .join(collection, collection.c.id == t.c.run_id)
        .outerjoin(h, (h.c.task_id == t.c.id) & (h.c.path == v.c.path) & (h.c.step == newest))
        .outerjoin(variant, variant.c.task_id == t.c.id)
        .outerjoin(of, of.c.id == variant.c.of_task_id)
        .where(*conditions)
        .order_by(collection.c.name, of_label, v.c.path, t.c.id)
    )
    return [Use(**row) for row in connection.execute(statement).mappings()]


def field_paths(connection: sa.Connection) -> list[str]:
    """List the paths of all fields that any configuration has, for suggestions."""
    v = schema.config_value
    return list(connection.execute(sa.select(v.c.path).distinct().order_by(v.c.path)).scalars())


def config_of(connection: sa.Connection, run: str, label: str) -> Configuration | None:
    """Read the configuration of a task with all its values; None if the run has no such task.

    Parameters
    ----------
    run : str
        A RUN collection, or a CHAINED one: then that of the first run that has the task.
    """
    t, c, v = _tasks_of(connection, (run,)).c, schema.config, schema.config_value
    rows = connection.execute(
        sa.select(c.c.digest, c.c.class_name, v.c.path, v.c.value, v.c.type)
        .join(c, c.c.id == t.config_id)
        .outerjoin(v, v.c.config_id == c.c.id)
        .where(t.label == label)
        .order_by(v.c.path)
    ).all()
    if not rows:
        return None
    values = {path: (value, kind) for _, _, path, value, kind in rows if path is not None}
    return Configuration(rows[0].digest, rows[0].class_name, values)


def _tasks_of(connection: sa.Connection, names: Sequence[str]) -> sa.CTE:
    """Choose the tasks of runs or chains, by ``side``: the place of the name among those given."""
    t, v = schema.task, schema.task_variant
    of = t.alias("of")
    label = sa.case(
        (v.c.task_id.is_(None), sa.cast(t.c.label, sa.Text)),
        else_=sa.cast(of.c.label, sa.Text) + sa.literal(WHERE) + v.c.selection,
    )
    items = [
        {"side": side, "run": found.id, "place": place}
        for side, name in enumerate(names)
        for place, found in enumerate(coll.flatten(connection, name))
        if found.type == "RUN"
    ]
    kinds = {"side": sa.BigInteger, "run": sa.BigInteger, "place": sa.BigInteger}
    given = rows_of(connection, items, kinds).c
    place = sa.func.row_number().over(partition_by=(given.side, label), order_by=given.place)
    ranked = (
        sa.select(
            given.side,
            t.c.id.label("task_id"),
            label.label("label"),
            t.c.class_name,
            t.c.config_id,
            place.label("place"),
        )
        .join(t, t.c.run_id == given.run)
        .outerjoin(v, v.c.task_id == t.c.id)
        .outerjoin(of, of.c.id == v.c.of_task_id)
        .subquery("ranked")
    )
    return sa.select(ranked).where(ranked.c.place == 1).cte("chosen")


def _texts(value: str) -> list[str | None]:
    """Write what was given in every form in which a field may hold it."""
    try:
        read = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        special = {"true": "True", "false": "False", "+inf": "inf", ".nan": "nan", ".inf": "inf"}
        return list(dict.fromkeys([value, special.get(value.lower(), value)]))
    found: list[str | None] = [value, read if isinstance(read, str) or read is None else repr(read)]
    if isinstance(read, int) and not isinstance(read, bool):
        found.append(repr(float(read)))
    elif isinstance(read, float) and read.is_integer():
        found.append(repr(int(read)))
    return list(dict.fromkeys(found))
