from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

from backbone.audit import check
from tests.backbone.faults import CHECKOUT, INGESTS, PUTS, assert_recovers, killed

if TYPE_CHECKING:
    from pathlib import Path

    from butler import Butler

KILLS_OF_PUTS = 10
KILLS_OF_INGESTS = 5


def new_seed() -> int:
    """A seed of its own for each run, printed when the test fails."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201
    return seed


def test_puts_that_are_killed(butler: Butler) -> None:
    dice = random.Random(new_seed())
    told: set[str] = set()
    for kill in range(KILLS_OF_PUTS):
        said = killed(PUTS, butler.root, str(kill), dice=dice, lines=12)
        told |= {line.strip() for line in said if line.endswith("\n")}
    refs = assert_recovers(butler)
    kept = {str(ref.data_id["target"]) for ref in refs}
    assert len(kept) == len(refs)
    assert told <= kept  # a put that has returned is never lost
    assert len(kept - told) <= KILLS_OF_PUTS
    assert all(butler.get(ref)["target"] == ref.data_id["target"] for ref in refs)


def test_an_ingest_that_is_killed(butler: Butler, test_data: Path) -> None:
    butler.register_instrument("ohp-t152")
    frames = sorted((test_data / "ohp-t152-longslit-2022" / "bias").glob("*.fits.gz"))
    dice = random.Random(new_seed())
    for kill in range(KILLS_OF_INGESTS):
        killed(INGESTS, butler.root, f"raw/{kill}", *frames, dice=dice, lines=4)
    refs = assert_recovers(butler)
    for kill in range(KILLS_OF_INGESTS):  # what was begun is completed by doing it again
        mine = [ref for ref in refs if ref.run == f"raw/{kill}"]
        taken = butler.ingest_raws(frames, run=f"raw/{kill}")
        assert taken.errors == []
        assert len(taken.present) == len(mine)
        assert len(taken.refs) == len(frames) - len(mine)
    assert check(butler.registry.database, butler.root, grace=0).findings == []


RACE = """
import sys
from butler import Butler
from registry.errors import DatasetExists
with Butler(sys.argv[1], run="u/test") as butler:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(20):
        value = {"by": sys.argv[2]}
        try:
            butler.put(value, "summary", instrument="DemoCam", detector=1, target=str(n))
            print("won", flush=True)
        except DatasetExists:
            print("lost", flush=True)
"""


def test_of_two_that_put_the_same_one_wins(butler: Butler) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(butler.root), name],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    for n, outcome in enumerate(zip(*said, strict=True)):
        assert sorted(outcome) == ["lost", "won"]
        winner = "one" if outcome[0] == "won" else "other"
        got = butler.get("summary", instrument="DemoCam", detector=1, target=str(n))
        assert got == {"by": winner}
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert (report.n_files, report.findings) == (20, [])


def test_two_that_ingest_the_same_lose_nothing(butler: Butler, test_data: Path) -> None:
    butler.register_instrument("ohp-t152")
    frames = sorted((test_data / "ohp-t152-longslit-2022" / "bias").glob("*.fits.gz"))
    command = [sys.executable, "-c", INGESTS, str(butler.root), "raw", *map(str, frames)]
    children = [
        subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0, 0]
    assert len(butler.query_datasets("raw", collections="raw")) == len(frames)
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert (report.n_files, report.findings) == (len(frames), [])
