"""Which columns of tables of rows may stand in a condition on datasets, and what do they mean?

A table with one row of each dataset is joined, and its columns are like fields of a record.  Of
one with any number of rows, some row must fulfil all that `AND` joins about that table.  Tables:
`registry.row_tables`; other names: `registry.names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import row_tables
from registry.dimensions import ELEMENTS
from registry.errors import RegistryError, UnknownName
from registry.expressions import compile_where
from registry.expressions.errors import ExpressionError
from registry.identity import DIMENSIONS
from registry.row_tables import DATASET_ID, OWN_COLUMNS, ROW_NUMBER, core_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lsst.sphgeom import Region

    from registry.expressions.nodes import Expression
    from registry.identity import DatasetType
    from registry.names import Names
    from registry.row_tables import RowTable

__all__ = ["AmbiguousField", "ManyRows", "RowNames", "not_of_one_row", "row_names"]


OF_DATASETS = ("dataset_id", "run", "ingest_date")
"""Names of every dataset, for which no table is looked up."""


class ManyRows(UnknownName):
    """A column may have several values for one dataset."""

    code = "many-rows"

    def __init__(self, name: str, table: str) -> None:
        self.name = name
        RegistryError.__init__(
            self,
            f"'{name}' may have many values for one dataset, which has any number of rows in "
            f"{table}: it may stand in a condition, but not be shown, counted by or sorted by. Get "
            "the dataset, or ask the table with SQL.",
        )


class AmbiguousField(RegistryError, LookupError):
    """A name means two things."""

    code = "ambiguous-field"

    def __init__(self, name: str, table: str) -> None:
        self.name = name
        element = name.partition(".")[0]
        super().__init__(
            f"'{name}' is a field of the records of {element} and a column of {table} too; ask "
            f"{table} with SQL, or declare that table for a dataset type of another name.",
        )


class RowNames:
    """The names of the columns of the tables in which datasets of a type, or components, lie.

    They have the name of the dataset type before them, and that of the component: ``source.flux``,
    ``calexp.summary.seeing``.

    Parameters
    ----------
    dataset_id : sqlalchemy.ColumnElement
        Identity of the dataset that a row is about.
    kind : str
        Name of the dataset type.
    tables : mapping of str to RowTable
        Where they lie, by component.
    """

    def __init__(self, dataset_id: Any, kind: str, tables: Mapping[str, RowTable]) -> None:
        self._dataset_id = dataset_id
        self.kind = kind
        self._tables = {f"{kind}.{c}" if c else kind: table for c, table in tables.items()}
        self._joined: dict[str, Any] = {}

    def known(self) -> list[str]:
        """List every name."""
        return [
            f"{owner}.{column}"
            for owner, table in self._tables.items()
            for column in (*(c.name for c in table.columns), ROW_NUMBER)
            if not (owner in ELEMENTS and column in ELEMENTS[owner].c)
        ]

    def knows(self, name: str) -> bool:
        """Tell whether a name is that of a column of a table.

        Raises
        ------
        AmbiguousField
            If it is a field of a dimension's records too.
        """
        owner, _, column = name.rpartition(".")
        if owner not in self._tables or column not in core_table(self._tables[owner]).c:
            return False
        if column in OWN_COLUMNS and column != ROW_NUMBER:
            return False
        if owner in ELEMENTS and column in ELEMENTS[owner].c:
            raise AmbiguousField(name, self._tables[owner].name)
        return True

    def column(self, names: Names, name: str) -> Any:
        """Give the column of a table with one row of each dataset, which is joined once.

        Raises
        ------
        ManyRows
            If a dataset may have several rows there.
        """
        owner, _, column = name.rpartition(".")
        table = self._tables[owner]
        if not table.one_row:
            raise ManyRows(name, table.name)
        if owner not in self._joined:
            alias = core_table(table).alias(f"{owner.replace('.', '_')}_rows")
            names.base = names.base.outerjoin(
                alias, (alias.c[DATASET_ID] == self._dataset_id) & (alias.c[ROW_NUMBER] == 0)
            )
            names.tables.append(alias)
            self._joined[owner] = alias
        return self._joined[owner].c[column]

    def with_many(self, used: Iterable[str]) -> set[str]:
        """Tell what some names are about that may have several rows for a dataset."""
        owners = {name.rpartition(".")[0] for name in used if self.knows(name)}
        return {owner for owner in owners if not self._tables[owner].one_row}

    def some_row(
        self, names: Names, owner: str, terms: Sequence[Expression], bind: Mapping[str, Any]
    ) -> sa.ColumnElement[bool]:
        """Say that one row of a dataset fulfils conditions, which may name what else is here."""
        alias = core_table(self._tables[owner]).alias(f"{owner.replace('.', '_')}_some")
        some = _SomeRow(names, owner, alias)
        asked: Any = sa.select(sa.literal_column("1")).select_from(alias)
        asked = asked.where(
            alias.c[DATASET_ID] == self._dataset_id,
            *(compile_where(term, some, bind) for term in terms),
        )
        met: sa.ColumnElement[bool] = asked.correlate_except(alias).exists()
        return met


class _SomeRow:
    """Resolves names within the condition on a row; see `registry.expressions.Resolver`."""

    def __init__(self, outer: Names, owner: str, alias: Any) -> None:
        self._outer = outer
        self._owner = owner
        self._alias = alias

    def column(self, name: str, position: int) -> Any:
        """Give the column of the row, or of what is around it."""
        owner, _, column = name.rpartition(".")
        if owner == self._owner and column in self._alias.c:
            return self._alias.c[column]
        return self._outer.column(name, position)

    def known_names(self) -> Sequence[str]:
        """List what is known around it."""
        return self._outer.known_names()

    def values(self, name: str) -> Sequence[str] | None:
        """List what a name outside can be equal to."""
        return self._outer.values(name)

    def region_overlaps(
        self, name: str, other: Region | str, position: int
    ) -> sa.ColumnElement[bool] | None:
        """Compare regions around it."""
        return self._outer.region_overlaps(name, other, position)


def row_names(
    connection: sa.Connection | None, kind: DatasetType, dataset_id: Any, used: Iterable[str]
) -> RowNames | None:
    """Give the names of the columns of the tables for datasets of a type.

    Parameters
    ----------
    used : iterable of str
        Names that are asked for; without one that may be such a name, no table is looked up.
    """
    owners = {name.partition(".")[0] for name in used if name not in OF_DATASETS}
    if connection is None or owners <= {e for e in (*ELEMENTS, *DIMENSIONS) if e != kind.name}:
        return None
    described = row_tables.described(connection)
    tables = row_tables.tables_of(described, kind.name, kind.storage_class)
    return RowNames(dataset_id, kind.name, tables) if tables else None


def not_of_one_row(kind: str, term: Expression) -> ExpressionError:
    """Say that a condition on some row is about other things that have several values too."""
    root = term.root
    return ExpressionError(
        f"A dataset may have many rows of '{kind}', and this condition is about something else "
        "with several values too; give each a condition of its own, joined by AND.",
        root.start if root is not None else 0,
        root.end if root is not None else None,
    ).locate(term.text)
