"""How does what another registry exported become part of this one?

All of it in one transaction, set-wise: dimension records, dataset types, collections, datasets with
their identities and files, tags and validity ranges.  What exists already with the same meaning is
passed over, so that an import may be repeated; what cannot be taken as it is, is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from backbone import endpoints, files, trash
from backbone.sending import require_ours
from butler.errors import ExchangeError, UnknownStorageClass
from butler.exchange.bringing import Beside, Wanted, bring_all
from butler.exchange.document import dataset_uuid, read_document
from butler.exchange.formats import formatter_here
from butler.exchange.universe import CARRIED, Translation, required
from butler.intake.ingest import target_of
from butler.storage_classes import get_storage_class
from registry import belongings, calibrations, carried, collections, datasets, dimensions
from registry.errors import Conflict
from registry.identity import DatasetRef, DatasetType
from registry.timespan import Timespan

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from backbone.endpoints import Endpoint
    from backbone.staging import StagedFile
    from butler.butler import Butler
    from butler.exchange.bundle import Archive
    from butler.exchange.document import Document

__all__ = ["EXPORT_FILE", "Imported", "endpoint_of", "import_", "remove", "take_in", "tried"]

P = ParamSpec("P")
T = TypeVar("T")

EXPORT_FILE = "export.yaml"
"""Name of the file in a folder that holds an export."""


@dataclass(slots=True)
class Imported:
    """What an import brought.

    Parameters
    ----------
    records : dict of str to int
        New dimension records by element.
    refs : list of DatasetRef
        New datasets.
    present : int
        Datasets that were there already.
    files : int
        Files recorded.
    quanta : int
        New steps of their history.
    notes : list of str
        What was not taken as it is, one sentence each.
    """

    records: dict[str, int] = field(default_factory=dict)
    refs: list[DatasetRef] = field(default_factory=list)
    present: int = 0
    files: int = 0
    quanta: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Content:
    """A document sorted out: all that a transaction needs."""

    translation: Translation
    kinds: dict[str, DatasetType] = field(default_factory=dict)
    collections: dict[str, tuple[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    refs: dict[uuid.UUID, DatasetRef] = field(default_factory=dict)
    paths: dict[uuid.UUID, tuple[str, str | None]] = field(default_factory=dict)
    tags: dict[str, list[uuid.UUID]] = field(default_factory=lambda: defaultdict(list))
    ranges: dict[str, list[tuple[uuid.UUID, Timespan]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    notes: Counter[str] = field(default_factory=Counter)
    staged: list[StagedFile] = field(default_factory=list)
    new_files: list[files.NewFile] = field(default_factory=list)


def import_(
    butler: Butler,
    path: Path,
    *,
    transfer: str | None = "auto",
    directory: Path | None = None,
    endpoint: str = endpoints.ROOT,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take in what lsst-daf-butler exported as YAML; see `butler.exchange.import_`."""
    source = path / EXPORT_FILE if path.is_dir() else path
    folder = source.parent if directory is None else directory
    return take_in(
        butler,
        read_document(source),
        source,
        Beside(folder),
        transfer=transfer,
        endpoint=endpoint,
        dry_run=dry_run,
        progress=progress,
    )


def take_in(
    butler: Butler,
    document: Document,
    source: Path,
    base: Archive,
    *,
    transfer: str | None,
    endpoint: str = endpoints.ROOT,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take in a document of lsst-daf-butler.

    Parameters
    ----------
    source : Path
        What it was read from, for messages.
    base : Archive
        Where the files are that the document names.
    endpoint : str
        Storage that they come to.

    Raises
    ------
    ExchangeError
        If it holds something that cannot be here.
    MissingFile
        If a file is not there; nothing is imported then.
    Conflict
        If a dataset or definition exists with another meaning.
    """
    target = endpoint_of(butler, endpoint, transfer)
    with butler.registry.read() as connection:
        known = {kind.name: kind for kind in datasets.dataset_types(connection)}
    try:
        content = _sorted_out(document, known)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError(
            f"{source} does not have the form of an export: {type(error).__name__}: {error}.",
            path=source,
        ) from error
    result = Imported()
    with butler.registry.read() as connection:
        there = datasets.get_refs(connection, list(content.refs))
    _without_present(content, there, result)
    if dry_run:
        result.records = tried(butler, _record, content, there, endpoints.ROOT)
        result.files = 0 if transfer is None else len(content.paths)
    else:
        with butler.cleaning(content.staged):
            if transfer is not None:
                _stage(butler, target, content, base, transfer, progress)
            elif content.paths:
                note = "datasets registered without their files, as asked"
                content.notes[note] += len(content.paths)
            where = endpoints.DIRECT if transfer == "direct" else target.name
            result.records = butler.registry.database.transact(_record, content, there, where)
        if transfer == "move":
            moved = [base.place(path) for path, _ in content.paths.values()]
            butler.after_commit(partial(remove, moved))
        result.files = len(content.new_files)
    result.refs = list(content.refs.values())
    notes = content.translation.notes + content.notes
    result.notes = [f"{text} ({n})" if n > 1 else text for text, n in sorted(notes.items())]
    return result


def endpoint_of(butler: Butler, endpoint: str, transfer: str | None) -> Endpoint:
    """Give the endpoint that files are to come to; refuse what cannot be done there."""
    if transfer is None and endpoint != endpoints.ROOT:
        raise ExchangeError("Without files, none comes to an endpoint; name none.")
    target = target_of(butler, endpoint, transfer or "auto")
    if transfer != "direct":
        require_ours(target)
    return target


def tried(
    butler: Butler,
    verb: Callable[Concatenate[sa.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Do a verb and take it back, to tell what it would do; the database has its say."""
    with butler.registry.begin() as connection:
        trial = connection.begin_nested()
        try:
            return verb(connection, *args, **kwargs)
        finally:
            trial.rollback()


def remove(sources: Sequence[Path | None]) -> None:
    """Remove the files that an import has moved; what is in an archive stays there."""
    for source in sources:
        if source is not None:
            source.unlink(missing_ok=True)


def _sorted_out(document: Document, known: Mapping[str, DatasetType]) -> _Content:
    content = _Content(Translation.of(document), dict(known))
    for part in document.of_type("dataset_type"):
        kind = _kind(part, document.universe_version)
        content.kinds[kind.name] = kind
        try:
            get_storage_class(kind.storage_class)
        except UnknownStorageClass:
            content.notes[
                f"storage class {kind.storage_class} is unknown here: its datasets can be found, "
                "and not read"
            ] += 1
    for part in document.of_type("run"):
        content.collections[part["name"]] = ("RUN", "")
    for part in document.of_type("collection"):
        _collection(part, content)
    for part in document.of_type("dataset"):
        _datasets(part, content)
    for part in document.of_type("associations"):
        if part["collection_type"] == "TAGGED":
            content.tags[part["collection"]] += map(dataset_uuid, part["dataset_ids"])
            continue
        for held in part["validity_ranges"]:
            span = held["timespan"] if "timespan" in held else Timespan(held["begin"], held["end"])
            if span is None:
                content.notes["empty validity ranges were left out"] += len(held["dataset_ids"])
                continue
            if any(bound is not None and bound % 1000 for bound in (span.begin, span.end)):
                content.notes["validity ranges were cut to microseconds"] += 1
            content.ranges[part["collection"]] += [
                (dataset_uuid(i), span) for i in held["dataset_ids"]
            ]
    odd = {p["type"] for p in document.parts} - {
        "dimension",
        "dataset_type",
        "run",
        "collection",
        "dataset",
        "associations",
    }
    if odd:
        raise ExchangeError(f"The export has parts of the unknown type {', '.join(sorted(odd))}.")
    return content


def _kind(part: Mapping[str, Any], version: int) -> DatasetType:
    names = list(part["dimensions"])
    if version < 2 and {"visit", "visit_system"} <= set(names):
        names.remove("visit_system")
    return DatasetType(
        part["name"],
        required(names),
        part["storage_class"],
        bool(part.get("is_calibration", False)),
    )


def _collection(part: Mapping[str, Any], content: _Content) -> None:
    name, kind = part["name"], part["collection_type"]
    content.collections[name] = (kind, part.get("doc") or "")
    if kind == "CHAINED":
        content.chains[name] = [c if isinstance(c, str) else c[0] for c in part["children"]]
        if any(not isinstance(c, str) for c in part["children"]):
            content.notes[f"chain {name}: restrictions to dataset types were left out"] += 1
    if any(part.get(k) is not None for k in ("host", "timespan_begin", "timespan_end")):
        content.notes[f"run {name}: its host and timespan were left out"] += 1


def _datasets(part: Mapping[str, Any], content: _Content) -> None:
    """Take the datasets of one type and run; one file may hold several."""
    name, run = part["dataset_type"], part["run"]
    kind = content.kinds.get(name)
    if kind is None:
        raise ExchangeError(
            f"The export has datasets of the type {name}, which it does not define; import what "
            "defines it first."
        )
    content.collections.setdefault(run, ("RUN", ""))
    for record in part["records"]:
        ids, data_ids = record["dataset_id"], record["data_id"]
        ids = ids if isinstance(ids, list) else [ids]
        data_ids = data_ids if isinstance(data_ids, list) else [data_ids]
        for value, data_id in zip(ids, data_ids, strict=True):
            full = kind.data_id({k: data_id[k] for k in kind.dimensions if k in data_id})
            ref = DatasetRef(dataset_uuid(value), kind, full, run)
            if content.refs.setdefault(ref.id, ref) != ref:
                raise ExchangeError(f"The export has two datasets with the identity {ref.id}.")
            if record.get("path"):
                content.paths[ref.id] = (record["path"], record.get("formatter"))
        if len(ids) > 1 and record.get("path"):
            content.notes["files hold several datasets; each dataset has the whole file"] += 1


def _without_present(
    content: _Content, there: Mapping[uuid.UUID, DatasetRef], result: Imported
) -> None:
    """Leave datasets out that are here already, and refuse other ones of the same identity."""
    for key, ref in there.items():
        if (ref.dataset_type.name, ref.data_id, ref.run) != (
            content.refs[key].dataset_type.name,
            content.refs[key].data_id,
            content.refs[key].run,
        ):
            raise Conflict(
                f"The identity {key} belongs to {ref} here, and to {content.refs[key]} in the "
                "export; one of the two registries gave it away twice."
            )
        del content.refs[key]
        content.paths.pop(key, None)
    result.present = len(there)


def _stage(
    butler: Butler,
    target: Endpoint,
    content: _Content,
    base: Archive,
    transfer: str,
    progress: Callable[[int, int], None] | None,
) -> None:
    wanted = [Wanted(path, path, key) for key, (path, _) in content.paths.items()]
    without = len(content.refs) - len(wanted)
    if without:
        content.notes["datasets had no file in the export"] += without
    brought = bring_all(butler, target, base, wanted, transfer, content.staged, progress)
    for file, made in zip(wanted, brought, strict=True):
        key, (_, formatter) = file.dataset_id, content.paths[file.dataset_id]
        here = formatter_here(formatter, content.refs[key].dataset_type.storage_class)
        content.new_files.append(files.NewFile(key, "", made.path, made.size, made.digest, here))


def _record(
    connection: sa.Connection,
    content: _Content,
    there: Mapping[uuid.UUID, DatasetRef],
    where: str,
) -> dict[str, int]:
    """Write it all."""
    written = {
        table: dimensions.insert_dimension_records(connection, table, rows, "skip")
        for table, rows in content.translation.rows.items()
    }
    for element, records in content.translation.carried.items():
        written[element] = carried.carry(connection, element, CARRIED[element], records)
    for kind in content.kinds.values():
        datasets.register_dataset_type(connection, kind)
    collections.register_many(connection, content.collections)
    for name in innermost_first(content.chains):
        collections.chain(connection, name, content.chains[name])
    grouped: dict[tuple[DatasetType, str], list[DatasetRef]] = defaultdict(list)
    for ref in content.refs.values():
        grouped[ref.dataset_type, ref.run].append(ref)
    for (kind, run), members in grouped.items():
        datasets.insert_datasets(
            connection, kind, [r.data_id for r in members], run, ids=[r.id for r in members]
        )
    if content.new_files:
        files.record(connection, where, content.new_files)
        trash.reclaim(connection, where, [file.path for file in content.new_files])
    refs = {**there, **content.refs}
    for name, ids in content.tags.items():
        collections.tag(connection, name, [_ref(refs, i) for i in ids])
    for name, ranges in content.ranges.items():
        asked = [(_ref(refs, i), span) for i, span in ranges]
        held = set(belongings.ranges_of(connection, [ref.id for ref, _ in asked], [name]))
        new = [(ref, span) for ref, span in asked if (name, ref.id, *span.bounds) not in held]
        if new:
            calibrations.certify_each(connection, name, new)
    for file in content.staged:
        file.settle()
    return written


def _ref(refs: Mapping[uuid.UUID, DatasetRef], key: uuid.UUID) -> DatasetRef:
    if key not in refs:
        raise ExchangeError(
            f"The export tags or certifies the dataset {key}, which it does not hold."
        )
    return refs[key]


def innermost_first(chains: Mapping[str, Sequence[str]]) -> list[str]:
    """Order chains (children by name) so that each comes after those that it holds."""
    ordered: dict[str, None] = {}
    left = dict(chains)
    while left:
        ready = [n for n, children in left.items() if not any(c in left for c in children)]
        if not ready:
            raise ExchangeError(f"The chains {', '.join(sorted(left))} hold each other in a ring.")
        for name in ready:
            ordered[name] = None
            del left[name]
    return list(ordered)
