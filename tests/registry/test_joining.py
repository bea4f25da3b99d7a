"""Are dimensions joined as a look at every combination of records joins them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lsst.sphgeom import HealpixPixelization, LonLat, UnitVector3d

from registry import Registry
from registry.errors import InvalidDataId
from registry.expressions import UnrelatedDimension
from registry.names import SeveralValues
from registry.regions import HEALPIX_ORDER
from registry.touching import touch
from tests.registry.sky_survey import (
    DETECTORS,
    EXPOSURES,
    NIGHTS,
    OF_CAMERA,
    OF_SKY,
    SURVEY,
    TYPES,
    VISITS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.databases import Databases

    Condition = tuple[str, set[str], Callable[[dict[str, Any]], bool]]

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def survey(databases: Databases) -> Iterator[Registry]:
    with databases.migrated() as url, Registry.connect(url) as opened:
        SURVEY.fill(opened)
        yield opened


def equal(name: str, values: list[Any]) -> st.SearchStrategy[Condition]:
    return st.sampled_from(values).map(
        lambda v: (f"{name} = {v!r}", {name}, lambda row: row[name] == v)
    )


TERMS = st.one_of(
    equal("detector", list(DETECTORS)),
    equal("exposure", list(EXPOSURES)),
    equal("visit", list(VISITS)),
    equal("tract", [0, 1, 2]),
    equal("band", ["g", "r"]),
    equal("day_obs", list(NIGHTS)),
    equal("physical_filter", ["SDSS g", "Ha"]),
    st.just(("patch IN (1, 5)", {"patch"}, lambda row: row["patch"] == 1)),
    st.just(("NOT tract = 1", {"tract"}, lambda row: row["tract"] != 1)),
    st.just(("visit.name GLOB 'v1[13]'", {"visit"}, lambda row: row["visit"] in (11, 13))),
    st.just(("patch = detector", {"patch", "detector"}, lambda r: r["patch"] == r["detector"])),
    st.just(("exposure.obs_id > 'obs4'", {"exposure"}, lambda row: row["exposure"] > 4)),
)


def both(one: Condition, other: Condition) -> Condition:
    return (
        f"({one[0]}) AND ({other[0]})",
        one[1] | other[1],
        lambda row: one[2](row) and other[2](row),
    )


def either(one: Condition, other: Condition) -> Condition:
    return (
        f"({one[0]}) OR ({other[0]})",
        one[1] | other[1],
        lambda row: one[2](row) or other[2](row),
    )


ANY: Condition = ("", set(), lambda _: True)
CONDITIONS = st.one_of(
    st.just(ANY),
    TERMS,
    st.builds(both, TERMS, TERMS),
    st.builds(either, TERMS, TERMS),
    st.builds(both, TERMS, st.builds(either, TERMS, TERMS)),
    st.builds(both, TERMS, st.builds(both, TERMS, TERMS)),
)


def unrelated(own: set[str], named: set[str]) -> bool:
    """Tell whether a dimension is named that nothing relates to those of a dataset."""
    every = own | named
    linked = bool(every & {"visit", "exposure"}) and bool(every & {"tract", "patch"})
    beyond = named - own
    if "band" in beyond and not own & OF_CAMERA and not linked:
        return True
    return not linked and (
        (bool(beyond & OF_SKY) and not own & OF_SKY)
        or (bool(beyond & OF_CAMERA) and not own & OF_CAMERA)
    )


@given(kind=st.sampled_from(sorted(TYPES)), condition=CONDITIONS)
@SETTINGS
def test_datasets_are_found_by_any_dimension(
    survey: Registry, kind: str, condition: Condition
) -> None:
    where, named, fulfils = condition
    if unrelated(set(TYPES[kind]), named):
        with pytest.raises(UnrelatedDimension, match="Nothing relates"):
            survey.query_datasets(kind, "all", where=where)
        return
    refs = survey.query_datasets(kind, "all", where=where)
    keys = [SURVEY.key(kind, dict(ref.data_id)) for ref in refs]
    assert len(keys) == len(set(keys))
    assert set(keys) == {SURVEY.key(kind, r) for r in SURVEY.joint(named, (kind,), fulfils)}
    every = survey.query_datasets(kind, "all", where=where, find_first=False)
    assert {ref.id for ref in refs} <= {ref.id for ref in every}
    assert len(every) == len({ref.id for ref in every})
    assert {SURVEY.key(kind, dict(ref.data_id)) for ref in every} == set(keys)


DIMENSIONS = st.lists(
    st.sampled_from(
        ["detector", "exposure", "visit", "tract", "day_obs", "physical_filter", "band"]
    ),
    min_size=1,
    max_size=3,
    unique=True,
) | st.just(["visit", "detector", "tract", "patch"])


@given(
    dimensions=DIMENSIONS,
    condition=CONDITIONS,
    kinds=st.lists(st.sampled_from(sorted(TYPES)), max_size=2, unique=True),
)
@SETTINGS
def test_data_ids_join_any_dimensions_and_datasets(
    survey: Registry, dimensions: list[str], condition: Condition, kinds: list[str]
) -> None:
    where, named, fulfils = condition
    found = survey.query_data_ids(dimensions, where=where, datasets=kinds, collections="all")
    rows = SURVEY.joint({*dimensions, *named}, tuple(kinds), fulfils)
    expected = {tuple(SURVEY.data_id(dimensions, row).items()) for row in rows}
    assert len(found) == len(set(found))
    assert {tuple((d, i[d]) for d in dimensions if d in i) for i in found} == expected


@given(
    dimensions=DIMENSIONS,
    condition=CONDITIONS,
    kinds=st.lists(st.sampled_from(sorted(TYPES)), max_size=1),
    absent=st.sampled_from(sorted(TYPES)),
)
@SETTINGS
def test_data_ids_with_which_no_dataset_goes(
    survey: Registry, dimensions: list[str], condition: Condition, kinds: list[str], absent: str
) -> None:
    where, named, fulfils = condition
    own, asked = set(TYPES[absent]), {*dimensions}
    lacking = own - {"instrument", "skymap"} - reached(asked)
    if lacking and unrelated(own, asked):
        with pytest.raises(InvalidDataId, match="Nothing relates"):
            survey.query_data_ids(dimensions, without=absent, collections="all")
        return
    found = survey.query_data_ids(
        dimensions, where=where, datasets=kinds, without=[absent], collections="all"
    )
    rows = SURVEY.joint(asked | named, tuple(kinds), fulfils)
    if not lacking:
        keys = SURVEY.keys(absent)
        rows = [row for row in rows if SURVEY.key(absent, row) not in keys]
    expected = {tuple(SURVEY.data_id(dimensions, row).items()) for row in rows}
    # what has no band goes with nothing by its band
    by_band = "band" in asked - reached(asked - {"band"})
    goes = SURVEY.joint(asked, (absent,), lambda row: not by_band or row["band"] is not None)
    expected -= {tuple(SURVEY.data_id(dimensions, row).items()) for row in goes if lacking}
    assert {tuple((d, i[d]) for d in dimensions if d in i) for i in found} == expected


def reached(asked: set[str]) -> set[str]:
    """Give the dimensions that have one value for each data ID of some."""
    found = set(asked)
    if asked & {"exposure", "visit"}:
        found |= {"day_obs", "physical_filter", "band"}
    return found | ({"band"} if "physical_filter" in asked else set())


@given(element=st.sampled_from(["exposure", "visit", "detector", "tract"]), condition=CONDITIONS)
@SETTINGS
def test_records_are_found_by_any_dimension(
    survey: Registry, element: str, condition: Condition
) -> None:
    where, named, fulfils = condition
    own = {element} | ({"instrument"} if element != "tract" else {"skymap"})
    if element in ("exposure", "visit"):
        own |= {"day_obs", "physical_filter", "band"}
    if unrelated(own, named):
        with pytest.raises(UnrelatedDimension, match="Nothing relates"):
            survey.query_dimension_records(element, where=where)
        return
    found = [r["id"] for r in survey.query_dimension_records(element, where=where)]
    assert found == sorted(set(found))
    assert set(found) == {r[element] for r in SURVEY.joint(named | {element}, (), fulfils)}


def test_fixed_keys_may_be_of_dimensions_that_a_dataset_does_not_have(survey: Registry) -> None:
    for tract in range(3):
        fixed = survey.query_datasets("calexp", "all", data_id={"skymap": "sky", "tract": tract})
        assert fixed == survey.query_datasets("calexp", "all", where=f"tract = {tract}")
    with pytest.raises(InvalidDataId, match="Nothing relates 'tract' to instrument, detector, day"):
        survey.query_datasets("bias", "all", data_id={"tract": 1})


def test_what_has_several_values_is_no_column(survey: Registry) -> None:
    for options in ({"order_by": ["tract"]}, {"also": ["visit.name"]}):
        with pytest.raises(SeveralValues, match="may have several values for one instrument, det"):
            survey.show_query("raw", "all", **options)
    counted = survey.count_data_ids(
        ["instrument", "visit", "detector"], datasets="calexp", collections="all", by=["tract"]
    )
    rows = SURVEY.joint({"tract"}, ("calexp",), lambda _: True)
    expected = {
        t: len({(r["visit"], r["detector"]) for r in rows if r["tract"] == t}) for t in range(3)
    }
    assert {c["tract"]: c["n"] for c in counted} == {t: n for t, n in expected.items() if n}


def test_an_unrelated_dimension_is_told_with_its_place(survey: Registry) -> None:
    with pytest.raises(UnrelatedDimension) as caught:
        survey.query_datasets("flat", "all", where="detector = 0 AND tract = 1")
    assert str(caught.value) == (
        "Nothing relates 'tract' to instrument, detector, physical_filter; name a visit or an "
        "exposure too, whose place on the sky does.\n"
        "  detector = 0 AND tract = 1\n"
        "                   ^^^^^"
    )
    with pytest.raises(UnrelatedDimension, match="name a tract or a patch of it too"):
        survey.query_datasets("raw", "all", where="skymap = 'sky'")


def test_pixels_are_those_that_touch(survey: Registry) -> None:
    pixel = HealpixPixelization(HEALPIX_ORDER).pixel
    found = survey.query_data_ids(["visit", "detector", "healpix"], where="visit = 11")
    regions = {d: SURVEY.detectors[11, d] for d in DETECTORS}
    assert {i["detector"] for i in found} == set(DETECTORS)
    assert len(found) == len(set(found))
    for d, region in regions.items():
        mine = {int(i["healpix"]) for i in found if i["detector"] == d}
        assert all(touch(region, pixel(p)) for p in mine)
        for corner in region.getVertices():
            assert HealpixPixelization(HEALPIX_ORDER).index(corner) in mine
    (pointing,) = survey.query_data_ids(["exposure", "healpix"])
    assert pointing["exposure"] == 6
    assert pixel(int(pointing["healpix"])).contains(UnitVector3d(LonLat(SURVEY.pointing)))
    in_it = survey.query_data_ids(["patch", "tract"], where=f"healpix = {pointing['healpix']}")
    assert {"tract": 0, "patch": 1} in in_it
    with pytest.raises(InvalidDataId, match="joined by a place on the sky"):
        survey.query_data_ids(["detector", "healpix"])
