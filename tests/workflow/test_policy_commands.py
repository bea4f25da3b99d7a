"""What an operator sees who sets how datasets are stored, and does the page run as it stands?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from butler import Butler
from tests.workflow.test_exchange_commands import skyspine

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "formats-and-policies.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ skyspine (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+]+")


def words(text: str) -> list[list[str]]:
    """Give the words of each line, without rulers and with all times alike."""
    lines = [TIME.sub("TIME", line).split() for line in text.splitlines()]
    return [line for line in lines if line and not set("".join(line)) <= {"-"}]


def test_the_page_runs_as_it_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "ann")
    for kind, text in BLOCK.findall(PAGE.read_text("utf-8")):
        if kind == "python":
            exec(text, {})  # noqa: S102 (the page's own)
            continue
        for command, expected in COMMAND.findall(text):
            _, said, told = skyspine(capsys, *shlex.split(command))
            if expected.strip() != "...":
                found, wanted = words(said + told), words(expected)
                assert len(found) == len(wanted), command
                for line, like in zip(found, wanted, strict=True):
                    assert len(line) == len(like), command
                    pairs = zip(line, like, strict=True)
                    assert [b for _, b in pairs if b != "..."] == [
                        a for a, b in zip(line, like, strict=True) if b != "..."
                    ], command
    with Butler("repo", collections=["try", "again"]) as butler:
        suffixes = sorted(p.suffix for p in butler.root.rglob("notes_*"))
        assert suffixes == [".json", ".json", ".yaml"]  # that as YAML is trash
        assert butler.get("notes", collections="again") == {"seeing": 0.9}


def test_what_is_set_is_shown_loaded_checked_and_taken_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repo, away = str(tmp_path / "repo"), tmp_path / "archive"
    away.mkdir()
    Butler.create(repo).close()

    def run(*arguments: str) -> tuple[int, str, str]:
        return skyspine(capsys, *arguments)

    assert run("policy", "set", repo, "fsync")[0] == 2
    status, _, told = run("policy", "set", repo, "level=3")
    assert (status, "stands beside it: format=NAME level=..." in told) == (1, True)
    run("endpoint", "add", repo, "archive", str(away))
    status, said, _ = run("policy", "set", repo, "endpoint=archive", "fsync=on")
    assert (status, said) == (0, "repository: endpoint = archive\nrepository: fsync = yes\n")
    assert run("policy", "set", repo, "fsync=yes")[1] == "That is how it was already.\n"
    assert run("policy", "unset", repo, "fsync")[1] == "repository: fsync taken back.\n"
    status, said, _ = run("policy", "show", repo, "--history")
    assert [line.split()[:3] for line in said.splitlines()[2:]] == [
        ["repository", "endpoint", "archive"],
        ["repository", "fsync", "yes"],
        ["repository", "fsync", "(taken"],
    ]
    _, document, _ = run("policy", "show", repo, "--yaml")
    (tmp_path / "policy.yaml").write_text(document + "- {storage_class: Table, fromat: ecsv}\n")
    file = str(tmp_path / "policy.yaml")
    status, _, told = run("policy", "check", repo, file)
    assert (status, "Rule 2 (storage class Table)" in told, "'format'?" in told) == (1, True, True)
    (tmp_path / "policy.yaml").write_text("- {storage_class: Table, format: ecsv}\n")
    said = run("policy", "load", repo, file, "--dry-run")[1]
    assert said.splitlines() == [
        "storage class Table: format = ecsv",
        "repository: endpoint = (taken back)",
        "2 settings would change.",
    ]
    assert run("policy", "load", repo, file)[1].endswith("2 settings changed.\n")
    assert run("policy", "check", repo)[1] == "All 1 settings can be kept to.\n"
    status, _, told = run("policy", "load", repo, str(tmp_path / "none.yaml"))
    assert (status, "cannot be read: No such file" in told) == (1, True)


def test_what_cannot_be_kept_to_any_more_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repo = str(tmp_path / "repo")
    with Butler.create(repo) as butler:
        butler.policy.set(dataset_type="objects", format="csv")
        butler.register_dataset_type("objects", (), "StructuredDataDict")
    status, _, told = skyspine(capsys, "policy", "check", repo)
    assert status == 1
    assert "dataset type objects: format: The formatter csv writes pandas.DataFrame" in told
    assert "1 of 1 settings cannot be kept to" in told


def test_a_conversion_is_tried_made_and_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repo = str(tmp_path / "repo")
    with Butler.create(repo) as butler:
        butler.register_dataset_type("notes", (), "StructuredDataDict")
        butler.put({"a": [1, 2.5]}, "notes", run="try")

    def run(*arguments: str) -> tuple[int, str, str]:
        return skyspine(capsys, "convert", repo, "notes", "-i", "try", *arguments)

    status, _, told = run("--to", "jsom")
    assert (status, "Did you mean 'json'" in told) == (1, True)
    status, _, told = run("--to", "parquet")
    assert (status, "use yaml or json" in told) == (1, True)
    assert run("--option", "level=3")[0] == 2
    status, said, told = run("--to", "json")
    assert (status, said.splitlines()[-1].split()[:5]) == (0, ["yaml", "root", "json", "root", "1"])
    assert "Converted 1 files" in told
    assert f"skyspine check {repo} --repair" in told
    with Butler(repo, collections="try") as butler:
        assert butler.get("notes") == {"a": [1, 2.5]}
        [old] = [p for p in butler.root.rglob("notes_*") if p.suffix == ".yaml"]
        [new] = [p for p in butler.root.rglob("notes_*") if p.suffix == ".json"]
        new.unlink()
    status, _, told = run("--to", "yaml")
    assert (status, "is not there" in told, "1 datasets stay as they were" in told) == (1, 1, 1)
    assert old.exists()
