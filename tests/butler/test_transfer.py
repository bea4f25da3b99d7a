"""Does what comes from another repository come with identity, history and files, or not at all?"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from backbone.audit import check
from backbone.errors import ChangedFile
from butler import Butler
from butler.errors import TransferError
from registry import DatasetType, Timespan
from registry.errors import (
    CollectionTypeError,
    Conflict,
    DefinitionConflict,
    MissingDataset,
    ReadOnly,
    UnknownCollection,
)
from registry.identity import DataId, DatasetRef, uuid7
from registry.repositories import homes_of
from tests.registry.provenance_graphs import NODE, Task, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.databases import Databases

SUMMARY = DatasetType("summary", NODE.dimensions, "StructuredDataDict", is_calibration=True)


class Pair:
    """A repository with ten datasets made from two others, and an empty one on another engine."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        Butler.create(folder / "site", urls[0]).close()
        Butler.create(folder / "lab", urls[1]).close()
        self.site = Butler(folder / "site", writeable=True)
        self.lab = Butler(folder / "lab", writeable=True)
        fill(self.lab)
        self.first = [put(self.lab, n, "raw") for n in (0, 1)]
        self.made = [put(self.lab, n, "made") for n in range(10)]
        make(
            self.lab.registry,
            Task("made", "reduce", {"clip": "3.0"}, {"numpy": "2.0"}),
            [(self.first, self.made[:5], "done"), (self.first[:1], self.made[5:], "done")],
        )


def fill(butler: Butler) -> None:
    butler.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
    butler.registry.register_dataset_type(SUMMARY)


def put(butler: Butler, n: int, run: str) -> DatasetRef:
    return butler.put({"n": n, "in": run}, "summary", instrument="Cam", healpix=n, run=run)


@pytest.fixture
def pair(tmp_path: Path, engines: list[Databases]) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        made = Pair(tmp_path, [stack.enter_context(m.migrated()) for m in engines[:2]])
        yield made
        made.site.close()
        made.lab.close()


def told(edges: list[Any]) -> set[tuple[Any, ...]]:
    return {(e.input, e.output, e.quantum_id, e.task_label, e.run, e.connection) for e in edges}


def everything(butler: Butler) -> dict[str, Any]:
    """Count what a repository holds, to see that nothing came of what was refused."""
    tables = ("dataset", "quantum", "task", "collection", "file", "data_id", "instrument")
    rows = {t: butler.registry.to_dataframe(f"SELECT * FROM {t}") for t in tables}  # noqa: S608
    rows["config"] = butler.registry.to_dataframe("SELECT * FROM config")
    files = sorted(str(p) for p in butler.root.rglob("summary_*"))
    return {"files": files, **{name: len(frame) for name, frame in rows.items()}}


def test_datasets_come_with_identity_history_and_files(pair: Pair) -> None:
    site, lab = pair.site, pair.lab
    taken = site.transfer_from(lab, pair.made)
    assert (taken.refs, taken.present, taken.files, taken.quanta) == (pair.made, 0, 10, 2)
    assert site.registry.get_refs([r.id for r in pair.made]) == {r.id: r for r in pair.made}
    assert [site.get(r) for r in pair.made] == [{"n": n, "in": "made"} for n in range(10)]
    ids = [r.id for r in pair.made]
    assert told(site.provenance.ancestors(*ids)) == told(lab.provenance.ancestors(*ids))
    maker = site.provenance.makers(pair.made[0].id)[pair.made[0].id]
    assert site.provenance.packages(maker["environment_id"]) == {"numpy": "2.0"}
    with site.registry.read() as connection:
        homes = homes_of(connection, [*ids, *(r.id for r in pair.first)])
    assert homes == {r.id: lab.registry.id for r in pair.first}
    assert check(site.registry.database, site.root, grace=0, checksums=True).findings == []

    before = everything(site)
    again = site.transfer_from(lab.root, {"dataset_type": "summary", "collections": "made"})
    assert (again.refs, again.present, again.files, again.quanta) == ([], 10, 0, 0)
    assert everything(site) == before

    raws = site.transfer_from(lab, pair.first)
    assert (raws.refs, raws.files) == (pair.first, 2)
    with site.registry.read() as connection:
        assert homes_of(connection, [r.id for r in pair.first]) == {}
    assert site.get(pair.first[1]) == {"n": 1, "in": "raw"}


@pytest.mark.parametrize("mode", ["copy", "link", "hardlink", "symlink", "direct"])
def test_files_come_in_each_mode(pair: Pair, mode: str) -> None:
    seen: list[tuple[int, int]] = []
    taken = pair.site.transfer_from(
        pair.lab, pair.made, transfer=mode, progress=lambda *done: seen.append(done)
    )
    assert taken.files == 10
    assert seen == [(10, 10)]
    assert [pair.site.get(r)["n"] for r in pair.made] == list(range(10))
    held = list(pair.site.root.rglob("summary_*"))
    assert len(held) == (0 if mode == "direct" else 10)
    assert all(p.is_symlink() == (mode == "symlink") for p in held)
    assert check(pair.site.registry.database, pair.site.root, grace=0).findings == []


def test_tags_and_validity_come_along_when_asked_for(pair: Pair) -> None:
    pair.lab.collections.register("best", "TAGGED")
    pair.lab.collections.tag("best", pair.made[:3])
    pair.lab.certify("calib", pair.made[4:6], Timespan(0, 1000))
    for _ in range(2):  # the same again changes nothing
        pair.site.transfer_from(pair.lab, pair.made[:5], also=["best", "calib"])
        assert pair.site.query_datasets("summary", collections="best") == pair.made[:3]
        assert pair.site.query_datasets("summary", collections="calib") == [pair.made[4]]
    with pytest.raises(TransferError, match="'made' is a RUN collection"):
        pair.site.transfer_from(pair.lab, pair.made, also=["made"])
    with pytest.raises(UnknownCollection):
        pair.site.transfer_from(pair.lab, pair.made, also=["worst"])


def test_what_is_unstored_comes_as_rows_and_comes_back_with_its_file(pair: Pair) -> None:
    pair.lab.prune(pair.made[:1])
    taken = pair.site.transfer_from(pair.lab, pair.made[:2])
    assert (len(taken.refs), taken.files, taken.without_file) == (2, 1, pair.made[:1])
    pair.site.prune(pair.made[1:2])
    assert not pair.site.exists(pair.made[1])
    assert pair.site.transfer_from(pair.lab, pair.made[1:2]).files == 1
    assert pair.site.get(pair.made[1]) == {"n": 1, "in": "made"}


def contradict(pair: Pair, what: str) -> None:
    site = pair.site.registry
    if what == "record":
        site.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 3}])
    elif what == "type":
        site.register_dataset_type(DatasetType("summary", NODE.dimensions, "Table"))
    elif what == "collection":
        site.register_collection("made", "TAGGED")
    elif what == "dataset":
        fill(pair.site)
        put(pair.site, 9, "made")
    elif what == "task":
        make(site, Task("made", "reduce", {"clip": "4.0"}), [])
    elif what == "behind":
        fill(pair.site)
        put(pair.site, 1, "raw")


@pytest.mark.parametrize(
    ("what", "error", "match"),
    [
        (
            "record",
            DefinitionConflict,
            "instrument name=Cam has detector_max=3 here and .*=2 there",
        ),
        ("type", DefinitionConflict, "'summary' is registered here as"),
        ("collection", CollectionTypeError, "'made' is a TAGGED collection already"),
        ("dataset", Conflict, "'made' has another summary with .*healpix: 9"),
        ("task", DefinitionConflict, "a task 'reduce' with another class or configuration"),
        ("behind", Conflict, "'raw' has another summary with .*healpix: 1"),
    ],
)
def test_contradictions_are_refused_before_anything_is_written(
    pair: Pair, what: str, error: type[Exception], match: str
) -> None:
    contradict(pair, what)
    before = everything(pair.site)
    with pytest.raises(error, match=match):
        pair.site.transfer_from(pair.lab, pair.made)
    assert everything(pair.site) == before


def test_a_file_that_has_changed_is_not_taken(pair: Pair) -> None:
    [path] = pair.lab.root.rglob(f"*{pair.made[3].id.hex[-12:]}*")
    text = path.read_text()
    for changed in (text.replace("3", "4"), text + " "):
        path.write_text(changed)
        with pytest.raises(ChangedFile, match="not what was recorded of it"):
            pair.site.transfer_from(pair.lab, pair.made)
    path.unlink()
    with pytest.raises(ChangedFile, match="is gone"):
        pair.site.transfer_from(pair.lab, pair.made)
    assert list(pair.site.root.rglob("*summary_*")) == []
    assert check(pair.site.registry.database, pair.site.root, grace=0).findings == []


def test_what_is_only_known_of_a_third_is_taken_from_there(pair: Pair, tmp_path: Path) -> None:
    pair.site.transfer_from(pair.lab, pair.made)
    with Butler.create(tmp_path / "third") as third:
        with pytest.raises(MissingDataset, match=f"in the repository {pair.lab.registry.id}"):
            third.transfer_from(pair.site, pair.first)
        Butler(pair.site.root, inputs=pair.lab.root, writeable=True).close()
        assert third.transfer_from(pair.site.root, pair.first).files == 2
        assert third.get(pair.first[0]) == {"n": 0, "in": "raw"}


def test_what_cannot_be_asked(pair: Pair) -> None:
    with pytest.raises(TransferError, match="'copi' is no way.*Did you mean 'copy'"):
        pair.site.transfer_from(pair.lab, pair.made, transfer="copi")
    ghost = DatasetRef(uuid7(), SUMMARY, DataId.of(instrument="Cam", healpix=1), "none")
    with pytest.raises(MissingDataset, match="nor an input of it is its home"):
        pair.lab.transfer_from(pair.site, [ghost])
    with pytest.raises(TransferError, match="this repository itself, or a copy of it"):
        pair.lab.transfer_from(pair.lab.root, pair.made)
    with Butler(pair.site.root) as reader, pytest.raises(ReadOnly):
        reader.transfer_from(pair.lab, pair.made)


def test_a_personal_repository_contributes_back(pair: Pair) -> None:
    """The lab reads the site, makes something of it with nothing copied, and the site takes it."""
    site, lab = pair.site, pair.lab
    fill(site)
    frames = [put(site, n, "frames") for n in range(3)]
    with Butler(lab.root, inputs=site.root, run="u/me", collections="frames") as me:
        found = me.query_datasets("summary")
        assert found == frames
        me.adopt(found)
        mine = [put(me, n, "u/me") for n in range(2)]
        make(me.registry, Task("u/me", "mine"), [(frames, mine, "done")])
        taken = site.transfer_from(
            me, {"dataset_type": "summary", "collections": ["u/me", "frames"]}
        )
    assert (set(taken.refs), taken.quanta) == (set(mine), 1)
    edges = site.registry.provenance.ancestors(*(r.id for r in mine))
    assert {(e.input, e.output) for e in edges} == {(f, m) for f in frames for m in mine}
    with site.registry.read() as connection:
        assert homes_of(connection, [r.id for r in [*frames, *mine]]) == {}
    assert site.get(mine[1]) == {"n": 1, "in": "u/me"}


def test_history_comes_through_all_inputs(pair: Pair, tmp_path: Path) -> None:
    """What a personal repository made of the lab's comes with what the lab knows behind it."""
    site, lab = pair.site, pair.lab
    fill(site)
    with (
        Butler(site.root, inputs=lab.root, run="u/me", collections="made") as me,
        Butler.create(tmp_path / "third") as third,
    ):
        me.adopt(pair.made[:1])
        best = put(me, 0, "u/me")
        make(me.registry, Task("u/me", "best"), [(pair.made[:1], [best], "done")])
        taken = third.transfer_from(me, [best])
        assert (taken.refs, taken.files, taken.quanta) == ([best], 1, 2)
        edges = third.provenance.ancestors(best.id)
        assert {(e.input.id, e.output.id, e.task_label) for e in edges} == {
            (pair.made[0].id, best.id, "best"),
            *((raw.id, pair.made[0].id, "reduce") for raw in pair.first),
        }
        maker = third.provenance.makers(pair.made[0].id)[pair.made[0].id]
        assert third.provenance.packages(maker["environment_id"]) == {"numpy": "2.0"}
        with third.registry.read() as connection:
            homes = homes_of(connection, [r.id for r in (best, pair.made[0], *pair.first)])
        assert homes == {r.id: lab.registry.id for r in (pair.made[0], *pair.first)}
        assert third.transfer_from(me, [best]).present == 1
        # and what is made of both repositories' comes in one call, each from its home
        both = third.transfer_from(me, pair.made[:2])
        assert (set(both.refs), both.files, both.quanta) == (set(pair.made[:2]), 2, 0)
