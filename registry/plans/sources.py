"""Which datasets may an input read, and what do their data IDs imply?

`source_of` selects them; `expanded` joins what the records say of them: the night, the filter and
the band of an exposure or visit, keys that an instrument declares, the visits of an exposure, and
the patches that a detector saw in a visit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.conditions import conditions_on
from registry.database import json_field
from registry.finding import query_datasets_sql
from registry.identity import DIMENSIONS
from registry.keys import key_type
from registry.names import names_of_data_ids
from registry.schema.dimensions import exposure, overlap, physical_filter, visit, visit_exposure
from registry.schema.identity import data_id, dataset
from registry.schema.plans import planned_output, reused_dataset
from registry.schema.provenance import quantum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from registry.identity import DatasetType
    from registry.plans.tasks import Reads, Search

__all__ = ["SKY", "Expanded", "columns_of_data_id", "expanded", "source_of"]

SKY = ("skymap", "tract", "patch")


@dataclass
class Expanded:
    """Datasets with what their data IDs imply.

    Parameters
    ----------
    base : FromClause
        What is selected from.
    dataset_id, data_id : column
        Identity of the dataset, and key of its data ID.
    columns : dict
        Column by dimension, of the data ID itself and of what it implies.
    own : frozenset of str
        Dimensions of the data ID itself: they always have a value.
    many : bool
        Whether a dataset may occur several times.
    """

    base: Any
    dataset_id: Any
    data_id: Any
    columns: dict[str, Any]
    own: frozenset[str]
    many: bool = False

    def whole(self, dimensions: Sequence[str]) -> list[Any]:
        """Give the condition that all of some dimensions, which it reaches, have a value."""
        return [self.columns[d].is_not(None) for d in dimensions if d not in self.own]


def source_of(connection: sa.Connection, reads: Reads, search: Search) -> sa.Subquery | None:
    """Select the datasets of an input: ``id``, ``data_id``, and the keys of the data ID.

    Returns
    -------
    sqlalchemy.Subquery or None
        None when no collection is searched.
    """
    if reads.maker is not None:
        return _made(connection, reads, search)
    condition = " AND ".join(f"({c})" for c in (reads.select, search.where) if c.strip())
    statement = query_datasets_sql(
        reads.kind,
        search.collections,
        where=condition,
        bind=search.bind,
        with_data_id=True,
        connection=connection,
    )
    return None if statement is None else statement.order_by(None).subquery(f"of_{reads.name}")


def _made(connection: sa.Connection, reads: Reads, search: Search) -> sa.Subquery:
    """Select what a task of the run is to make, and what it takes of earlier runs instead."""
    assert reads.maker is not None  # noqa: S101 (the caller has looked)
    task_id, name = reads.maker
    planned = (
        sa.select(planned_output.c.dataset_id.label("id"), planned_output.c.data_id)
        .join_from(quantum, planned_output, planned_output.c.quantum_id == quantum.c.id)
        .where(quantum.c.task_id == task_id, planned_output.c.connection == name)
    )
    reused = (
        sa.select(dataset.c.id, dataset.c.data_id)
        .join(reused_dataset, reused_dataset.c.dataset_id == dataset.c.id)
        .where(reused_dataset.c.task_id == task_id, reused_dataset.c.connection == name)
    )
    made = (sa.union_all(planned, reused) if search.existing else planned).subquery("made")
    i = data_id.alias("i")
    base = made.join(i, i.c.id == made.c.data_id)
    kind = reads.kind
    names = names_of_data_ids(
        base, i, kind.dimensions, {"dataset_id": made.c.id}, connection=connection
    )
    conditions = conditions_on(names, reads.select, search.bind)
    columns = [
        made.c.id,
        *(i.c[d] for d in kind.dimensions if d in DIMENSIONS),
        *([i.c.extra] if any(d not in DIMENSIONS for d in kind.dimensions) else []),
        made.c.data_id,
    ]
    selected = sa.select(*columns).select_from(names.base).where(*conditions)
    return selected.subquery(f"of_{reads.name}")


def columns_of_data_id(
    connection: sa.Connection, table: Any, dimensions: Iterable[str]
) -> dict[str, Any]:
    """Give the columns of keys in a table that has those of ``data_id``."""
    return {
        d: table.c[d] if d in DIMENSIONS else json_field(table.c.extra, d, key_type(connection, d))
        for d in dimensions
    }


def expanded(
    connection: sa.Connection,
    source: sa.Subquery,
    kind: DatasetType,
    wanted: Sequence[str],
    *also: str,
) -> Expanded:
    """Join what is needed for some dimensions, as far as data IDs of a type imply them.

    Parameters
    ----------
    wanted : sequence of str
        Dimensions of a task.
    also : str
        Further dimensions, of what it makes; patches are joined only for ``wanted``.
    """
    c = columns_of_data_id(connection, source, kind.dimensions)
    full = Expanded(source, source.c.id, source.c.data_id, c, frozenset(kind.dimensions))
    lacking = {*wanted, *also} - set(c)
    sky = set(SKY) & set(wanted)
    if "exposure" in c and "visit" not in c and ("visit" in lacking or lacking & sky):
        v = visit_exposure.alias("v")
        same = (v.c.instrument == c["instrument"]) & (v.c.exposure == c["exposure"])
        full.base = full.base.outerjoin(v, same)
        c["visit"] = v.c.visit
        full.many = True
    if sky and "patch" not in c and {"visit", "detector"} <= set(c):
        _join_patches(full)
    _join_records(connection, full, {*wanted, *also} - set(c))
    return full


def _join_patches(full: Expanded) -> None:
    """Let a dataset occur once for each patch that its detector saw in its visit."""
    o, c = overlap.alias("o"), full.columns
    shared = [d for d in ("instrument", "visit", "detector", *SKY) if d in c]
    full.base = full.base.join(o, sa.and_(*(o.c[d] == c[d] for d in shared)))
    for d in SKY:
        c.setdefault(d, o.c[d])
    full.own |= {*SKY, "visit"}  # the join is an inner one
    full.many = True


def _join_records(connection: sa.Connection, full: Expanded, lacking: set[str]) -> None:
    """Join the records of exposures, visits and filters, each when something is lacking."""
    c = full.columns
    if not lacking or "instrument" not in c:
        return
    told: dict[str, list[Any]] = {}
    implied = ("day_obs", "physical_filter")
    of_records = set(lacking) & {*implied, "band"}
    for key, table in (("exposure", exposure), ("visit", visit)):
        declared = [d for d in lacking if d not in DIMENSIONS and key == "exposure"]
        if key not in c or not (of_records or declared) or (key == "visit" and "exposure" in c):
            continue
        record = table.alias(f"{key}_told")
        same = (record.c.instrument == c["instrument"]) & (record.c.id == c[key])
        full.base = full.base.outerjoin(record, same)
        for d in implied:
            told.setdefault(d, []).append(record.c[d])
        for d in declared:
            # what is empty says nothing
            kind = key_type(connection, d)
            value = json_field(record.c.extra, d, kind)
            told[d] = [sa.func.nullif(value, 0 if kind is int else "")]
    for d, columns in told.items():
        if d not in c:
            c[d] = columns[0] if len(columns) == 1 else sa.func.coalesce(*columns)
    if "band" in lacking and "physical_filter" in c:
        f = physical_filter.alias("f")
        same = (f.c.instrument == c["instrument"]) & (f.c.name == c["physical_filter"])
        full.base = full.base.outerjoin(f, same)
        c["band"] = f.c.band
