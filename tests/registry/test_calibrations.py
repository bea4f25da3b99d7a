from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import Timespan, calibrations
from registry import collections as coll
from registry.calibrations.facts import facts_of
from registry.database import kind_of
from registry.errors import CollectionTypeError, InvalidDataId, ValidityOverlap
from registry.removing import remove_datasets
from registry.schema.calibrations import calibration
from registry.timespan import BEGINNING, END, parse_time
from tests.registry.observatory import BIAS, RAW, bias_id, raw_id

if TYPE_CHECKING:
    from registry import DatasetRef, Registry

US = 1000


@pytest.fixture
def biases(filled: Registry) -> tuple[DatasetRef, ...]:
    """Biases of the first and the second night, detector 0."""
    filled.register_collection("made")
    return tuple(filled.insert_datasets(BIAS, [bias_id(20220920), bias_id(20220921)], "made"))


def spans(registry: Registry, name: str = "calib") -> list[tuple[int | None, int | None]]:
    with registry.read() as connection:
        found = calibrations.validity_of(connection, BIAS, name)
    return [(span.begin, span.end) for _, span in found]


def at(registry: Registry, ns: int, collections: str = "calib") -> DatasetRef | None:
    """Look up what holds for an exposure of detector 0."""
    found = registry.find_calibrations(BIAS, [(raw_id(1), ns)], collections)
    return found[0]


def test_range_is_half_open_and_adjoining_ones_are_allowed(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    old, new = biases
    filled.certify("calib", [old], Timespan(1 * US, 5 * US))
    filled.certify("calib", [new], Timespan(5 * US, 9 * US))
    filled.certify("calib", [old], Timespan(None, 1 * US))
    held = [at(filled, t * US) for t in (0, 1, 4, 5, 8, 9)]
    assert held == [old, old, old, new, new, None]
    assert at(filled, 5 * US - 1) == old
    assert spans(filled) == [(None, US), (US, 5 * US), (5 * US, 9 * US)]
    assert filled.find_dataset(BIAS, raw_id(4), "calib", at=6 * US) == new


@pytest.mark.parametrize(
    "bounds", [(1, 5), (0, 2), (4, 9), (2, 3), (0, 9), (None, 2), (4, None), (None, None)]
)
def test_overlap_is_refused_and_both_ranges_are_named(
    filled: Registry, biases: tuple[DatasetRef, ...], bounds: tuple[int | None, int | None]
) -> None:
    old, new = biases
    filled.certify("calib", [old], Timespan(1 * US, 5 * US))
    span = Timespan(*(None if b is None else b * US for b in bounds))
    with pytest.raises(ValidityOverlap) as caught:
        filled.certify("calib", [new], span)
    ((told_new, told_old),) = caught.value.pairs
    assert "day_obs: 20220921" in told_new
    assert told_new.endswith(f"over {span}")
    assert "day_obs: 20220920" in told_old
    assert told_old.endswith(f"over {Timespan(1 * US, 5 * US)}")
    assert spans(filled) == [(1 * US, 5 * US)]


def test_overlap_inside_one_call_is_refused_as_a_whole(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    with pytest.raises(ValidityOverlap) as caught:
        filled.certify("calib", biases, Timespan(1 * US, 5 * US))
    assert len(caught.value.pairs) == 1
    filled.register_collection("calib", "CALIBRATION")
    assert spans(filled) == []


def test_other_collections_and_detectors_do_not_overlap(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    (other,) = filled.insert_datasets(BIAS, [bias_id(20220920, detector=1)], "made")
    for name, ref in (("calib", biases[0]), ("calib", other), ("more", biases[1])):
        filled.certify(name, [ref], Timespan())
    assert at(filled, 0) == biases[0]
    assert at(filled, 0, "more") == biases[1]
    assert filled.find_calibrations(BIAS, [(raw_id(1, 1), 0)], "calib") == [other]


COLUMNS = (
    "collection_id, dataset_type_id, data_id, dataset_id, certified_at, certified_by, "
    "valid_begin_tai_ns, valid_end_tai_ns"
)
SHIFTED = (
    f"INSERT INTO calibration ({COLUMNS}) "  # noqa: S608
    f"SELECT {COLUMNS.replace('_ns', '_ns + {shift}')} FROM calibration"
)


@pytest.mark.parametrize("shift", [0, 1 * US, -1 * US, 3 * US])
def test_database_refuses_an_overlapping_insert(
    filled: Registry, biases: tuple[DatasetRef, ...], shift: int
) -> None:
    filled.certify("calib", biases[:1], Timespan(0, 4 * US))
    with (
        filled.database.engine.connect() as connection,
        pytest.raises(sa.exc.DBAPIError) as caught,
    ):
        connection.exec_driver_sql(SHIFTED.format(shift=shift))
    assert kind_of(caught.value) == "overlap"
    assert spans(filled) == [(0, 4 * US)]


def test_database_takes_an_adjoining_insert(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    filled.certify("calib", biases[:1], Timespan(0, 4 * US))
    with filled.begin() as connection:
        connection.exec_driver_sql(SHIFTED.format(shift=4 * US))
    assert spans(filled) == [(0, 4 * US), (4 * US, 8 * US)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE calibration SET valid_end_tai_ns = 5000 WHERE valid_begin_tai_ns = 0",
        "UPDATE calibration SET valid_begin_tai_ns = 3000 WHERE valid_begin_tai_ns = 4000",
        "UPDATE calibration SET valid_begin_tai_ns = -1000, valid_end_tai_ns = 9000 "
        "WHERE valid_begin_tai_ns = 4000",
    ],
)
def test_database_refuses_an_overlapping_update(
    filled: Registry, biases: tuple[DatasetRef, ...], change: str
) -> None:
    filled.certify("calib", biases[:1], Timespan(0, 4 * US))
    filled.certify("calib", biases[1:], Timespan(4 * US, 8 * US))
    with (
        filled.database.engine.connect() as connection,
        pytest.raises(sa.exc.DBAPIError) as caught,
    ):
        connection.exec_driver_sql(change)
    assert kind_of(caught.value) == "overlap"
    with filled.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE calibration SET valid_end_tai_ns = 3000 WHERE valid_begin_tai_ns = 0"
        )
        connection.exec_driver_sql(
            "UPDATE calibration SET valid_begin_tai_ns = 3000 WHERE valid_begin_tai_ns = 4000"
        )
    assert spans(filled) == [(0, 3 * US), (3 * US, 8 * US)]


@pytest.mark.parametrize("bounds", ["5000, valid_end_tai_ns = 5000", "1, valid_end_tai_ns = 5000"])
def test_database_refuses_an_empty_range_and_nanoseconds(
    filled: Registry, biases: tuple[DatasetRef, ...], bounds: str
) -> None:
    filled.certify("calib", biases[:1], Timespan(0, 4 * US))
    with (
        filled.database.engine.connect() as connection,
        pytest.raises(sa.exc.DBAPIError),
    ):
        connection.exec_driver_sql(f"UPDATE calibration SET valid_begin_tai_ns = {bounds}")  # noqa: S608
    assert spans(filled) == [(0, 4 * US)]


def test_decertification_keeps_what_sticks_out(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    old, new = biases
    filled.certify("calib", [old], Timespan(None, 10 * US))
    filled.certify("calib", [new], Timespan(10 * US, 20 * US))
    assert filled.decertify("calib", "bias", Timespan(3 * US, 12 * US)) == 2
    assert spans(filled) == [(None, 3 * US), (12 * US, 20 * US)]
    assert filled.decertify("calib", "bias", Timespan(14 * US, 16 * US)) == 1
    assert spans(filled) == [(None, 3 * US), (12 * US, 14 * US), (16 * US, 20 * US)]
    assert [at(filled, t * US) for t in (2, 3, 13, 15, 16)] == [old, None, new, None, new]
    other = [{"instrument": "Cam", "detector": 1}]
    assert filled.decertify("calib", "bias", Timespan(), other) == 0
    assert filled.decertify("calib", "bias", Timespan(), [raw_id(1)]) == 3
    assert spans(filled) == []


def test_only_calibrations_are_certified_and_only_in_calibration_collections(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    raws = filled.insert_datasets(RAW, [raw_id(1)], "made")
    with pytest.raises(InvalidDataId, match="raw is not a calibration type"):
        filled.certify("calib", raws, Timespan())
    with pytest.raises(CollectionTypeError, match="'made' is a RUN"):
        filled.certify("made", biases[:1], Timespan())
    with pytest.raises(CollectionTypeError, match="'made' is a RUN"):
        filled.decertify("made", "bias", Timespan())


def test_nearest_says_what_is_before_and_after(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    def told(when: str, detector: int = 0, name: str = "calib") -> str:
        with filled.read() as connection:
            searched = coll.flatten(connection, name)
            key = raw_id(1, detector)
            return calibrations.nearest(connection, BIAS, key, parse_time(f"{when}/tai"), searched)

    filled.certify("calib", biases[:1], Timespan.parse("2022-09-01/tai", "2022-09-05/tai"))
    filled.certify("calib", biases[1:], Timespan.parse("2022-09-20T12:00:00/tai", None))
    assert told("2022-09-10") == (
        "No bias is valid at 2022-09-10 TAI; the nearest before ends 2022-09-05 ('calib') "
        "and the nearest after begins 2022-09-20T12:00:00 ('calib')."
    )
    assert told("2022-08-10") == (
        "No bias is valid at 2022-08-10 TAI; the nearest after begins 2022-09-01 ('calib')."
    )
    assert told("2022-09-10", detector=1) == (
        "No bias is certified for {instrument: 'Cam', detector: 1} at any time."
    )
    assert told("2022-09-10", name="made").startswith("No CALIBRATION collection was searched")


@pytest.fixture(scope="module")
def pool(shared: Registry) -> tuple[Registry, list[DatasetRef]]:
    """Registry with biases of two detectors from two nights, and two calibration collections."""
    shared.register_collection("pool")
    for name in ("one", "two"):
        shared.register_collection(name, "CALIBRATION")
    ids = [bias_id(night, d) for night in (20220920, 20220921) for d in (0, 1)]
    return shared, shared.insert_datasets(BIAS, ids, "pool")


class UndoError(Exception):
    pass


BOUND = st.integers(-6, 6)
CERTIFIED = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.integers(0, 3),
        st.tuples(st.one_of(st.none(), BOUND), st.one_of(st.none(), BOUND)).filter(
            lambda b: b[0] is None or b[1] is None or b[0] < b[1]
        ),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(certified=CERTIFIED, order=st.permutations(["one", "two"]))
def test_bulk_lookup_is_the_lookup_of_each(
    pool: tuple[Registry, list[DatasetRef]],
    certified: list[tuple[str, int, tuple[int | None, int | None]]],
    order: list[str],
) -> None:
    registry, refs = pool
    held: list[tuple[str, DatasetRef, Timespan]] = []

    def detector(ref: DatasetRef) -> object:
        return ref.data_id["detector"]

    def expected(number: int, ns: int) -> DatasetRef | None:
        for name in order:
            for collection, ref, span in held:
                if collection == name and detector(ref) == number and span.contains(ns):
                    return ref
        return None

    with pytest.raises(UndoError), registry.begin():
        for name, n, bounds in certified:
            span = Timespan(*(None if b is None else b * US for b in bounds))
            clash = any(
                c == name and detector(r) == detector(refs[n]) and s.overlaps(span)
                for c, r, s in held
            )
            if (name, refs[n], span) in held:
                assert registry.certify(name, [refs[n]], span) == 1
            elif clash:
                with pytest.raises(ValidityOverlap):
                    registry.certify(name, [refs[n]], span)
            else:
                registry.certify(name, [refs[n]], span)
                held.append((name, refs[n], span))
        asked = [(d, t) for d in (0, 1) for t in range(-8 * US, 9 * US, US // 2)]
        found = registry.find_calibrations(BIAS, [(raw_id(1, d), t) for d, t in asked], order)
        assert found == [expected(d, t) for d, t in asked]
        raise UndoError


def test_endless_ranges_are_stored_as_the_ends_of_time(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    filled.certify("calib", biases[:1], Timespan())
    columns = (calibration.c.valid_begin_tai_ns, calibration.c.valid_end_tai_ns)
    with filled.read() as connection:
        assert connection.execute(sa.select(*columns)).one() == (BEGINNING, END)
    assert at(filled, BEGINNING) == biases[0]
    assert at(filled, END - 1) == biases[0]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("latest", [(0, 4, 0), (4, 12, 1), (12, 16, 0)]),
        ("earliest", [(0, 10, 0), (10, 12, 1), (12, 16, 0)]),
        ("split", [(0, 6, 0), (6, 10, 1), (10, 16, 0)]),
    ],
)
def test_stored_and_new_ranges_are_resolved_together(
    filled: Registry,
    biases: tuple[DatasetRef, ...],
    how: str,
    expected: list[tuple[int, int, int]],
) -> None:
    old, new = biases
    (other,) = filled.insert_datasets(BIAS, [bias_id(20220920, detector=1)], "made")
    filled.certify("calib", [old], Timespan(0, 10 * US))
    filled.certify("calib", [old], Timespan(12 * US, 16 * US))
    filled.certify("calib", [other], Timespan(0, 16 * US))
    span = Timespan(4 * US, 12 * US) if how != "split" else Timespan(4 * US, 10 * US)
    if how == "split":
        filled.certify("calib", [old], Timespan(10 * US, 12 * US))
    assert filled.certify("calib", [new], span, resolve=how) == 1
    with filled.read() as connection:
        held = calibrations.validity_of(connection, BIAS, "calib")
    mine = [(s.bounds[0] // US, s.bounds[1] // US, biases.index(r)) for r, s in held if r != other]
    merged: list[tuple[int, int, int]] = []
    for begin, end, n in mine:
        if merged and merged[-1][1:] == (begin, n):
            merged[-1] = (merged[-1][0], end, n)
        else:
            merged.append((begin, end, n))
    assert merged == expected
    assert [s.bounds for r, s in held if r == other] == [(0, 16 * US)]


def test_certifying_again_changes_nothing_and_new_ones_of_the_same_call_hold(
    filled: Registry, biases: tuple[DatasetRef, ...]
) -> None:
    span = Timespan(0, 4 * US)
    (other,) = filled.insert_datasets(BIAS, [bias_id(20220920, detector=1)], "made")
    filled.certify("calib", biases[:1], span)
    first = ids_of_ranges(filled)
    assert filled.certify("calib", [biases[0], other], span) == 2
    assert filled.certify("calib", [biases[0], other], span, resolve="latest") == 2
    assert ids_of_ranges(filled)[:1] == first
    assert len(ids_of_ranges(filled)) == 2
    with pytest.raises(ValidityOverlap) as caught:
        filled.certify("calib", [biases[1], other], span)
    assert len(caught.value.overlaps) == 2
    assert len(ids_of_ranges(filled)) == 2


def ids_of_ranges(registry: Registry) -> list[int]:
    with registry.read() as connection:
        return sorted(connection.execute(sa.select(calibration.c.id)).scalars())


def test_removed_dataset_leaves_no_fact(filled: Registry, biases: tuple[DatasetRef, ...]) -> None:
    filled.record_calibration_facts({biases[0].id: {"gain": 1.5}})
    with filled.begin() as connection:
        remove_datasets(connection, [bias.id for bias in biases])
        assert facts_of(connection, [biases[0].id]) == {}


def test_bounds_that_are_texts_or_times_are_told_how_to_be_given() -> None:
    with pytest.raises(TypeError, match=r"not '2020-01-01'; write Timespan\.parse"):
        Timespan("2020-01-01")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write Timespan\.from_times"):
        Timespan(None, Time("2020-01-01"))
    assert Timespan.parse("2020-01-01", None) == Timespan.from_times(Time("2020-01-01"), None)
