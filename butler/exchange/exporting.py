"""How does a part of a repository become a file that lsst-daf-butler and other repositories read?

Datasets bring their dimension records, types, runs and files; other collections are named.  What
the format cannot express is told.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from backbone import fetching
from backbone.staging import StagedFile
from butler.errors import ExchangeError
from butler.exchange import sources
from butler.exchange.carrying import carry, each_file, left_there
from butler.exchange.document import Document, write_document
from butler.exchange.formats import formatter_there
from butler.exchange.importing import EXPORT_FILE, innermost_first
from butler.exchange.universe import CARRIED, COLUMNS, required, to_records
from registry.errors import UnknownCollection
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from butler.butler import Butler
    from butler.exchange.carrying import Held
    from butler.exchange.sources import Source
    from registry.collections import Collection
    from registry.identity import DatasetRef, DatasetType

__all__ = ["Exported", "YamlExport", "export", "in_order"]

_ORDER = (
    "instrument",
    "physical_filter",
    "detector",
    "day_obs",
    "group",
    "visit_system",
    "exposure",
    "visit",
    "visit_definition",
    "visit_system_membership",
    "visit_detector_region",
    "skymap",
    "tract",
    "patch",
    "subfilter",
    "ssp_hypothesis_table",
    "ssp_hypothesis_bundle",
    "ssp_balanced_index",
)
_JOINED = {"visit_definition", "visit_system_membership", "visit_detector_region"}
_DIMENSIONS = (frozenset(_ORDER) | {"band"}) - _JOINED
_PIXELS = re.compile(r"(htm|healpix)\d+$", re.ASCII)
"""Dimensions without records that the universe has at every level."""
UNKNOWN = "unknown"
"""Filter and band of what has none."""
_LOST = {
    "exposure": ("airmass",),
    "visit": ("ra", "dec"),
    "detector": ("nrows", "ncols"),
}
"""Columns with facts that the universe has no field for."""


@dataclass(slots=True)
class Exported:
    """What an export holds.

    Parameters
    ----------
    path : Path
        The file.
    records : dict of str to int
        Dimension records by element.
    datasets : int
        Datasets in it.
    files : int
        Of which have a file in it.
    quanta : int
        Steps of their history; the format of lsst-daf-butler has none.
    notes : list of str
        What it does not hold, one sentence each.
    """

    path: Path
    records: dict[str, int] = field(default_factory=dict)
    datasets: int = 0
    files: int = 0
    quanta: int = 0
    notes: list[str] = field(default_factory=list)


def export(
    butler: Butler,
    path: Path,
    refs: Sequence[DatasetRef],
    *,
    also: Sequence[str] = (),
    transfer: str | None = "auto",
    everything: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write datasets and what belongs to them into a file; see `butler.exchange.export`."""
    target = path if path.suffix in (".yaml", ".yml") else path / EXPORT_FILE
    if target.exists():
        raise ExchangeError(f"{target} exists already; name another file.", path=target)
    made = YamlExport(target, in_order(refs), transfer, progress)
    try:
        with sources.opened(butler, refs) as found:
            made.write(found, also, everything=everything)
        for file in made.staged:
            file.settle()
    except BaseException:
        for file in made.staged:
            file.abandon()
        raise
    return made.result


def in_order(refs: Iterable[DatasetRef]) -> list[DatasetRef]:
    """Sort datasets by type and run, and refuse those that the universe cannot identify.

    Raises
    ------
    ExchangeError
        If the dimensions of a dataset type have no equivalent.
    """
    ordered = sorted(refs, key=lambda r: (r.dataset_type.name, r.run, r.data_id.key, r.id))
    for kind in {ref.dataset_type for ref in ordered}:
        _check_dimensions(kind)
    return ordered


def _check_dimensions(kind: DatasetType) -> None:
    """Refuse a dataset type whose dimensions the universe lacks."""
    lacking = [d for d in kind.dimensions if d not in _DIMENSIONS and not _PIXELS.match(d)]
    if lacking:
        raise ExchangeError(
            f"{kind.name} has the dimension {lacking[0]}, for which lsst-daf-butler has no "
            "equivalent; leave its datasets out of the export."
        )
    known = set(required(kind.dimensions))
    over = [d for d in kind.dimensions if d not in known]
    if over:
        raise ExchangeError(
            f"{kind.name} is identified by {', '.join(kind.dimensions)}; for lsst-daf-butler "
            f"{over[0]} follows from the others and identifies nothing. "
            "Leave its datasets out of the export."
        )


class YamlExport:
    """One export under way; `butler.exchange.zips` writes the same parts in another form."""

    def __init__(
        self,
        target: Path,
        refs: Sequence[DatasetRef],
        transfer: str | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.target = target
        self.refs = refs
        self.transfer = transfer
        self.progress = progress
        self.staged: list[StagedFile] = []
        self.notes: Counter[str] = Counter()
        self.result = Exported(target, datasets=len(refs))

    def write(self, found: Sequence[Source], names: Sequence[str], *, everything: bool) -> None:
        """Collect all parts and write them under a temporary name."""
        placed = self.placed(found)
        self.result.files = len(placed)
        parts = self.records(found, everything=everything)
        self.result.records = {part["element"]: len(part["records"]) for part in parts}
        parts += self.collections(found, names)
        parts += self.datasets(placed)
        parts += self.associations(found, names)
        whole = StagedFile(self.target.parent, self.target.name)
        self.staged.append(whole)
        with whole.temporary.open("w", encoding="utf-8") as stream:
            write_document(Document(parts), stream)
        notes = sorted(self.notes.items())
        self.result.notes = [f"{text} ({n})" if n > 1 else text for text, n in notes]

    def placed(self, found: Sequence[Source]) -> dict[uuid.UUID, tuple[str, str]]:
        """Bring the files to the export, and give their paths in it with their formatters."""
        with each_file(found, self.refs, self.target.parent, self.transfer) as each:
            return self._placed(each)

    def _placed(self, each: Sequence[Held]) -> dict[uuid.UUID, tuple[str, str]]:
        by_dataset: dict[uuid.UUID, list[Held]] = defaultdict(list)
        for held in each:
            by_dataset[held.first.dataset_id].append(held)
        whole = [
            parts[0]
            for parts in by_dataset.values()
            if len(parts) == 1 and not parts[0].first.component
        ]
        in_parts = len(by_dataset) - len(whole)
        if in_parts:
            text = "datasets that are stored in parts are exported without files"
            self.notes[text] += in_parts
        without = len(self.refs) - len(by_dataset)
        if without:
            self.notes["datasets have no file and are exported as records only"] += without
        far = self.transfer is not None and any(held.far for held in whole)
        placed = fetching.each(self.place, whole, far=far, progress=self.progress)
        return {
            held.first.dataset_id: (path, held.first.formatter)
            for held, path in zip(whole, placed, strict=True)
        }

    def place(self, held: Held) -> str:
        """Bring a file to the export, and give its path in it."""
        copy = held.first
        path = copy.path
        elsewhere = not copy.endpoint.owned and not held.far
        if self.transfer == "direct":
            return left_there(held)[0]
        if self.transfer is None:
            if elsewhere or (held.foreign and not held.far):
                path = str(copy.place(held.root).absolute())
            return path
        if held.shared or PurePath(path).is_absolute() or elsewhere:
            path = f"files/{copy.dataset_id.hex}/{PurePath(path).name}"
        file = StagedFile(self.target.parent, path)
        self.staged.append(file)
        carry(held, file, self.transfer)
        return path

    def records(self, found: Sequence[Source], *, everything: bool) -> list[dict[str, Any]]:
        """Collect the dimension records."""
        asked = [ref.data_id for ref in self.refs]
        rows = sources.needed_records(found, everything=everything)
        rows["visit_definition"] = rows.pop("visit_exposure", [])
        for element, columns in _LOST.items():
            for column in columns:
                n = sum(row[column] is not None for row in rows.get(element, ()))
                if n:
                    self.notes[f"{element}.{column} has no field in the universe"] += n
        if seen := rows.get("exposure_detector_region"):
            self.notes["exposure_detector_region has no place in the universe"] += len(seen)
        made = {element: to_records(element, rows.get(element, ())) for element in COLUMNS}
        self.with_groups(made["exposure"])
        self.with_filters(made)
        named = {(e["instrument"], e["group"]) for e in made["exposure"]}
        named |= {(d["instrument"], d["group"]) for d in asked if "group" in d}
        made["group"] = [{"instrument": i, "name": name} for i, name in sorted(named)]
        made |= self.carried(found, made, asked, everything=everything)
        for element, keys in CARRIED.items():  # databases keep the fields in orders of their own
            made[element] = [
                {k: record[k] for k in (*keys, *sorted(set(record) - set(keys)))}
                for record in sorted(made[element], key=lambda r: [str(r[k]) for k in keys])
            ]
        return [
            {"type": "dimension", "element": element, "records": made[element]}
            for element in _ORDER
            if made.get(element)
        ]

    def with_groups(self, exposures: Sequence[dict[str, Any]]) -> None:
        """Name the group of exposures that have none after their observation."""
        for record in exposures:
            if record["group"] is None:
                record["group"] = record["obs_id"]
                self.notes["exposures without a group: obs_id is written as their group"] += 1

    def with_filters(self, made: Mapping[str, list[dict[str, Any]]]) -> None:
        """Name the filter of what has none, and the band of filters; both are wanted there."""
        without = [r for r in (*made["exposure"], *made["visit"]) if r["physical_filter"] is None]
        for record in without:
            record["physical_filter"] = UNKNOWN
            self.notes[f"exposures or visits without a filter: '{UNKNOWN}' is written"] += 1
        known = {(r["instrument"], r["name"]) for r in made["physical_filter"]}
        made["physical_filter"].extend(
            {"instrument": camera, "name": UNKNOWN, "band": None}
            for camera in sorted({record["instrument"] for record in without})
            if (camera, UNKNOWN) not in known
        )
        for record in made["physical_filter"]:
            if record["band"] is None:
                record["band"] = UNKNOWN
                if record["name"] != UNKNOWN:
                    self.notes[f"filters without a band: '{UNKNOWN}' is written"] += 1

    def carried(
        self,
        found: Sequence[Source],
        made: Mapping[str, Sequence[Mapping[str, Any]]],
        asked: Sequence[Mapping[str, Any]],
        *,
        everything: bool,
    ) -> dict[str, list[dict[str, Any]]]:
        """Collect the records of elements that have no table here."""
        if everything:
            held = {e: sources.carried_records(found[:1], e, by) for e, by in CARRIED.items()}
            groups = {(g["instrument"], g["name"]): g for g in (*made["group"], *held["group"])}
            return held | {"group": [dict(groups[key]) for key in sorted(groups)]}
        cameras = {record["name"] for record in made["instrument"]}
        systems = [
            record
            for record in sources.carried_records(found, "visit_system", CARRIED["visit_system"])
            if record["instrument"] in cameras
        ]
        members = [
            (visit["instrument"], system["id"], visit["id"])
            for visit in made["visit"]
            for system in systems
            if system["instrument"] == visit["instrument"]
        ]
        keyed = {
            element: {tuple(d[k] for k in keys) for d in asked if all(k in d for k in keys)}
            for element, keys in (
                ("subfilter", ("band", "subfilter")),
                ("ssp_hypothesis_table", ("ssp_hypothesis_table",)),
                ("ssp_hypothesis_bundle", ("ssp_hypothesis_table", "ssp_hypothesis_bundle")),
                ("ssp_balanced_index", ("ssp_hypothesis_table", "ssp_balanced_index")),
            )
        }
        keyed["visit_system_membership"] = set(members)
        return {
            "visit_system": systems,
            **{
                e: sources.carried_records(found, e, CARRIED[e], sorted(k))
                for e, k in keyed.items()
            },
        }

    def collections(self, found: Sequence[Source], names: Sequence[str]) -> list[dict[str, Any]]:
        """Describe runs and the collections that were asked for, chains last."""
        known = sources.known_collections(found)
        for name in names:
            if name not in known:
                raise UnknownCollection(name, known)
        wanted = sorted({ref.run for ref in self.refs} | set(names))
        plain = [known[name] for name in wanted if known[name].type != "CHAINED"]
        chains = [known[name] for name in wanted if known[name].type == "CHAINED"]
        for chain in chains:
            lacking = [c for c in chain.children if c not in wanted]
            if lacking:
                self.notes[
                    f"chain {chain.name} holds {', '.join(lacking)}, which the export lacks"
                ] += 1
        order = {
            name: n for n, name in enumerate(innermost_first({c.name: c.children for c in chains}))
        }
        return [_collection(c) for c in (*plain, *sorted(chains, key=lambda c: order[c.name]))]

    def datasets(self, placed: Mapping[uuid.UUID, tuple[str, str]]) -> list[dict[str, Any]]:
        """Describe dataset types and datasets, by type and run."""
        parts: list[dict[str, Any]] = []
        grouped: dict[DatasetType, dict[str, list[DatasetRef]]] = defaultdict(dict)
        for ref in self.refs:
            grouped[ref.dataset_type].setdefault(ref.run, []).append(ref)
        for kind, by_run in grouped.items():
            parts.append(
                {
                    "type": "dataset_type",
                    "name": kind.name,
                    "dimensions": list(kind.dimensions),
                    "storage_class": kind.storage_class,
                    "is_calibration": kind.is_calibration,
                }
            )
            for run, members in by_run.items():
                records = [self.dataset(ref, placed.get(ref.id)) for ref in members]
                parts.append(
                    {"type": "dataset", "dataset_type": kind.name, "run": run, "records": records}
                )
        return parts

    def dataset(self, ref: DatasetRef, place: tuple[str, str] | None) -> dict[str, Any]:
        """Describe one dataset."""
        record: dict[str, Any] = {"dataset_id": [ref.id], "data_id": [dict(ref.data_id)]}
        record["path"] = ""  # which the format wants, file or not
        if place is not None:
            path, formatter = place
            record["path"] = path
            there = formatter_there(formatter)
            if there is not None:
                record["formatter"] = there
            else:
                self.notes[
                    f"files of the format {formatter} are exported without a formatter: "
                    "lsst-daf-butler takes its default"
                ] += 1
        return record

    def associations(self, found: Sequence[Source], names: Sequence[str]) -> list[dict[str, Any]]:
        """Describe tags and validity ranges of the datasets."""
        ids = [ref.id for ref in self.refs]
        tags: dict[str, list[uuid.UUID]] = defaultdict(list)
        for name, key in sources.tags_of(found, ids, names):
            tags[name].append(key)
        ranges: dict[str, dict[Timespan, list[uuid.UUID]]] = defaultdict(dict)
        for name, key, begin, end in sources.ranges_of(found, ids, names):
            span = Timespan(None if begin <= BEGINNING else begin, None if end >= END else end)
            ranges[name].setdefault(span, []).append(key)
        parts: list[dict[str, Any]] = [
            {
                "type": "associations",
                "collection": name,
                "collection_type": "TAGGED",
                "dataset_ids": sorted(members),
            }
            for name, members in sorted(tags.items())
        ]
        parts += [
            {
                "type": "associations",
                "collection": name,
                "collection_type": "CALIBRATION",
                "validity_ranges": [
                    {"timespan": span, "dataset_ids": sorted(members)}
                    for span, members in sorted(held.items(), key=lambda item: item[0].bounds)
                ],
            }
            for name, held in sorted(ranges.items())
        ]
        return parts


def _collection(described: Collection) -> dict[str, Any]:
    part: dict[str, Any] = {
        "type": "collection",
        "collection_type": described.type,
        "name": described.name,
    }
    if described.doc:
        part["doc"] = described.doc
    if described.type == "RUN":
        part |= {"host": None, "timespan_begin": None, "timespan_end": None}
    elif described.type == "CHAINED":
        part["children"] = list(described.children)
    return part
