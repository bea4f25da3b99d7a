from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import DatasetType, Timespan, calibrations
from registry.calibrations import BadPolicy, Policy
from registry.calibrations.facts import facts_of
from registry.errors import InvalidDataId
from registry.schema.calibrations import calibration_policy
from tests.registry.observatory import BIAS, RAW, bias_id, exposure, raw_id
from tests.registry.test_provenance import Bench

if TYPE_CHECKING:
    from registry import DatasetRef, Registry

US = 1000
SELECTIONS = ("valid", "nearest-earlier", "nearest")


class UndoError(Exception):
    pass


@pytest.fixture(scope="module")
def pool(shared: Registry) -> tuple[Registry, list[DatasetRef]]:
    """Registry with six biases of detector 0, and two calibration collections."""
    for n in range(6):
        shared.register_collection(f"made{n}")
    for name in ("one", "two"):
        shared.register_collection(name, "CALIBRATION")
    refs = [shared.insert_datasets(BIAS, [bias_id(20220920)], f"made{n}")[0] for n in range(6)]
    return shared, refs


SPAN = st.tuples(st.integers(-8, 8), st.integers(1, 4)).map(lambda b: (b[0], b[0] + b[1]))
FACT = st.sampled_from([None, 1.0, 1.5, 2.5, "1x1", "2x2"])
CERTIFIED = st.lists(st.tuples(st.sampled_from(["one", "two"]), SPAN, FACT), max_size=6)
POLICY = st.builds(
    Policy,
    st.sampled_from(SELECTIONS[1:]),
    st.sampled_from([None, 2 * US, 5 * US]),
    st.sampled_from([{}, {"f": None}, {"f": 0.0}, {"f": 1.0}]),
) | st.builds(Policy, st.just("valid"), st.none(), st.sampled_from([{}, {"f": None}, {"f": 0.5}]))


def agree(tolerance: float | None, one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, str) != isinstance(other, str):
        return False
    if isinstance(one, str):
        return tolerance is None and one == other
    return bool(abs(one - other) <= (tolerance or 0))


def preferred(
    held: list[tuple[str, DatasetRef, tuple[int, int], Any]],
    order: list[str],
    policy: Policy,
    at: int,
    fact: Any,
) -> DatasetRef | None:
    """Say which calibration is to be taken, by trying every one."""
    allowed = []
    for name, ref, (begin, end), own in held:
        if not all(agree(t, own, fact) for t in policy.match.values()):
            continue
        valid = begin <= at < end
        distance = 0 if valid else at - end if end <= at else begin - at
        if not valid and policy.selection == "valid":
            continue
        if begin > at and policy.selection == "nearest-earlier":
            continue
        if policy.limit_ns is not None and distance > policy.limit_ns:
            continue
        allowed.append(((not valid, distance, begin > at, order.index(name)), ref))
    return min(allowed, key=lambda item: item[0])[1] if allowed else None


@settings(max_examples=25, deadline=None)
@given(certified=CERTIFIED, policy=POLICY, order=st.permutations(["one", "two"]), fact=FACT)
def test_what_is_taken_is_what_the_policy_prefers_and_the_explanation_says_so(
    pool: tuple[Registry, list[DatasetRef]],
    certified: list[tuple[str, tuple[int, int], Any]],
    policy: Policy,
    order: list[str],
    fact: Any,
) -> None:
    registry, refs = pool
    held: list[tuple[str, DatasetRef, tuple[int, int], Any]] = []
    with pytest.raises(UndoError), registry.begin():
        registry.set_calibration_policy(
            "bias", policy.selection, limit_ns=policy.limit_ns, match=policy.match
        )
        for ref, (name, (begin, end), own) in zip(refs, certified, strict=False):
            bounds = (begin * US, end * US)
            if any(n == name and b[0] < bounds[1] and bounds[0] < b[1] for n, _, b, _ in held):
                continue
            registry.certify(name, [ref], Timespan(*bounds))
            if own is not None:
                registry.record_calibration_facts({ref.id: {"f": own}})
            held.append((name, ref, bounds, own))
        moments = range(-12 * US, 15 * US, US // 2)
        facts = {} if fact is None else {"f": fact}
        expected = [preferred(held, order, policy, at, fact) for at in moments]
        asked = [(raw_id(1), at) for at in moments]
        many = registry.find_calibrations(BIAS, asked, order, facts=[facts] * len(asked))
        assert many == expected
        for at, taken in list(zip(moments, expected, strict=True))[::7]:
            told = registry.explain_calibration(BIAS, raw_id(1), at, order, facts=facts)
            assert (told.chosen.ref if told.chosen else None) == taken
            assert len(told.candidates) == len(held)
            assert all(c.reason for c in told.candidates)
            if not policy.match:
                assert registry.find_calibrations(BIAS, [(raw_id(1), at)], order) == [taken]
        raise UndoError


@pytest.fixture
def cold(filled: Registry) -> tuple[Registry, list[DatasetRef]]:
    """Exposures at three temperatures, and a bias made from two of them in each of two nights."""
    filled.insert_dimension_records(
        "exposure",
        [
            exposure(n, night, kind, extra={"ccdtemp": t, "binning": b}, physical_filter="SDSS g")
            for n, night, kind, t, b in (
                (11, 20220920, "bias", -100.5, "1x1"),
                (12, 20220920, "bias", -99.5, "1x1"),
                (13, 20220921, "bias", -95.0, "2x2"),
                (14, 20220921, "bias", -95.5, "1x1"),
                (15, 20220921, "science", -99.25, "1x1"),
                (16, 20220921, "science", -97.0, "1x1"),
            )
        ],
    )
    filled.register_collection("made")
    raws = filled.insert_datasets(RAW, [raw_id(n) for n in (11, 12, 13, 14)], "made")
    biases = filled.insert_datasets(BIAS, [bias_id(20220920), bias_id(20220921)], "made")
    bench = Bench(filled)
    for bias, inputs in ((biases[0], raws[:2]), (biases[1], raws[2:])):
        bench.make(bias.data_id, bias, *inputs)
    return filled, biases


def test_facts_are_those_of_the_exposures_that_a_calibration_was_made_from(
    cold: tuple[Registry, list[DatasetRef]],
) -> None:
    registry, (first, second) = cold
    registry.certify("calib", [first], Timespan(0, 10 * US))
    registry.set_calibration_policy("bias", "nearest", match={"ccdtemp": 1.0, "binning": None})
    registry.certify("calib", [second], Timespan(10 * US, 20 * US))
    with registry.read() as connection:
        facts = facts_of(connection, [first.id, second.id])
    assert facts == {
        first.id: {"ccdtemp": -100.0, "binning": "1x1"},
        second.id: {"ccdtemp": -95.25},
    }
    asked = [(raw_id(15), 15 * US), (raw_id(16), 15 * US), (raw_id(3), 15 * US)]
    assert registry.find_calibrations(BIAS, asked, "calib") == [first, None, None]
    told = registry.explain_calibration(BIAS, raw_id(15), 15 * US, "calib")
    assert [(c.ref, c.chosen, c.reason) for c in told.candidates] == [
        (
            first,
            True,
            "ended 5e-06 s before the observation, same binning, ccdtemp within 1",
        ),
        (second, False, "its binning is not known"),
    ]
    assert str(told).startswith(
        "bias for {instrument: 'Cam', detector: 0} at 1970-01-01T00:00:00.000 TAI, "
    )
    told = registry.explain_calibration(BIAS, raw_id(16), 15 * US, "calib")
    assert {c.reason for c in told.candidates} == {
        "its binning is not known",
        "its ccdtemp is -100, more than 1 from -97",
    }
    told = registry.explain_calibration(BIAS, raw_id(3), 15 * US, "calib")
    assert {c.reason for c in told.candidates} == {"binning of the observation is not known"}


def test_recorded_facts_win_over_those_of_exposures(
    cold: tuple[Registry, list[DatasetRef]],
) -> None:
    registry, (first, second) = cold
    registry.record_calibration_facts({second.id: {"binning": "1x1", "ccdtemp": -99.0}})
    registry.record_calibration_facts({second.id: {"ccdtemp": -98.5}})
    registry.set_calibration_policy("bias", match={"ccdtemp": 1, "binning": None})
    registry.certify("calib", [first, second][:1], Timespan(0, 10 * US))
    registry.certify("calib", [second], Timespan(10 * US, 20 * US))
    found = registry.find_calibrations(BIAS, [(raw_id(15), 15 * US)], "calib")
    assert found == [second]
    with pytest.raises(InvalidDataId, match="finite number"):
        registry.record_calibration_facts({second.id: {"ccdtemp": float("nan")}})


def test_keys_that_only_the_exposure_tells_are_found(
    cold: tuple[Registry, list[DatasetRef]],
) -> None:
    registry, _ = cold
    flat = DatasetType(
        "flat", ("instrument", "detector", "band", "binning"), "Exposure", is_calibration=True
    )
    registry.register_dataset_type(flat)
    key = {"instrument": "Cam", "detector": 0, "band": "g"}
    flats = registry.insert_datasets(flat, [{**key, "binning": b} for b in ("1x1", "2x2")], "made")
    registry.certify("calib", flats, Timespan())
    asked = [(raw_id(13), 0), (raw_id(14), 0)]
    assert registry.find_calibrations(flat, asked, "calib") == [flats[1], flats[0]]
    assert registry.find_calibrations(flat, asked[:1], "calib") == [flats[1]]
    registry.record_calibration_facts(
        {flats[0].id: {"ccdtemp": -95.5}, flats[1].id: {"ccdtemp": 0}}
    )
    registry.set_calibration_policy("flat", match={"ccdtemp": 0.5})
    assert registry.find_calibrations(flat, asked, "calib") == [None, flats[0]]
    with pytest.raises(InvalidDataId, match="lacks binning"):
        registry.find_calibrations(flat, [(raw_id(3), 0)], "calib")


def test_reasons_of_every_kind(pool: tuple[Registry, list[DatasetRef]]) -> None:
    registry, refs = pool
    day = 86_400_000_000 * US
    with pytest.raises(UndoError), registry.begin():
        registry.register_collection("other", "CALIBRATION")
        for name, ref, begin, end in (
            ("one", refs[0], 0, 1),
            ("one", refs[1], 5, 6),
            ("one", refs[2], 20, 21),
            ("two", refs[3], 0, 1),
            ("other", refs[4], 3, 4),
        ):
            registry.certify(name, [ref], Timespan(begin * day, end * day))

        def reasons(at: float) -> list[str]:
            told = registry.explain_calibration(BIAS, raw_id(1), int(at * day), ["one", "two"])
            return [c.reason for c in told.candidates]

        assert reasons(0.5) == [
            "valid",
            "'two' is searched after 'one'",
            "not valid: begins 4.5 d after the observation",
            "not valid: begins 19.5 d after the observation",
            "'other' was not searched",
        ]
        registry.set_calibration_policy("bias", "nearest", limit_ns=4 * day)
        assert reasons(3) == [
            "ended 2 d before the observation",
            "'two' is searched after 'one'",
            "begins 2 d after the observation, and an earlier one is as near",
            "begins 17 d after the observation, farther than 4 d",
            "'other' was not searched",
        ]
        assert reasons(4) == [
            "begins 1 d after the observation",
            "ended 3 d before the observation, and another one is nearer",
            "ended 3 d before the observation, and another one is nearer",
            "begins 16 d after the observation, farther than 4 d",
            "'other' was not searched",
        ]
        assert reasons(1)[0] == "ended just then"
        registry.set_calibration_policy("bias", "nearest-earlier")
        assert reasons(5.5)[:2] == [
            "valid",
            "ended 4.5 d before the observation, and the one taken is valid",
        ]
        assert reasons(4)[2] == (
            "begins 1 d after the observation, and only earlier ones may be taken"
        )
        raise UndoError


def test_nearest_says_why_a_policy_takes_nothing(
    pool: tuple[Registry, list[DatasetRef]],
) -> None:
    registry, refs = pool
    with pytest.raises(UndoError), registry.begin() as connection:
        registry.set_calibration_policy("bias", "nearest", limit_ns=3 * US, match={"gain": None})
        registry.certify("one", refs[:1], Timespan(0, US))
        searched = registry.collections("one")
        told = calibrations.nearest(connection, BIAS, raw_id(1), 20 * US, searched)
        assert told == (
            "No bias may be taken at 1970-01-01T00:00:00.000 TAI by its policy "
            "(nearest within 3e-06 s, same gain): {instrument: 'Cam', detector: 0, "
            "day_obs: 20220920} of 'made0': gain of the observation is not known."
        )
        raise UndoError


def test_policies_are_listed_replaced_and_removed(filled: Registry) -> None:
    day = 86_400_000_000_000
    filled.set_calibration_policy("bias", "nearest", limit_ns=day, match={"b": 1.5, "a": None})
    assert filled.calibration_policies() == {"bias": Policy("nearest", day, {"a": None, "b": 1.5})}
    assert str(filled.calibration_policies()["bias"]) == "nearest within 1 d, same a, b within 1.5"
    filled.set_calibration_policy("bias", match={"c": 0})
    assert filled.calibration_policies() == {"bias": Policy("valid", None, {"c": 0.0})}
    assert filled.remove_calibration_policy("bias") is True
    assert filled.remove_calibration_policy("bias") is False
    assert filled.calibration_policies() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nearst",), "not 'nearst'. Did you mean 'nearest'?"),
        (("valid", 1), "needs the policy nearest-earlier or nearest"),
        (("nearest", 0), "longer than nothing"),
        (("nearest", None, {"t": -1.0}), "tolerance of t must be 0 or more"),
        (("nearest", None, {"": None}), "cannot name a fact"),
    ],
)
def test_senseless_policies_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(BadPolicy, match=message.replace("?", r"\?")):
        Policy(*arguments)


def test_raws_have_no_policy(filled: Registry) -> None:
    with pytest.raises(InvalidDataId, match="raw is not a calibration type"):
        filled.set_calibration_policy("raw", "nearest")


@pytest.mark.parametrize(
    "values", [{"selection": "newest"}, {"selection": "valid", "limit_ns": 5}, {"limit_ns": 0}]
)
def test_database_refuses_senseless_policies(filled: Registry, values: dict[str, Any]) -> None:
    filled.set_calibration_policy("bias", "nearest", limit_ns=7)
    change = sa.update(calibration_policy).values(**values)
    with filled.database.engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.execute(change)
    assert filled.calibration_policies() == {"bias": Policy("nearest", 7)}
