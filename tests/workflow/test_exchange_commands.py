"""What a person sees who moves data between repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import Butler
from tests.butler.exchange import small
from workflow.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> str:
    with Butler.create(tmp_path / "repo") as butler:
        small.fill(butler)
    return str(tmp_path / "repo")


@pytest.fixture
def other(tmp_path: Path) -> str:
    Butler.create(tmp_path / "other").close()
    return str(tmp_path / "other")


def skyspine(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["skyspine", *arguments])
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


@pytest.mark.parametrize("name", ["out", "out.zip", "out.yaml"])
def test_there_and_back(
    capsys: pytest.CaptureFixture[str], repo: str, other: str, tmp_path: Path, name: str
) -> None:
    out = str(tmp_path / name)
    records = 6 if name.endswith("yaml") else 5  # with a group for lsst-daf-butler
    asked = ["metrics", "flat", "-i", "day,flats", "--also", "calib", "--where", "detector = 0"]
    status, said, told = skyspine(capsys, "export", repo, out, *asked, "--dry-run")
    assert (status, said) == (0, f"Would export 2 datasets to {out}.\n")
    assert not (tmp_path / name).exists()
    status, said, told = skyspine(capsys, "export", repo, out, *asked)
    assert status == 0
    assert said.startswith(f"Exported 2 datasets, 2 with files, and {records} dimension records (")
    note = "Note: exposures without a group: obs_id is written as their group.\n"
    assert (note in told) == name.endswith("yaml")
    status, said, told = skyspine(capsys, "import", other, out, "--dry-run")
    assert (status, told) == (0, "")
    assert said.startswith(
        f"Would import 2 datasets, 2 with files, and {records} dimension records ("
    )
    status, said, told = skyspine(capsys, "import", other, out)
    assert (status, told) == (0, "")
    assert said.startswith(f"Imported 2 datasets, 2 with files, and {records} dimension records (")
    status, said, _ = skyspine(capsys, "import", other, out)
    assert (status, said) == (
        0,
        "Imported 0 datasets, 0 with files, and no dimension records. 2 were there already.\n",
    )
    with Butler(other, collections=["calib", "day"]) as butler:
        assert butler.get("metrics", instrument="Cam", exposure=1, detector=0) == {"seeing": 0.7}


def test_everything_in_each_format(
    capsys: pytest.CaptureFixture[str], repo: str, other: str, tmp_path: Path
) -> None:
    zipped = str(tmp_path / "there.zip")
    status, said, told = skyspine(
        capsys, "export", repo, zipped, "--everything", "--format", "daf-butler-zip"
    )
    assert status == 0
    assert said.startswith("Exported 6 datasets, 6 with files, and ")
    status, said, _ = skyspine(capsys, "import", other, zipped)
    assert (status, said[:40]) == (0, "Imported 6 datasets, 6 with files, and 1")
    own = str(tmp_path / "own")
    status, said, told = skyspine(capsys, "export", repo, own, "--everything")
    assert (status, told) == (0, "")
    assert said.startswith("Exported 6 datasets, 6 with files, and 13 dimension records (")
    with Butler(other, writeable=True) as butler:
        butler.prune(butler.query_datasets("coadd", collections="day"), unstore=True, purge=True)
    status, said, told = skyspine(capsys, "import", other, own, "--dry-run")
    assert status == 1
    assert "contradicts what is here in" in told
    status, said, told = skyspine(capsys, "import", other, own, "--keep-here")
    assert status == 0
    assert "Imported 1 datasets, 1 with files, and " in said
    assert "what is here was kept" in told


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["export", "{repo}", "{tmp}/x", "metrics"], 2, "--collections"),
        (["export", "{repo}", "{tmp}/x", "metrics", "-i", "flats"], 1, "No metrics was found in"),
        (["export", "{repo}", "{tmp}/x", "metric", "-i", "day"], 1, "Did you mean 'metrics'?"),
        (["export", "{repo}", "{tmp}/x", "-i", "day"], 2, "Name the dataset types"),
        (["export", "{repo}", "{tmp}/x", "raw", "--everything"], 2, "name no dataset types"),
        (["export", "{repo}", "{tmp}/x", "--format", "csv"], 2, "'csv' is not one of"),
        (["export", "{repo}", "{tmp}/x.yaml", "--format", "parquet"], 1, "name one."),
        (["export", "{repo}", "{repo}", "--everything"], 1, "is no part of an export"),
        (["import", "{repo}", "{tmp}/gone.yaml"], 1, "There is no export file"),
        (["import", "{repo}", "{tmp}/gone.zip"], 1, "There is no export"),
        (["import", "{repo}", "{tmp}"], 1, "neither manifest.json nor export.yaml"),
        (["import", "{repo}", "{tmp}", "--transfer", "teleport"], 2, "teleport"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    repo: str,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    sentence: str,
) -> None:
    given = [a.format(repo=repo, tmp=tmp_path) for a in arguments]
    found, said, told = skyspine(capsys, *given)
    assert found == status
    assert sentence in told
    assert "Traceback" not in told + said
    assert not (tmp_path / "x").exists()
