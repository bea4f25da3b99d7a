"""How do raw files become datasets?

Each file is translated by its camera's definition; the nights, exposures, visits and footprints
that follow are registered with the datasets in one transaction per batch, in which the copied files
get their names.  A file that cannot be taken does not lose the others, and a file that is in
already is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from backbone import endpoints, fetching, files
from backbone.errors import EndpointAway, EndpointRefuses
from backbone.sending import stage_for_dataset
from backbone.staging import measured, settle, transfer_modes
from butler import cameras
from butler.errors import IngestError, NoRun
from butler.formatters import get_formatter
from butler.instrument import exposure_records, visit_records
from butler.instrument.templates import PathTemplate
from butler.intake.given_files import found_files, kept_files, remove_moved
from butler.storage_classes import get_storage_class
from butler.visits import DefinedVisits, define_visits_of
from registry import calibrations, collections, datasets, dimensions
from registry.errors import (
    Conflict,
    DatasetExists,
    InUse,
    InvalidDataId,
    SkyspineError,
    UnknownName,
    did_you_mean,
)
from registry.identity import DatasetRef, uuid7
from registry.regions import from_vertices
from registry.timespan import Timespan
from registry.visits import hold_camera

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from backbone.endpoints import Endpoint
    from backbone.staging import StagedFile
    from butler.butler import Butler
    from butler.instrument import FileGroup, InstrumentDefinition, Observation

__all__ = [
    "BATCH",
    "Ingested",
    "Item",
    "batch_size",
    "ingest_raws",
    "take",
    "target_of",
]

BATCH = 500
"""Files that are registered in one transaction."""
FAR_BATCH = 100
"""The same, where they are sent to a server."""


@dataclass(slots=True)
class Ingested:
    """What became of the files.

    Parameters
    ----------
    refs : list of DatasetRef
        New datasets.
    present : list of Path
        Files whose dataset existed already.
    ignored : list of Path
        Files that the definition says to ignore.
    errors : list of (Path, SkyspineError)
        Files that could not be taken, with the reason.
    visits : DefinedVisits
        What became of the visits of raw files, where the definition of the camera says which
        exposures make one.
    """

    refs: list[DatasetRef] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)
    errors: list[tuple[Path, SkyspineError]] = field(default_factory=list)
    visits: DefinedVisits = field(default_factory=DefinedVisits)


@dataclass(slots=True)
class Item:
    """A dataset that is to be, and what was made of its files."""

    observation: Observation
    definition: InstrumentDefinition
    ref: DatasetRef
    staged: list[StagedFile] = field(default_factory=list)
    new: list[files.NewFile] = field(default_factory=list)


def ingest_raws(
    butler: Butler,
    paths: Iterable[str | os.PathLike[str]],
    *,
    run: str | None,
    transfer: str = "copy",
    endpoint: str = endpoints.ROOT,
    on_error: str = "skip",
    progress: Callable[[int, int], None] | None = None,
) -> Ingested:
    """Take raw files in.

    Parameters
    ----------
    paths : iterable of path-like
        Files, and folders that are searched.
    run : str
        RUN collection; a definition may send files to one below it (copies rejected by the
        observers).
    transfer : str
        auto, copy, move, link, hardlink, symlink or direct (stay where they are, not owned).
    endpoint : str
        Name of the storage that the files come to; the repository's own folder by default.
    on_error : {"skip", "stop"}
        Whether a file that cannot be taken is reported at the end, or ends everything.
    progress : callable, optional
        Called with how many files are done, of how many.

    Returns
    -------
    Ingested

    Raises
    ------
    IngestError
        If no camera is registered, no file is found, or the endpoint cannot have them so.
    NoRun
        If no run is given.
    EndpointAway, EndpointRefuses
        If the endpoint does not take them; what was taken until then stays, and the same call goes
        on from there.
    """
    if run is None:
        raise NoRun
    target = target_of(butler, endpoint, transfer)
    definitions = cameras.defined(butler.registry)
    if not definitions:
        raise IngestError(
            "No camera is registered in this repository; do it first with: "
            "skyspine instrument register REPO FILE"
        )
    result = Ingested()
    groups = _sorted_out(found_files(paths), definitions, result)
    total = len(groups)
    step = batch_size(target)
    for start in range(0, total, step):
        batch: list[Item] = []
        for definition, group in groups[start : start + step]:
            try:
                batch.append(_translated(definition, group, run))
            except SkyspineError as error:
                result.errors.append((group.path, error))
                if on_error == "stop":
                    raise
        take(butler, batch, transfer, on_error, result, target)
        if progress is not None:
            progress(min(start + step, total), total)
    return result


def target_of(butler: Butler, endpoint: str, transfer: str) -> Endpoint:
    """Give the endpoint that files are to come to; refuse what cannot be done there."""
    if transfer not in transfer_modes:
        raise IngestError(
            f"'{transfer}' is no way to transfer files.{did_you_mean(transfer, transfer_modes)}"
        )
    target = butler.registry.database.ask(endpoints.named, endpoint)
    if transfer == "direct" and target.name != endpoints.ROOT:
        raise IngestError(
            "With transfer='direct', files stay where they are; name no endpoint, or take them to "
            f"'{target.name}' with transfer='copy' or 'move'."
        )
    if target.is_remote and transfer not in ("auto", "copy", "move"):
        raise IngestError(
            f"The endpoint '{target.name}' lies behind a URL, where nothing can be linked; take "
            "the files there with transfer='copy' or 'move'."
        )
    return target


def batch_size(target: Endpoint) -> int:
    """Tell how many files are registered in one transaction: fewer where they go to a server."""
    return min(BATCH, FAR_BATCH) if target.is_remote else BATCH


def _sorted_out(
    found: Sequence[Path], definitions: Sequence[InstrumentDefinition], result: Ingested
) -> list[tuple[InstrumentDefinition, FileGroup]]:
    """Give each file to the first camera whose patterns fit its name."""
    mine: dict[int, list[Path]] = {}
    for path in found:
        fits = [n for n, d in enumerate(definitions) if d.accepts(path) and not d.ignores(path)]
        if fits:
            mine.setdefault(fits[0], []).append(path)
        elif any(d.ignores(path) for d in definitions) or ".fit" not in path.name.lower():
            result.ignored.append(path)
        else:
            mine.setdefault(0, []).append(path)
    return [
        (definitions[n], group)
        for n, paths in mine.items()
        for group in definitions[n].group(paths)
    ]


def _translated(definition: InstrumentDefinition, group: FileGroup, run: str) -> Item:
    try:
        observation = definition.observe(group)
    except OSError as error:
        raise IngestError(
            f"{group.path} cannot be read: {error.strerror or error}.", path=group.path
        ) from error
    spec = definition.dataset_types[observation.dataset_type]
    target = f"{run}/{observation.run_suffix}" if observation.run_suffix else run
    ref = DatasetRef(
        uuid7(), spec.dataset_type, spec.dataset_type.data_id(observation.data_id), target
    )
    return Item(observation, definition, ref)


def take(
    butler: Butler,
    batch: list[Item],
    transfer: str,
    on_error: str,
    result: Ingested,
    target: Endpoint,
) -> None:
    """Stage and register a batch; when the endpoint goes away, what has come there until then."""
    batch = _without_present(butler, batch, result)
    theirs = [path for item in batch for path in item.observation.paths]
    kept = kept_files(butler, theirs, transfer)
    staged: list[StagedFile] = []
    away: list[SkyspineError] = []

    def attempt(item: Item) -> SkyspineError | None:
        if away:
            return away[0]
        try:
            for path in item.observation.paths:
                if path in kept:
                    raise kept[path]
            _stage(butler, item, transfer, target)
        except SkyspineError as error:
            for file in item.staged:
                file.abandon()
            if isinstance(error, (EndpointAway, EndpointRefuses)):
                away.append(error)
            elif on_error == "stop":
                raise
            return error
        finally:
            staged.extend(item.staged)
        return None

    with butler.cleaning(staged):
        refused = fetching.each(attempt, batch, far=target.is_remote)
        ready = [item for item, error in zip(batch, refused, strict=True) if error is None]
        result.errors += [
            (item.observation.path, error)
            for item, error in zip(batch, refused, strict=True)
            if error is not None and error not in away
        ]
        where = endpoints.DIRECT if transfer == "direct" else target.name
        if ready:
            _register(butler, ready, staged, result, where, transfer=transfer, on_error=on_error)
    if away:
        raise away[0]


def _register(
    butler: Butler,
    ready: list[Item],
    staged: list[StagedFile],
    result: Ingested,
    where: str,
    *,
    transfer: str,
    on_error: str,
) -> None:
    """Register a batch; when it is refused as a whole, in halves, so that only bad files are lost.

    Inside a larger transaction a refusal ends that one.
    """
    enlisted = butler.registry.database.in_transaction
    try:
        defined = butler.registry.database.transact(_record, ready, where)
    except (Conflict, InUse, InvalidDataId, UnknownName) as error:
        if enlisted:
            raise
        if len(ready) > 1:
            middle = len(ready) // 2
            for half in (ready[:middle], ready[middle:]):
                _register(butler, half, staged, result, where, transfer=transfer, on_error=on_error)
            return
        for file in ready[0].staged:
            file.abandon()
        if isinstance(error, DatasetExists):  # another process has taken it in meanwhile
            result.present.append(ready[0].observation.path)
            return
        result.errors.append((ready[0].observation.path, error))
        if on_error == "stop":
            raise
        return
    if not enlisted:  # these are committed: a failure of what follows may not remove them
        for file in [file for item in ready for file in item.staged]:
            staged.remove(file)
    result.refs += [item.ref for item in ready]
    result.visits.add(defined)
    if transfer == "move":
        sources = [path for item in ready for path in item.observation.paths]
        butler.after_commit(partial(remove_moved, sources))


def _without_present(butler: Butler, batch: list[Item], result: Ingested) -> list[Item]:
    """Leave out what is in already, and second files of the same identity."""
    keep: list[Item] = []
    seen: dict[Any, Path] = {}
    for (run, kind), items in _by_run_and_type(batch).items():
        with butler.registry.read() as connection:
            known = {c.name for c in collections.query(connection)}
            present = (
                datasets.present_data_ids(connection, kind, [i.ref.data_id for i in items], run)
                if run in known
                else set()
            )
        for item in items:
            key = (run, kind.name, item.ref.data_id)
            if item.ref.data_id in present:
                result.present.append(item.observation.path)
            elif key in seen:
                result.errors.append(
                    (
                        item.observation.path,
                        IngestError(
                            f"{item.observation.path} and {seen[key]} are both {kind.name} "
                            f"{item.ref.data_id!r}; one of them, or the rule that numbers "
                            "exposures, is wrong.",
                            path=item.observation.path,
                        ),
                    )
                )
            else:
                seen[key] = item.observation.path
                keep.append(item)
    return keep


def _by_run_and_type(batch: Sequence[Item]) -> dict[tuple[str, Any], list[Item]]:
    grouped: dict[tuple[str, Any], list[Item]] = {}
    for item in batch:
        grouped.setdefault((item.ref.run, item.ref.dataset_type), []).append(item)
    return grouped


def _stage(butler: Butler, item: Item, transfer: str, target: Endpoint) -> None:
    observation = item.observation
    spec = item.definition.dataset_types.get(observation.dataset_type)
    storage = get_storage_class(item.ref.dataset_type.storage_class)
    own = spec.formatter if spec is not None else None
    formatter = get_formatter(own or storage.format_of(observation.path.name))
    how = butler.policy.decide(item.ref)
    components = observation.components or {"": observation.path}
    record = observation.exposure_record() if observation.exposure is not None else {}
    fields = {
        "run": item.ref.run,
        **{k: v for k, v in record.items() if v is not None},
        **item.ref.data_id,
    }
    for component, source in components.items():
        if transfer == "direct":
            place = str(source.resolve())
            size, digest = measured(source)
            item.new.append(
                files.NewFile(item.ref.id, component, place, size, digest, formatter.name)
            )
            continue
        stem = (
            how.path.format({**fields, "dataset_type": observation.dataset_type})
            if isinstance(how.path, PathTemplate)
            else item.definition.path(observation.dataset_type, fields)
        )
        ending = "".join(
            s for s in source.suffixes[-2:] if s.lower() in (".fits", ".fit", ".fz", ".gz")
        )
        name = f"{stem}_{component}" if component else stem
        staged = stage_for_dataset(target, butler.root, name, item.ref.id, ending or source.suffix)
        item.staged.append(staged)
        size, digest = staged.take(source, transfer)
        staged.send(size, fsync=how.fsync)
        item.new.append(
            files.NewFile(item.ref.id, component, staged.path, size, digest, formatter.name)
        )


def _record(connection: sa.Connection, items: Sequence[Item], where: str) -> DefinedVisits:
    defined = _insert_dimensions(connection, items)
    for (run, kind), members in _by_run_and_type(items).items():
        datasets.insert_datasets(
            connection,
            kind,
            [i.ref.data_id for i in members],
            collections.ensure(connection, run),
            ids=[i.ref.id for i in members],
        )
    files.record(connection, where, [f for i in items for f in i.new])
    for item in items:
        if item.observation.curated and item.ref.dataset_type.is_calibration:
            begin, end = item.observation.validity or (None, None)
            calibrations.certify(
                connection, f"{item.observation.instrument}/calib", [item.ref], Timespan(begin, end)
            )
    settle([file for item in items for file in item.staged])
    return defined


def _insert_dimensions(connection: sa.Connection, items: Sequence[Item]) -> DefinedVisits:
    for camera in sorted({i.definition.name for i in items if i.definition.visits is not None}):
        hold_camera(connection, camera)  # before the exposures, or two may wait for each other
    observations = [i.observation for i in items]
    nights = {
        (o.instrument, o.day_obs): i.definition.day_obs_record(o.day_obs)
        for i, o in ((i, i.observation) for i in items)
        if o.day_obs is not None
    }
    exposures = exposure_records(observations)
    alone = [i.observation for i in items if i.definition.visits is None]
    members = {
        (o.instrument, o.visit, o.exposure)
        for o in alone
        if o.visit is not None and o.exposure is not None
    }
    rejected = [(r["instrument"], r["id"]) for r in exposures if r["quality"] == "rejected"]
    for element, rows in (
        ("day_obs", list(nights.values())),
        ("exposure", exposures),
        ("visit", visit_records(alone)),
        (
            "visit_exposure",
            [{"instrument": i, "visit": v, "exposure": e} for i, v, e in sorted(members)],
        ),
        ("visit_detector_region", _regions(alone, "visit")),
        (
            "exposure_detector_region",
            _regions([i.observation for i in items if i.definition.visits is not None], "exposure"),
        ),
    ):
        dimensions.insert_dimension_records(connection, element, rows, "skip")
    dimensions.flag_rejected(connection, rejected)
    return _define_visits(connection, items)


def _regions(observations: Iterable[Observation], of: str) -> list[dict[str, Any]]:
    """Make the rows of what detectors saw in visits or exposures."""
    seen = {
        (o.instrument, getattr(o, of), o.detector): o.region
        for o in observations
        if o.region is not None and getattr(o, of) is not None and o.detector is not None
    }
    return [
        {"instrument": i, of: n, "detector": d, "region": from_vertices(region)}
        for (i, n, d), region in seen.items()
    ]


def _define_visits(connection: sa.Connection, items: Sequence[Item]) -> DefinedVisits:
    """Define the visits of new exposures, where the definition lets an ingest do it."""
    definitions = {i.definition.name: i.definition for i in items}
    new: dict[str, dict[int, set[int]]] = {}
    for o in (i.observation for i in items):
        if o.exposure is not None and o.day_obs is not None:
            new.setdefault(o.instrument, {}).setdefault(o.day_obs, set()).add(o.exposure)
    defined = DefinedVisits()
    for camera, exposures in sorted(new.items()):
        rule = definitions[camera].visits
        if rule is not None and rule.at_ingest:
            defined.add(define_visits_of(connection, definitions[camera], exposures))
    return defined
