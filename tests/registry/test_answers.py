"""Do whole columns hold what the rows of SQLAlchemy hold, on every database?"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.database import many_objects, table_of, whole_columns
from registry.errors import RegistryError
from registry.schema.collections import collection
from registry.schema.dimensions import exposure

if TYPE_CHECKING:
    from registry import Registry

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=8)
HARD = ["", "\\N", "\\", "a\tb", "a\nb", "\\t", "\r\n", "\b\f\v", "é𝔘", "{}", '"', "'", "%s %(a)s"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(HARD) | TEXT,
            st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
            st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
        ),
        max_size=12,
    )
)
def test_every_value_comes_as_it_is(registry: Registry, rows: list[tuple[Any, Any, Any]]) -> None:
    texts, integers, numbers = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [], [])
    with registry.read() as connection:
        given = table_of(
            connection,
            {"t": (sa.String, texts), "i": (sa.BigInteger, integers), "d": (sa.Double, numbers)},
        )
        statement = sa.select(given.c.t, given.c.i, given.c.d).order_by(given.c.n)
        by_row = [list(c) for c in zip(*connection.execute(statement), strict=True)] or [[], [], []]
        assert [list(c) for c in whole_columns(connection, statement)] == by_row
        assert by_row == [texts, integers, numbers]


def test_truth_documents_and_times_are_read_as_their_types_are(registry: Registry) -> None:
    registry.insert_dimension_records("instrument", [{"name": "Cam"}])
    night = {"instrument": "Cam", "id": 20250101, "begin_tai_ns": 0, "end_tai_ns": 10}
    registry.insert_dimension_records("day_obs", [night])
    registry.insert_dimension_records(
        "exposure",
        [
            {
                "instrument": "Cam",
                "id": n,
                "obs_id": str(n),
                "day_obs": 20250101,
                "observation_type": "science",
                "begin_tai_ns": n,
                "end_tai_ns": n + 1,
                "extra": extra,
            }
            for n, extra in enumerate([{"a": ["\t", None, 1.5]}, None])
        ],
    )
    registry.register_collection("run")
    with registry.read() as connection:
        late = exposure.c.id > 0
        statement = sa.select(exposure.c.extra, sa.type_coerce(late, sa.Boolean)).order_by(
            exposure.c.id
        )
        assert [list(c) for c in whole_columns(connection, statement)] == [
            [{"a": ["\t", None, 1.5]}, None],
            [False, True],
        ]
        # a time is not told by its text alone
        (times,) = whole_columns(connection, sa.select(collection.c.created_at))
        assert [time.tzinfo is not None for time in times] == [True]


def test_a_mistake_in_a_statement_is_told_as_any_other(registry: Registry) -> None:
    column: sa.ColumnClause[str] = sa.literal_column("no_such_column", sa.String)
    with pytest.raises(RegistryError, match="no_such_column"), registry.read() as connection:
        whole_columns(connection, sa.select(column).select_from(collection))
    with registry.read() as connection:
        assert [len(c) for c in whole_columns(connection, sa.select(collection.c.name))] == [0]


def test_garbage_is_looked_for_again_whatever_happens() -> None:
    assert gc.isenabled()
    with pytest.raises(KeyError), many_objects(), many_objects():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_another_thread_that_ends_meanwhile_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as first:
        first.enter_context(many_objects())
        is_on = gc.isenabled

        def asked() -> bool:
            answer = is_on()
            first.close()
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(gc, "isenabled", asked)
            second = ExitStack()
            second.enter_context(many_objects())
    second.close()
    assert gc.isenabled()
