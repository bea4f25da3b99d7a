"""Are the frames of a folder known, and does the main job run on them, or say why not?"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from butler.instrument.shipped import load_shipped, shipped_file
from registry.errors import SkyspineError
from workflow.commands.demonstration import demo
from workflow.demo.frames import Camera, DemoFailed, pipeline_for, sort_out
from workflow.demo.job import run_demo, run_on_frames
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETS = {
    "ohp-t152-longslit-2022": {"OHP-T152": 90},
    "dot-tircam2-ic310-2022": {"TIRCAM2": 13},
    "lsst-obs-test-phosim": {"obs_test": 4},
    "legacysurvey-mosaic3-90prime-calexp": {"90Prime": 18, "Mosaic3": 6},
}
SILENT: list[str] = []


@pytest.mark.parametrize("name", SETS)
def test_cameras_are_known_by_names_and_headers(test_data: Path, name: str) -> None:
    cameras = sort_out(test_data / name, [])
    assert {c.definition.name: c.n_files for c in cameras} == SETS[name]
    named = [str(shipped_file(c.given)) for c in cameras]
    assert [c.definition for c in sort_out(test_data / name, named)] == [
        c.definition for c in cameras
    ]


def test_each_pipeline_that_ships_is_chosen_for_its_camera() -> None:
    for name in ("demo", "obs-test", "ohp-t152", "tircam2"):
        chosen = pipeline_for([Camera(name, load_shipped(name), kinds={"raw"})])
        assert chosen.name == shipped_pipeline(name)
    exposures = [Camera(n, load_shipped(n), kinds={"calexp"}) for n in ("90prime", "mosaic3")]
    assert pipeline_for(exposures).name == shipped_pipeline("calexps")
    with pytest.raises(DemoFailed, match=r"for raw frames of DECam; .*OHP-T152.*--pipeline FILE"):
        pipeline_for([Camera("decam", load_shipped("decam"), kinds={"raw"})])


def refused(folder: Path, instruments: Sequence[str] = ()) -> str:
    with pytest.raises(SkyspineError) as caught:
        sort_out(folder, instruments)
    return str(caught.value)


def test_wrong_folders_and_cameras_are_told(tmp_path: Path, test_data: Path) -> None:
    ohp = test_data / "ohp-t152-longslit-2022"
    assert "There is no folder" in refused(tmp_path / "nowhere")
    assert "There is no file" in refused(tmp_path)
    (tmp_path / "notes.fits").write_text("no FITS file")
    assert "notes.fits is a file; name the folder" in refused(tmp_path / "notes.fits")
    unknown = refused(tmp_path)
    assert "None of the 1 files" in unknown
    assert "notes.fits" in unknown
    assert "--instrument FILE" in unknown
    assert "Did you mean 'ohp-t152'" in refused(ohp, ["ohp-t125"])
    assert "they are of ohp-t152: leave --instrument out" in refused(ohp, ["obs-test"])
    # A name that fits does not make a frame: the header says whose it is.
    shutil.copy(test_data / "dot-tircam2-ic310-2022/bias_1.fits.gz", tmp_path / "raw_v1_fg.fits.gz")
    foreign = refused(tmp_path, ["obs-test"])
    assert "1 files in" in foreign
    assert "files of obs_test are known" in foreign


def test_nothing_is_overwritten(tmp_path: Path, test_data: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for run in (
        lambda: run_demo(tmp_path, SILENT.append),
        lambda: run_on_frames(tmp_path, test_data / "lsst-obs-test-phosim", SILENT.append),
    ):
        with pytest.raises(DemoFailed, match="is not empty, perhaps from a demo before"):
            run()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_real_frames_from_folder_to_answers(tmp_path: Path, test_data: Path) -> None:
    data = test_data / "legacysurvey-mosaic3-90prime-calexp"
    folder = tmp_path / "made"
    result = CliRunner().invoke(
        demo, ["--data", str(data), "--folder", str(folder), "-j", "1"], standalone_mode=False
    )
    assert result.exception is None
    assert result.return_value == 0
    for line in (
        "24 files of 90Prime and Mosaic3",
        "Ingested 8 calexp",
        "6 of 6 quanta done",
        "visits in g that the coadds do not name",
        f"skyspine query-datasets {folder}/repo coadd",
    ):
        assert line in result.stdout
    assert "NOT OK" not in result.stdout
    pictures = sorted(p.name for p in folder.glob("*.png"))
    assert pictures == ["calibrated.png", "coadd.png", "provenance.png"]
    assert all(imread(folder / name).shape[0] > 100 for name in pictures)


def test_options_of_real_frames_need_them() -> None:
    result = CliRunner().invoke(demo, ["--instrument", "decam"])
    assert result.exit_code == 2
    assert "give --data DIR" in result.output
