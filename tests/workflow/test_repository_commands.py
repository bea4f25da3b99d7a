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


def test_datasets_of_several_types_are_listed_together(
    capsys: pytest.CaptureFixture[str], site: str
) -> None:
    with Butler(site, writeable=True) as butler:
        butler.register_dataset_type("note", ("instrument",), "StructuredDataDict")
        butler.put({"n": 1}, "note", instrument="Cam", run="made")
    status, said, _ = skyspine(capsys, "query-datasets", site, "-i", "made", "--count")
    assert [line.split() for line in said.splitlines()[2:]] == [["note", "1"], ["summary", "3"]]
    asked = ("query-datasets", site, "s*", "note", "-i", "made", "--format", "json")
    status, said, _ = skyspine(capsys, *asked)
    rows = json.loads(said)
    assert [(r["dataset_type"], r["healpix"]) for r in rows] == [
        ("summary", 0), ("summary", 1), ("summary", 2), ("note", None),
    ]  # fmt: skip
    status, said, _ = skyspine(capsys, *asked, "--limit", "2")
    assert [row["id"] for row in json.loads(said)] == [row["id"] for row in rows[:2]]
    status, said, _ = skyspine(capsys, *asked, "--by", "run", "--all")
    counted = {(r["dataset_type"], r["run"]): r["n"] for r in json.loads(said)}
    assert counted == {("summary", "made"): 3, ("note", "made"): 1}
    status, said, told = skyspine(capsys, *asked, "--where", "healpix = 7")
    assert (status, json.loads(said)) == (0, [])
    assert "passes over: note." in told
    assert "No dataset of 2 types is in made" in told
    status, _, told = skyspine(capsys, "query-datasets", site, "note*", "--where", "healpix = 7")
    assert (status, "Nothing relates 'healpix' to instrument" in told) == (1, True)
    status, said, _ = skyspine(capsys, "query-datasets", site, "s*", "note", "--sql")
    assert (status, "-- note\n" in said, "-- summary\n" in said) == (0, True, True)
    status, _, told = skyspine(capsys, "query-datasets", site, "sumary*")
    assert (status, "Did you mean 'summary'" in told) == (1, True)
    status, _, told = skyspine(capsys, "query-datasets", site, "s*", "n*", "--after", rows[0]["id"])
    assert (status, "--after is for datasets of one type" in told) == (2, True)


def test_files_are_found_and_brought(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, site: str
) -> None:
    asked = ("query-datasets", site, "summary", "-i", "made", "--uri", "--format", "json")
    status, said, _ = skyspine(capsys, *asked)
    uris = [row["uri"] for row in json.loads(said)]
    assert (status, len(set(uris)), "component" in said) == (0, 3, False)
    out = str(tmp_path / "out")
    bring = ("retrieve-artifacts", site, out, "summary", "-i", "made")
    status, said, _ = skyspine(capsys, *bring, "--dry-run")
    assert (status, said) == (0, f"Would bring 3 files of 3 datasets into {out}.\n")
    assert not (tmp_path / "out").exists()
    status, said, _ = skyspine(capsys, *bring, "--flat")
    assert (status, said.startswith("3 files (")) == (0, True)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {u.rpartition("/")[2] for u in uris}
    status, said, _ = skyspine(capsys, *bring, "--flat")
    assert "3 were there already." in said
    status, _, told = skyspine(capsys, *bring, "--where", "healpix = 7")
    assert (status, "Nothing was found, and nothing came. There are" in told) == (1, True)
    with Butler(site, writeable=True) as butler:
        butler.prune(butler.query_datasets("summary", collections="made", where="healpix = 1"))
    status, said, told = skyspine(capsys, *bring)
    assert (status, said.startswith("2 files")) == (1, True)
    assert "is stored of 1 datasets" in told
    status, said, _ = skyspine(capsys, *asked)
    assert sorted(row["uri"] is None for row in json.loads(said)) == [False, False, True]
