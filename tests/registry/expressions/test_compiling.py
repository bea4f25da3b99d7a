"""Is the SQL the same question on three databases, with nothing of the user's in it?"""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.mysql import mariadbconnector
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.dialects.sqlite import pysqlite

from registry.expressions import ExpressionError, Resolver, compile_where, parse
from tests.registry.expressions.exposures import Exposures, exposure, ids, rows

DIALECTS: dict[str, sa.Dialect] = {
    "sqlite": pysqlite.dialect(),
    "postgresql": psycopg2.dialect(),
    "mariadb": mariadbconnector.dialect(is_mariadb=True),
}


def sql(text: str, dialect: str, bind: dict[str, object] | None = None) -> str:
    condition = compile_where(text, Exposures(), bind)
    return str(condition.compile(dialect=DIALECTS[dialect])).replace("exposure.", "")


@pytest.mark.parametrize(
    ("text", "sqlite", "postgresql", "mariadb"),
    [
        (
            "exposure IN (5..20:2)",
            "id BETWEEN ? AND ? AND id % ? = ?",
            "id BETWEEN %(param_1)s AND %(param_2)s AND id %% %(param_3)s = %(param_4)s",
            "id BETWEEN ? AND ? AND id % ? = ?",
        ),
        (
            "band GLOB 'r*'",
            "(band GLOB ?)",
            "(band LIKE %(param_1)s ESCAPE '|')",
            "(band LIKE ? ESCAPE '|')",
        ),
        (
            "band GLOB '[a-c]*'",
            "(band GLOB ?)",
            "(band ~ %(param_1)s)",
            "(band REGEXP ?)",
        ),
        (
            "band < 'r'",
            "band < ?",
            '(band COLLATE "C") < (%(param_1)s COLLATE "C")',
            "band < ?",
        ),
        (
            "detector % 2 = 1",
            "CAST(detector AS BIGINT) % ? = ?",
            "CAST(detector AS BIGINT) %% %(param_1)s = %(param_2)s",
            "CAST(detector AS SIGNED INTEGER) % ? = ?",
        ),
        (
            "exposure.timespan OVERLAPS T'2020-01-01/tai'",
            "begin_tai_ns <= ? AND ? < end_tai_ns",
            "begin_tai_ns <= %(param_1)s AND %(param_2)s < end_tai_ns",
            "begin_tai_ns <= ? AND ? < end_tai_ns",
        ),
        (
            "exposure.good AND NOT exposure.good",
            "good = 1 AND good = 0",
            "good AND NOT good",
            "good = 1 AND good = 0",
        ),
    ],
)
def test_each_database_gets_its_own_spelling(
    text: str, sqlite: str, postgresql: str, mariadb: str
) -> None:
    found = {name: sql(text, name) for name in DIALECTS}
    assert found == {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


ALL = (
    "exposure IN (51, 52..71:13, 81..91) AND detector + 53 * 54 > 55.5 / detector - -56 "
    "AND NOT band GLOB 'q57*' AND exposure.target GLOB '[q]58' AND band >= 'q59' "
    "AND exposure.begin + 60 > T'2061-01-01' AND exposure.timespan OVERLAPS (NULL, T'2062-01-01') "
    "AND exposure.end - exposure.begin > 63.5 AND ingest_date < T'2064-01-01' "
    "AND dataset_id != UUID('00000000-0000-0000-0000-000000000065') AND exposure % 66 = 67 "
    "AND band IN ('q68', 'q69') AND exposure.exposure_time IN (70.5, 71)"
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_value_of_the_text_stands_in_the_sql(dialect: str) -> None:
    compiled = sql(ALL, dialect)
    without_names = re.sub(r"(param|nullif)_\d+(_\d+)?", "", compiled)
    assert not re.search(r"[5-9]\d|q\d|206\d", without_names)
    assert set(re.findall(r"'[^']*'", compiled)) <= {"'|'"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_statements_with_other_values_share_their_compiled_form(dialect: str) -> None:
    def key(text: str) -> Any:
        statement = sa.select(exposure.c.id).where(compile_where(text, Exposures()))
        found = statement._generate_cache_key()  # noqa: SLF001 (of its cache)
        assert found is not None
        return found.key

    other = ALL.replace("5", "4").replace("'q68', 'q69'", "'a', 'b', 'c'").replace("[q]", "[z]")
    assert key(ALL) == key(other)
    assert key("band GLOB 'a*'") == key("band GLOB 'b?c'")
    assert key("band GLOB 'a*'") != key("band GLOB '[a]*'")
    assert sql(ALL, dialect) == sql(other, dialect)


def test_cached_statements_get_the_values_of_each_expression(connection: sa.Connection) -> None:
    for i in range(1, 6):
        assert ids(connection, f"exposure = {i + 1} OR band GLOB '{i}[x]'") == {i + 1} & ids(
            connection, ""
        )


@given(payload=st.text(max_size=30))
def test_strings_reach_the_database_as_they_are(connection: sa.Connection, payload: str) -> None:
    quoted = payload.replace("'", "''")
    text = f"exposure.target = '{quoted}' OR exposure.target = :p"
    try:
        found = ids(connection, text, {"p": payload})
    except ExpressionError as error:
        assert "NUL" in str(error) or "surrogate" in str(error)  # noqa: PT017 (either is right)
    else:
        assert found == {row["id"] for row in rows() if row["target"] == payload}


@pytest.mark.parametrize(
    "attempt",
    [
        "'; DROP TABLE exposure; --",
        "' OR '1'='1",
        "\\' OR 1=1 --",
        "%(param_1)s",
        ":param_1",
        "?",
        "\\",
        "%%",
        "/* */",
    ],
)
def test_injections_are_only_strings(connection: sa.Connection, attempt: str) -> None:
    quoted = attempt.replace("'", "''")
    assert ids(connection, f"band = '{quoted}'") == set()
    assert ids(connection, "band IN (:p, 'nothing')", {"p": attempt}) == set()
    assert ids(connection, "exposure.target GLOB :p", {"p": attempt.replace("\\", "\\\\")}) <= {
        row["id"] for row in rows() if row["target"] == "?" or len(row["target"] or "") == 1
    }
    assert len(ids(connection, "")) == 40


def test_names_of_binds_do_not_enter_the_sql() -> None:
    assert sql("exposure = :drop_table", "sqlite", {"drop_table": 5}) == "id = ?"


def test_constant_parts_are_computed_before_the_database_sees_them() -> None:
    assert sql("exposure = 2 * (3 + 4) - 10 % 4 AND 1 < 2", "sqlite") == "id = ?"
    condition = compile_where("exposure = 2 * (3 + 4) - 10 % 4 AND 1 < 2", Exposures())
    assert list(condition.compile().params.values()) == [12]
    assert sql("exposure = 5 OR 2 > 1", "postgresql") == "true"
    assert sql("exposure = 5 AND 5 IN (1..3)", "postgresql") == "false"
    assert sql("NOT 'a' = 'b'", "postgresql") == "true"
    assert sql("T'2020-01-02' - T'2020-01-01' = 86400", "postgresql") == "true"
    assert sql("5 IN (1..9:2)", "postgresql") == "true"
    assert sql("5 NOT IN (1..9:2, 7)", "postgresql") == "false"
    assert sql("NULL IS NULL OR exposure IS NULL", "postgresql") == "true"
    assert sql("(T'2020-01-01', T'2020-01-03') OVERLAPS T'2020-01-02'", "postgresql") == "true"
    assert sql("(T'2020-01-01', NULL) OVERLAPS T'2019-01-02'", "postgresql") == "false"


def test_constants_still_have_to_be_of_the_right_type() -> None:
    with pytest.raises(ExpressionError, match="OR needs a condition"):
        compile_where("TRUE OR 5", Exposures())


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [(7, 2, 1), (-7, 2, -1), (7, -2, 1), (-7, -2, -1), (6, 3, 0), (0, 5, 0)],
)
def test_the_remainder_has_the_sign_of_the_dividend(
    connection: sa.Connection, left: int, right: int, result: int
) -> None:
    everything = ids(connection, "")
    assert ids(connection, f"{left} % {right} = {result}") == everything
    assert ids(connection, f"({left} + 0 * exposure) % {right} = {result}") == everything
    assert ids(connection, f"{left} % ({right} + 0 * exposure) = {result}") == everything


def test_division_is_true_division_and_by_zero_gives_null(connection: sa.Connection) -> None:
    everything = ids(connection, "")
    assert ids(connection, "7 / 2 = 3.5") == everything
    assert ids(connection, "(7 + 0 * exposure) / 2 = 3.5") == everything
    assert ids(connection, "7 / (2 + 0 * exposure) = 3.5") == everything
    assert ids(connection, "(exposure / (exposure - exposure)) IS NULL") == everything
    assert ids(connection, "(exposure % (exposure - exposure)) IS NULL") == everything


def test_arithmetic_of_32_bit_columns_does_not_overflow(connection: sa.Connection) -> None:
    expected = {row["id"] for row in rows() if row["detector"] is not None and row["detector"] > 0}
    assert ids(connection, "detector * 3000000000 >= 3000000000") == expected
    assert ids(connection, "detector + 2147483647 > 2147483647") == expected


def test_decimal_fractions_are_those_of_double_precision(connection: sa.Connection) -> None:
    # In decimals 3 * 0.1 is 0.3; in double precision it is 0.30000000000000004.
    assert ids(connection, "exposure * 0.1 = 0.3 AND exposure = 3") == set()
    assert ids(connection, "exposure = 3 AND exposure * 0.1 > 0.3") == {3}


def test_strings_are_ordered_by_code_points(connection: sa.Connection) -> None:
    known = [row for row in rows() if row["target"] is not None]
    for pivot in ("M31", "Z", "a", "é", "🔭", "M31 ", ""):
        expected = {row["id"] for row in known if row["target"] < pivot}
        assert ids(connection, "exposure.target < :p", {"p": pivot}) == expected


class OneColumn(Resolver):
    """Every name is one given column."""

    def __init__(self, column: sa.ColumnElement[Any]) -> None:
        self.given = column

    def column(self, name: str, position: int) -> sa.ColumnElement[Any]:
        del name, position
        return self.given

    def known_names(self) -> list[str]:
        return ["x"]


class Upper(sa.types.TypeDecorator[str]):
    """Strings stored in capitals."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        del dialect
        return value if value is None else value.upper()


class Hex(sa.types.TypeDecorator[uuid.UUID]):
    """UUIDs stored as text."""

    impl = sa.Uuid(native_uuid=False)
    cache_ok = True


@pytest.mark.parametrize(
    ("column", "text", "bound"),
    [
        (sa.column("x", Upper()), "x = 'abc'", Upper),
        (sa.column("x", Hex()), "x = UUID('3b3e378f-e8f4-43ab-8b4c-b42c9e6a45bf')", Hex),
        (
            sa.column("x", sa.Uuid(native_uuid=False)),
            "x = UUID('f1eddb11-1dfa-4bc7-b3e3-e0226b80a3dd')",
            sa.Uuid,
        ),
        (sa.column("x", sa.Integer()), "x = 5", sa.BigInteger),
        (sa.column("x", sa.SmallInteger()), "x = 5.0", sa.BigInteger),
        (sa.column("x", sa.Integer()), "x > 5.5", sa.Double),
        (sa.column("x", sa.Float()), "x = 5", sa.BigInteger),
        (sa.column("x", sa.Numeric()), "x = 5.5", sa.Double),
        (sa.column("x", sa.Text()), "x = 'abc'", sa.String),
        (sa.column("x", sa.Enum("a", "b")), "x = 'c'", sa.String),
        (sa.column("x", sa.JSON())["k"], "x = 5", sa.BigInteger),
        (sa.column("x", sa.JSON())["k"].as_string(), "x = 'c'", sa.String),
    ],
)
def test_values_are_bound_under_the_type_that_the_column_needs(
    column: sa.ColumnElement[Any], text: str, bound: type
) -> None:
    condition = compile_where(text, OneColumn(column))
    assert isinstance(condition, sa.BinaryExpression)
    assert type(condition.right.type) is bound


def test_resolvers_may_explain_a_name_themselves() -> None:
    class Explaining(Exposures):
        def column(self, name: str, position: int) -> sa.ColumnElement[Any]:
            raise ExpressionError(f"'{name}' is not joined here.", position, position + len(name))

    with pytest.raises(ExpressionError) as caught:
        compile_where("TRUE OR visit = 5", Explaining())
    assert str(caught.value) == (
        "'visit' is not joined here.\n  TRUE OR visit = 5\n          ^^^^^"
    )


def test_values_are_checked_where_the_resolver_knows_them_all() -> None:
    resolver = Exposures({"band": ["g", "r", "i"]})
    compile_where("band = 'g' AND band IN ('r', :b) AND band GLOB 'x*'", resolver, {"b": "i"})
    compile_where("exposure.target = 'anything'", resolver)
    for wrong in ("band = 'gg'", "'gg' != band", "band IN ('g', 'gg')", "band = :b"):
        with pytest.raises(ExpressionError, match="There is no band 'gg'"):
            compile_where(wrong, resolver, {"b": "gg"})


def test_text_and_parsed_expressions_compile_alike() -> None:
    for text in ("exposure = 5", ""):
        assert str(compile_where(text, Exposures())) == str(compile_where(parse(text), Exposures()))
