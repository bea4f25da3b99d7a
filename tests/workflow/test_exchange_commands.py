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


def test_there_and_back(
    capsys: pytest.CaptureFixture[str], repo: str, other: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    asked = ["metrics", "flat", "-i", "day,flats", "--also", "calib", "--where", "detector = 0"]
    status, said, told = skyspine(capsys, "export", repo, out, *asked, "--dry-run")
    assert (status, said) == (0, f"Would export 2 datasets to {out}.\n")
    assert not (tmp_path / "out").exists()
    status, said, told = skyspine(capsys, "export", repo, out, *asked)
    assert status == 0
    assert said.startswith("Exported 2 datasets, 2 with files, and 6 dimension records (1 instr")
    assert "Note: exposures without a group: obs_id is written as their group.\n" in told
    status, said, told = skyspine(capsys, "import", other, out)
    assert (status, told) == (0, "")
    assert said.startswith("Imported 2 datasets, 2 with files, and 6 dimension records (")
    status, said, _ = skyspine(capsys, "import", other, out)
    assert (status, said) == (
        0,
        "Imported 0 datasets, 0 with files, and no dimension records. 2 were there already.\n",
    )
    with Butler(other, collections=["calib", "day"]) as butler:
        assert butler.get("metrics", instrument="Cam", exposure=1, detector=0) == {"seeing": 0.7}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["export", "{repo}", "{tmp}/x", "metrics"], 2, "--collections"),
        (["export", "{repo}", "{tmp}/x", "metrics", "-i", "flats"], 1, "No metrics was found in"),
        (["export", "{repo}", "{tmp}/x", "metric", "-i", "day"], 1, "Did you mean 'metrics'?"),
        (["import", "{repo}", "{tmp}/gone.yaml"], 1, "There is no export file"),
        (["import", "{repo}", "{tmp}"], 1, "export.yaml"),
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
