"""Do the rows of datasets arrive in another registry with all that they refer to?"""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, Timespan, calibrations, transfer, visits
from registry.carried import carry
from registry.errors import DefinitionConflict
from registry.schema import metadata
from registry.schema.dimensions import visit_exposure
from tests.registry import observatory
from tests.registry.observatory import BIAS, CATALOG, RAW, bias_id, raw_id
from tests.registry.test_regions import CENTRES, insert_patches, insert_visits, polygon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases

RECORDS = (
    *("instrument", "physical_filter", "detector", "day_obs", "exposure", "visit"),
    *("visit_exposure", "visit_detector_region", "visit_detector_pixel", "skymap", "tract"),
    *("patch", "patch_pixel", "overlap"),
)


CARRIED: list[tuple[str, tuple[str, ...], list[dict[str, Any]]]] = [
    (
        "visit_system",
        ("instrument", "id"),
        [
            {"instrument": "Cam", "id": 0, "name": "one-to-one"},
            {"instrument": "Cam", "id": 1, "name": "by-group"},
            {"instrument": "Other", "id": 0, "name": "one-to-one"},
        ],
    ),
    (
        "visit_system_membership",
        ("instrument", "visit_system", "visit"),
        [
            {"instrument": "Cam", "visit_system": 0, "visit": 1},
            {"instrument": "Cam", "visit_system": 1, "visit": 2},
            {"instrument": "Cam", "visit_system": 1, "visit": 77},
        ],
    ),
]


@pytest.fixture
def pair(engines: list[Databases]) -> Iterator[tuple[Registry, Registry]]:
    """A registry with a night of visits over a sky map, and an empty one on another engine."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines[:2]]
        there, here = (stack.enter_context(Registry.connect(url)) for url in urls)
        observatory.fill(there)
        there.register_collection("run")
        rng = random.Random(3)
        insert_visits(there, {(v, d): polygon(rng, *CENTRES[v]) for v in (1, 2) for d in (0, 1)})
        insert_patches(there, {p: polygon(rng, *CENTRES[1 + p % 2]) for p in range(4)})
        with there.begin() as connection:
            rows = [{"instrument": "Cam", "visit": v, "exposure": v} for v in (1, 2)]
            connection.execute(sa.insert(visit_exposure), rows)
        yield there, here


def moved(there: Registry, here: Registry, refs: list[Any], **how: Any) -> None:
    with there.read() as connection:
        rows = transfer.read_rows(connection, refs, **how)
    with here.begin() as connection:
        transfer.check_rows(connection, rows)
        transfer.write_rows(connection, rows, foreign=True)


def content(registry: Registry, name: str) -> list[dict[str, Any]]:
    table = metadata.tables[name]
    with registry.read() as connection:
        rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
        return [dict(row) for row in rows]


def test_visits_and_sky_maps_come_with_regions_pixels_and_overlaps(
    pair: tuple[Registry, Registry],
) -> None:
    there, here = pair
    refs = there.insert_datasets(RAW, [raw_id(n, d) for n in (1, 2) for d in (0, 1)], "run")
    with there.begin() as connection:
        for element, keys, rows in CARRIED:
            carry(connection, element, keys, rows)
    moved(there, here, refs, visits=True, sky=True)
    kept = {(r["element"], r["record_key"]): r["record"] for r in content(here, "carried_record")}
    assert kept == {
        ("visit_system", '["Cam", 0]'): CARRIED[0][2][0],
        ("visit_system", '["Cam", 1]'): CARRIED[0][2][1],
        ("visit_system_membership", '["Cam", 0, 1]'): CARRIED[1][2][0],
        ("visit_system_membership", '["Cam", 1, 2]'): CARRIED[1][2][1],
    }
    with here.read() as connection:
        _, systems = visits.visits_of(connection, "Cam", [1, 2], ())
    assert systems == {1: "one-to-one", 2: "by-group"}
    for name in RECORDS:
        told = content(here, name)
        every = content(there, name)
        if name in ("exposure", "physical_filter", "day_obs"):  # those that these datasets need
            assert 0 < len(told) <= len(every)
            assert all(row in every for row in told), name
        else:
            assert told == every, name
    assert len(content(here, "overlap")) > 0
    assert here.query_datasets(RAW, "run") == refs
    moved(there, here, refs, visits=True, sky=True)  # once more changes nothing
    assert here.query_datasets(RAW, "run") == refs


def test_a_visit_system_of_another_meaning_is_refused(pair: tuple[Registry, Registry]) -> None:
    there, here = pair
    refs = there.insert_datasets(RAW, [raw_id(1, 0)], "run")
    for registry, name in ((there, "by-group"), (here, "one-to-one")):
        with registry.begin() as connection:
            record = {"instrument": "Cam", "id": 0, "name": name}
            carry(connection, "visit_system", ("instrument", "id"), [record])
    with pytest.raises(DefinitionConflict, match=r"visit_system .* mean different"):
        moved(there, here, refs)
    assert content(here, "dataset") == []


def test_keys_beyond_the_dimensions_come_along(pair: tuple[Registry, Registry]) -> None:
    there, here = pair
    refs = there.insert_datasets(
        CATALOG, [{"instrument": "Cam", "target": t} for t in ("M76", "M31")], "run"
    )
    moved(there, here, refs)
    assert here.query_datasets(CATALOG, "run", where="target = 'M31'") == refs[1:]


def test_policies_and_facts_of_calibrations_come_along(pair: tuple[Registry, Registry]) -> None:
    there, here = pair
    refs = there.insert_datasets(BIAS, [bias_id(20220920), bias_id(20220921)], "run")
    there.set_calibration_policy(BIAS, "nearest", match={"temperature": 2.0})
    there.record_calibration_facts({r.id: {"temperature": -90.0 - n} for n, r in enumerate(refs)})
    there.certify("calib", refs[:1], Timespan(0, 1_000))
    there.certify("calib", refs[1:], Timespan(1_000, 5_000))
    moved(there, here, refs)
    assert here.calibration_policies() == there.calibration_policies()
    with here.read() as connection:
        assert calibrations.facts_of(connection, [r.id for r in refs]) == {
            refs[0].id: {"temperature": -90.0},
            refs[1].id: {"temperature": -91.0},
        }
    with there.read() as connection:
        ranges = transfer.read_ranges(connection, BIAS, ["calib", "run"])
        assert ranges == [(refs[0], 0, 1_000), (refs[1], 1_000, 5_000)]
        assert transfer.read_ranges(connection, BIAS, ["calib"], (1_000, 2_000)) == ranges[1:]
        assert transfer.read_ranges(connection, BIAS, ["calib"], (900, 1_000)) == ranges
        assert transfer.read_ranges(connection, BIAS, ["calib"], (5_000, 6_000)) == []
