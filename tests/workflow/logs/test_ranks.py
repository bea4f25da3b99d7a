"""Is what ranks and their worker processes log kept with the quantum, and with the rank?"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from tests.workflow import faults
from tests.workflow.multinode.logging_tasks import TellingTask
from workflow import logs
from workflow.cli import main
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline

if TYPE_CHECKING:
    from pathlib import Path

NIGHT = 20250311  # exposures 4 to 6: places 0 to 2
VALUES = [401.0, 501.0, 601.0]


def ran(root: Path, url: str | None, **config: int) -> list[dict[str, Any]]:
    """Run one quantum of a new repository; give what is kept in its log."""
    told = f"tasks:\n  telling: {{class: {TellingTask.__module__}.TellingTask, config: {config}}}"
    with Butler.create(root, url) as butler:
        faults.fill(butler)
        report = run_pipeline(
            root,
            Pipeline.from_yaml(told),
            inputs=["frames"],
            output="out",
            where=f"day_obs = {NIGHT}",
        )
        assert dict(report.states) == {
            ("telling", "failed" if config.get("fails_at", -1) >= 0 else "done"): 1
        }
        assert logs.close() == []
        rows = butler.registry.logs.records(run="out", where=f"day_obs = {NIGHT}")
        assert rows == butler.registry.logs.records(label="telling")
        assert len({row["quantum_id"] for row in rows}) == 1
        return rows


def assert_whole(rows: list[dict[str, Any]], ranks: int) -> None:
    """Find what three places and three halvings tell, each once, from the rank that did it."""
    told = Counter((r["message"], r["context"]["rank"], r["context"].get("place")) for r in rows)
    holders = {1: [0, 0, 0], 2: [0, 1, 1], 3: [0, 1, 2]}[ranks]
    assert told == Counter(
        [(f"value {VALUES[place]:g}", holders[place], place) for place in range(3)]
        + [("in detail", holders[place], place) for place in range(3)]
        + [(f"halved {value:g}", 0, None) for value in VALUES]
    )
    assert {r["logger"] for r in rows} == {"skyspine.telling", "skyspine.halved"}


def test_records_of_processes_are_found_with_their_quantum(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", "processes:3")
    logs.configure(logs.settings_from(None, ["skyspine.telling=debug"], environment=False))
    assert_whole(ran(tmp_path / "repo", database_url), 3)


@pytest.mark.parametrize("way", ["threads", "mpi", "rabbitmq"])
def test_records_of_every_back_end_are(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, rabbitmq: str
) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", f"{way}:2")
    monkeypatch.setenv("SKYSPINE_AMQP_URL", rabbitmq)
    logs.configure(logs.settings_from(None, ["skyspine.telling=debug"], environment=False))
    assert_whole(ran(tmp_path / "repo", None), 2)


@pytest.mark.parametrize("way", ["processes", "mpi"])
def test_what_a_rank_tells_before_it_raises_is_kept(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", f"{way}:3")
    logs.configure(logs.settings_from(None, [], environment=False))
    rows = ran(tmp_path / "repo", None, fails_at=2)
    assert "value 601" in {r["message"] for r in rows if r["context"].get("rank") == 2}
    (failure,) = [r for r in rows if r["level"] == logging.ERROR]
    assert failure["message"] == "Failed: UnprocessableData: no value here"
    assert "in run_nodes" in failure["exception"]


def test_a_rank_that_logs_too_fast_drops_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", "processes:3")
    file = tmp_path / "log.yaml"
    file.write_text("database: {capacity: 20}\n")
    logs.configure(logs.settings_from(str(file), environment=False))
    kept = sum(r["logger"] == "skyspine.many" for r in ran(tmp_path / "repo", None, many=3000))
    with Butler(tmp_path / "repo") as butler:
        (drop,) = butler.registry.logs.drops()
    assert 0 < drop["n_dropped"] < 3000
    assert kept < 3000


def test_the_command_shows_the_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", "threads:3")
    logs.configure(logs.settings_from(None, [], environment=False))
    ran(tmp_path / "repo", None)
    with pytest.raises(SystemExit):
        main(["log", str(tmp_path / "repo"), "--logger", "skyspine.telling"])
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert "skyspine.telling: value 501 [instrument=DemoCam day_obs=20250311 " in told[1]
    assert "place=1 rank=1" in told[1]
