"""What a person sees who reads, takes from and removes from repositories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from butler import Butler
from tests.butler.test_transfer import fill, put
from tests.registry.provenance_graphs import Task, make
from tests.workflow.test_exchange_commands import skyspine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> str:
    with Butler.create(tmp_path / "site") as butler:
        fill(butler)
        raw = [put(butler, n, "raw") for n in range(3)]
        made = [put(butler, n, "made") for n in range(3)]
        make(butler.registry, Task("made", "reduce"), [(raw, made, "done")])
        butler.collections.chain("all", ["made"])
    return str(tmp_path / "site")


def test_inputs_are_given_listed_moved_and_removed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, site: str
) -> None:
    mine = str(tmp_path / "mine")
    status, said, _ = skyspine(capsys, "create", mine, "--input", site)
    assert status == 0
    assert f"It reads {site} too.\nNext: skyspine query-collections {mine}\n" in said
    status, said, _ = skyspine(capsys, "query-datasets", mine, "summary", "--all", "--by", "run")
    assert [line.split() for line in said.splitlines()[2:]] == [["made", "3"], ["raw", "3"]]
    status, said, told = skyspine(capsys, "repository", "inputs", mine, "--format", "json")
    [row] = json.loads(said)
    assert (status, row["folder"], row["state"]) == (0, site, "there")

    (tmp_path / "site").rename(tmp_path / "moved")
    status, said, told = skyspine(capsys, "query-datasets", mine, "summary")
    assert status == 1
    assert f"is not in {site} any more" in told
    assert f"skyspine repository inputs {mine} --relocate FOLDER" in told
    status, said, _ = skyspine(capsys, "repository", "inputs", mine)
    assert status == 1
    assert "gone: no repository is there" in said
    moved = str(tmp_path / "moved")
    status, said, _ = skyspine(capsys, "repository", "inputs", mine, "--relocate", moved)
    assert (status, moved in said) == (0, True)
    status, _, told = skyspine(capsys, "repository", "inputs", mine, "--add", mine)
    assert (status, "this repository itself" in told) == (1, True)
    status, said, _ = skyspine(capsys, "repository", "inputs", mine, "--remove", row["repository"])
    assert (status, "no rows" in said) == (0, True)
    status, _, told = skyspine(capsys, "create", str(tmp_path / "new"), "--input", "nowhere")
    assert (status, "holds no repository" in told) == (1, True)
    assert not (tmp_path / "new").exists()


def test_datasets_are_transferred_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, site: str
) -> None:
    mine = str(tmp_path / "mine")
    assert skyspine(capsys, "create", mine)[0] == 0
    asked = ["transfer", mine, site, "summary", "-i", "made"]
    status, said, _ = skyspine(capsys, *asked, "--dry-run")
    assert (status, said) == (0, "Would transfer 3 datasets, of which 0 are known here.\n")
    status, said, _ = skyspine(capsys, *asked)
    assert (status, said) == (
        0, "Transferred 3 datasets with 3 files and 1 steps of their history.\n",
    )  # fmt: skip
    status, said, _ = skyspine(capsys, *asked)
    assert said.endswith("Transferred 0 datasets with 0 files and 0 steps of their history. 3 were"
                         " there already.\n")  # fmt: skip
    status, _, told = skyspine(capsys, *asked[:-1], "raw", "--where", "healpix > 77")
    assert (status, "nothing was transferred" in told) == (1, True)
    status, said, _ = skyspine(capsys, "provenance", mine, "summary", "-i", "made")
    assert status == 0
    assert "<- reduce in made" in said


def test_a_run_is_removed_after_what_depends_on_it_was_told(
    capsys: pytest.CaptureFixture[str], site: str
) -> None:
    status, said, told = skyspine(capsys, "remove-runs", site, "made", "--dry-run")
    rows = [line.split("  ") for line in said.splitlines()[2:]]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["summary goes", "3"],
        ["taken out of a chain", "all", "1"],
        ["task goes with its history", "1"],
    ]
    status, _, told = skyspine(capsys, "remove-runs", site, "made")
    assert (status, "Repeat with --yes" in told) == (1, True)
    status, _, told = skyspine(capsys, "remove-runs", site, "raw", "--yes")
    assert (status, told) == (0, "Removed 3 datasets. 3 left a row behind, for the history.\n")
    status, said, _ = skyspine(capsys, "provenance", site, "summary", "-i", "made")
    assert said.count("summary {instrument: 'Cam', healpix: ") == 3 + 9
    status, _, told = skyspine(capsys, "remove-runs", site, "made", "--yes")
    assert (status, told) == (0, "Removed 3 datasets.\n")
    status, _, told = skyspine(capsys, "remove-runs", site, "mad")
    assert (status, "no collection 'mad'" in told) == (1, True)
    with Butler(site) as butler:
        assert list(butler.root.rglob("summary_*")) == []
        assert [c.name for c in butler.collections.query()] == ["all", "raw"]
