"""Every version of a definition is kept, and a new one says what it means for what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import cameras
from butler.camera_history import changes
from butler.instrument import InstrumentDefinition, load_shipped
from registry.errors import UnknownDimensionValue
from workflow.demo.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from butler import Butler


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A few simulated raw frames."""
    folder = tmp_path_factory.mktemp("frames")
    simulate(folder)
    return sorted(folder.rglob("democam_*_D1.fits"))[:3]


def test_versions_and_what_came_under_them(butler: Butler, frames: list[Path]) -> None:
    assert [v.version for v in cameras.history(butler.registry, "DemoCam")] == [1]
    assert len(butler.ingest_raws(frames[:2]).refs) == 2
    spec = load_shipped("demo").to_mapping()
    spec["detectors"][0]["name"], spec["detectors"][1]["name"] = "D2", "D1"
    spec["filters"][0]["band"] = "G"
    del spec["detectors"][3], spec["translate"]["airmass"]
    spec["templates"]["raw"] = "{run}/{exposure}_{detector}"
    second = InstrumentDefinition.from_mapping(spec)
    told = cameras.change(butler.registry, second)
    assert told is not None
    assert {c.key for c in told[0]} == {
        "detectors[1].name",
        "detectors[2].name",
        "detectors[4]",
        "filters[Demo g].band",
        "translate.airmass",
        "templates.raw",
    }
    effects = "\n".join(told[1])
    assert "Detector 1 is called D2 from now on, for the 2 datasets of it too" in effects
    assert "Detector 4 (D4) is no longer of the camera; its record and the 0 datasets" in effects
    assert "The filter Demo g counts as band G from now on, not g" in effects
    assert "2 exposures were translated by earlier versions" in effects
    assert "Files that are stored keep their paths" in effects
    butler.register_instrument(second)
    butler.register_instrument(second)
    assert cameras.change(butler.registry, second) == ([], [])
    names = {r["id"]: r["full_name"] for r in butler.query_dimension_records("detector")}
    assert names == {1: "D2", 2: "D1", 3: "D3", 4: "D4"}
    bands = {r["name"]: r["band"] for r in butler.query_dimension_records("physical_filter")}
    assert bands == {"Demo g": "G", "Demo r": "r"}
    assert len(butler.ingest_raws(frames).refs) == 1
    found = cameras.history(butler.registry, "DemoCam")
    assert [(v.version, dict(v.datasets)) for v in found] == [(1, {"raw": 2}), (2, {"raw": 1})]
    assert found[1].digest == second.digest


def test_an_old_version_can_be_had(butler: Butler) -> None:
    spec = load_shipped("demo").to_mapping()
    spec["files"][0]["pattern"] = "new_.*[.]fits"
    butler.register_instrument(spec)
    old, new = (butler.definition("DemoCam", version) for version in (1, 2))
    assert butler.definition("DemoCam") == new
    assert old.accepts("democam_20250310_0001_D1.fits")
    assert not new.accepts("democam_20250310_0001_D1.fits")
    (difference,) = changes(old, new)
    assert difference.key == "files[raw].pattern"
    assert difference.new == "new_.*[.]fits"
    with pytest.raises(UnknownDimensionValue, match="There is no version '3' of DemoCam"):
        butler.definition("DemoCam", 3)
    with pytest.raises(UnknownDimensionValue, match="'DemoCan'.* Did you mean 'DemoCam'"):
        cameras.history(butler.registry, "DemoCan")
