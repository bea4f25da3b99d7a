"""Visits are made of exposures by the rule of the camera, in whatever order these come."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from butler import Butler, cameras
from butler.errors import ConflictingVisit, VisitError, VisitInUse
from butler.instrument import InstrumentDefinition, load_shipped
from butler.instrument.errors import DefinitionError
from butler.instrument.visits import VisitRule
from registry.carried import carried_records
from registry.regions import from_vertices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NIGHT = 20250310
SECOND = 10**9
FIRST = 202503100000


def camera(butler: Butler, **visits: Any) -> None:
    """Register DemoCam with a rule for visits."""
    spec = load_shipped("demo").to_mapping()
    spec["extra"] |= {
        "group": {"card": "GROUPID"},
        "seq_start": {"card": "SEQFIRST"},
        "seq_end": {"card": "SEQLAST"},
        "visit_number": {"card": "VISITNUM"},
    }
    spec["visits"] = visits
    butler.register_instrument(spec)


def exposure(n: int, **facts: Any) -> dict[str, Any]:
    """Make the record of an exposure of 30 s that begins a minute after the one before it."""
    begin = 1_741_600_000 * SECOND + n * 60 * SECOND
    record = {
        "instrument": "DemoCam",
        "id": FIRST + n,
        "obs_id": f"D-{n}",
        "day_obs": NIGHT,
        "physical_filter": "Demo g",
        "observation_type": "science",
        "target_name": "M 31",
        "science_program": "survey",
        "seq_num": n,
        "exposure_time": 30.0,
        "begin_tai_ns": begin,
        "end_tai_ns": begin + 30 * SECOND,
        "ra": 10.0 + n,
        "dec": 0.0,
        "quality": "good",
        "extra": None,
    }
    given = {k: facts.pop(k) for k in list(facts) if k in record}
    return record | given | {"extra": facts or None}


def insert(butler: Butler, records: Iterable[Mapping[str, Any]]) -> None:
    """Register exposures whose detector 1 saw one degree around where they point."""
    rows = list(records)
    night = butler.definition("DemoCam").day_obs_record(NIGHT)
    butler.registry.insert_dimension_records("day_obs", [night], on_conflict="skip")
    butler.registry.insert_dimension_records("exposure", rows)
    corners = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    butler.registry.insert_dimension_records(
        "exposure_detector_region",
        [
            {
                "instrument": "DemoCam",
                "exposure": r["id"],
                "detector": 1,
                "region": from_vertices([(r["ra"] + x, r["dec"] + y) for x, y in corners]),
            }
            for r in rows
        ],
    )


def members(butler: Butler) -> dict[int, set[int]]:
    """Give the visits with their exposures, both counted from the first of the night."""
    found: dict[int, set[int]] = {
        v["id"] - FIRST: set() for v in butler.query_dimension_records("visit")
    }
    for row in butler.query_dimension_records("visit_exposure"):
        found[row["visit"] - FIRST].add(row["exposure"] - FIRST)
    return found


def grouped(rule: VisitRule, *records: Mapping[str, Any]) -> list[list[int]]:
    """Sort records, given backwards, into groups."""
    return [[e["id"] - FIRST for e in g.exposures] for g in rule.groups(records[::-1])]


def test_back_to_back_needs_all_to_agree_and_no_gap() -> None:
    rule = VisitRule("back-to-back", gap=30.0)
    night = [exposure(n) for n in (1, 2, 3)]
    assert grouped(rule, *night) == [[1, 2, 3]]
    assert grouped(VisitRule("back-to-back", gap=29.9), *night) == [[1], [2], [3]]
    assert grouped(VisitRule("back-to-back", gap=30.0, count=2), *night) == [[1, 2], [3]]
    assert grouped(rule, night[0], night[2]) == [[1], [3]]
    for fact in ({"physical_filter": "Demo r"}, {"target_name": "M 33"}, {"seq_num": 7}):
        assert grouped(rule, night[0], exposure(2, **fact)) == [[1], [2]]
    # a rejected frame between two that follow it parts them; a flat is no visit
    assert grouped(rule, night[0], exposure(2, quality="rejected"), night[2]) == [[1], [3]]
    assert grouped(rule, exposure(1, observation_type="flat"), night[1]) == [[2]]
    unnumbered = [exposure(n, seq_num=None) for n in (1, 2)]
    assert grouped(rule, *unnumbered) == [[1, 2]]


def test_groups_and_sequences() -> None:
    rule = VisitRule("by-group-metadata", group="target_name")
    night = [exposure(1), exposure(2, target_name="M 33"), exposure(3)]
    assert grouped(rule, *night, exposure(4, target_name=None)) == [[1, 3], [2], [4]]
    rule = VisitRule("by-seq-start-end")
    night = [exposure(n, seq_start=(n + 1) // 2 * 2 - 1, seq_end=9) for n in (1, 2, 4)]
    assert [(g.name, g.waits) for g in rule.groups(night)] == [("D-1", False), ("D-4", True)]
    types = VisitRule("one-to-one", types=frozenset({"science"}))
    assert grouped(types, exposure(1), exposure(2, observation_type="dark")) == [[1]]
    assert grouped(VisitRule("one-to-one"), exposure(2, observation_type="dark")) == [[2]]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3)))[::2])
def test_the_order_of_arrival_does_not_matter(butler: Butler, order: tuple[int, ...]) -> None:
    camera(butler, system="back-to-back", gap=40)
    for n in order:
        insert(butler, [exposure(n)])
        butler.define_visits("DemoCam")
    assert members(butler) == {1: {1, 2, 3}}
    (visit,) = butler.query_dimension_records("visit")
    assert (visit["exposure_time"], visit["day_obs"]) == (90.0, NIGHT)
    assert (visit["end_tai_ns"] - visit["begin_tai_ns"]) == 150 * SECOND
    assert (visit["ra"], visit["dec"]) == (pytest.approx(12), pytest.approx(0))
    assert (visit["name"], visit["target_name"], visit["physical_filter"]) == (
        "D-1",
        "M 31",
        "Demo g",
    )
    for where, found in (("POINT(10.7, 0)", 1), ("POINT(12.3, 0.4)", 1), ("POINT(9, 0)", 0)):
        where = f"visit_detector_region.region OVERLAPS {where}"
        assert len(butler.query_dimension_records("visit_detector_region", where=where)) == found
    again = butler.define_visits("DemoCam")
    assert (again.new, again.changed, again.removed) == ([], [], [])
    assert again.unchanged == [visit["id"]]


def test_a_late_snap(butler: Butler) -> None:
    camera(butler, system="by-group-metadata")
    insert(butler, [exposure(n, group="A" if n < 3 else "B") for n in (1, 2, 3)])
    assert butler.define_visits("DemoCam", where="exposure.seq_num = 2").new == [FIRST + 1]
    assert butler.define_visits("DemoCam").new == [FIRST + 3]
    assert [v["name"] for v in butler.query_dimension_records("visit")] == ["A", "B"]
    butler.register_dataset_type("sum", ("instrument", "visit"), "StructuredDataDict")
    ref = butler.put({"n": 2}, "sum", instrument="DemoCam", visit=FIRST + 1)
    insert(butler, [exposure(4, group="A"), exposure(5, group="B")])
    told = butler.define_visits("DemoCam", dry_run=True)
    assert members(butler) == {1: {1, 2}, 3: {3}}
    done = butler.define_visits("DemoCam")
    for answer in (told, done):
        assert (answer.changed, answer.new, answer.removed) == ([FIRST + 3], [], [])
        (error,) = answer.refused
        assert isinstance(error, VisitInUse)
        assert f"The visit {FIRST + 1} of DemoCam would gain {FIRST + 4}" in str(error)
    assert members(butler) == {1: {1, 2}, 3: {3, 5}}
    # what was made goes, and the snap is taken
    butler.prune([ref], purge=True)
    assert butler.define_visits("DemoCam").changed == [FIRST + 1]
    assert members(butler) == {1: {1, 2, 4}, 3: {3, 5}}


def test_what_the_observers_reject_leaves_its_visit(butler: Butler) -> None:
    camera(butler, system="by-group-metadata")
    insert(butler, [exposure(1, group="A"), exposure(2, group="A"), exposure(3, group="B")])
    butler.define_visits("DemoCam")
    with butler.registry.begin() as connection:
        from registry.dimensions import flag_rejected

        flag_rejected(connection, [("DemoCam", FIRST + 1), ("DemoCam", FIRST + 3)])
    done = butler.define_visits("DemoCam")
    assert (done.new, done.removed) == ([FIRST + 2], [FIRST + 1, FIRST + 3])
    assert members(butler) == {2: {2}}


def test_conflicts_are_told_and_change_nothing(butler: Butler) -> None:
    camera(butler, system="by-group-metadata", number="visit_number")
    insert(
        butler,
        [
            exposure(1, group="A", visit_number=7),
            exposure(2, group="A", visit_number=7, physical_filter="Demo r"),
            exposure(3, group="B", visit_number=8),
            exposure(4, group="C", visit_number=8),
            exposure(5, group="D", visit_number=9),
            exposure(6, group="D", visit_number="x"),
            exposure(7, group="E", visit_number=FIRST + 70),
        ],
    )
    done = butler.define_visits("DemoCam")
    assert done.new == [FIRST + 70]
    assert all(isinstance(error, ConflictingVisit) for error in done.refused)
    told = "\n".join(map(str, done.refused))
    assert f"several filters (Demo g: {FIRST + 1}; Demo r: {FIRST + 2})" in told
    assert "The visits 'B' and 'C' of DemoCam in the night 20250310 would all have the" in told
    assert f"The exposures {FIRST + 5}, {FIRST + 6} of DemoCam make one visit, and their" in told
    assert members(butler) == {70: {7}}


def test_visits_of_another_system_stay(butler: Butler) -> None:
    camera(butler, system="one-to-one")
    insert(butler, [exposure(1, group="A"), exposure(2, group="A")])
    butler.define_visits("DemoCam")
    with butler.registry.begin() as connection:
        assert carried_records(connection, "visit_system") == [
            {"instrument": "DemoCam", "id": 0, "name": "one-to-one"}
        ]
    camera(butler, system="by-group-metadata", number="visit_number")
    (error,) = butler.define_visits("DemoCam").refused
    assert "has a visit" in str(error)
    insert(butler, [exposure(n, group="B", visit_number=FIRST + 50) for n in (3, 4)])
    assert butler.define_visits("DemoCam").new == [FIRST + 50]
    assert members(butler) == {1: {1}, 2: {2}, 50: {3, 4}}


def test_two_at_once_define_the_same(butler: Butler, repository: Path) -> None:
    camera(butler, system="back-to-back", gap=40)
    insert(butler, [exposure(n) for n in range(1, 41) if n % 4])

    def define(_: int) -> int:
        with Butler(repository, writeable=True) as other:
            return len(other.define_visits("DemoCam").new)

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(define, range(3))) == [0, 0, 10]
    assert members(butler) == {4 * n + 1: {4 * n + k for k in (1, 2, 3)} for n in range(10)}


def frame(folder: Path, n: int, detector: int, **cards: Any) -> Path:
    """Write a raw frame of DemoCam whose CCD saw a tenth of a degree."""
    content = {
        "INSTRUME": "DemoCam",
        "EXPID": NIGHT * 10_000 + n,
        "OBSID": f"D-{n}",
        "SEQNUM": n,
        "CCDNUM": detector,
        "FILTER": "Demo g",
        "OBSTYPE": "object",
        "OBJECT": "M 31",
        "DATE-OBS": f"2025-03-11T03:{n:02}:00",
        "EXPTIME": 15.0,
        "RA": 10.0,
        "DEC": 0.0,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 10.0 + 0.1 * detector + 0.01 * n,
        "CRVAL2": 0.0,
        "CRPIX1": 5.0,
        "CRPIX2": 5.0,
        "CDELT1": -0.01,
        "CDELT2": 0.01,
        **cards,
    }
    header = fits.Header()
    header.update(content)
    path = folder / f"democam_{NIGHT}_{n:04}_D{detector}.fits"
    fits.writeto(path, np.zeros((10, 10), "i2"), header)
    return path


def test_an_ingest_defines_visits_as_frames_come(butler: Butler, tmp_path: Path) -> None:
    camera(butler, system="by-seq-start-end")
    snaps = {"SEQFIRST": 1, "SEQLAST": 2}
    second = [frame(tmp_path, 2, d, **snaps) for d in (1, 2)]
    taken = butler.ingest_raws(second, run="raw")
    assert (len(taken.refs), sorted(set(taken.visits.waiting))) == (2, [NIGHT * 10_000 + 2])
    assert members(butler) == {}
    first = [frame(tmp_path, 1, d, **snaps) for d in (1, 2)]
    flat = frame(tmp_path, 3, 1, OBSTYPE="flat", SEQFIRST=3, SEQLAST=3)
    assert butler.ingest_raws([*first, flat], run="raw").visits.new == [NIGHT * 10_000 + 1]
    assert members(butler) == {1: {1, 2}}
    regions = butler.query_dimension_records("visit_detector_region")
    assert [r["detector"] for r in regions] == [1, 2]
    # both snaps are found by their visit
    found = butler.query_datasets("raw", collections="raw", where=f"visit = {NIGHT}0001")
    assert len(found) == 4
    # a detector that comes late adds its part of the sky, though the visit is in use
    butler.register_dataset_type("sum", ("instrument", "visit"), "StructuredDataDict")
    butler.put({"n": 2}, "sum", instrument="DemoCam", visit=NIGHT * 10_000 + 1)
    late = butler.ingest_raws([frame(tmp_path, 1, 3, **snaps)], run="raw")
    assert (late.visits.refused, late.visits.unchanged) == ([], [NIGHT * 10_000 + 1])
    assert len(butler.query_dimension_records("visit_detector_region")) == 3


def test_exposures_taken_in_before_the_rule_keep_what_they_saw(
    butler: Butler, tmp_path: Path
) -> None:
    butler.ingest_raws([frame(tmp_path, n, 1) for n in (1, 2)], run="raw")
    assert members(butler) == {1: {1}, 2: {2}}
    assert butler.query_dimension_records("exposure_detector_region") == []
    spec = load_shipped("demo").to_mapping() | {"visits": {"system": "back-to-back", "gap": 60}}
    told = cameras.change(butler.registry, InstrumentDefinition.from_mapping(spec))
    assert told is not None
    assert "until these are defined anew: skyspine define-visits REPO DemoCam" in told[1][-1]
    butler.register_instrument(spec)
    done = butler.define_visits("DemoCam")
    assert (done.changed, done.removed) == ([FIRST + 1], [FIRST + 2])
    # a point that the first saw, one that both saw, one that the second saw, and one of neither
    for ra, found in ((10.06, 1), (10.11, 1), (10.162, 1), (10.17, 0)):
        where = f"visit_detector_region.region OVERLAPS POINT({ra}, 0)"
        assert len(butler.query_dimension_records("visit_detector_region", where=where)) == found


def test_visits_go_to_another_repository_and_come_back_from_there(
    butler: Butler, tmp_path: Path
) -> None:
    camera(butler, system="back-to-back", gap=60)
    frames = [frame(tmp_path, n, 1) for n in (1, 2, 4)]
    refs = butler.ingest_raws(frames, run="raw").refs
    assert members(butler) == {1: {1, 2}, 4: {4}}
    butler.register_dataset_type("sum", ("instrument", "visit"), "StructuredDataDict")
    refs.append(butler.put({"n": 2}, "sum", instrument="DemoCam", visit=FIRST + 1, run="raw"))
    for number, name in enumerate(("night.yaml", "night.parquet", "")):
        with Butler.create(tmp_path / f"other{number}") as other:
            if name.endswith("yaml"):
                other.register_instrument(butler.definition("DemoCam"))
            if name:
                told = butler.export(tmp_path / name, refs).notes
                lost = "exposure_detector_region has no place in the universe (3)"
                assert (lost in told) == name.endswith("yaml")
                other.import_(tmp_path / name)
            else:
                other.transfer_from(butler, refs)
                assert len(other.query_dimension_records("exposure_detector_region")) == 3
            assert members(other)[1] == {1, 2}
            with other.registry.read() as connection:
                systems = carried_records(connection, "visit_system_membership")
            one = {"instrument": "DemoCam", "visit_system": 3, "visit": FIRST + 1}
            assert systems[:1] == [one]
            again = other.define_visits("DemoCam")
            assert (again.refused, again.changed, again.removed) == ([], [], [])
            assert FIRST + 1 in again.unchanged
            assert members(other) == {1: {1, 2}, 4: {4}}


def test_a_definition_says_what_is_wrong_with_its_visits() -> None:
    for visits, told in (
        ({"system": "by-groups"}, "by-group-metadata"),
        ({"system": "one-to-one", "gap": 3}, "has no meaning with the system one-to-one"),
        ({"system": "back-to-back"}, "needs the key 'gap'"),
        ({"system": "by-group-metadata"}, "'group' is no fact of exposures; add a rule"),
    ):
        spec = load_shipped("demo").to_mapping() | {"visits": visits}
        with pytest.raises(DefinitionError, match=told):
            type(load_shipped("demo")).from_mapping(spec)
    spec = load_shipped("demo").to_mapping() | {"visits": {"system": "one-to-one"}}
    spec["translate"]["visit"] = {"card": "VISIT"}
    with pytest.raises(DefinitionError, match="so does translate.visit; take one away"):
        type(load_shipped("demo")).from_mapping(spec)


def test_a_camera_without_a_rule_is_told_what_to_write(butler: Butler) -> None:
    with pytest.raises(VisitError, match="write it under `visits`"):
        butler.define_visits("DemoCam")
