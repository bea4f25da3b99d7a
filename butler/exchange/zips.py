"""How are files with an index in one .zip exchanged with lsst-daf-butler?

Its ``retrieve_artifacts_zip`` writes such an archive and ``ingest_zip`` reads it: the files beside
each other, and ``_butler_zip_index.json`` with their datasets, dataset types and dimension records.
The records are turned into the parts of its YAML, so that both take one way in.
"""

from __future__ import annotations

import json
import uuid
import zipfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from backbone.staging import StagedFile
from butler.errors import ExchangeError
from butler.exchange import bundle, sources
from butler.exchange.carrying import each_file, into_zip
from butler.exchange.document import UNIVERSE, UNIVERSE_VERSION, Document, EncodedRegion, TaiTime
from butler.exchange.exporting import Exported, YamlExport, in_order
from butler.exchange.formats import formatter_there
from butler.exchange.importing import Imported, take_in
from registry.timespan import Timespan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from butler.butler import Butler
    from butler.exchange.carrying import Held
    from butler.exchange.sources import Source
    from registry.identity import DatasetRef

__all__ = ["INDEX", "export", "has_index", "import_"]

INDEX = "_butler_zip_index.json"
_MOST_INDEX = 2**30
"""Largest index that is read [byte]."""
_FIRST_NS, _LAST_NS = 0, 4_102_444_800_000_000_000
"""What stands for a time without limit: the begins of 1970 and of 2100, TAI."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "band": ("name",),
    "instrument": (
        "name",
        "visit_max",
        "visit_system",
        "exposure_max",
        "detector_max",
        "class_name",
    ),
    "skymap": ("name", "hash", "tract_max", "patch_nx_max", "patch_ny_max"),
    "ssp_hypothesis_table": ("name",),
    "day_obs": ("instrument", "id", "timespan"),
    "detector": ("instrument", "id", "full_name", "name_in_raft", "raft", "purpose"),
    "group": ("instrument", "name"),
    "physical_filter": ("instrument", "name", "band"),
    "ssp_balanced_index": ("ssp_hypothesis_table", "id"),
    "ssp_hypothesis_bundle": ("ssp_hypothesis_table", "id"),
    "subfilter": ("band", "id"),
    "tract": ("skymap", "id", "region"),
    "visit_system": ("instrument", "id", "name"),
    "exposure": (
        *("instrument", "id", "day_obs", "group", "physical_filter", "obs_id", "exposure_time"),
        *("dark_time", "observation_type", "observation_reason", "seq_num", "seq_start"),
        *("seq_end", "target_name", "science_program", "tracking_ra", "tracking_dec"),
        *("sky_angle", "azimuth", "zenith_angle", "has_simulated", "can_see_sky", "timespan"),
    ),
    "patch": ("skymap", "tract", "id", "cell_x", "cell_y", "region"),
    "visit": (
        *("instrument", "id", "day_obs", "physical_filter", "name", "seq_num", "exposure_time"),
        *("target_name", "observation_reason", "science_program", "azimuth", "zenith_angle"),
        *("region", "timespan"),
    ),
    "visit_definition": ("instrument", "exposure", "visit"),
    "visit_detector_region": ("instrument", "detector", "visit", "region"),
    "visit_system_membership": ("instrument", "visit_system", "visit"),
}
"""Fields of the records of the universe in the order in which the index has their values."""


def has_index(path: Path) -> bool:
    """Tell whether a file is such an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def import_(
    butler: Butler,
    path: Path,
    *,
    transfer: str | None,
    endpoint: str,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take in the datasets of an archive, each with its file; see `butler.exchange.import_`."""
    archive = bundle.open_archive(path)
    try:
        try:
            index = json.loads(archive.read(INDEX, _MOST_INDEX))
            document = _document(index, path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, ExchangeError):
                raise
            raise ExchangeError(
                f"{path} does not have the form of a zip of lsst-daf-butler: "
                f"{type(error).__name__}: {error}.",
                path=path,
            ) from error
        return take_in(
            butler,
            document,
            path,
            archive,
            transfer=transfer,
            endpoint=endpoint,
            dry_run=dry_run,
            progress=progress,
        )
    finally:
        archive.close()


def _document(index: Mapping[str, Any], path: Path) -> Document:
    """Turn an index into the parts of an export."""
    refs = index["refs"]
    if index["index_version"] != "V1" or refs["container_version"] != "V1":
        raise ExchangeError(
            f"{path} has the version {index['index_version']} of the index; V1 is known.", path=path
        )
    universe, version = refs["universe_namespace"], refs["universe_version"]
    if universe != UNIVERSE or version != UNIVERSE_VERSION:
        raise ExchangeError(
            f"{path} has dimensions of the universe {universe} {version}; {UNIVERSE} "
            f"{UNIVERSE_VERSION} is known in a zip. Export as YAML instead.",
            path=path,
        )
    parts: list[dict[str, Any]] = [
        {
            "type": "dimension",
            "element": element,
            "records": [_record(element, values) for values in rows],
        }
        for element, rows in (refs.get("dimension_records") or {}).items()
        if element != "band" and rows
    ]
    parts += [
        {
            "type": "dataset_type",
            "name": kind["name"],
            "dimensions": kind["dimensions"],
            "storage_class": kind["storageClass"],
            "is_calibration": kind.get("isCalibration", False),
        }
        for kind in refs["dataset_types"].values()
    ]
    places = _places(index["artifact_map"])
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for key, ref in refs["compact_refs"].items():
        record = {"dataset_id": [uuid.UUID(key)], "data_id": [ref["data_id"]], "path": ""}
        record |= places.get(uuid.UUID(key), {})
        grouped[ref["dataset_type_name"], ref["run"]].append(record)
    parts += [
        {"type": "dataset", "dataset_type": name, "run": run, "records": records}
        for (name, run), records in grouped.items()
    ]
    return Document(parts)


def _places(artifacts: Mapping[str, Any]) -> dict[uuid.UUID, dict[str, str]]:
    """Give the member and formatter of each dataset."""
    places: dict[uuid.UUID, dict[str, str]] = {}
    for member, told in artifacts.items():
        if told["info"].get("component"):
            raise ExchangeError(
                f"The zip holds {member[:120]}, a component of a dataset; datasets in parts cannot "
                "be taken from it."
            )
        place = {"path": bundle.inside(member), "formatter": told["info"]["formatter"]}
        places |= {uuid.UUID(key): place for key in told["ids"]}
    return places


def _record(element: str, values: Sequence[Any]) -> dict[str, Any]:
    record = dict(zip(_FIELDS[element], values, strict=True))
    if record.get("region") is not None:
        record["region"] = EncodedRegion.fromhex(record["region"])
    if record.get("hash") is not None:
        record["hash"] = bytes.fromhex(record["hash"])
    span = record.pop("timespan", None)
    if span is not None:
        begin, end = span
        record["timespan"] = Timespan(
            None if begin <= _FIRST_NS else begin, None if end >= _LAST_NS else end
        )
    return record


def export(
    butler: Butler,
    path: Path,
    refs: Sequence[DatasetRef],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the files of datasets with their index into one archive; see `butler.exchange.export`.

    Raises
    ------
    ExchangeError
        If the archive exists, or there is no file that the other side could read.
    """
    if path.suffix != ".zip":
        raise ExchangeError(f"A zip of lsst-daf-butler ends in .zip, and {path} does not.")
    if path.exists():
        raise ExchangeError(f"{path} exists already; name another file.", path=path)
    made = YamlExport(path, in_order(refs), "copy")
    with (
        sources.opened(butler, refs) as found,
        each_file(found, made.refs, path.parent, "copy") as each,
    ):
        return _archived(found, path, made, each, progress)


def _archived(
    found: Sequence[Source],
    path: Path,
    made: YamlExport,
    each: Sequence[Held],
    progress: Callable[[int, int], None] | None,
) -> Exported:
    """Write the archive."""
    there = {
        held.first.dataset_id: (held, name)
        for held in each
        if not held.first.component and (name := formatter_there(held.first.formatter)) is not None
    }
    without = len(made.refs) - len(there)
    made.refs = [ref for ref in made.refs if ref.id in there]
    if not made.refs:
        raise ExchangeError(
            "None of the datasets has a file in a format that lsst-daf-butler reads; nothing "
            "was exported."
        )
    records = {p["element"]: p["records"] for p in made.records(found, everything=False)}
    if without:
        text = "datasets without a file that lsst-daf-butler reads were left out"
        made.notes[text] += without
    made.result.datasets = made.result.files = len(made.refs)
    made.result.records = {element: len(rows) for element, rows in records.items()}
    index, members = _index(made.refs, there, records)
    staged = StagedFile(path.parent, path.name)
    try:
        with zipfile.ZipFile(staged.temporary, "w") as archive:
            text = json.dumps(index, separators=(",", ":"))
            archive.writestr(INDEX, text, zipfile.ZIP_DEFLATED)
            for n, (member, held) in enumerate(members.items()):
                into_zip(archive, member, held, path)
                if progress is not None:
                    progress(n + 1, len(members))
        staged.settle()
    except BaseException:
        staged.abandon(settled=False)
        raise
    notes = sorted(made.notes.items())
    made.result.notes = [f"{text} ({n})" if n > 1 else text for text, n in notes]
    return made.result


def _index(
    refs: Sequence[DatasetRef],
    there: Mapping[uuid.UUID, tuple[Held, str]],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, Any], dict[str, Held]]:
    """Make the index, and name the files in the archive."""
    implied = _implied(records)
    members: dict[str, Held] = {}
    artifacts: dict[str, Any] = {}
    compact: dict[str, Any] = {}
    bands = {r["band"] for r in records.get("physical_filter", ())}
    for ref in refs:
        held, formatter = there[ref.id]
        copy = held.first
        member = f"{ref.id.hex[-12:]}-{copy.path.rpartition('/')[2]}"
        members[member] = held
        kind = ref.dataset_type
        artifacts[member] = {
            "info": {
                "formatter": formatter,
                "path": copy.path,
                "storage_class": kind.storage_class,
                "component": None,
                "checksum": None,
                "file_size": copy.size,
            },
            "ids": [str(ref.id)],
        }
        full = dict(ref.data_id)
        for key in ("exposure", "visit", "physical_filter"):
            if key in full:
                full = {**implied[key, full["instrument"], full[key]], **full}
        bands |= {full["band"]} if "band" in full else set()
        compact[str(ref.id)] = {"dataset_type_name": kind.name, "run": ref.run, "data_id": full}
    rows = {"band": [{"name": name} for name in sorted(bands)], **records}
    listed = {
        element: [[_plain(name, record) for name in _FIELDS[element]] for record in rows[element]]
        for element in _FIELDS
        if element in rows
    }
    kinds = {
        k.name: {
            "name": k.name,
            "storageClass": k.storage_class,
            "dimensions": list(k.dimensions),
            "parentStorageClass": None,
            "isCalibration": k.is_calibration,
        }
        for k in {ref.dataset_type for ref in refs}
    }
    container = {
        "container_version": "V1",
        "universe_version": UNIVERSE_VERSION,
        "universe_namespace": UNIVERSE,
        "dataset_types": kinds,
        "compact_refs": compact,
        "dimension_records": listed,
    }
    return {"index_version": "V1", "refs": container, "artifact_map": artifacts}, members


def _implied(
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[tuple[str, Any, Any], dict[str, Any]]:
    """Tell what an exposure, a visit and a filter imply."""
    bands = {(r["instrument"], r["name"]): r["band"] for r in records.get("physical_filter", ())}
    found: dict[tuple[str, Any, Any], dict[str, Any]] = {
        ("physical_filter", *key): {"band": band} for key, band in bands.items()
    }
    for element in ("exposure", "visit"):
        names = ("day_obs", "group", "physical_filter")
        for record in records.get(element, ()):
            told = {name: record[name] for name in names if name in record}
            band = bands[record["instrument"], record["physical_filter"]]
            found[element, record["instrument"], record["id"]] = {**told, "band": band}
    return found


def _plain(name: str, record: Mapping[str, Any]) -> Any:
    """Give a field as JSON has it."""
    if name == "timespan":
        if "datetime_begin" not in record:
            return None
        begin, end = record["datetime_begin"], record["datetime_end"]
        return [
            _FIRST_NS if begin is None else int(TaiTime(begin)),
            _LAST_NS if end is None else int(TaiTime(end)),
        ]
    value = record.get(name)
    return value.hex() if isinstance(value, bytes) else value
