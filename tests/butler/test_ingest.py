from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.time import Time

from backbone.audit import check
from butler import Butler
from butler.errors import IngestError, NoRun
from registry.errors import MissingDataset, SkyspineError
from registry.timespan import Timespan, tai_ns

if TYPE_CHECKING:
    from pathlib import Path

BIAS = "bias/Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00001.fits.gz"
FLAT = "2022-09-20/calibration/Flat_M2_ML_Tue_Sep_20_2022_23.35.20_00018.fits.gz"
REJECTED = "2022-09-20/calibration/Rejected_flat_M2_ML_Tue_Sep_20_2022_23.35.20_00000.fits.gz"


@pytest.fixture
def ohp(repository: Path, butler: Butler) -> Butler:
    """Butler that knows OHP-T152; its run is `raw`."""
    butler.register_instrument("ohp-t152")
    butler.run = "raw"
    butler.default_collections = ["raw"]
    assert butler.root == repository
    return butler


@pytest.fixture
def few(night_frames: Path, tmp_path: Path) -> Path:
    """Folder with copies of three biases and a flat."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in (*sorted((night_frames / "bias").glob("*Mon*"))[:3], night_frames / FLAT):
        shutil.copy(name, folder)
    return folder


def test_the_nights_of_ohp(ohp: Butler, night_frames: Path) -> None:
    taken = ohp.ingest_raws([night_frames])
    assert taken.errors == []
    assert taken.present == []
    assert Counter(ref.run for ref in taken.refs) == {"raw": 85, "raw/rejected": 5}
    records = ohp.query_dimension_records("exposure")
    assert Counter((r["day_obs"], r["observation_type"]) for r in records) == {
        (20220919, "bias"): 11,
        (20220921, "bias"): 10,
        (20220922, "bias"): 11,
        (20220920, "flat"): 10,
        (20220922, "flat"): 10,
        (20220920, "arc"): 5,
        (20220922, "arc"): 5,
        (20220920, "science"): 12,
        (20220922, "science"): 11,
    }
    # what the observers rejected are copies of frames that are there under their own names
    rejected = {r["id"] for r in records if r["quality"] == "rejected"}
    assert rejected == {ref.data_id["exposure"] for ref in taken.refs if ref.run == "raw/rejected"}
    assert len(rejected) == 5
    # the pixels that come back are those of the file
    ref = next(r for r in taken.refs if r.data_id["exposure"] == 20220920233450 and r.run == "raw")
    assert np.array_equal(ohp.get(ref).data, fits.getdata(night_frames / FLAT))
    again = ohp.ingest_raws([night_frames])
    assert again.refs == []
    assert again.errors == []
    assert len(again.present) == 90
    report = check(ohp.registry.database, ohp.root, checksums=True, grace=0)
    assert report.findings == []
    assert report.n_copies == 90


def test_bad_files_do_not_lose_the_good(ohp: Butler, few: Path) -> None:
    whole = (few / "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00001.fits.gz").read_bytes()
    (few / "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00077.fits.gz").write_bytes(whole[:900])
    (few / "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00078.fits").write_text("not FITS\n" * 500)
    (few / "IMG_0001.fits").write_bytes(whole)
    (few / "notes.md").write_text("clouds")
    taken = ohp.ingest_raws([few])
    assert len(taken.refs) == 4
    assert {path.name for path, _ in taken.errors} == {
        "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00077.fits.gz",
        "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00078.fits",
        "IMG_0001.fits",
    }
    assert all(path.name in str(error) for path, error in taken.errors)
    assert [path.name for path in taken.ignored] == ["notes.md"]
    assert check(ohp.registry.database, ohp.root, grace=0).findings == []


def test_two_files_of_one_identity(ohp: Butler, few: Path) -> None:
    first = few / "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00001.fits.gz"
    shutil.copy(first, few / "Bias_M2_ML_Mon_Sep_19_2022_19.47.45_00099.fits.gz")
    taken = ohp.ingest_raws([few])
    assert len(taken.refs) == 4
    assert [path.name[-13:] for path, _ in taken.errors] == ["00099.fits.gz"]
    assert "are both raw" in str(taken.errors[0][1])


def test_stop_at_the_first_error(ohp: Butler, few: Path) -> None:
    (few / "A.fits").write_text("not FITS")
    with pytest.raises(SkyspineError, match=r"A\.fits"):
        ohp.ingest_raws([few], on_error="stop")
    assert ohp.registry.collections("raw") == []
    assert check(ohp.registry.database, ohp.root, grace=0).n_files == 0


@pytest.mark.parametrize("transfer", ["copy", "direct", "link", "hardlink", "symlink", "move"])
def test_transfer(ohp: Butler, few: Path, transfer: str) -> None:
    names = sorted(p.name for p in few.iterdir())
    expected = fits.getdata(few / names[0])
    taken = ohp.ingest_raws([few], transfer=transfer)
    assert len(taken.refs) == 4
    assert sorted(p.name for p in few.iterdir()) == ([] if transfer == "move" else names)
    inside = list(ohp.root.rglob("*.fits.gz"))
    assert len(inside) == (0 if transfer == "direct" else 4)
    assert {p.is_symlink() for p in inside} <= {transfer == "symlink"}
    linked = 2 if transfer in {"link", "hardlink"} else 1
    assert {p.stat().st_nlink for p in inside} <= {linked}
    first = next(r for r in taken.refs if r.data_id["exposure"] == 20220919194740)
    assert np.array_equal(ohp.get(first).data, expected)
    ohp.prune(taken.refs, purge=True)
    assert list(ohp.root.rglob("*.fits.gz")) == []
    assert sorted(p.name for p in few.iterdir()) == ([] if transfer == "move" else names)


def test_frames_that_lie_below_the_root_are_left_there(ohp: Butler, few: Path) -> None:
    few = few.rename(ohp.root / "incoming")
    taken = ohp.ingest_raws(sorted(few.iterdir())[:2], transfer="direct")
    report = check(ohp.registry.database, ohp.root, grace=0, repair=True)
    assert report.findings == []
    assert len(list(few.iterdir())) == 4
    assert all(ohp.exists(ref) for ref in taken.refs)


@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_an_ingest_that_is_rolled_back_leaves_everything_as_it_was(
    ohp: Butler, few: Path, transfer: str
) -> None:
    def fails() -> None:
        with ohp.transaction():
            assert len(ohp.ingest_raws([few], transfer=transfer).refs) == 4
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert len(list(few.iterdir())) == 4
    assert list(ohp.root.rglob("*.fits*")) == []
    assert len(ohp.ingest_raws([few]).refs) == 4


def test_a_later_rejection_is_noted(ohp: Butler, few: Path, night_frames: Path) -> None:
    ohp.ingest_raws([few])
    flat = {"exposure": 20220920233450}
    assert ohp.query_dimension_records("exposure", data_id=flat)[0]["quality"] == "good"
    ohp.ingest_raws([night_frames / REJECTED])
    assert ohp.query_dimension_records("exposure", data_id=flat)[0]["quality"] == "rejected"


def test_what_an_ingest_needs(ohp: Butler, tmp_path: Path, repository: Path) -> None:
    with pytest.raises(IngestError, match="no file or folder"):
        ohp.ingest_raws([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(IngestError, match="There is no file"):
        ohp.ingest_raws([tmp_path / "empty"])
    with pytest.raises(IngestError, match="Did you mean 'copy'"):
        ohp.ingest_raws([tmp_path], transfer="coppy")
    with Butler(repository, writeable=True) as without, pytest.raises(NoRun):
        without.ingest_raws([tmp_path])


def test_calibrations_are_found_by_the_time_of_the_exposure(
    ohp: Butler, night_frames: Path
) -> None:
    ohp.ingest_raws(
        [night_frames / BIAS, night_frames / FLAT, *(night_frames / "2022-09-22/raw").glob("M76*")]
    )
    ohp.register_dataset_type(
        "bias", ("instrument", "detector", "day_obs"), "Exposure", is_calibration=True
    )
    here = {"instrument": "OHP-T152", "detector": 0}
    noon = [tai_ns(Time(f"2022-09-{day}T12:00:00", scale="utc")) for day in (19, 20, 22, 23)]
    nights = {20220919: Timespan(noon[0], noon[1]), 20220922: Timespan(noon[2], noon[3])}
    ohp.registry.insert_dimension_records(
        "day_obs",
        [
            {"instrument": "OHP-T152", "id": n, "begin_tai_ns": t.begin, "end_tai_ns": t.end}
            for n, t in ((n, s) for n, s in nights.items())
        ],
        "skip",
    )
    ohp.collections.register("calib", "CALIBRATION")
    for night, span in nights.items():
        level = CCDData(np.full((2, 2), float(night)), unit="adu")
        ohp.certify("calib", [ohp.put(level, "bias", here, day_obs=night, run="made")], span)

    def level_for(exposure: int) -> float:
        found = ohp.get("bias", here, exposure=exposure, collections="calib")
        return float(found.data[0, 0])

    assert level_for(20220919194740) == 20220919
    assert level_for(20220923000620) == 20220922
    with pytest.raises(MissingDataset) as caught:
        level_for(20220920233450)
    message = str(caught.value)
    assert "nearest before ends 2022-09-20T12:00:37" in message
    assert "nearest after begins 2022-09-22T12:00:37" in message
