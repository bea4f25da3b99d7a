"""How does a person declare a table that holds rows of datasets?

As YAML, which `declared` reads and `migration_text` turns into a migration of the site::

    table: rows_source
    doc: Sources found in exposures.
    dataset_types: [source]
    columns:
      - {name: source_id, type: int64, doc: Number of the source, indexed: true}
      - {name: flux, type: float64, unit: nJy, doc: Flux in an aperture, nullable: true}

With ``component: summary`` the table holds that component of them; ``columns: cards`` are those of
a header's cards.  Running migrations is `registry.site_migrations`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from registry import plain_yaml
from registry.errors import RegistryError, did_you_mean
from registry.row_tables import (
    DATASET_ID,
    NOT_FINITE,
    OWN_COLUMNS,
    PREFIX,
    ROW_NUMBER,
    TYPES,
    RowColumn,
    RowTable,
    Use,
    comment_of,
    index_name,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["CARD_COLUMNS", "WrongDeclaration", "declared", "migration_text"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_MAX_COLUMNS = 1_000
"""MariaDB takes 1017, PostgreSQL 1600, SQLite 2000."""
_MAX_INDEXED = 700
"""Characters that an index of MariaDB takes."""
_MAX_TEXTS = 12_000
"""Characters that the texts of limited length in a row may have together, on MariaDB."""
_KEYS = ("table", "doc", "dataset_types", "storage_classes", "component", "one_row", "columns")
_COLUMN_KEYS = ("name", "type", "length", "unit", "doc", "nullable", "indexed")


CARD_COLUMNS = (
    RowColumn("keyword", "text", 80, doc="Keyword, without HIERARCH", indexed=True),
    RowColumn("value", "text", doc="Value as text; none: it has no value", nullable=True),
    RowColumn("kind", "text", 12, doc="text, integer, float, logical, complex, ... or raw"),
    RowColumn("number", "float64", doc="Value, if it is an integer or a float", nullable=True),
    RowColumn("comment", "text", doc="Comment"),
)
"""Columns of a table that holds headers, a row for each card in order."""


class WrongDeclaration(RegistryError, ValueError):
    """A table is declared in a way that cannot be understood, or cannot be made."""

    code = "wrong-declaration"


def declared(path: str | os.PathLike[str]) -> RowTable:
    """Read the declaration of a table.

    Raises
    ------
    WrongDeclaration
        Says what is wrong, and in which column.
    OSError
        If the file cannot be read.
    """
    try:
        found = plain_yaml.load_file(path)
    except yaml.YAMLError as error:
        raise WrongDeclaration(f"{path} is no YAML: {error}") from error
    try:
        return _table(found)
    except WrongDeclaration as error:
        raise WrongDeclaration(f"{path}: {error}") from error


def _table(found: Any) -> RowTable:
    if not isinstance(found, dict):
        raise WrongDeclaration(f"A mapping with the keys {', '.join(_KEYS)} is expected.")
    _require_known(found, _KEYS, "A table")
    component = _text(found, "component", "The table")
    if component and not (_NAME.fullmatch(component) and len(component) <= 64):
        raise WrongDeclaration(f"component is {component!r}; write a name, such as summary.")
    uses = tuple(
        sorted(
            Use(kind, name, component)
            for kind in ("dataset_type", "storage_class")
            for name in _names(found, f"{kind}s" if kind == "dataset_type" else "storage_classes")
        )
    )
    if not uses:
        raise WrongDeclaration(
            "It says not whose rows the table holds; add for example dataset_types: [source]."
        )
    of = "_".join(part for part in (uses[0].name, component) if part)
    name = found.get("table", f"{PREFIX}{of}".lower() if component else f"{PREFIX}{of}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WrongDeclaration(
            f"The table's name {name!r} should have up to 60 letters, digits and '_'."
        )
    if not name.startswith(PREFIX) or name != name.lower():
        raise WrongDeclaration(
            f"The name of such a table is in small letters and begins with {PREFIX}, so that it is "
            f"none of skyspine's own, now or later; call it {PREFIX}"
            f"{name.lower().removeprefix(PREFIX)}."
        )
    doc = _text(found, "doc", "The table")
    if not doc:
        raise WrongDeclaration("It lacks doc: a line that says what the table holds.")
    given = found.get("columns")
    one_row = _flag(found, "one_row", "The table")
    if given == "cards":
        if one_row:
            raise WrongDeclaration("A header has a row for each card; leave one_row out.")
        return RowTable(name, doc, CARD_COLUMNS, uses)
    if not isinstance(given, list) or not given:
        raise WrongDeclaration(
            "It lacks columns: a list, each with a name, a type and a doc; or columns: cards, for "
            "headers."
        )
    columns = tuple(_column(n, one) for n, one in enumerate(given))
    _require_possible(columns)
    return RowTable(name, doc, columns, uses, one_row)


def _require_possible(columns: tuple[RowColumn, ...]) -> None:
    if len(columns) > _MAX_COLUMNS:
        raise WrongDeclaration(
            f"It has {len(columns)} columns, and a database takes {_MAX_COLUMNS}; make two tables."
        )
    seen: set[str] = set()
    for column in columns:
        if column.name.lower() in seen:
            raise WrongDeclaration(
                f"Two columns are called '{column.name}'; large and small letters are the same to "
                "a database."
            )
        seen.add(column.name.lower())
    if sum(c.length or 0 for c in columns if not c.indexed) > _MAX_TEXTS:
        raise WrongDeclaration(
            f"The texts of a row may have {_MAX_TEXTS} characters together; leave the length of "
            "long ones out."
        )


def _column(number: int, given: Any) -> RowColumn:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise WrongDeclaration(
            f"Column {number} should be a mapping with the keys {', '.join(_COLUMN_KEYS)}."
        )
    name = given["name"]
    what = f"Column '{name}'"
    _require_known(given, _COLUMN_KEYS, what)
    if not _NAME.fullmatch(name):
        raise WrongDeclaration(f"{what}: a name has up to 60 letters, digits and '_'.")
    if name.lower() in OWN_COLUMNS:
        raise WrongDeclaration(
            f"{what}: each such table has a column of this name already; take another one."
        )
    kind: Any = given.get("type")
    if kind not in TYPES:
        raise WrongDeclaration(f"{what}: {_no_type(kind)}")
    column = RowColumn(
        name,
        kind,
        given.get("length"),
        _text(given, "unit", what),
        _text(given, "doc", what),
        _flag(given, "nullable", what),
        _flag(given, "indexed", what),
    )
    if not column.doc:
        raise WrongDeclaration(f"{what} lacks doc: a line that says what it means.")
    if len(column.unit) > 64:
        raise WrongDeclaration(f"{what}: a unit has up to 64 characters.")
    if column.length is not None:
        if kind != "text":
            raise WrongDeclaration(f"{what}: a length is for texts, and this is {kind}.")
        if type(column.length) is not int or not 0 < column.length <= _MAX_TEXTS:
            raise WrongDeclaration(
                f"{what}: its length is a number of characters from 1 to {_MAX_TEXTS}."
            )
    if column.indexed and kind == "bytes":
        raise WrongDeclaration(f"{what}: bytes have no index.")
    if column.indexed and kind == "text" and not 0 < (column.length or 0) <= _MAX_INDEXED:
        raise WrongDeclaration(
            f"{what}: a text with an index needs a length of up to {_MAX_INDEXED} characters; add "
            "for example length: 32."
        )
    return column


def _no_type(kind: Any) -> str:
    if kind == "uint64":
        return "the databases have no uint64; declare int64, or text for larger numbers."
    nearest = {"float": "float64", "double": "float64", "int": "int64", "str": "text"}
    nearest |= {"string": "text", "boolean": "bool", "datetime": "timestamp"}
    if kind in nearest:
        return f"there is no type '{kind}'; write {nearest[kind]}."
    return f"there is no type {kind!r}.{did_you_mean(str(kind), TYPES)}"


def _require_known(given: Mapping[Any, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in known:
            comma = " A text with a comma stands in quotes." if given[key] is None else ""
            raise WrongDeclaration(
                f"{what} has no {key!r}.{comma or did_you_mean(str(key), known)}"
            )


def _text(given: Mapping[str, Any], key: str, what: str) -> str:
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WrongDeclaration(f"{what}: {key} is {value!r}, and a text is expected.")
    return " ".join(value.split())


def _flag(given: Mapping[str, Any], key: str, what: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise WrongDeclaration(f"{what}: {key} is {value!r}; write true or false.")
    return value


def _names(given: Mapping[str, Any], key: str) -> list[str]:
    value = given.get(key, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise WrongDeclaration(f"{key} is {value!r}; write a list of names.")
    return names


_TEMPLATE = '''"""It makes {name}, whose rows are those of datasets.

Written by ``skyspine table add``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from registry.row_tables import RowColumn, RowTable, Use
from registry.site_migrations import install, withdraw

revision = "{revision}"
down_revision = {before!r}
branch_labels = None
depends_on = None

OPTIONS = {{
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
    "sqlite_with_rowid": False,
}}
FLOAT32 = sa.Double().with_variant(sa.REAL(), "postgresql")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

DESCRIBED = RowTable(
    {name!r},
    {doc!r},
    (
{described}
    ),
    (
{uses}
    ),
    one_row={one_row!r},
)


def upgrade() -> None:
    op.create_table(
        {name!r},
{columns}
        sa.ForeignKeyConstraint(["{id}"], ["dataset.id"], name="fk_{name}_{id}"),
        sa.PrimaryKeyConstraint("{id}", "{number}", name="pk_{name}"),
{check}        comment={doc!r},
        **OPTIONS,
        if_not_exists=True,
    )
{indexes}    install(DESCRIBED)


def downgrade() -> None:
    withdraw({name!r})
    op.drop_table({name!r}, if_exists=True)
'''


_ONE_ROW = """        sa.CheckConstraint("{number} = 0", name="ck_{name}_one_row"),
"""


def migration_text(one: RowTable, revision: str, before: str | None) -> str:
    """Write the migration that makes a table.

    Parameters
    ----------
    revision, before : str
        Of this migration, and of the one before it, if any.
    """
    columns = [
        _column_text(DATASET_ID, "sa.Uuid()", "Dataset that the row is of"),
        _column_text(
            ROW_NUMBER, "sa.Integer()", "Place in the dataset, from 0", ", autoincrement=False"
        ),
    ]
    columns += [
        _column_text(
            c.name,
            f"sa.String(length={c.length})" if c.length else TYPES[c.type][0],
            comment_of(c),
            nullable=c.nullable or c.is_float,
        )
        for c in one.columns
    ]
    if one.has_floats:
        comment = "Columns that are NaN or infinite, as name:value"
        columns.append(_column_text(NOT_FINITE, "sa.Text()", comment, nullable=True))
    indexes = [
        f"    op.create_index({index_name(one.name, c.name)!r}, {one.name!r}, [{c.name!r}], "
        "if_not_exists=True)\n"
        for c in one.columns
        if c.indexed
    ]
    return _TEMPLATE.format(
        doc=one.doc,
        name=one.name,
        one_row=one.one_row,
        check=_ONE_ROW.format(number=ROW_NUMBER, name=one.name) if one.one_row else "",
        revision=revision,
        before=before,
        id=DATASET_ID,
        number=ROW_NUMBER,
        described="\n".join(f"        {column!r}," for column in one.columns),
        uses="\n".join(f"        {use!r}," for use in one.uses),
        columns="\n".join(columns),
        indexes="".join(indexes),
    )


def _column_text(
    name: str, kind: str, comment: str, also: str = "", *, nullable: bool = False
) -> str:
    return f"        sa.Column({name!r}, {kind}{also}, nullable={nullable}, comment={comment!r}),"
