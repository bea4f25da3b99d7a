"""Is what every process was told what is stored, and does everything hold that always must?

Each judge gives a sentence for each fault that it finds.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import files
from backbone.audit import check
from butler import Butler
from registry.schema.calibrations import calibration
from registry.schema.collections import collection, tagged
from registry.schema.dimensions import exposure
from registry.schema.identity import data_id, dataset, dataset_type
from registry.schema.provenance import quantum
from tests.endurance.world import SHARED, notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from registry.collections import Collection

    Notes = dict[str, list[dict[str, Any]]]


def judge(root: Path) -> list[str]:
    """List the faults."""
    told = notes(root.parent)
    with Butler(root, writeable=True) as butler:
        return [fault for judge_of in JUDGES for fault in judge_of(butler, told)]


def _all(told: Notes, *what: str) -> Iterator[dict[str, Any]]:
    return (note for log in told.values() for note in log if note["what"] in what)


def _ids(told: Notes, *what: str) -> set[uuid.UUID]:
    return {uuid.UUID(note["id"]) for note in _all(told, *what)}


def _scalars(butler: Butler, statement: sa.Select[Any]) -> list[Any]:
    with butler.registry.read() as connection:
        return list(connection.execute(statement).scalars())


def met(butler: Butler, told: Notes) -> Iterator[str]:
    """Tell what the processes themselves have met, and who did not come to the end."""
    del butler
    for name, log in told.items():
        yield from (f"{name}, {n['kind']}: {n['text']}" for n in log if n["what"] == "fault")
        if not log or log[-1]["what"] != "end":
            yield f"{name} has died"


def datasets_are_those(butler: Butler, told: Notes) -> Iterator[str]:
    """Compare datasets and their files with what was stored and removed."""
    there = set(_scalars(butler, sa.select(dataset.c.id)))
    stored, gone, going = (_ids(told, what) for what in ("stored", "gone", "going"))
    for lost in stored - going - gone - there:
        yield f"dataset {lost} was stored, and is not there"
    for undead in gone & there:
        yield f"dataset {undead} was purged, and is there"
    for unknown in there - stored:
        yield f"nobody was told that dataset {unknown} is stored"
    with_files = {uuid.UUID(n["id"]) for n in _all(told, "stored") if n["files"]}
    wanted = with_files - going - gone - _ids(told, "unstored")
    with butler.registry.read() as connection:
        readable = files.stored(connection, list(with_files))
    yield from (f"dataset {i} has no file" for i in wanted - readable)
    yield from (f"dataset {i} is unstored, and readable" for i in readable - wanted - going)


def identities_are_single(butler: Butler, told: Notes) -> Iterator[str]:
    """Look for two of what must be one."""
    del told
    for name, columns in (
        ("dataset", [dataset.c.dataset_type_id, dataset.c.run_id, dataset.c.data_id]),
        ("data ID", [data_id.c.identity_key]),
        ("collection", [collection.c.name]),
        ("dataset type", [dataset_type.c.name]),
    ):
        twice = sa.select(*columns).group_by(*columns).having(sa.func.count() > 1)
        with butler.registry.read() as connection:
            for row in connection.execute(twice):
                yield f"the {name} {tuple(row)} is there twice"


def new_ones_were_told_once(butler: Butler, told: Notes) -> Iterator[str]:
    """Count who was told to have made something, and to have removed it."""
    made: Counter[str] = Counter()
    for note in _all(told, "new"):
        made[note["what_new"]] += note["n"]
    there = {f"collection {c.name}" for c in butler.registry.collections("*")}
    there |= {f"type {t.name}" for t in butler.registry.dataset_types()}
    there |= {f"exposure {n}" for n in _scalars(butler, sa.select(exposure.c.id))}
    for name, n in made.items():
        if n != (name in there):
            yield f"{name}: made {n} times more than removed, and there: {name in there}"
    for note in _all(told, "records"):
        for number in note["exposures"]:
            if f"exposure {number}" not in there:
                yield f"exposure {number} was recorded, and is not there"


def tags_are_those(butler: Butler, told: Notes) -> Iterator[str]:
    """Follow what each writer did to the tags of its own data IDs."""
    with butler.registry.read() as connection:
        there = set(connection.execute(sa.select(tagged.c.dataset_id)).scalars())
    for name, log in told.items():
        held: dict[str, str] = {}
        for note in log:
            if note["what"] == "tagged" and note["key"][1]["detector"] != SHARED:
                held[str(note["key"])] = note["id"]
            elif note["what"] in ("untagged", "gone", "going"):
                held = {k: i for k, i in held.items() if i != note["id"]}
        lost = {uuid.UUID(i) for i in held.values()} - there
        yield from (f"{name} tagged {i}, which is not tagged" for i in lost)


def validity_is_that(butler: Butler, told: Notes) -> Iterator[str]:
    """Compare validity ranges with what was certified, and look for overlaps."""
    c = calibration.c
    asked = sa.select(
        c.collection_id, c.dataset_type_id, c.data_id, c.valid_begin_tai_ns, c.valid_end_tai_ns,
        c.dataset_id, data_id.c.detector,
    ).join(data_id, data_id.c.id == c.data_id)  # fmt: skip
    with butler.registry.read() as connection:
        rows = connection.execute(asked.order_by(*asked.selected_columns[:4])).all()
    for one, other in itertools.pairwise(rows):
        if one[:3] == other[:3] and other[3] < one[4]:
            yield f"validity ranges overlap: {one} and {other}"
    expected = {span for log in told.values() for span in _own_ranges(log)}
    stored = {(r.dataset_id, r[3], r[4]) for r in rows if r.detector != SHARED}
    yield from (f"{row} was certified, and does not hold" for row in expected - stored)
    yield from (f"{row} holds, and was not certified" for row in stored - expected)
    given: dict[uuid.UUID, list[tuple[int, int]]] = {}
    for note in _all(told, "certified"):
        given.setdefault(uuid.UUID(note["id"]), []).append(tuple(note["span"]))
    for row in rows:
        if not any(b <= row[3] and row[4] <= e for b, e in given.get(row.dataset_id, ())):
            yield f"{row} is in no range that anybody certified"


def _own_ranges(log: Iterable[dict[str, Any]]) -> set[tuple[uuid.UUID, int, int]]:
    """Follow a writer's ranges of its own detector."""
    held: set[tuple[str, int, int]] = set()
    for note in log:
        if note["what"] not in ("certified", "decertified") or note["detector"] == SHARED:
            continue
        begin, end = note["span"]
        if note["what"] == "certified":
            held.add((note["id"], begin, end))
            continue
        for ref, b, e in [h for h in held if h[1] < end and begin < h[2]]:
            held.remove((ref, b, e))
            held |= {(ref, x, y) for x, y in ((b, begin), (end, e)) if x < y}
    return {(uuid.UUID(ref), b, e) for ref, b, e in held}


def chains_are_those(butler: Butler, told: Notes) -> Iterator[str]:
    """Find in each chain what one writer defined last, and in no chain itself."""
    there = {c.name: c for c in butler.registry.collections("*")}
    last: dict[str, list[tuple[str, ...]]] = {}
    for log in told.values():
        mine = {n["name"]: tuple(n["children"]) for n in log if n["what"] == "chained"}
        for name, children in mine.items():
            last.setdefault(name, []).append(children)
    for name, possible in last.items():
        if there[name].children not in possible:
            yield f"{name} is {there[name].children}, and was left as one of {possible}"
    for name in there:
        if name in _below(there, name):
            yield f"the chain {name} holds itself"


def _below(there: dict[str, Collection], name: str) -> set[str]:
    found: set[str] = set()
    new = set(there[name].children)
    while new:
        found |= new
        new = {child for n in new for child in there[n].children} - found
    return found


def quanta_are_done(butler: Butler, told: Notes) -> Iterator[str]:
    """Find every quantum in the state in which it was left."""
    with butler.registry.read() as connection:
        states = dict(connection.execute(sa.select(quantum.c.id, quantum.c.state)).all())
    for key in _ids(told, "quantum"):
        if states.get(key) != "no_work":
            yield f"quantum {key} is {states.get(key)}"


def audit_finds_nothing(butler: Butler, told: Notes) -> Iterator[str]:
    """Let `skyspine check` look at every row and every file."""
    del told
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    yield from (f"{finding}" for finding in report.findings)


JUDGES: tuple[Callable[[Butler, Notes], Iterable[str]], ...] = (
    met,
    datasets_are_those,
    identities_are_single,
    new_ones_were_told_once,
    tags_are_those,
    validity_is_that,
    chains_are_those,
    quanta_are_done,
    audit_finds_nothing,
)
