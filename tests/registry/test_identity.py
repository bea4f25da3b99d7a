from __future__ import annotations

import pickle
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import DataId, DatasetType, Timespan
from registry.database import insert_rows
from registry.datasets import insert_data_ids
from registry.errors import InvalidDataId
from registry.identity import DIMENSIONS, uuid7
from registry.schema.dimensions import instrument, skymap
from registry.schema.identity import data_id

if TYPE_CHECKING:
    from registry import Registry

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="|\x00"), min_size=1, max_size=20
)
NUMBERS = st.integers(-(2**31), 2**31 - 1)
BIG_NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
EXTRA = st.fixed_dictionaries({}, optional={"target": TEXTS, "Ziel": TEXTS, "цель": NUMBERS})
BIG = {"exposure", "visit", "healpix"}
VALUES = {
    d: NAMES if kind is str else BIG_NUMBERS if d in BIG else NUMBERS
    for d, kind in DIMENSIONS.items()
}
FREE = {d: VALUES[d] for d in ("band", "healpix")}
# a foreign key of several columns is not checked where one of them is NULL
WITHOUT_OWNERS = {d: VALUES[d] for d in DIMENSIONS if d not in {"instrument", "skymap"}}
OWNED = st.fixed_dictionaries({d: VALUES[d] for d in ("instrument", "skymap")}, optional=FREE)
DATA_IDS = st.builds(
    lambda keys, extra: DataId.of({**keys, **extra}),
    st.one_of(OWNED, st.fixed_dictionaries({}, optional=WITHOUT_OWNERS)),
    EXTRA,
)


class UndoError(Exception):
    pass


@settings(max_examples=40, deadline=None)
@given(st.lists(DATA_IDS, min_size=1, max_size=12))
def test_key_in_python_is_the_generated_column(shared: Registry, data_ids: list[DataId]) -> None:
    with pytest.raises(UndoError), shared.begin() as connection:
        for name, table, more in (
            ("instrument", instrument, {"definition_version": 0, "doc": ""}),
            ("skymap", skymap, {"definition": {}}),
        ):
            owners = [{"name": d[name], **more} for d in data_ids if name in d]
            insert_rows(connection, table, owners, skip_existing=True)
        keys = insert_data_ids(connection, data_ids)
        assert set(keys) == set(data_ids)
        assert len(set(keys.values())) == len(keys)
        rows = connection.execute(sa.select(data_id.c.id, data_id.c.identity_key)).all()
        stored = {row.id: row.identity_key for row in rows}
        assert {k: stored[k] for k in keys.values()} == {k: d.key for d, k in keys.items()}
        assert insert_data_ids(connection, data_ids) == keys
        raise UndoError


@given(st.lists(DATA_IDS, min_size=2, max_size=2))
def test_equal_keys_mean_equal_data_ids(pair: list[DataId]) -> None:
    one, other = pair
    assert (one.key == other.key) == (one == other)


def test_key_is_written_in_order() -> None:
    one = DataId.of(exposure=7, instrument="Cam", target="M31", detector=0)
    assert list(one) == ["instrument", "detector", "exposure", "target"]
    assert one.key == 'iCam|d0|x7|{"target":"M31"}'
    assert DataId.of().key == ""


def test_data_id_is_a_value() -> None:
    one = DataId.of(detector=1, instrument="Cam")
    other = DataId.of({"instrument": "Cam", "detector": 1})
    assert one == other == {"detector": 1, "instrument": "Cam"}
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.without(["detector"]) == {"instrument": "Cam"}
    with pytest.raises(InvalidDataId, match="lacks exposure"):
        one.subset(["instrument", "exposure"])


@pytest.mark.parametrize(
    "keys",
    [
        {"exposure": "7"},
        {"exposure": True},
        {"exposure": 2**63},
        {"exposure": 1.0},
        {"instrument": 3},
        {"instrument": ""},
        {"instrument": "a|b"},
        {"instrument": "a" * 129},
        {"target": 1.5},
        {"target": "a" * 760},
        {"target": "a\x00b"},
    ],
)
def test_wrong_value_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidDataId, match=next(iter(keys))):
        DataId.of(keys)


def test_dataset_type_orders_and_checks_keys() -> None:
    kind = DatasetType("flat", ("target", "physical_filter", "instrument", "day_obs"), "Exposure")
    assert kind.dimensions == ("instrument", "physical_filter", "day_obs", "target")
    assert kind.lookup_dimensions == ("instrument", "physical_filter", "target")
    with pytest.raises(InvalidDataId, match="lacks target and has tagret too many.*'target'"):
        kind.data_id(instrument="Cam", physical_filter="g", day_obs=20220920, tagret="M31")


def test_uuids_of_one_process_sort_as_made() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    assert made == sorted(set(made))
    assert {u.version for u in made} == {7}
    assert {u.variant for u in made} == {uuid.RFC_4122}
    assert before <= made[0].int >> 80 <= after


def test_a_clock_that_jumps_makes_no_identity_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back by an hour, and forward by a day, in mid-way."""
    monkeypatch.setattr("registry.identity._last_uuid", [0, 0])  # others do not see the jump
    made = [uuid7() for _ in range(100)]
    for jump_s in (-3600, 86_400, -90_000):
        jump_ns, now = jump_s * 1_000_000_000, time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda now=now, jump=jump_ns: now() + jump)
        made += [uuid7() for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


RANGES = st.tuples(
    st.one_of(st.none(), st.integers(-20, 0)), st.one_of(st.none(), st.integers(1, 20))
)


@given(RANGES, RANGES, st.integers(-40, 40))
def test_timespans_overlap_when_they_share_a_microsecond(
    one: tuple[int | None, int | None], other: tuple[int | None, int | None], shift: int
) -> None:
    def span(bounds: tuple[int | None, int | None], by: int) -> Timespan:
        return Timespan(*(None if b is None else (b + by) * 1000 for b in bounds))

    first, second = span(one, 0), span(other, shift)
    shared = [t for t in range(-70, 70) if first.contains(t * 1000) and second.contains(t * 1000)]
    assert first.overlaps(second) == second.overlaps(first) == bool(shared)


def test_timespan_is_half_open_and_never_empty() -> None:
    span = Timespan(1000, 2000)
    assert span.contains(1000)
    assert not span.contains(2000)
    assert str(Timespan()) == "[-inf, +inf)"
    assert str(Timespan.parse("2022-09-20", None)) == "[2022-09-20T00:00:37, +inf) TAI"
    assert not Timespan(None, 1000).overlaps(Timespan(1000, None))
    for begin, end in ((5000, 5000), (5000, 4000)):
        with pytest.raises(ValueError, match="begin before it ends"):
            Timespan(begin, end)


def test_empty_after_rounding_to_microseconds_is_refused() -> None:
    with pytest.raises(ValueError, match="begin before it ends"):
        Timespan(1100, 1900)
