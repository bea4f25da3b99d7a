"""What a definition makes of files is told card by card, and what fails with its reason."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from butler.instrument import InstrumentDefinition, load_shipped
from butler.instrument.checking import check_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.butler.instrument.conftest import EditedFrame

FRAME = "ohp-t152-longslit-2022/2022-09-20/raw/M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"
NAME = "M76_M2_ML_Wed_Sep_21_2022_02.25.44_0000{}.fits"


def test_rules_cards_and_refusals(
    ohp: InstrumentDefinition, edited: EditedFrame, test_data: Path, tmp_path: Path
) -> None:
    good = test_data / FRAME
    no_time = edited(FRAME, NAME.format(1), FRAME=None)
    bad_time = edited(FRAME, NAME.format(2), EXPOSURE="soon")
    other = edited(FRAME, NAME.format(3), SERNO=1)
    twice = tmp_path / NAME.format(4)
    shutil.copy(good, twice.with_name(f"{twice.name}.gz"))
    notes, stranger = tmp_path / "notes.txt", tmp_path / "IMG.fits"
    notes.write_text("clouds")
    stranger.write_bytes(b"SIMPLE")
    paths = [good, no_time, bad_time, other, twice.with_name(f"{twice.name}.gz"), notes, stranger]
    report = check_files(ohp, paths)
    assert report.ignored == [notes]
    assert len(report.files) == 6
    first = report.files[0]
    assert first.dataset.startswith("raw {instrument: 'OHP-T152', detector: 0")
    told = {t.name: t for t in first.values}
    assert (told["exposure_time"].value, told["exposure_time"].content) == (1200.0, 1200.0)
    assert (told["exposure_time"].source, told["exposure_time"].hdu) == ("card EXPOSURE", 0)
    assert told["exposure_time"].rule == "translate.exposure_time"
    assert (told["target_name"].value, told["target_name"].source) == ("M76", "group object")
    assert told["run_suffix"].value is None
    refused = {f.path: f for f in report.refused}
    assert "looks for card FRAME" in refused[no_time].problem
    (cause,) = (t for t in refused[bad_time].values if t.problem)
    assert cause.name == "exposure_time"
    assert "'soon' cannot be used" in cause.problem
    assert "no detector 1" in refused[other].problem
    assert f"is the same dataset as {good.name}" in refused[paths[4]].problem
    assert "fits no file-name pattern" in refused[stranger].problem
    assert first not in report.refused
    rows = {r["value"]: r for r in report.rules()}
    times = rows["exposure_time"]
    assert (times["given"], times["absent"], times["refused"]) == (4, 0, 1)
    assert rows["begin"]["absent"] == 1
    assert {"name": "observation_type", "value": "science", "files": 2} in (
        report.dimension_values()
    )
    assert {"card": "GAIN", "files": 2} in report.unused_cards()
    document = json.loads(json.dumps(report.document()))
    assert document["summary"] == {"datasets": 1, "refused": 5, "ignored": 1}
    assert document["files"][1]["problem"] == refused[no_time].problem


def test_the_parts_of_a_dataset_are_one(test_data: Path) -> None:
    folder = test_data / "legacysurvey-mosaic3-90prime-calexp/mzlsbass3/images/90prime"
    report = check_files(load_shipped("90prime"), sorted(folder.rglob("*.gz")))
    assert report.refused == []
    assert len(report.files) == 6
    assert {r["value"]: r["files"] for r in report.dimension_values() if r["name"] == "band"} == {}
    assert {r["value"] for r in report.dimension_values() if r["name"] == "detector"} == {2, 3}
