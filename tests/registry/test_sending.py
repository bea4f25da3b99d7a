"""Do values that go along with a statement arrive as they are, however they look?"""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.database import insert_rows, rows_of, table_of
from registry.errors import Conflict, UnstorableValue
from registry.identity import uuid7s
from registry.schema.types import UtcDateTime

if TYPE_CHECKING:
    from registry import Registry

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
WRITTEN_LIKE_ARRAYS = st.text("{}\",\\ nulNUL'", max_size=8)


def there_and_back(registry: Registry, kind: Any, values: list[Any]) -> list[Any]:
    with registry.read() as connection:
        sent = rows_of(connection, [{"v": v} for v in values], {"v": kind})
        asked = sa.select(sent.c.n, sent.c.v).order_by(sent.c.n)
        rows = connection.execute(asked).all()
    assert [n for n, _ in rows] == list(range(len(values)))
    return [v for _, v in rows]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.none() | TEXTS | WRITTEN_LIKE_ARRAYS, max_size=6))
def test_texts_arrive_as_they_are(registry: Registry, values: list[str | None]) -> None:
    assert there_and_back(registry, sa.String, values) == values


def test_other_values_arrive_as_they_are(registry: Registry) -> None:
    ids = [*uuid7s(3), uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]
    assert there_and_back(registry, sa.Uuid, [*ids, None]) == [*ids, None]
    assert there_and_back(registry, sa.Uuid, [i.hex for i in ids]) == ids
    numbers = [0, -1, 2**63 - 1, -(2**63)]
    assert there_and_back(registry, sa.BigInteger, numbers) == numbers
    assert there_and_back(registry, sa.BigInteger, [None, 7]) == [None, 7]
    fractions = [0.1, -1e300, 5e-324, None, 3.0]
    assert there_and_back(registry, sa.Double, fractions) == fractions
    documents = ['{"target":"M\\"31","n":1}', None, '{"a":"}{,"}']
    arrived = there_and_back(registry, sa.JSON, documents)
    read = [json.loads(v) if isinstance(v, str) else v for v in arrived]
    assert read == [None if d is None else json.loads(d) for d in documents]


def test_what_is_the_same_in_all_rows_arrives_in_each(registry: Registry) -> None:
    (one,) = uuid7s(1)
    alike = {
        "t": (sa.String, 'a"\\{b}'),
        "none": (sa.String, None),
        "n": (sa.BigInteger, -(2**63)),
        "f": (sa.Double, 0.5),
        "id": (sa.Uuid, one),
        "doc": (sa.JSON, '{"target":"M 31"}'),
    }
    for others in ({}, {"other": (sa.String, "x")}):  # all of them alike; one that is not
        columns = {f"c_{c}": (kind, [value] * 3) for c, (kind, value) in (alike | others).items()}
        if others:
            columns["c_other"] = (sa.String, ["x", "y", "x"])
        with registry.read() as connection:
            sent = table_of(connection, columns)
            asked = sa.select(*(sent.c[c] for c in columns)).order_by(sent.c.n)
            found = dict(zip(columns, zip(*connection.execute(asked), strict=True), strict=True))
        arrived = [json.loads(v) if isinstance(v, str) else v for v in found.pop("c_doc")]
        assert arrived == [{"target": "M 31"}] * 3
        assert found == {c: tuple(v) for c, (_, v) in columns.items() if c != "c_doc"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(registry: Registry, value: float) -> None:
    with pytest.raises(UnstorableValue, match="no numbers that a database takes"):
        there_and_back(registry, sa.Double, [1.0, value])


def test_rows_by_the_thousand_arrive_as_they_are(registry: Registry) -> None:
    many = sa.Table(
        "many",
        sa.MetaData(),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("words", sa.Text),
        sa.Column("packed", sa.LargeBinary),
        sa.Column("key", sa.Uuid),
        sa.Column("document", sa.JSON),
        sa.Column("yes", sa.Boolean),
        sa.Column("number", sa.Double),
        sa.Column("at", UtcDateTime),
        prefixes=["TEMPORARY"],
    )
    noon = dt.datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=dt.UTC)
    words = ["plain", "", "a\tb\nc\rd", "\\N", "\\", "\\x41", "'\"`;--", "NULL", "é☉𝛼 ", None]
    n_rows = 1_200
    rows: list[dict[str, Any]] = [
        {
            "n": 2**63 - 1 - n,
            "words": words[n % len(words)],
            "packed": None if n % 7 == 0 else bytes([n % 256, 0, 9, 10, 92]),
            "key": None if n % 5 == 0 else uuid.UUID(int=n << 90 | n),
            "document": {"a": [n, None, '\\ \t "'], "b": n % 2 == 0},
            "yes": [True, False, None][n % 3],
            "number": [0.1, -1e300, 5e-324, 1 / 3, None][n % 5],
            "at": noon + dt.timedelta(microseconds=n),
        }
        for n in range(n_rows)
    ]
    with registry.begin() as connection:
        many.create(connection)
        insert_rows(connection, many, rows)
        found = connection.execute(sa.select(many).order_by(many.c.n.desc())).mappings()
        assert [dict(row) for row in found] == rows
        many.drop(connection)


def test_rows_by_the_thousand_are_all_or_none(filled: Registry) -> None:
    rows = [{"name": f"map{n}", "definition": {}} for n in range(1_000)]
    with pytest.raises(UnstorableValue, match="surrogate"):
        filled.insert_dimension_records("skymap", [*rows, {"name": "\ud800", "definition": {}}])
    with pytest.raises(Conflict, match="same name"):
        filled.insert_dimension_records("skymap", [*rows, rows[7]])
    assert filled.query_dimension_records("skymap", where="skymap GLOB 'map*'") == []
    assert filled.insert_dimension_records("skymap", rows) == len(rows)
    stored = filled.query_dimension_records("skymap", where="skymap GLOB 'map*'")
    assert {row["name"] for row in stored} == {row["name"] for row in rows}
