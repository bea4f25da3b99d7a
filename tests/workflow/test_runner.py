"""Does a run record what its tasks made, and foresee what it would do?"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from butler import Butler
from registry import provenance
from tests.workflow import splitting_tasks
from workflow.cli import main
from workflow.commands.running import tell
from workflow.errors import TaskError
from workflow.modes import Contradiction, Mode
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline

HERE = splitting_tasks.__name__


def take(butler: Butler, *exposures: int) -> None:
    """Register exposures, and put a frame of two detectors for each."""
    records = [
        {
            "instrument": "DemoCam",
            "id": n,
            "obs_id": str(n),
            "day_obs": 20250310,
            "observation_type": "science",
            "begin_tai_ns": n,
            "end_tai_ns": n + 1,
        }
        for n in exposures
    ]
    butler.registry.insert_dimension_records("exposure", records)
    with butler.transaction():
        for n in exposures:
            for d in (1, 2):
                keys = {"instrument": "DemoCam", "exposure": n, "detector": d}
                butler.put({"value": 10.0 * n + d}, "frame", keys, run="raw")


@pytest.fixture
def root(tmp_path: Path, database_url: str) -> Path:
    """A repository with the frames of two exposures of two detectors."""
    folder = tmp_path / "repo"
    with Butler.create(folder, database_url) as butler:
        butler.register_instrument("demo")
        night = {"instrument": "DemoCam", "id": 20250310, "begin_tai_ns": 0, "end_tai_ns": 1000}
        butler.registry.insert_dimension_records("day_obs", [night])
        butler.register_dataset_type("frame", splitting_tasks.DETECTOR, "StructuredDataDict")
        take(butler, 1, 2)
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


def quanta(root: Path, run: str) -> list[dict[str, Any]]:
    with Butler(root) as butler, butler.registry.read() as connection:
        return provenance.quanta_of_run(connection, run)


CHAIN = {"split": "SplitTask", "halve": "HalveTask"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_nothing_more_is_begun_after_a_failure(root: Path, jobs: int) -> None:
    with Butler(root, writeable=True) as butler:
        take(butler, *range(3, 13))
    tasks = {**CHAIN, "split": "SplitTask:config: {forget_one: true}"}
    report = ran(root, tasks, fail_fast=True, jobs=jobs)
    n_failed = report.states["split", "failed"]
    assert 1 <= n_failed <= 2 * jobs  # each process may have one, and the next to take
    assert n_failed == 1 or jobs > 1
    assert not report.succeeded
    assert set(report.states) <= {("split", "failed"), ("halve", "blocked")}
    again = ran(root, tasks, mode=Mode(resume=True), jobs=jobs)
    assert again.states == Counter({("split", "failed"): 12, ("halve", "blocked"): 24})


def test_a_run_is_extended_and_what_failed_there_stays(root: Path) -> None:
    tasks = {"split": "SplitTask:config: {forget_one: true}"}
    first = ran(root, tasks)
    with Butler(root, writeable=True) as butler:
        take(butler, 3)
    report = ran(root, tasks, mode=Mode(extend=True))
    assert report.run == first.run
    assert dict(report.states) == {("split", "failed"): 3}
    assert len(report.failures) == 1
    assert [q["attempt"] for q in quanta(root, report.run)] == [1, 1, 1]
    ran(root, tasks, mode=Mode(resume=True))
    assert [q["attempt"] for q in quanta(root, report.run)] == [2, 2, 2]


def test_what_exists_in_the_chain_is_taken_and_not_made_again(root: Path) -> None:
    ran(root, {"split": "SplitTask"})
    with Butler(root, writeable=True) as butler:
        take(butler, 3)
    foreseen = ran(root, CHAIN, mode=Mode(skip_existing=True), dry_run=True)
    report = ran(root, CHAIN, mode=Mode(skip_existing=True))
    assert dict(report.states) == {
        ("split", "existing"): 2,
        ("split", "done"): 1,
        ("halve", "done"): 6,
    }
    assert foreseen.states == Counter(
        {("split", "existing"): 2, ("split", "ready"): 1, ("halve", "ready"): 6}
    )
    assert values(root, "half")[1, 2] == 6
    assert len(values(root, "part")) == 6
    with Butler(root) as butler:
        made_here = butler.query_datasets("part", collections=report.run)
    assert {r.data_id["exposure"] for r in made_here} == {3}
    again = ran(root, CHAIN, mode=Mode(resume=True))
    assert again.states == report.states


def test_a_new_run_comes_before_the_others_or_in_place_of_the_last(root: Path) -> None:
    runs = [ran(root, CHAIN).run for _ in range(2)]
    runs.append(ran(root, CHAIN, mode=Mode(replace=True)).run)
    with Butler(root) as butler:
        [chain] = butler.registry.collections("out")
        assert chain.children == (runs[2], runs[0], "raw")
        assert len(butler.query_datasets("half", collections=runs[1])) == 4


def test_only_what_leads_to_the_wanted_is_run(root: Path) -> None:
    report = ran(root, CHAIN, mode=Mode(only=("part",)))
    assert dict(report.states) == {("split", "done"): 2}
    tasks = {"split": "SplitTask", "halve": 'HalveTask:select: {part: "exposure = 1"}'}
    report = ran(root, tasks, mode=Mode(only=("half",)))
    assert dict(report.states) == {
        ("split", "done"): 1,
        ("split", "unwanted"): 1,
        ("halve", "done"): 2,
    }
    with pytest.raises(Contradiction, match=r"makes no hlaf. Did you mean 'half'"):
        ran(root, tasks, mode=Mode(only=("hlaf",)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"resume", "extend"}, "runs again what has failed"),
        ({"resume", "replace"}, "--resume continues the last one"),
        ({"extend", "replace"}, "--extend adds to the last one"),
        ({"resume", "skip_existing"}, "knows what it left out"),
        ({"extend", "skip_existing"}, "knows what it left out"),
        ({"replace", "skip_existing"}, "takes the last run out of the chain"),
    ],
)
def test_words_that_contradict_each_other_are_refused(words: set[str], sentence: str) -> None:
    with pytest.raises(Contradiction, match=sentence):
        Mode(**dict.fromkeys(words, True))  # type: ignore[arg-type]


def test_a_task_chooses_among_the_inputs_of_its_quanta(root: Path) -> None:
    report = ran(root, {"split": "ChooseTask", "halve": "HalveTask"})
    assert dict(report.states) == {
        ("split", "done"): 1,
        ("split", "blocked"): 1,
        ("halve", "done"): 1,
        ("halve", "blocked"): 2,
    }
    reasons = {(b.label, reason) for b, reason in report.blocked}
    assert reasons == {
        ("split", "clouds"),
        ("halve", "part: the part that it needs was not made."),
    }
    assert values(root, "half") == {(1, 1): 5.5}


def test_a_task_chooses_among_all_its_quanta(root: Path) -> None:
    report = ran(root, {"split": "ChooseAllTask"})
    assert dict(report.states) == {("split", "done"): 1, ("split", "blocked"): 1}
    assert [(b.data_id["exposure"], reason) for b, reason in report.blocked] == [
        (1, "not the last")
    ]
    with pytest.raises(TaskError, match="leave some out, but add none"):
        ran(root, {"split": "GreedyTask"})


def test_two_runs_that_are_planned_at_once_do_not_hinder_each_other(root: Path) -> None:
    lines = [f"  {k}:\n    class: {HERE}.{cls}" for k, cls in CHAIN.items()]
    pipeline = Pipeline.from_yaml("\n".join(["description: numbers", "tasks:", *lines, ""]))

    def one(name: str) -> Counter[tuple[str, str]]:
        return run_pipeline(root, pipeline, inputs=["raw"], output=name).states

    with ThreadPoolExecutor(2) as pool:
        states = list(pool.map(one, ("left", "right")))
    assert states == [{("split", "done"): 2, ("halve", "done"): 4}] * 2


def test_the_reason_of_each_blocked_quantum_is_explained(
    root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tasks = {"level": "LevelTask:certify: {level: {validity: night}}"}
    ran(root, tasks)
    with Butler(root, writeable=True) as butler:
        night = {"instrument": "DemoCam", "id": 20250311, "begin_tai_ns": 1000}
        butler.registry.insert_dimension_records("day_obs", [{**night, "end_tai_ns": 9 * 10**9}])
        record = {"instrument": "DemoCam", "id": 7, "obs_id": "7", "day_obs": 20250311}
        record |= {"observation_type": "science", "begin_tai_ns": 10**9, "end_tai_ns": 10**9 + 1}
        butler.registry.insert_dimension_records("exposure", [record])
        keys = {"instrument": "DemoCam", "exposure": 7, "detector": 1}
        butler.put({"value": 1.0}, "frame", keys, run="raw")
    file = tmp_path / "subtract.yaml"
    file.write_text(
        f"description: net\ntasks:\n  subtract:\n    class: {HERE}.SubtractTask\n"
        f"  gather:\n    class: {HERE}.GatherTask\n"
    )
    words = ["run", str(root), "-p", str(file), "-i", "raw,out/calib", "-o", "net"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--explain", "--dry-run"])
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert told.err.splitlines() == [
        "Blocked: subtract {instrument: 'DemoCam', detector: 1, exposure: 7}: No level is valid at "
        "1970-01-01T00:00:01 TAI for instrument DemoCam, detector 1; the nearest before ends "
        "1970-01-01T00:00:00.000.",
        "Blocked: gather {instrument: 'DemoCam', exposure: 7}: nets: the net that it needs was not "
        "made.",
    ]
    names, _, *rows = [line.split() for line in told.out.splitlines()]
    assert [dict(zip(names, row, strict=True)) for row in rows] == [
        {"task": "subtract", "ready": "4", "blocked": "1"},
        {"task": "gather", "ready": "2", "blocked": "1"},
    ]


def test_the_question_of_the_page_counts_what_waits(root: Path) -> None:
    page = Path(__file__).parents[2] / "docs/how-to/run-a-pipeline.md"
    [question] = re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ran(root, {**CHAIN, "split": "SplitTask:config: {forget_one: true}"}, fail_fast=True)
    with Butler(root) as butler, butler.registry.read() as connection:
        assert [tuple(row) for row in connection.execute(sa.text(question))] == [("halve", 2)]


def test_too_few_inputs_are_counted(root: Path) -> None:
    report = ran(root, {"pair": "PairTask"})
    assert dict(report.states) == {("pair", "blocked"): 2}
    assert {reason for _, reason in report.blocked} == {"frames: 2 frame where 3 are needed."}
    with Butler(root, writeable=True) as butler:
        keys = {"instrument": "DemoCam", "exposure": 1, "detector": 3}
        butler.put({"value": 13.0}, "frame", keys, run="raw")
    report = ran(root, {"pair": "PairTask"}, mode=Mode(extend=True))
    assert dict(report.states) == {("pair", "blocked"): 1, ("pair", "done"): 1}


def test_the_command_refuses_words_that_contradict_each_other(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(root), "-p", "demo", "-i", "raw", "-o", "out", "--resume", "--replace"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "--resume continues the last one; choose one." in capsys.readouterr().err


def test_of_many_reasons_three_are_told_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = RunReport("run")
    report.states = Counter({("isr", "blocked"): 6, ("isr", "done"): 2, ("sum", "blocked"): 4})
    for n in range(5):
        blocked = SimpleNamespace(label="isr")
        report.blocked.append((blocked, f"no flat at {n}"))  # type: ignore[arg-type]
    report.blocked += [(SimpleNamespace(label="sum"), "no isr")] * 4  # type: ignore[list-item]
    tell(report, dry_run=True, explain=False)
    assert capsys.readouterr().err.splitlines() == [
        "Blocked: 1 of isr: no flat at 0",
        "Blocked: 1 of isr: no flat at 1",
        "Blocked: 1 of isr: no flat at 2",
        "Blocked: 3 more of isr; --explain tells why of each.",
        "Blocked: 4 of sum: no isr",
    ]
