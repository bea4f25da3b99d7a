from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.audit import check
from tests.backbone import faults
from tests.nursery import moments_to_die

if TYPE_CHECKING:
    from pathlib import Path

    from butler import Butler
    from tests.nursery import Nursery

PROGRAMS = "tests.backbone.faults"


def ohp_frames(test_data: Path) -> list[str]:
    """Fourteen bias frames."""
    found = sorted((test_data / "ohp-t152-longslit-2022" / "bias").glob("*.fits.gz"))
    return [str(path) for path in found[:14]]


def test_an_ingest_that_is_killed(butler: Butler, nursery: Nursery, test_data: Path) -> None:
    butler.register_instrument("ohp-t152")
    frames = ohp_frames(test_data)
    assert butler.ingest_raws(frames, run="raw/all").errors == []
    status, said = nursery.run(f"{PROGRAMS}:ingests", str(butler.root), "raw/again", frames, 0)
    assert status == 0
    moments = moments_to_die(int(said[-1]), kills=3)
    for kill, moment in enumerate(moments):
        run = f"raw/{kill}"
        nursery.kill(f"{PROGRAMS}:ingests", str(butler.root), run, frames, moment)
    refs = faults.assert_recovers(butler)
    for kill in range(3):  # what was begun is completed by doing it again
        mine = [ref for ref in refs if ref.run == f"raw/{kill}"]
        taken = butler.ingest_raws(frames, run=f"raw/{kill}")
        assert taken.errors == []
        assert len(taken.present) == len(mine)
        assert len(taken.refs) == len(frames) - len(mine)
    assert check(butler.registry.database, butler.root, grace=0).findings == []


def test_of_two_that_put_the_same_one_wins(butler: Butler, nursery: Nursery) -> None:
    children = [
        nursery.start(f"{PROGRAMS}:races", str(butler.root), name) for name in ("one", "other")
    ]
    said = [list(child) for child in children]
    assert [child.wait() for child in children] == [0, 0]
    for n, outcome in enumerate(zip(*said, strict=True)):
        assert sorted(outcome) == ["lost", "won"]
        winner = "one" if outcome[0] == "won" else "other"
        assert butler.get("summary", faults.KEYS, target=str(n)) == {"by": winner}
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert (report.n_files, report.findings) == (faults.N_RACES, [])


def test_two_that_ingest_the_same_lose_nothing(
    butler: Butler, nursery: Nursery, test_data: Path
) -> None:
    butler.register_instrument("ohp-t152")
    frames = ohp_frames(test_data)
    program = (f"{PROGRAMS}:ingests", str(butler.root), "raw", frames, 0)
    children = [nursery.start(*program) for _ in range(2)]
    for child in children:
        list(child)
    assert [child.wait() for child in children] == [0, 0]
    assert len(butler.query_datasets("raw", collections="raw")) == len(frames)
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert (report.n_files, report.findings) == (len(frames), [])
