"""Files of an archive become datasets under their own names, and are found by these."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from backbone.audit import check
from butler.errors import IngestError
from butler.instrument import load_shipped
from butler.instrument.errors import UnsafePath

if TYPE_CHECKING:
    from pathlib import Path

    from butler import Butler

TEMPLATE = "v{exposure:014d}/{detector_name}[_{band}]"
NIGHT = 20250310


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with four files, one of a number that is no exposure, and one of another form."""
    root = tmp_path / "archive"
    for n, name in ((1, "D1"), (1, "D2_g"), (2, "D4"), (9, "D1")):
        path = root / f"v{NIGHT:010d}{n:04d}" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"of": name}))
    (root / "index.json").write_text("{}")
    return root


@pytest.fixture
def known(butler: Butler) -> Butler:
    """Two exposures, and a dataset type for what the archive holds."""
    definition = butler.definition("DemoCam")
    night = definition.day_obs_record(NIGHT)
    butler.registry.insert_dimension_records("day_obs", [night])
    begin = night["begin_tai_ns"]
    butler.registry.insert_dimension_records(
        "exposure",
        [
            {
                "instrument": "DemoCam",
                "id": NIGHT * 10_000 + n,
                "obs_id": f"D{n}",
                "day_obs": NIGHT,
                "observation_type": "science",
                "begin_tai_ns": begin + n,
                "end_tai_ns": begin + n,
            }
            for n in (1, 2)
        ],
    )
    butler.register_dataset_type(
        "seen", ("instrument", "detector", "exposure"), "StructuredDataDict"
    )
    return butler


def test_in_place_under_their_own_names(known: Butler, archive: Path) -> None:
    taken = known.ingest_named([archive], "seen", run="arc", template=TEMPLATE)
    assert len(taken.refs) == 3
    told = {
        path.name if path.parent == archive else path.parent.name: e for path, e in taken.errors
    }
    assert set(told) == {"index.json", "v00202503100009"}
    assert "is no name that the template" in str(told["index.json"])
    assert "no exposure '202503100009'" in str(told["v00202503100009"])
    assert known.get("seen", exposure=202503100001, detector="D2", collections="arc") == {
        "of": "D2_g"
    }
    ((ref, path),) = known.find_files("D4.json")
    assert ref.data_id == {"instrument": "DemoCam", "detector": 4, "exposure": 202503100002}
    assert path == str(archive / "v00202503100002/D4.json")
    assert known.find_files("v00202503100002/D4.json") == [(ref, path)]
    assert known.find_files("4.json") == known.find_files("D_.json") == []
    again = known.ingest_named([archive], "seen", run="arc", template=TEMPLATE)
    assert (len(again.refs), len(again.present)) == (0, 3)
    known.prune(taken.refs, purge=True)
    assert (archive / "v00202503100002/D4.json").exists()
    assert check(known.registry.database, known.root, grace=0).findings == []


def test_the_camera_s_own_template_of_whatever_version(known: Butler, archive: Path) -> None:
    spec = load_shipped("demo").to_mapping()
    spec["dataset_types"]["seen"] = {
        "dimensions": ["instrument", "detector", "exposure"],
        "storage_class": "StructuredDataDict",
    }
    spec["templates"]["seen"] = "{run}/" + TEMPLATE
    known.register_instrument(spec)
    spec["templates"]["seen"] = "{run}/{exposure}-{detector}"
    known.register_instrument(spec)
    files = sorted(archive.glob("v*/D[24]*"))
    assert len(known.ingest_named(files, "seen", run="arc").errors) == 2
    taken = known.ingest_named(files, "seen", run="arc", version=2, transfer="copy")
    assert len(taken.refs) == 2
    assert known.get(taken.refs[0]) == {"of": "D2_g"}


def test_what_it_needs(known: Butler, archive: Path) -> None:
    with pytest.raises(UnsafePath, match="has a field {detecter}.*'detector'"):
        known.ingest_named([archive], "seen", run="arc", template="{detecter}")
    with pytest.raises(IngestError, match="no way to transfer"):
        known.ingest_named([archive], "seen", run="arc", transfer="teleport")
    known.register_instrument("tircam2")
    with pytest.raises(IngestError, match="name the instrument"):
        known.ingest_named([archive], "seen", run="arc", template=TEMPLATE)
    taken = known.ingest_named(
        [archive], "seen", run="arc", template=TEMPLATE, instrument="DemoCam"
    )
    assert len(taken.refs) == 3
