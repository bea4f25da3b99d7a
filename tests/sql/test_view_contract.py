"""What the headers of the view files promise, the databases hold."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import deploy, reports, views

if TYPE_CHECKING:
    from registry import Registry

DECLARED = [name for name in deploy.view_names() if reports.view(name).columns]
KINDS = {
    "postgresql": {
        "text": {"text", "character varying", "character"},
        "integer": {"bigint", "integer", "numeric"},
        "double": {"double precision"},
        "timestamp": {"timestamp without time zone"},
        "utc": {"timestamp with time zone"},
        "uuid": {"uuid"},
    },
    "mariadb": {
        "text": {"varchar", "longtext", "text", "char", "mediumtext"},
        "integer": {"bigint", "int", "decimal"},
        "double": {"double"},
        "timestamp": {"datetime"},
        "utc": {"datetime"},
        "uuid": {"uuid", "char"},
    },
}
PYTHON: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "double": (float,),
    "timestamp": (dt.datetime,),
    "utc": (dt.datetime,),
    "uuid": (str,),
}


def test_every_view_declares_its_columns() -> None:
    assert deploy.view_names() == DECLARED


@pytest.mark.parametrize("name", DECLARED)
def test_view_has_the_columns_that_its_file_declares(demo: Registry, name: str) -> None:
    told = reports.view(name)
    with demo.read() as connection:
        result = connection.execute(sa.text(f"SELECT * FROM {name}"))  # noqa: S608
        assert list(result.keys()) == [c.name for c in told.columns]
        dialect = "mariadb" if connection.dialect.name == "mysql" else connection.dialect.name
        if dialect in KINDS:
            schema = "DATABASE()" if dialect == "mariadb" else "'public'"
            found = connection.execute(
                sa.text(
                    "SELECT column_name, data_type FROM information_schema.columns "  # noqa: S608
                    f"WHERE table_name = :name AND table_schema = {schema}"
                ),
                {"name": name},
            )
            types = {str(row[0]): str(row[1]) for row in found}
            wrong = {c.name: types[c.name] for c in told.columns
                     if types[c.name] not in KINDS[dialect][c.type]}  # fmt: skip
            assert wrong == {}


@pytest.mark.parametrize("name", DECLARED)
def test_values_are_of_the_declared_types_on_every_database(demo: Registry, name: str) -> None:
    frame = demo.report(name)
    assert len(frame) > 0
    for column in reports.view(name).columns:
        values = [v for v in frame[column.name] if v is not None]
        assert all(type(v) in PYTHON[column.type] for v in values), column
        if column.type in ("timestamp", "utc"):
            assert all((v.tzinfo is not None) == (column.type == "utc") for v in values)
        if column.type == "uuid":
            assert all(str(uuid.UUID(v)) == v for v in values)
        if column.type == "double":
            assert all(math.isfinite(v) for v in values)


def test_row_key_of_each_view_tells_its_rows_apart(demo: Registry) -> None:
    for name in deploy.view_names():
        told = reports.view(name)
        (note,) = (n for n in told.notes if n.startswith("Row key: "))
        key = note.removeprefix("Row key: ").split(".")[0].split(", ")
        frame = demo.report(name)
        assert len(frame) > 0, name
        assert not frame.duplicated(subset=key).any(), name


def test_comments_of_views_reach_a_database_that_has_them(demo: Registry, backend: str) -> None:
    if backend != "postgresql":
        # the others keep no comments on views; the header of the file is all there is
        assert all(c.doc for name in DECLARED for c in reports.view(name).columns)
        return
    with demo.read() as connection:
        for name in DECLARED:
            told = reports.view(name)
            query = sa.text("SELECT obj_description(CAST(:name AS regclass), 'pg_class')")
            assert connection.execute(query, {"name": name}).scalar_one() == told.question
            stored = connection.execute(
                sa.text(
                    "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
                    "WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 ORDER BY attnum"
                ),
                {"name": name},
            )
            assert [tuple(r) for r in stored] == [(c.name, c.comment) for c in told.columns]


def test_header_that_declares_no_column_is_refused() -> None:
    text = "-- What?\n-- Row key: a.\n-- Columns:\n--   a  number  What it is\nSELECT 1 AS a\n"
    with pytest.raises(views.BadHeader, match="types: text, integer, double"):
        views.parse("wrong", text)


def test_header_is_read_with_unit_ucd_and_meaning() -> None:
    text = (
        "-- What?\n-- Row key: a.\n-- Columns:\n"
        "--   a  double  [deg]  {pos.eq.ra} Where it's\nSELECT 1 AS a\n"
    )
    told = views.parse("right", text)
    assert told.columns == (views.ViewColumn("a", "double", "deg", "pos.eq.ra", "Where it's"),)
    assert views.comments(told)[1] == "COMMENT ON COLUMN right.a IS 'Where it''s [deg]'"
