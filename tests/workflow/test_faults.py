from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from registry.errors import InvalidState
from tests.nursery import moments_to_die
from tests.workflow import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.nursery import Nursery

PROGRAM = "tests.workflow.faults:program"


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    """Repository with small frames of two nights."""
    with Butler.create(tmp_path / "repo", database_url) as made:
        faults.fill(made)
        yield made


@pytest.fixture
def expected(butler: Butler) -> dict[str, Any]:
    """What an undisturbed run leaves."""
    faults.run(butler.root, "calm")
    return faults.left_by(butler, "calm")


@pytest.mark.parametrize(("jobs", "kills"), [(1, 5), (2, 2)])
def test_a_run_that_is_killed_at_any_moment_is_continued(
    butler: Butler,
    nursery: Nursery,
    expected: dict[str, Any],
    jobs: int,
    kills: int,
    more_kills: int,
) -> None:
    root = str(butler.root)
    status, said = nursery.run(PROGRAM, root, "calm/too", jobs, 0)
    assert status == 0, said
    for kill, last in enumerate(moments_to_die(int(said[-1]), more_kills or kills)):
        output = f"killed/{kill}"
        said = nursery.kill(PROGRAM, root, output, jobs, last)
        print(f"killed at moment {last}: {said}")  # noqa: T201
        faults.assert_sound(butler, repair=bool(kill % 2))
        faults.resumed(butler, output)
        faults.assert_sound(butler, repair=True)
        assert faults.left_by(butler, output) == expected


def deadly(folder: Path, times: int) -> dict[str, Any]:
    """Overrides with which the process of one quantum dies so often."""
    folder.mkdir()
    for n in range(times):
        (folder / str(n)).touch()
    return faults.overrides(f"deadly={folder}", "at=2")


def test_what_a_dead_worker_had_in_hand_is_done_by_another(
    butler: Butler, expected: dict[str, Any], tmp_path: Path
) -> None:
    overrides = deadly(tmp_path / "deadly", 1)
    report = faults.run(butler.root, "out", 2, overrides=overrides)
    assert report.succeeded
    assert dict(report.states) == faults.STATES
    assert faults.left_by(butler, "out") == expected
    faults.assert_sound(butler, repair=False)


def test_a_quantum_that_kills_its_worker_fails_alone(butler: Butler, tmp_path: Path) -> None:
    overrides = deadly(tmp_path / "deadly", 2)
    report = faults.run(butler.root, "out", 2, overrides=overrides)
    [failure] = report.failures
    assert (failure.quantum.label, failure.quantum.data_id["exposure"]) == ("subtract", 2)
    assert failure.error == "Its worker process died each time (killed, or out of memory)."
    assert dict(report.states) == {
        ("level", "done"): 2,
        ("subtract", "done"): 5,
        ("subtract", "failed"): 1,
        ("find", "done"): 4,
        ("find", "no_work"): 1,
        ("find", "blocked"): 1,
        ("gather", "done"): 1,
    }
    faults.assert_sound(butler, repair=False)


@pytest.mark.parametrize(
    ("jobs", "number", "group"),
    [
        pytest.param(1, signal.SIGINT, True, id="Ctrl-C"),
        pytest.param(2, signal.SIGINT, True, id="Ctrl-C with workers"),
        pytest.param(2, signal.SIGTERM, False, id="terminated with workers"),
    ],
)
def test_nothing_outlives_a_run_that_is_ended(
    butler: Butler,
    nursery: Nursery,
    expected: dict[str, Any],
    tmp_path: Path,
    jobs: int,
    number: signal.Signals,
    group: bool,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = nursery.start(PROGRAM, str(butler.root), "out", jobs, 0, str(pipe))
    with pipe.open():  # returns when a quantum is in hand, which would wait for ever
        with pytest.raises(InvalidState, match=r"is still at work \(process [\d, ]+\); wait"):
            faults.run(butler.root, "out", resume=True)
        child.signal(number, group=group)
        said = list(child)
        assert child.wait() == (130 if number == signal.SIGINT else -number), said
    faults.assert_sound(butler, repair=False)
    states = {quantum["state"] for quantum in faults.quanta_of(butler, "out")}
    assert ("running" in states) == (number != signal.SIGINT)
    pipe.unlink()
    faults.resumed(butler, "out", overrides=faults.overrides("at=2", f"held={pipe}"))
    assert faults.left_by(butler, "out") == expected
