"""Which tables does an export have, and with which columns?

Each is a table of the schema.  A key that counts only in one database is replaced by the natural
key of what it points to: the name of a collection, the digest of a configuration, the values of a
data ID.  What follows from other rows (pixels, overlaps, the data ID of a tag) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.belongings import ELEMENTS
from registry.identity import DIMENSIONS
from registry.schema import calibrations, collections, dimensions, files, identity, provenance
from registry.schema.types import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ELEMENTS", "TABLES", "Column", "Portable"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export.

    Parameters
    ----------
    kind : str
        text, integer, number, flag, bytes, json (as canonical text), uuid (as text) or time (UTC).
    needed : bool
        Whether every row has a value.
    limit : int
        Largest number, or length of a text; 0 for any.
    comment : str
        What it means.
    """

    kind: str
    needed: bool
    limit: int
    comment: str


@dataclass(frozen=True, slots=True)
class Portable:
    """A table of an export.

    Parameters
    ----------
    name : str
        As in the schema.
    columns : mapping
        `Column` by name, in order.
    key : tuple of str
        Columns by which a row is the same in two registries.
    statement : sqlalchemy.Select
        Reads all of it, with these columns; UUIDs as the text that the database has for them.
    places : mapping
        The column of the statement that gives each column, for conditions on it.
    refers : mapping
        By column or columns the table of the export, and its columns, that they name a row of.
    passing : frozenset of str
        Columns that may differ between two registries: who noted something when.
    """

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    statement: sa.Select[Any]
    places: Mapping[str, Any]
    refers: Mapping[tuple[str, ...], tuple[str, tuple[str, ...]]]
    passing: frozenset[str] = field(default_factory=frozenset)

    def positions(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Give the places of columns in a row."""
        order = list(self.columns)
        return tuple(order.index(name) for name in names)


_NAMED: dict[str, tuple[tuple[str, sa.Table, str], ...]] = {
    "dataset_type_id": (("dataset_type", identity.dataset_type, "name"),),
    "collection_id": (("collection", collections.collection, "name"),),
    "run_id": (("run", collections.collection, "name"),),
    "parent_id": (("parent", collections.collection, "name"),),
    "child_id": (("child", collections.collection, "name"),),
    "environment_id": (("environment", provenance.environment, "digest"),),
    "config_id": (("config", provenance.config, "digest"),),
}
"""Keys that count only here: the column that replaces each, and where it is found."""

_REFERS: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {
    ("dataset_type",): ("dataset_type", ("name",)),
    ("collection",): ("collection", ("name",)),
    ("run",): ("collection", ("name",)),
    ("parent",): ("collection", ("name",)),
    ("child",): ("collection", ("name",)),
    ("environment",): ("environment", ("digest",)),
    ("config",): ("config", ("digest",)),
    ("run", "task"): ("task", ("run", "label")),
    ("run", "of_task"): ("task", ("run", "label")),
    ("dataset_id",): ("dataset", ("id",)),
    ("quantum_id",): ("quantum", ("id",)),
}
_PASSING = frozenset(
    {
        "created_at",
        "registered_at",
        "registered_by",
        "certified_at",
        "certified_by",
        "changed_at",
        "changed_by",
        "ingest_date_tai_ns",
        "doc",
        "pipeline",
    }
)
_KINDS: tuple[tuple[type, str], ...] = (
    (sa.Uuid, "uuid"),
    (UtcDateTime, "time"),
    (sa.JSON, "json"),
    (sa.Boolean, "flag"),
    (sa.LargeBinary, "bytes"),
    (sa.Integer, "integer"),
    (sa.Float, "number"),
    (sa.String, "text"),
)


def _column(column: sa.Column[Any], *, nullable: bool | None = None) -> Column:
    kind = next(k for types, k in _KINDS if isinstance(column.type, types))
    limit = 0
    if kind == "text":
        limit = getattr(column.type, "length", None) or 0
    elif kind == "integer":
        limit = 2**63 - 1 if isinstance(column.type, sa.BigInteger) else 2**31 - 1
    open_ = bool(column.nullable) if nullable is None else nullable
    return Column(kind, not open_, limit, column.comment or "")


def _portable(
    table: sa.Table,
    key: tuple[str, ...],
    *,
    without: tuple[str, ...] = (),
    passing: frozenset[str] = _PASSING,
) -> Portable:
    """Replace the keys of a table that count only here, and leave out some columns."""
    columns: dict[str, Column] = {}
    places: dict[str, Any] = {}
    source: Any = table
    for column in table.columns:
        name = column.name
        if name in without or column.computed is not None:
            continue
        if name in _NAMED:
            for new, of, natural in _NAMED[name]:
                other = of.alias(f"{new}_of")
                source = source.join(other, other.c.id == column, isouter=bool(column.nullable))
                columns[new] = _column(of.c[natural], nullable=bool(column.nullable))
                places[new] = other.c[natural]
        elif name == "task_id":
            task, run = provenance.task.alias("task_of"), collections.collection.alias("run_of")
            source = source.join(task, task.c.id == column).join(run, run.c.id == task.c.run_id)
            for new, place in (("run", run.c.name), ("task", task.c.label)):
                columns[new], places[new] = _column(place), place
        elif name == "of_task_id":
            whole = provenance.task.alias("of_task_of")
            source = source.join(whole, whole.c.id == column)
            columns["of_task"], places["of_task"] = _column(whole.c.label), whole.c.label
        elif name == "data_id":
            keys = identity.data_id.alias("keys_of")
            source = source.join(keys, keys.c.id == column)
            for dimension in (*DIMENSIONS, "extra"):
                columns[dimension] = _column(keys.c[dimension], nullable=True)
                places[dimension] = keys.c[dimension]
        else:
            columns[name], places[name] = _column(column), column
    read = (
        (sa.type_coerce(place, sa.String) if columns[name].kind == "uuid" else place).label(name)
        for name, place in places.items()
    )
    statement = sa.select(*read).select_from(source)
    refers = {
        names: target
        for names, target in _REFERS.items()
        if set(names) <= set(columns) and target[0] != table.name
    }
    return Portable(
        table.name, columns, key, statement, places, refers, passing & frozenset(columns)
    )


_ID = ("id",)
_OF_DATASET = ("dataset_type_id", "data_id")


def _elements() -> list[Portable]:
    made = []
    for name in ELEMENTS:
        table = identity.repository.metadata.tables[name]
        key = tuple(column.name for column in table.primary_key)
        passing = frozenset({"definition_version", "doc"}) if name == "instrument" else frozenset()
        made.append(_portable(table, key, passing=passing))
    return made


TABLES: dict[str, Portable] = {
    portable.name: portable
    for portable in (
        *_elements(),
        _portable(dimensions.instrument_definition, ("instrument", "version")),
        _portable(dimensions.carried_record, ("element", "record_key")),
        _portable(identity.data_id_key, ("name",)),
        _portable(identity.dataset_type, ("name",), without=_ID),
        _portable(collections.collection, ("name",), without=_ID),
        _portable(collections.collection_chain, ("parent", "position")),
        _portable(identity.dataset, ("id",)),
        _portable(collections.tagged, ("collection", "dataset_id"), without=_OF_DATASET),
        _portable(
            calibrations.calibration,
            ("collection", "dataset_id", "valid_begin_tai_ns", "valid_end_tai_ns"),
            without=(*_ID, *_OF_DATASET),
        ),
        _portable(calibrations.calibration_policy, ("dataset_type",)),
        _portable(calibrations.calibration_policy_match, ("dataset_type", "name")),
        _portable(calibrations.calibration_fact, ("dataset_id", "name")),
        _portable(
            files.file, ("dataset_id", "component"), without=_ID, passing=frozenset({"path"})
        ),
        _portable(provenance.environment, ("digest",), without=_ID),
        _portable(provenance.environment_package, ("environment", "name")),
        _portable(provenance.config, ("digest",), without=_ID, passing=frozenset({"text"})),
        _portable(provenance.config_value, ("config", "path")),
        _portable(provenance.task, ("run", "label"), without=_ID),
        _portable(provenance.config_history, ("run", "task", "path", "step")),
        _portable(provenance.task_variant, ("run", "task")),
        _portable(provenance.quantum, ("id",)),
        _portable(provenance.quantum_variant, ("quantum_id",)),
        _portable(provenance.quantum_metric, ("quantum_id", "name")),
        _portable(provenance.quantum_input, ("quantum_id", "dataset_id")),
        _portable(provenance.quantum_output, ("dataset_id",)),
    )
}
"""The tables of an export by name, in an order in which their rows may be inserted."""
