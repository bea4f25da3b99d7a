"""Do values that go along with a statement arrive as they are, however they look?"""

from __future__ import annotations

import json
import math
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.database import rows_of
from registry.errors import UnstorableValue
from registry.identity import uuid7s

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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(registry: Registry, value: float) -> None:
    with pytest.raises(UnstorableValue, match="no numbers that a database takes"):
        there_and_back(registry, sa.Double, [1.0, value])
