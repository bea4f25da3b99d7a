"""How do a mapping of scalars and the cards of a header become rows, and rows those again?

A mapping is one row, with a column for each name.  A header has a row for each card, in order: its
keyword, its value as text, what kind of value that is, the value as a number where it is one, and
the comment.  Rows of tables are `butler.tables.in_tables`; the columns of cards are declared in
`registry.row_declarations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from backbone.row_values import arrow_type
from butler.errors import UnknownComponent
from butler.tables.columns_as_declared import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from astropy.io.fits import Card, Header

    from registry.row_tables import RowColumn, RowTable

__all__ = ["CARDS", "MAPPING", "CardsForm", "MappingForm"]

CARDS, MAPPING = "rows-cards", "rows-mapping"
_COMMENTARY = ("COMMENT", "HISTORY", "")
_RAW = "raw"
"""Kind of a card that is kept as it is written, since its parts would not say all of it."""


class _PlainForm:
    """A conversion of rows that have no components, and columns of one name each."""

    components: ClassVar[frozenset[str]] = frozenset()

    def component(self, schema: pa.Schema, component: str) -> Any:  # noqa: ARG002
        """Refuse a component; there is none."""
        raise UnknownComponent(f"Rows have no component '{component}'.", name=component)

    def names(self, schema: pa.Schema) -> list[str]:
        """List the columns that may be selected."""
        return list(schema.names)

    def stored(self, schema: pa.Schema, wanted: list[str]) -> list[str]:  # noqa: ARG002
        """List the columns that are needed for some."""
        return wanted


class MappingForm(_PlainForm):
    """A mapping of scalars as one row."""

    python_types: ClassVar[tuple[str, ...]] = ("builtins.dict",)

    def to_arrow(self, obj: Mapping[str, Any], table: RowTable) -> pa.Table:
        """Make a row of a mapping, with the declared types.

        Raises
        ------
        CannotWrite
            If a value is not one of its column.
        """
        import pyarrow as pa

        declared = {column.name: column for column in table.columns}
        arrays, names = [], []
        for name, value in obj.items():
            column = declared.get(str(name))
            names.append(str(name))
            if column is None:  # told with all other columns
                arrays.append(pa.nulls(1))
                continue
            arrays.append(pa.array([_scalar(value, column, table)], arrow_type(column)))
        return pa.Table.from_arrays(arrays, names)

    def from_arrow(
        self, table: pa.Table, wanted: list[str] | None, rows: slice | None
    ) -> dict[str, Any]:
        """Make the mapping again; without the row, none of its names."""
        del wanted, rows
        found = table.to_pylist()
        return dict(found[0]) if found else {}


class CardsForm(_PlainForm):
    """The cards of a header as rows."""

    python_types: ClassVar[tuple[str, ...]] = ("astropy.io.fits.Header",)

    def to_arrow(self, obj: Header, table: RowTable) -> pa.Table:
        """Make rows of a header; each is seen to make its card again."""
        import pyarrow as pa

        del table
        rows = [_row(card) for card in obj.cards]
        kinds = {name: pa.string() for name in ("keyword", "value", "kind", "comment")}
        fields = {**kinds, "number": pa.float64()}
        return pa.Table.from_pylist(rows, schema=pa.schema(list(fields.items())))

    def from_arrow(self, table: pa.Table, wanted: list[str] | None, rows: slice | None) -> Header:
        """Make the header again; of some rows, one with these cards."""
        import warnings

        from astropy.io.fits import Header
        from astropy.utils.exceptions import AstropyWarning

        del wanted, rows
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            return Header([_card(row) for row in table.to_pylist()])

    def stored(self, schema: pa.Schema, wanted: list[str]) -> list[str]:
        """List the columns that are needed: all, since a card has all of them."""
        del wanted
        return list(schema.names)


def _scalar(value: Any, column: RowColumn, table: RowTable) -> Any:
    """Give a value as a column takes it, or say why it does not."""
    import numpy as np

    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None:
        return None
    if column.is_float and isinstance(plain, int | float) and not isinstance(plain, bool):
        number = float(plain)
        same = number == plain or number != number  # noqa: PLR0124 (nan)
        if column.type == "float32" and np.isfinite(number):
            with np.errstate(over="ignore"):
                same = same and float(np.float32(number)) == number
        if same:
            return number
        raise refuse(
            table,
            column.name,
            f"is {plain!r}, which {column.type} would round; declare a wider type, or round it: "
            f"float(np.{column.type}(x))",
        )
    kinds: Mapping[str, type[Any]] = {"bool": bool, "text": str, "bytes": bytes}
    kind = kinds.get(column.type, int)
    if column.type == "timestamp":
        raise refuse(
            table,
            column.name,
            "is declared as timestamp, which a mapping does not hold; declare it as tai (ns since "
            "1970-01-01 TAI) or as text",
        )
    if not isinstance(plain, kind) or (kind is int and isinstance(plain, bool)):
        raise refuse(
            table,
            column.name,
            f"is {plain!r:.40} ({type(value).__name__}) and is declared as {column.type}; give it "
            "as one, or declare it as what it is",
        )
    if kind is int and not _within(plain, column):
        raise refuse(
            table,
            column.name,
            f"is {plain}, which {column.type} does not hold; declare a wider type",
        )
    return plain


def _within(number: Any, column: RowColumn) -> bool:
    import numpy as np

    limits = np.iinfo("int64" if column.type == "tai" else column.type)
    return bool(limits.min <= number <= limits.max)


def _row(card: Card) -> dict[str, Any]:
    """Take a card apart, or keep it whole where its parts would make another."""
    from astropy.io.fits import VerifyError

    try:
        row = _taken_apart(card)
        made = _card(row)
        if (made.keyword, made.value, made.comment) == (card.keyword, card.value, card.comment):
            return row
    except (VerifyError, ValueError):
        pass
    return _of(card.keyword, str(card).rstrip(), _RAW, "", None)


def _taken_apart(card: Card) -> dict[str, Any]:
    import numbers

    from astropy.io.fits.card import Undefined

    keyword, value, comment = card.keyword, card.value, card.comment
    if keyword in _COMMENTARY:
        return _of(keyword, str(value), "commentary", "", None)
    if card.field_specifier is not None:
        raise ValueError(keyword)
    if value is None or isinstance(value, Undefined):
        return _of(keyword, None, "undefined", comment, None)
    if isinstance(value, str):
        return _of(keyword, value, "text", comment, None)
    if value is True or value is False or type(value).__name__ in ("bool", "bool_"):
        return _of(keyword, "T" if value else "F", "logical", comment, None)
    if isinstance(value, numbers.Integral):
        return _of(keyword, str(int(value)), "integer", comment, float(value))
    if isinstance(value, numbers.Real):
        return _of(keyword, repr(float(value)), "float", comment, float(value))
    return _of(keyword, str(complex(value)), "complex", comment, None)


def _of(
    keyword: str, value: str | None, kind: str, comment: str, number: float | None
) -> dict[str, Any]:
    return {
        "keyword": keyword,
        "value": value,
        "kind": kind,
        "number": number,
        "comment": comment,
    }


def _card(row: Mapping[str, Any]) -> Card:
    from astropy.io.fits import Card

    text = row["value"]
    kind = row["kind"]
    if kind == _RAW:
        return Card.fromstring(text)
    made = {
        "logical": lambda: text == "T",
        "integer": lambda: int(text),
        "float": lambda: float(text),
        "complex": lambda: complex(text),
    }.get(kind, lambda: text)
    keyword = row["keyword"]
    if len(keyword) > 8 or " " in keyword:
        keyword = f"HIERARCH {keyword}"
    return Card(keyword, made(), row["comment"] or None)
