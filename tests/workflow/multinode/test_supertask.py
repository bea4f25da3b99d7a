"""Is a SuperTask that declares a geometry run by it, and what it declares checked?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflow.multinode.tasks import RotateConfig, RotateTask
from workflow.cli import main
from workflow.errors import TaskDefinitionError, UnprocessableData
from workflow.multicore import Grant, use
from workflow.multinode import Placement, RankFailed, Ring
from workflow.multinode.supertask import run_by_geometry
from workflow.task import SuperTask

VALUES = [1.0, 20.0, 300.0, 4000.0, 50000.0]


@pytest.mark.parametrize(
    ("placement", "ranks"),
    [("threads:1", 1), ("threads:2", 2), ("threads:9", 5), ("processes:3", 3), ("threads", 3)],
)
def test_outputs_of_all_ranks_are_put_together(placement: str, ranks: int) -> None:
    config = RotateConfig()
    config.factor = 3.0
    task = RotateTask(config, name="turn")
    with use(Grant(4)):
        made = run_by_geometry(task, {"values": VALUES}, Placement.of(placement))
    assert made.rotated == [60.0, 900.0, 12000.0, 150000.0, 3.0]
    assert made.total == {"total": 162963.0}
    assert task.metadata["total"] == 162963.0
    backend = placement.partition(":")[0]
    assert task.metadata["multinode"].to_dict() == {
        "backend": backend if ranks > 1 else "threads", "ranks": ranks, "places": 5,
    }  # fmt: skip
    assert task.metadata["cores"] == max(1, 4 // ranks)


def test_run_takes_the_place_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSPINE_NODES", "threads:4")
    task: Any = RotateTask()
    assert task.run(values=VALUES).total == {"total": 108642.0}
    assert task.metadata["multinode.ranks"] == 4
    assert task.metadata["timing.run.calls"] == 1


def test_without_a_word_the_cores_of_the_job_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYSPINE_NODES", raising=False)
    for cores, ranks in ((1, 1), (2, 2), (9, 3)):
        task: Any = RotateTask()
        with use(Grant(cores)):
            task.run(values=VALUES)
        assert task.metadata["multinode.ranks"] == ranks


@pytest.mark.parametrize("placement", ["threads:2", "processes:2"])
def test_what_a_rank_raises_keeps_its_class(placement: str) -> None:
    config = RotateConfig()
    config.fails_at = 4
    with pytest.raises(UnprocessableData, match="no value here") as caught:
        run_by_geometry(RotateTask(config), {"values": VALUES}, Placement.of(placement))
    assert caught.value.metadata == {"place": 4}
    assert isinstance(caught.value.__cause__, RankFailed)
    assert caught.value.__cause__.rank == 1


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"multinode": Ring}, "it declares `multinode` and needs a method `geometry`"),
        ({"multinode": Ring, "geometry": lambda *_: Ring(1)}, "needs a method `run_nodes`"),
        ({"ranks": 0}, "ranks is a whole number from 1 on, not 0"),
        ({"cores": "4"}, "cores is a whole number from 1 on, not '4'"),
        ({"memory_per_core": -1}, "memory_per_core is a whole number from 0 on"),
    ],
)
def test_a_declaration_that_cannot_work_is_told(declared: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskDefinitionError, match=told):
        type("WrongTask", (SuperTask,), declared)


def test_a_task_without_geometry_has_no_ranks() -> None:
    class PlainTask(SuperTask):
        """Declare nothing."""

    for call in (PlainTask().geometry, lambda: PlainTask().run_nodes(None)):  # type: ignore[arg-type]
        with pytest.raises(TaskDefinitionError, match="declares no `multinode`"):
            call()


def test_the_command_line_tells_a_back_end_that_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "nowhere", "-p", "demo", "-i", "a", "-o", "b", "--nodes", "mpy:4"])
    assert left.value.code == 1
    assert "There is no back end 'mpy' for multi-node tasks" in capsys.readouterr().err
