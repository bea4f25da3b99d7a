"""How do statements make data IDs, and find their rows?

What is given is a SELECT with a column for each dimension. The keys that an instrument declares are
written as canonical JSON, which only Python does as it must be: their distinct values, few as they
are, are read once and sent back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import analyze_grown, insert_missing, joined, table_of
from registry.identity import DIMENSIONS, KEY_LETTERS, DataId
from registry.keys import check_keys, key_type
from registry.schema.identity import data_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Keys", "identity_of", "keys_of"]


class Keys:
    """Distinct data IDs of some dimensions, as a SELECT gives them.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Asked for the values of declared keys.
    dimensions : sequence of str
        Their keys.
    rows : sequence of Select
        Each with the columns ``k0``, ``k1``, ... for the dimensions; none of them is NULL.
    """

    def __init__(
        self,
        connection: sa.Connection,
        dimensions: Sequence[str],
        rows: Sequence[sa.Select[Any]],
    ) -> None:
        self.dimensions = tuple(dimensions)
        self._declared = [n for n, d in enumerate(self.dimensions) if d not in DIMENSIONS]
        self._rows = (
            rows[0].distinct().subquery("distinct_keys")
            if len(rows) == 1
            else sa.union(*rows).subquery("distinct_keys")
        )
        self._written = self._written_keys(connection) if self._declared else None

    def _written_keys(self, connection: sa.Connection) -> sa.Subquery:
        """Send the declared keys that occur with their canonical JSON."""
        columns = [self._rows.c[f"k{n}"] for n in self._declared]
        found = connection.execute(sa.select(*columns).distinct()).all()
        names = [self.dimensions[n] for n in self._declared]
        extras = [DataId.of(dict(zip(names, row, strict=True))) for row in found]
        check_keys(connection, extras)
        kinds = [sa.BigInteger if key_type(connection, d) is int else sa.String for d in names]
        values: list[Any] = [list(v) for v in zip(*found, strict=True)] or [[] for _ in names]
        texts = [e.extra_json for e in extras]
        sent: dict[str, tuple[Any, Sequence[Any]]] = {
            f"k{n}": (kind, v) for n, kind, v in zip(self._declared, kinds, values, strict=True)
        }
        sent |= {"extra": (sa.JSON, texts), "written": (sa.String, texts)}
        return table_of(connection, sent, "declared")

    def insert(self, connection: sa.Connection) -> None:
        """Make sure that each has a row in ``data_id``."""
        source, columns, text = self.joined()
        known = sa.exists().where(data_id.c.identity_key == text)
        if not columns:  # the empty data ID, of which there is one
            columns = {"detector": sa.literal(None, sa.Integer)}
            missing = sa.select(*columns.values()).select_from(source).where(~known)
        else:
            # two runs that are planned at once insert in one order, or might wait for each other
            missing = sa.select(*columns.values()).select_from(source).where(~known).order_by(text)
        n_new = insert_missing(connection, data_id, missing, list(columns), data_id.c.identity_key)
        analyze_grown(connection, data_id, n_new)

    def joined(self) -> tuple[Any, dict[str, Any], Any]:
        """Give what to select from, the columns by name of ``data_id``, and the identity."""
        source: Any = self._rows
        columns = {
            d: self._rows.c[f"k{n}"] for n, d in enumerate(self.dimensions) if d in DIMENSIONS
        }
        text = identity_of(columns)
        if self._written is not None:
            same = [self._rows.c[f"k{n}"] == self._written.c[f"k{n}"] for n in self._declared]
            source = source.join(self._written, sa.and_(*same))
            columns["extra"] = self._written.c.extra
            text = joined(text, self._written.c.written)
        return source, columns, text

    def found(self, base: Any, values: Mapping[str, Any], row: Any) -> Any:
        """Join rows of ``data_id`` to rows that have these values.

        Parameters
        ----------
        base : FromClause
            To which they are joined.
        values : mapping
            Its column for each of the dimensions.
        row : Alias
            Of ``data_id``.
        """
        text = identity_of({d: values[d] for d in self.dimensions if d in DIMENSIONS})
        if self._written is not None:
            same = [values[self.dimensions[n]] == self._written.c[f"k{n}"] for n in self._declared]
            base = base.join(self._written, sa.and_(*same))
            text = joined(text, self._written.c.written)
        return base.join(row, row.c.identity_key == text)


def keys_of(columns: Mapping[str, Any], dimensions: Sequence[str]) -> list[Any]:
    """Label the columns of dimensions as `Keys` takes them."""
    return [columns[d].label(f"k{n}") for n, d in enumerate(dimensions)] or [
        sa.literal(1).label("one")
    ]


def identity_of(columns: Mapping[str, Any]) -> Any:
    """Write the text that identifies a data ID without declared keys; see `IdentityKey`."""
    parts: list[Any] = []
    for d, letter in KEY_LETTERS.items():
        if d in columns:
            before = f"|{letter}" if parts else letter
            parts += [sa.literal(before, sa.String), columns[d]]
    return joined(*parts, sa.literal("|", sa.String)) if parts else sa.literal("", sa.String)
