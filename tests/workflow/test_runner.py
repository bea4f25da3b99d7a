"""Does a run record what its tasks made, and foresee what it would do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from butler import Butler
from registry import provenance
from tests.workflow import splitting_tasks
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from workflow.runner import RunReport

HERE = splitting_tasks.__name__


@pytest.fixture
def root(tmp_path: Path, empty_database_url: str) -> Path:
    """A repository with the frames of two exposures of two detectors."""
    folder = tmp_path / "repo"
    with Butler.create(folder, empty_database_url) as butler:
        butler.register_instrument("demo")
        night = {"instrument": "DemoCam", "id": 20250310, "begin_tai_ns": 0, "end_tai_ns": 1000}
        butler.registry.insert_dimension_records("day_obs", [night])
        exposures = [
            {
                "instrument": "DemoCam",
                "id": n,
                "obs_id": str(n),
                "day_obs": 20250310,
                "observation_type": "science",
                "begin_tai_ns": n,
                "end_tai_ns": n + 1,
            }
            for n in (1, 2)
        ]
        butler.registry.insert_dimension_records("exposure", exposures)
        butler.register_dataset_type("frame", splitting_tasks.DETECTOR, "StructuredDataDict")
        with butler.transaction():
            for n in (1, 2):
                for d in (1, 2):
                    keys = {"instrument": "DemoCam", "exposure": n, "detector": d}
                    butler.put({"value": 10.0 * n + d}, "frame", keys, run="raw")
    return folder


def ran(root: Path, tasks: dict[str, str], **options: object) -> RunReport:
    """Run a pipeline of some of the tasks: label to class, with ``:`` and more YAML after it."""
    lines = ["description: numbers", "tasks:"]
    for label, what in tasks.items():
        cls, _, more = what.partition(":")
        lines += [f"  {label}:", f"    class: {HERE}.{cls}", *([f"    {more}"] if more else [])]
    pipeline = Pipeline.from_yaml("\n".join(lines) + "\n")
    return run_pipeline(root, pipeline, inputs=["raw"], output="out", **options)  # type: ignore[arg-type]


def values(root: Path, name: str) -> dict[tuple[object, object], float]:
    with Butler(root, collections="out") as butler:
        return {
            (r.data_id["exposure"], r.data_id["detector"]): butler.get(r)["of"]
            for r in butler.query_datasets(name)
        }


def test_an_output_for_each_of_the_inputs(root: Path) -> None:
    report = ran(root, {"split": "SplitTask", "halve": "HalveTask"})
    assert dict(report.states) == {("split", "done"): 2, ("halve", "done"): 4}
    assert values(root, "part") == {(1, 1): 11, (1, 2): 12, (2, 1): 21, (2, 2): 22}
    assert values(root, "half") == {(1, 1): 5.5, (1, 2): 6, (2, 1): 10.5, (2, 2): 11}


def test_what_was_made_of_partial_outputs_is_kept(root: Path) -> None:
    tasks = {"split": "SplitTask:config: {give_up_on: 2}", "halve": "HalveTask"}
    report = ran(root, tasks)
    assert dict(report.states) == {
        ("split", "done"): 2,
        ("halve", "done"): 2,
        ("halve", "blocked"): 2,
    }
    assert [r.error for r in report.partial] == ["detector 2 is dark"] * 2
    assert values(root, "part") == {(1, 1): 11, (2, 1): 21}
    with Butler(root) as butler, butler.registry.read() as connection:
        quanta = provenance.quanta_of_run(connection, report.run)
    told = {(q["label"], q["state"], q["exception_class"]) for q in quanta}
    assert told == {
        ("split", "done", "PartialOutputs"),
        ("halve", "done", None),
        ("halve", "blocked", None),
    }


def test_a_wrong_number_of_outputs_is_told(root: Path) -> None:
    report = ran(root, {"split": "SplitTask:config: {forget_one: true}"})
    assert dict(report.states) == {("split", "failed"): 2}
    assert "'parts': 1 objects for 2 datasets" in report.failures[0].error
    assert "None for one that was not made" in report.failures[0].error


def test_an_output_that_cannot_be_foreseen_blocks(root: Path) -> None:
    report = ran(root, {"tile": "PerDetectorTask"})
    assert dict(report.states) == {("tile", "blocked"): 2}
    [reason] = {reason for _, reason in report.blocked}
    assert reason.endswith("none has skymap and tract and patch.")


def test_a_dry_run_counts_every_stage_and_records_nothing(root: Path) -> None:
    tasks = {
        "level": "LevelTask:certify: {level: {validity: night}}",
        "subtract": "SubtractTask",
        "split": "SplitTask",
        "halve": "HalveTask",
    }
    foreseen = ran(root, tasks, dry_run=True)
    assert dict(foreseen.states) == {
        ("level", "ready"): 2,
        ("subtract", "ready"): 4,
        ("split", "ready"): 2,
        ("halve", "ready"): 4,
    }
    with Butler(root) as butler:
        assert [c.name for c in butler.registry.collections()] == ["raw"]
    report = ran(root, tasks)
    assert dict(report.states) == {(label, "done"): n for (label, _), n in foreseen.states.items()}
    again = ran(root, tasks, dry_run=True, resume=True)
    assert again.states == report.states


def test_a_dry_run_tells_what_would_be_blocked(root: Path) -> None:
    foreseen = ran(root, {"subtract": "SubtractTask"}, dry_run=True)
    assert dict(foreseen.states) == {("subtract", "blocked"): 4}
    assert all("No level" in reason for _, reason in foreseen.blocked)
