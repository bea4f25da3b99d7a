"""Is everything that a quantum logs kept with it, whether it succeeds, fails or is killed?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from tests.workflow import faults
from tests.workflow.logs.chatty_tasks import ChattyTask
from workflow import logs
from workflow.cli import main
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BAD = 2
PIPELINE = f"""\
tasks:
  chatty:
    class: {ChattyTask.__module__}.ChattyTask
    config: {{bad: {BAD}}}
"""


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    """Repository with small frames of six exposures."""
    with Butler.create(tmp_path / "repo", database_url) as made:
        faults.fill(made)
        yield made


@pytest.fixture(scope="module")
def chatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which quanta have logged."""
    root = tmp_path_factory.mktemp("chat") / "repo"
    with Butler.create(root) as made:
        faults.fill(made)
        ran(made)
    return root


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    path = tmp_path / "chatty.yaml"
    path.write_text(PIPELINE)
    return str(path)


def ran(butler: Butler, jobs: int = 1, **how: Any) -> None:
    report = run_pipeline(
        butler.root, Pipeline.from_yaml(PIPELINE), inputs=["frames"], output="out", jobs=jobs, **how
    )
    assert dict(report.states) == {("chatty", "done"): 5, ("chatty", "failed"): 1}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_quanta_log_is_found_with_them(butler: Butler, jobs: int) -> None:
    logs.configure(logs.settings_from(None, ["info"], environment=False))
    logging.getLogger("outside").warning("not of a quantum")
    ran(butler, jobs)
    asked = butler.registry.logs
    for exposure in range(1, 7):
        rows = asked.records(run="out", where=f"exposure = {exposure}")
        told = [r["message"] for r in rows if r["level"] < logging.ERROR]
        assert told == [f"level {100.0 * exposure + 1:.1f}", "saturated", "from a thread"]
        assert {r["quantum_id"] for r in rows} == {rows[0]["quantum_id"]}
        keys = {"instrument": "DemoCam", "detector": 1, "exposure": exposure}
        assert keys.items() <= rows[1]["context"].items()
        assert rows[1]["context"]["amplifier"] == 2
        assert "amplifier" not in rows[0]["context"]
    assert len(asked.records()) == 19
    (failure,) = asked.records(level=logging.ERROR)
    assert failure["message"] == "Failed: ValueError: bad pixels everywhere"
    assert failure["exception"].rstrip().endswith("ValueError: bad pixels everywhere")
    assert failure["context"]["exposure"] == BAD
    assert logs.close() == []


def test_levels_reach_the_workers(butler: Butler) -> None:
    logs.configure(logs.settings_from(None, ["skyspine.chatty=debug"], environment=False))
    ran(butler, 2)
    found = [r["message"] for r in butler.registry.logs.records(logger="skyspine.chatty")]
    assert found.count("in detail") == 6


def test_without_configuration_warnings_are_kept(butler: Butler) -> None:
    ran(butler)
    found = {r["message"] for r in butler.registry.logs.records(label="chatty")}
    assert found == {"saturated", "Failed: ValueError: bad pixels everywhere"}


def test_nothing_is_kept_where_the_settings_say_so(butler: Butler, tmp_path: Path) -> None:
    file = tmp_path / "log.yaml"
    file.write_text(f"database: false\nfiles: [{{path: {tmp_path / 'a.txt'}, style: text}}]\n")
    logs.configure(logs.settings_from(str(file), environment=False))
    ran(butler)
    assert butler.registry.logs.records() == []
    assert logs.close() == []
    assert (tmp_path / "a.txt").read_text().count("saturated [instrument=DemoCam") == 6


def test_a_database_of_ones_own_gets_everything_once(butler: Butler, tmp_path: Path) -> None:
    file = tmp_path / "log.yaml"
    file.write_text(f"database:\n  url: {butler.registry.database.url}\n")
    logs.configure(logs.settings_from(str(file), environment=False))
    logging.getLogger("outside").warning("not of a quantum")
    ran(butler)
    logs.close()
    found = [r["message"] for r in butler.registry.logs.records()]
    assert len(found) == 20
    assert found[0] == "not of a quantum"


def commanded(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    return left.value.code, *capsys.readouterr()


def test_a_run_and_its_log_by_command(
    butler: Butler, pipeline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = str(butler.root)
    run = ("run", repo, "-p", pipeline, "-i", "frames", "-o", "out")
    status, out, error = commanded(capsys, "--log-level", "skyspine.chatty=debug", *run)
    assert status == 1
    assert "Failed: chatty {instrument: 'DemoCam', detector: 1, exposure: 2}: ValueError" in error
    assert "Traceback" not in error
    assert error.count("WARNING  elsewhere: saturated") == 6
    status, out, error = commanded(capsys, "log", repo, "--where", "exposure=2")
    assert (status, error) == (0, "")
    assert "DEBUG    skyspine.chatty: in detail [instrument=DemoCam detector=1 exposure=2 " in out
    assert "Traceback (most recent call last)" in out
    status, out, _ = commanded(capsys, "log", repo, "--level", "error", "--format", "csv")
    header, row, *_ = out.splitlines()
    assert header == "time,level,logger,label,data,message,run,quantum,exception"
    assert ",ERROR,skyspine.worker,chatty,instrument=DemoCam detector=1 exposure=2," in row
    status, out, error = commanded(capsys, "log", repo, "--limit", "2", "--format", "table")
    assert len(out.splitlines()) == 4
    assert "Only the last 2 are shown; --limit shows more." in error
    quantum = str(butler.registry.logs.records(level=40)[0]["quantum_id"])
    status, out, _ = commanded(capsys, "log", repo, "--quantum", quantum, "--format", "jsonl")
    assert out.count(f'"quantum":"{quantum}"') == 5
    status, out, _ = commanded(capsys, "prune-log", repo, "--before", "0s", "--dry-run")
    assert out.startswith("25 records from before ")
    assert out.endswith(" would be deleted.\n")
    status, out, _ = commanded(capsys, "prune-log", repo, "--before", "0s")
    assert (status, out.endswith(" deleted.\n")) == (0, True)
    assert butler.registry.logs.records() == []


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ("log REPO --label chaty", 0, "There is no task 'chaty'. Did you mean 'chatty'?"),
        ("log REPO --run out --label x", 0, "'out' has no task 'x'. Known: 'chatty'."),
        ("log REPO --run oot", 1, "no collection 'oot'. Did you mean 'out'?"),
        ("log REPO --level wrning", 1, "--level: 'wrning' is no level. Did you mean 'warning'?"),
        ("log REPO --where exposur=1", 1, "Did you mean 'exposure'?"),
        ("log REPO --since yesterday", 2, "'yesterday' is no time: write 2026-11-27"),
        ("log REPO --since 99999999d", 2, "'99999999d' is no time"),
        ("log REPO --quantum 7", 2, "'7' is not a valid UUID"),
        ("log REPO --logger nobody", 0, "No record was found. Quanta log from level info on"),
        ("log REPO --follow --format csv", 2, "--follow goes with --format text or jsonl"),
        ("prune-log REPO", 2, "Missing option '--before'"),
        ("--log-level loud log REPO", 1, "--log-level: 'loud' is no level."),
        ("--log-config REPO/none.yaml log REPO", 1, "none.yaml: it cannot be read: No such file"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    chatted: Path, capsys: pytest.CaptureFixture[str], arguments: str, status: int, told: str
) -> None:
    found = commanded(capsys, *(part.replace("REPO", str(chatted)) for part in arguments.split()))
    assert found[0] == status
    assert told in found[2]
    assert "Traceback" not in found[2]
