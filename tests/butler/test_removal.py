"""Is what depends on a run told before it goes, and do histories stay whole after?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.audit import check
from butler import Butler
from registry import Timespan
from registry.errors import CollectionTypeError, InUse, MissingDataset, UnknownCollection
from tests.butler.test_transfer import fill, put
from tests.nursery import moments_to_die
from tests.registry.provenance_graphs import Task, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry import DatasetRef
    from tests.nursery import Nursery

PROGRAM = "tests.backbone.faults:removes"


class History:
    """Raws, of which a run made biases, then flats of these; another made calexps of a flat."""

    def __init__(self, butler: Butler, name: str = "") -> None:
        self.butler = butler
        self.raw = [put(butler, n, f"raw{name}") for n in range(3)]
        self.bias = [put(butler, n, f"calibs{name}") for n in range(2)]
        self.flat = [put(butler, n, f"calibs{name}") for n in (10, 11, 12)]
        self.calexp = [put(butler, n, f"out{name}") for n in range(2)]
        registry = butler.registry
        combine = Task(f"calibs{name}", "bias", {"clip": "3.0"})
        make(
            registry,
            combine,
            [([r], [b], "done") for r, b in zip(self.raw, self.bias, strict=False)],
        )
        of_bias = [([self.bias[0]], self.flat[:2], "done"), ([self.bias[1]], self.flat[2:], "done")]
        make(registry, combine._replace(label="flat"), of_bias)
        self.isr = make(
            registry, Task(f"out{name}", "isr"), [([self.flat[0]], self.calexp, "done")]
        )


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    with Butler.create(tmp_path / "repo", database_url) as opened:
        fill(opened)
        yield opened


def readable(butler: Butler, refs: list[DatasetRef]) -> list[bool]:
    return [butler.exists(r) for r in refs]


def test_a_run_goes_with_its_files_tasks_and_collection(butler: Butler) -> None:
    history = History(butler)
    told = butler.remove_runs("out", dry_run=True)
    assert (told.datasets, told.kept, told.tasks, told.used) == ({"summary": 2}, 0, 1, False)
    assert readable(butler, history.calexp) == [True, True]
    assert butler.remove_runs("out") == told
    assert butler.registry.get_refs([r.id for r in history.calexp]) == {}
    assert butler.collections.query("out") == []
    assert butler.registry.provenance.descendants(history.flat[0].id) == []
    assert len(list(butler.root.rglob("summary_*"))) == 8
    assert check(butler.registry.database, butler.root, grace=0).findings == []
    with pytest.raises(UnknownCollection):
        butler.remove_runs("out")


def test_what_depends_on_a_run_is_told(butler: Butler) -> None:
    history = History(butler)
    butler.collections.chain("all", ["out", "calibs"])
    butler.collections.register("best", "TAGGED")
    butler.collections.tag("best", [history.bias[1], history.raw[0], history.raw[2]])
    butler.certify("calib", history.flat[:1], Timespan(0, 1000))
    make(butler.registry, Task("later", "wait"), [([history.flat[2]], [], "ready")])
    told = butler.remove_runs("calibs", dry_run=True)
    assert told.datasets == {"summary": 5}
    assert told.tagged == {"best": 1}
    assert told.certified == {"calib": 1}
    assert told.chained == {"calibs": ["all"]}
    assert told.derived == {"out": 2}
    assert (told.waiting, told.tasks, told.used) == (1, 2, True)
    assert told.kept == 4  # two flats that are read elsewhere, and the biases behind them
    with pytest.raises(CollectionTypeError, match="'all' is a CHAINED collection"):
        butler.remove_runs("all")


def test_histories_go_on_through_what_was_removed(butler: Butler) -> None:
    history = History(butler)
    ids = [r.id for r in history.calexp]
    before = set(butler.registry.provenance.ancestors(*ids))
    told = butler.remove_runs("calibs")
    assert told.kept == 2
    assert set(butler.registry.provenance.ancestors(*ids)) == before
    assert readable(butler, [*history.bias, *history.flat]) == [False] * 5
    left = butler.registry.get_refs([r.id for r in (*history.bias, *history.flat)])
    assert set(left.values()) == {history.bias[0], history.flat[0]}
    assert butler.query_datasets("summary", collections="calibs") == []
    assert butler.query_datasets("summary", collections="*", find_first=False) == sorted(
        [*history.raw, *history.calexp], key=lambda r: r.id
    )
    with pytest.raises(MissingDataset, match="removed on"):
        butler.get(history.flat[0])
    assert set(butler.registry.report("orphan")["kind"]) == {"data ID without dataset"}
    maker = butler.registry.provenance.makers(history.flat[0].id)[history.flat[0].id]
    assert maker["task_label"] == "flat"
    [only] = [s for s in butler.registry.provenance.graph_of_run("calibs").makes.values() if s][1:]
    assert only == [("out", history.flat[0].id)]

    butler.remove_runs("out")  # nothing refers to the rows now
    assert butler.remove_runs("calibs").kept == 0
    assert butler.collections.query("calibs") == []
    assert butler.registry.get_refs([r.id for r in (*history.bias, *history.flat)]) == {}


def test_runs_that_are_made_from_each_other_go_together(butler: Butler) -> None:
    history = History(butler)
    told = butler.remove_runs("calibs", "out", "raw")
    assert (told.datasets, told.kept, told.derived) == ({"summary": 10}, 0, {})
    assert butler.collections.query() == []
    assert list(butler.root.rglob("summary_*")) == []
    assert butler.registry.get_refs([r.id for r in history.raw]) == {}
    again = History(butler)  # every identity is free again
    assert readable(butler, again.calexp) == [True, True]


def test_within_a_transaction_files_go_at_its_end_or_stay(butler: Butler) -> None:
    history = History(butler)
    with pytest.raises(ZeroDivisionError), butler.transaction():
        butler.remove_runs("out")
        assert not butler.exists(history.calexp[0])
        raise ZeroDivisionError
    assert readable(butler, history.calexp) == [True, True]
    with butler.transaction():
        butler.prune(history.calexp, purge=True)
        assert len(list(butler.root.rglob("summary_*"))) == 10
    assert len(list(butler.root.rglob("summary_*"))) == 8


def test_what_is_another_repositorys_is_removed_there(butler: Butler, tmp_path: Path) -> None:
    history = History(butler)
    Butler.create(tmp_path / "me").close()
    with Butler(tmp_path / "me", inputs=butler.root, writeable=True) as me:
        me.adopt(history.flat[:2])
        own = put(me, 50, "mine")
        make(me.registry, Task("mine", "t"), [([history.flat[0]], [own], "done")])
        with pytest.raises(InUse, match="removed where it is at home"):
            me.prune(history.flat[:2], purge=True)
        me.prune(history.flat[1:2], purge=True)
        assert list(me.registry.get_refs([r.id for r in history.flat])) == [history.flat[0].id]
        assert me.get(history.flat[0]) == butler.get(history.flat[0])


def test_a_removal_that_is_killed_leaves_everything_sound(butler: Butler, nursery: Nursery) -> None:
    History(butler, "0")
    status, said = nursery.run(PROGRAM, str(butler.root), "calibs0", 0)
    assert status == 0
    for kill, moment in enumerate(moments_to_die(int(said[-1]), kills=4), 1):
        history = History(butler, str(kill))
        ids = [r.id for r in history.calexp]
        before = set(butler.registry.provenance.ancestors(*ids))
        nursery.kill(PROGRAM, str(butler.root), f"calibs{kill}", moment)
        found = check(butler.registry.database, butler.root, grace=0, repair=True, checksums=True)
        assert {f.problem for f in found.findings} <= {"trash"}
        assert check(butler.registry.database, butler.root, grace=0, checksums=True).findings == []
        here = butler.query_datasets("summary", collections=f"calibs{kill}")
        assert len(here) in (0, 5)  # all or nothing
        assert all(readable(butler, here))
        assert set(butler.registry.provenance.ancestors(*ids)) == before
        assert len(list((butler.root / f"calibs{kill}").rglob("summary_*"))) == len(here)
