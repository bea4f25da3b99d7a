"""Is a quantum ended that takes too long or too much memory, and no more begun than there is?"""

from __future__ import annotations

import io
import os
import pstats
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from butler import Butler
from registry import provenance
from registry.schema.provenance import quantum
from tests.workflow import fault_tasks, faults, hungry_tasks
from workflow.cli import main
from workflow.commands.progress import EVERY_S, Lines, Tally
from workflow.errors import PipelineError
from workflow.memory import resident
from workflow.modes import Contradiction
from workflow.multicore.grants import Grant, use
from workflow.pipeline import Pipeline
from workflow.processes import NotEnoughMemory
from workflow.profiles import NoPlaceForProfile
from workflow.runner import RunReport, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = hungry_tasks.__name__


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    """Repository with six small frames."""
    with Butler.create(tmp_path / "repo", database_url) as made:
        faults.fill(made)
        yield made


def ran(butler: Butler, task: str, config: str = "", resources: str = "", **how: Any) -> RunReport:
    """Run one of the tasks on the frames."""
    text = f"description: one\ntasks:\n  one:\n    class: {TASKS}.{task}\n"
    text += f"    config: {{{config}}}\n    resources: {{{resources}}}\n"
    pipeline = Pipeline.from_yaml(text)
    return run_pipeline(butler.root, pipeline, inputs=[faults.INPUT], output="out", **how)


def kinds(butler: Butler, run: str) -> list[tuple[Any, ...]]:
    """List classes and kinds of what failed."""
    q = quantum.c
    with butler.registry.read() as connection:
        failed = provenance.quanta_of_run(connection, run, states=("failed",))
        ids = [row["id"] for row in failed]
        rows = connection.execute(
            sa.select(q.exception_class, q.error_kind).where(q.id.in_(ids))
        ).all()
    return [tuple(row) for row in rows]


def test_a_quantum_that_hangs_is_ended_and_the_others_are_done(butler: Butler) -> None:
    report = ran(butler, "HangTask", "at: 3", "timeout: 3", jobs=2)
    assert dict(report.states) == {("one", "done"): 5, ("one", "failed"): 1}
    [failure] = report.failures
    assert failure.quantum.data_id["exposure"] == 3
    assert failure.error.startswith("It took longer than 3 s and was ended")
    assert kinds(butler, report.run) == [("TimedOut", "timeout")]
    faults.assert_sound(butler, repair=False)


def test_a_quantum_that_takes_more_memory_than_it_said_is_ended(butler: Butler) -> None:
    needed = (resident(os.getpid()) >> 20) + 100
    report = ran(butler, "EatTask", f"at: 2, mib: {2 * needed}", f"memory_per_core: {needed}")
    assert dict(report.states) == {("one", "done"): 5, ("one", "failed"): 1}
    [failure] = report.failures
    assert f"it may use {needed} MiB for each of 1 cores" in failure.error
    assert kinds(butler, report.run) == [("MemoryLimit", "out-of-memory")]
    faults.assert_sound(butler, repair=False)


@pytest.mark.parametrize(
    ("resources", "granted", "most"),
    [
        ("", Grant(3), 3),
        ("cores: 2", Grant(4), 2),
        ("cores: 9", Grant(4), 1),
        ("", Grant(2), 2),
        ("memory_per_core: 3000", Grant(4, 1500 << 20), 2),
    ],
)
def test_no_more_is_begun_than_cores_and_memory_hold(
    butler: Butler, tmp_path: Path, resources: str, granted: Grant, most: int
) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen()
        porter = threading.Thread(target=let_go_together, args=(door, most))
        porter.start()
        with use(granted):
            report = ran(butler, "MeetTask", f"place: {tmp_path / 'door'}", resources, jobs=4)
        porter.join()
    assert dict(report.states) == {("one", "done"): 6}
    with butler.registry.read() as connection:
        spans = connection.execute(sa.select(quantum.c.started_at, quantum.c.finished_at)).all()
    at_work = [sum(a <= moment < b for a, b in spans) for moment, _ in spans]
    assert max(at_work) == most


def let_go_together(door: socket.socket, most: int) -> None:
    """Hold the first quanta until so many have come; let the others go at once."""
    there = [door.accept()[0] for _ in range(most)]
    for n in range(most, 7):
        while there:
            there.pop().close()
        if n < 6:
            there.append(door.accept()[0])


def test_more_memory_than_there_is_is_refused_before_anything_is_begun(butler: Butler) -> None:
    with (
        use(Grant(2, 1 << 30)),
        pytest.raises(NotEnoughMemory, match=r"'one' needs 4096 MiB .* may use 2048 MiB"),
    ):
        ran(butler, "HangTask", "", "memory_per_core: 2048, cores: 2", jobs=2)


def test_needs_are_those_of_the_class_the_pipeline_and_the_command() -> None:
    text = f"description: one\ntasks:\n  one:\n    class: {TASKS}.EatTask\n"
    plain = Pipeline.from_yaml(text)
    assert (plain["one"].needs.cores, plain["one"].needs.walltime_guess) == (1, 2.5)
    told = Pipeline.from_yaml(text + "    resources: {cores: 3, walltime_guess: 9}\n")
    other = told.needing({"one": {"cores": 4}})
    assert [p["one"].needs.cores for p in (told, other)] == [3, 4]
    assert other["one"].needs.walltime_guess == 9
    assert other["one"].make().cores == 4
    with pytest.raises(
        PipelineError, match=r"pipeline:5: `resources`: cores is a whole number from 1"
    ):
        Pipeline.from_yaml(text + "    resources: {cores: 0}\n")
    with pytest.raises(PipelineError, match=r"pipeline:5: .*'core'.*Did you mean 'cores'"):
        Pipeline.from_yaml(text + "    resources: {core: 2}\n")
    with pytest.raises(PipelineError, match=r"no need 'timeuot'. Did you mean 'timeout'"):
        plain.needing({"one": {"timeuot": 2}})


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_tasks_call_is_counted_for_each(butler: Butler, tmp_path: Path, jobs: int) -> None:
    pipeline = Pipeline.from_yaml(fault_tasks.PIPELINE)
    report = run_pipeline(
        butler.root,
        pipeline,
        inputs=[faults.INPUT],
        output="out",
        jobs=jobs,
        profile=tmp_path / "run.prof",
    )
    names = ["run.prof", *(f"run.{k}.prof" for k in ("level", "subtract", "find", "gather"))]
    assert sorted(f.name for f in report.profiles) == sorted(names)

    def calls(name: str) -> int:
        """Count the calls of ``run`` of a task."""
        counted = vars(pstats.Stats(str(tmp_path / name)))["stats"]
        return sum(
            n for (file, _, f), (n, *_) in counted.items() if f == "run" and "fault_" in file
        )

    assert [calls(n) for n in names] == [2 + 6 + 6 + 1, 2, 6, 6, 1]


def test_a_profile_that_cannot_be_written_is_refused_at_once(
    butler: Butler, tmp_path: Path
) -> None:
    with pytest.raises(NoPlaceForProfile, match="name a file in a folder that exists"):
        ran(butler, "HangTask", profile=tmp_path / "nowhere" / "run.prof")
    assert not butler.registry.collections("out")


def test_the_debugger_opens_where_a_quantum_failed(
    butler: Butler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(
        f"description: one\ntasks:\n  one:\n    class: {TASKS}.BreakTask\n    config: {{at: 4}}\n"
    )
    words = ["-p", str(file), "-i", faults.INPUT, "-o", "out", "--debugger"]
    monkeypatch.setattr("sys.stdin", io.StringIO("p frame['value'] * 10\nq\n"))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(butler.root), *words])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert "KeyError: 'brightness'" in told.err
    assert "4010.0" in told.out
    rows = [line.split() for line in told.out.splitlines()]
    assert ["one", "5", "1"] in rows
    with pytest.raises(Contradiction, match="in one process and without a timeout"):
        ran(butler, "BreakTask", jobs=2, on_error=print)


def test_the_command_ends_after_a_failure_and_tells_where_the_profile_is(
    butler: Butler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, profile = tmp_path / "one.yaml", tmp_path / "run.prof"
    file.write_text(
        f"description: one\ntasks:\n  one:\n    class: {TASKS}.BreakTask\n    config: {{at: 1}}\n"
    )
    words = ["-p", str(file), "-i", faults.INPUT, "-o", "out", "--fail-fast"]
    with pytest.raises(SystemExit) as ended:
        main(["run", str(butler.root), *words, "--profile", str(profile)])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert f"python -m pstats {profile}" in told.out + told.err
    assert [f for _, _, f in vars(pstats.Stats(str(profile)))["stats"]].count("run") == 1
    with butler.registry.read() as connection:
        states = list(connection.execute(sa.select(quantum.c.state)).scalars())
    assert states.count("failed") == 1
    assert states.count("ready") == 5


def test_a_line_a_minute_tells_how_a_run_gets_on() -> None:
    now = [0.0]
    tally = Tally(lambda: now[0])
    said: list[str] = []
    lines = Lines(tally, said.append, lambda: now[0])
    for _ in range(200):
        lines.note("isr", "ready")
    for _ in range(100):
        lines.note("detect", "ready")
    for n in range(60):
        now[0] += 2.0
        lines.note("isr", "failed" if n == 5 else "done")
    assert EVERY_S == 60
    assert said == [
        "isr 30 of 200 (1 failed); detect 0 of 100; 30/min, 9 min left",
        "isr 60 of 200 (1 failed); detect 0 of 100; 30/min, 8 min left",
    ]
    for _ in range(140):
        now[0] += 1.0
        tally.note("isr", "done")
    for _ in range(90):
        tally.note("detect", "blocked")
    assert tally.line() == "isr 200 of 200 (1 failed); detect 90 of 100; 46.2/min, 13 s left"
