"""Cameras by the command line: try a definition, register its versions, look at them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from astropy.io import fits

from butler import Butler
from butler.instrument import load_shipped
from workflow.cli import main

PAGE = Path(__file__).parents[2] / "docs/how-to/add-a-camera.md"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    told = capsys.readouterr()
    return int(done.value.code or 0), told.out, told.err


def test_check(capsys: pytest.CaptureFixture[str], test_data: Path, tmp_path: Path) -> None:
    sample = test_data / "ohp-t152-longslit-2022/2022-09-20/raw"
    status, out, _ = run(capsys, "instrument", "check", "ohp-t152", "--sample", sample)
    assert status == 0
    assert "card EXPOSURE of HDU 0 = 1200.0" in out
    assert "OHP-T152 version 1: 6 datasets, 0 refused, 0 ignored." in out
    (tmp_path / "IMG_1.fits").write_text("no FITS")
    (tmp_path / "IMG_2.fits").write_text("no FITS")
    command = ("instrument", "check", "ohp-t152", "--sample", tmp_path)
    status, out, _ = run(capsys, *command)
    assert status == 1
    assert out.count("fits no file-name pattern") == 1
    assert "OHP-T152 version 1: 0 datasets, 2 refused" in out
    status, out, _ = run(capsys, *command, "--format", "json")
    assert (status, json.loads(out)["summary"]["refused"]) == (1, 2)


def test_versions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    Butler.create(repo).close()
    status, out, _ = run(capsys, "instrument", "register", repo, "demo")
    assert (status, out) == (0, "Registered DemoCam: 4 detectors, 2 filters.\n")
    text = load_shipped("demo").to_yaml().replace("name: D3", "name: D33")
    (tmp_path / "demo.yaml").write_text(text)
    _, out, _ = run(capsys, "instrument", "register", repo, tmp_path / "demo.yaml", "--dry-run")
    assert "detectors[3].name: 'D3' became 'D33'" in out
    assert out.endswith("Would register DemoCam: 4 detectors, 2 filters.\n")
    run(capsys, "instrument", "register", repo, tmp_path / "demo.yaml")
    _, out, _ = run(capsys, "instrument", "register", repo, tmp_path / "demo.yaml")
    assert out.startswith("It is as it was; there is no new version.")
    _, out, _ = run(capsys, "instrument", "history", repo, "DemoCam", "--format", "json")
    assert [row["version"] for row in json.loads(out)] == [1, 2]
    _, out, _ = run(capsys, "instrument", "diff", repo, "DemoCam", 1, 2, "--format", "json")
    assert json.loads(out) == [{"key": "detectors[3].name", "old": "D3", "new": "D33"}]
    _, out, _ = run(capsys, "instrument", "show", repo, "DemoCam", "--version", 1)
    assert out == load_shipped("demo").to_yaml()
    status, _, err = run(capsys, "instrument", "show", repo, "DemoCam", "--version", 9)
    assert status == 1
    assert "There is no version '9' of DemoCam" in err
    assert "`skyspine instrument history REPO DemoCam` lists them." in err


def test_the_page_on_adding_a_camera_as_it_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"^```yaml\n(name: .*?)^```", page, re.MULTILINE | re.DOTALL)
    Path("mycamera.yaml").write_text(text)
    Path("tonight").mkdir()
    for n, kind in enumerate(("Bias Frame", "Flat Field", "Light Frame")):
        cards = {"DATE-OBS": f"2025-03-10T22:0{n}:00", "EXPTIME": 9.0, "INSTRUME": "MyCam"}
        frame = fits.PrimaryHDU()
        frame.header.update({**cards, "FILTER": "V", "IMAGETYP": kind, "OBJECT": "M 1"})
        frame.writeto(f"tonight/{n}.fits")
    Path("one_frame.fits").write_bytes(Path("tonight/0.fits").read_bytes())
    commands = re.findall(r"^\$ skyspine (.*)$", page, re.MULTILINE)
    assert len(commands) == 13
    (visits,) = re.findall(r"^```yaml\n(extra:\n  group.*?)^```", page, re.MULTILINE | re.DOTALL)
    outputs: list[str] = []
    for command in commands:
        if len(outputs) == 10:
            Path("mycamera.yaml").write_text(text + visits)
        elif "register" in command and "--dry-run" in command:
            Path("mycamera.yaml").write_text(text.replace("aliases: [V]", "aliases: [V, Vis]"))
        status, out, err = run(capsys, *shlex.split(command.replace("/data/", "")))
        assert (status, err) == (0, ""), command
        outputs.append(out)
    assert "MyCam version 1: 3 datasets, 0 refused, 0 ignored." in outputs[0]
    assert outputs[4].startswith("2 datasets into 'MyCam/raw'; 1 were there")
    assert "filters[Johnson V].aliases: ['V'] became ['V', 'Vis']" in outputs[5]
    assert "3 raw" in outputs[7]
    # the light frame stays a visit; those of the bias and the flat go
    assert outputs[11] == (
        "Would be: 0 visits new, 0 changed, 2 removed, 1 as they were, 0 refused.\n"
    )
    assert outputs[12] == outputs[11].removeprefix("Would be: ")


def test_names_of_an_archive(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    repo, archive = tmp_path / "repo", tmp_path / "archive"
    with Butler.create(repo) as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type("note", ("instrument", "detector"), "StructuredDataDict")
    archive.mkdir()
    for n in (1, 2):
        (archive / f"ccd-{n:03d}.json").write_text(f'{{"n": {n}}}')
    command = ("ingest-named", repo, "note", archive, "--template", "ccd-{detector:03d}")
    status, out, _ = run(capsys, *command, "--dry-run")
    assert status == 0
    assert "{instrument: 'DemoCam', detector: 2}" in out
    assert run(capsys, *command)[0] == 2
    status, out, err = run(capsys, *command, "--run", "arc")
    assert (status, out, err) == (0, "2 datasets into 'arc'; 0 were there, 0 refused.\n", "")
    status, out, _ = run(capsys, "find-file", repo, "ccd-002.json", "--format", "json")
    (found,) = json.loads(out)
    assert (status, found["path"]) == (0, str(archive / "ccd-002.json"))
    assert run(capsys, "find-file", repo, "ccd-003.json")[0] == 1
    (archive / "ccd-077.json").write_text("{}")
    status, _, err = run(capsys, *command, "--run", "arc")
    assert status == 1
    assert f"{archive / 'ccd-077.json'}: There is no detector '77' of DemoCam" in err
