"""What a person sees who arranges a repository from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import Butler
from tests.butler.test_transfer import fill, put
from tests.workflow.test_exchange_commands import skyspine
from workflow.cli import COMMANDS, IN_LSST

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> str:
    with Butler.create(tmp_path / "site") as butler:
        fill(butler)
        for run in ("first", "second"):
            for n in range(3):
                put(butler, n, run)
    return str(tmp_path / "site")


def counts(capsys: pytest.CaptureFixture[str], site: str, name: str) -> list[str]:
    _, said, _ = skyspine(capsys, "query-datasets", site, "-i", name, "--count", "--format", "csv")
    return said.splitlines()[1:]


def test_collections_are_made_chained_and_removed(
    capsys: pytest.CaptureFixture[str], site: str
) -> None:
    asked = ("collection", "register", site, "u/me", "--type", "tagged", "--doc", "mine")
    assert skyspine(capsys, *asked)[:2] == (0, "Made the TAGGED collection 'u/me'.\n")
    assert skyspine(capsys, *asked)[1] == "There is already the TAGGED collection 'u/me'.\n"
    chain = ("collection", "chain", site, "view")
    for more, children in (
        (("first",), "first"),
        (("second", "--first"), "second, first"),
        (("u/me", "--last"), "second, first, u/me"),
        (("first", "--out"), "second, u/me"),
        (("second", "u/me", "--out"), "nothing"),
        (("first", "second"), "first, second"),
    ):
        assert skyspine(capsys, *chain, *more) == (0, f"'view' searches {children}.\n", "")
    status, _, told = skyspine(capsys, "collection", "remove", site, "first")
    assert (status, "'first' is chained in view" in told) == (1, True)
    assert skyspine(capsys, "collection", "remove", site, "view")[0] == 0
    status, _, told = skyspine(capsys, "collection", "remove", site, "first")
    assert (status, "skyspine remove-runs" in told) == (1, True)


def test_datasets_are_tagged_and_untagged(capsys: pytest.CaptureFixture[str], site: str) -> None:
    tag = ("collection", "tag", site, "good", "summary", "-i", "first,second")
    assert skyspine(capsys, *tag, "--dry-run")[1] == "Would tag 3 datasets in 'good'.\n"
    assert skyspine(capsys, *tag)[1] == "Tagged 3 datasets in 'good'.\n"
    assert counts(capsys, site, "good") == ["summary,3"]
    untag = ("collection", "untag", site, "good", "summary", "--where", "healpix = 1")
    assert skyspine(capsys, *untag, "--dry-run")[1] == "Would take 1 datasets out of 'good'.\n"
    assert skyspine(capsys, *untag)[1] == "Took 1 datasets out of 'good'.\n"
    assert counts(capsys, site, "good") == ["summary,2"]
    status, said, told = skyspine(capsys, "collection", "untag", site, "first", "summary")
    assert (status, said, "only a TAGGED one" in told) == (1, "", True)


def test_datasets_are_pruned(capsys: pytest.CaptureFixture[str], site: str) -> None:
    skyspine(capsys, "collection", "tag", site, "good", "summary", "-i", "first")
    prune = ("prune-datasets", site, "summary", "-i", "first", "--format", "csv")
    status, said, _ = skyspine(capsys, *prune, "--dry-run")
    assert (status, said.splitlines()[1:]) == (0, ["summary loses its files,,3"])
    status, said, told = skyspine(capsys, *prune, "--where", "healpix < 2")
    assert (status, told) == (0, "Removed the files of 2 datasets.\n")
    assert counts(capsys, site, "first") == ["summary,3"]
    status, said, told = skyspine(capsys, *prune, "--purge")
    assert (status, said.splitlines()[1:]) == (1, ["summary goes,,3", "tag goes,good,3"])
    assert "Repeat with --yes" in told
    assert skyspine(capsys, *prune, "--purge", "--yes")[::2] == (0, "Removed 3 datasets.\n")
    assert counts(capsys, site, "*") == ["summary,3"]
    status, said, told = skyspine(capsys, *prune)
    assert (status, said, "first" in told) == (0, "what,where,n\n", True)


def test_dataset_types_come_and_go(capsys: pytest.CaptureFixture[str], site: str) -> None:
    register = ("register-dataset-type", site, "calexp", "Exposure")
    status, said, told = skyspine(capsys, *register, "instrument", "exposure", "detector")
    assert (status, told) == (0, "")
    assert said.startswith("Registered calexp: Exposure by instrument, ")
    status, _, told = skyspine(capsys, "register-dataset-type", site, "x", "Exposur")
    assert (status, "Did you mean 'Exposure'" in told) == (1, True)
    status, _, told = skyspine(capsys, "register-dataset-type", site, "x", "Exposure", "exposur")
    assert (status, "Did you mean 'exposure'" in told) == (0, True)
    assert skyspine(capsys, "remove-dataset-type", site, "x")[0] == 0
    status, _, told = skyspine(capsys, "remove-dataset-type", site, "summary")
    assert (status, "purge them first" in told) == (1, True)


def test_the_words_of_lsst_lead_to_these(capsys: pytest.CaptureFixture[str], site: str) -> None:
    for theirs, ours in IN_LSST.items():
        assert theirs not in COMMANDS
        status, _, told = skyspine(capsys, theirs, site)
        assert (status, f"That is `skyspine {ours}` here." in told) == (2, True)
        assert skyspine(capsys, *ours.split(), "--help")[0] == 0
