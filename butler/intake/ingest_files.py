"""How do files that others have made become datasets, when the caller knows what they are?

The files are taken in batches: of each batch all or nothing, in one transaction in which files that
are copied get their names.  What is in already is passed over, so that a call that was cut short is
completed by the same call.  Raw frames, whose headers tell what they are: `butler.intake.ingest`.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone import endpoints, files, owners
from backbone.sending import stage_for_dataset
from backbone.staging import measured, settle, transfer_modes
from butler.errors import IngestError, NoRun
from butler.formatters import get_formatter
from butler.intake.given_files import kept_files, remove_moved
from butler.intake.ingest import Ingested
from butler.storage_classes import get_storage_class
from registry import datasets
from registry.collections import Collection, ensure
from registry.database import file_of, many_objects
from registry.errors import did_you_mean
from registry.identity import DatasetRef, columns_of, uuid7s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    from backbone.endpoints import Endpoint
    from backbone.staging import StagedFile
    from butler.butler import Butler
    from registry.identity import DataId, DatasetType

__all__ = ["WAYS", "FileDataset", "ingest_files"]

WAYS = (*transfer_modes, "in_place")
"""How files may be taken in: those of raw frames, and files that lie in the storage already."""
_BATCH = 10_000
_COPIED_BATCH = 1_000
"""Files that are registered in one transaction, and those that are copied before it."""


@dataclass(frozen=True, slots=True)
class FileDataset:
    """A file, and the dataset or the datasets that it holds.

    Parameters
    ----------
    path : path-like
        Where it lies.
    dataset_type : str or DatasetType
        Registered.
    data_ids : mapping, or sequence of mappings
        Exactly the keys of the dataset type; several when the file holds several datasets, each of
        which is read through the formatter, with ``parameters`` that choose its part.
    formatter : str, optional
        Name of the format; else the one of the storage class whose files end so.
    """

    path: str | os.PathLike[str]
    dataset_type: str | DatasetType
    data_ids: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    formatter: str | None = None


@dataclass(slots=True)
class _Item:
    path: Path
    refs: list[DatasetRef]
    formatter: str
    size: int = 0
    digest: str | None = None
    recorded: str = ""
    where: str = endpoints.DIRECT
    staged: list[StagedFile] = field(default_factory=list)

    def new_files(self) -> list[files.NewFile]:
        return [
            files.NewFile(ref.id, "", self.recorded, self.size, self.digest, self.formatter)
            for ref in self.refs
        ]


def ingest_files(
    butler: Butler,
    items: Iterable[FileDataset],
    *,
    run: str | None,
    transfer: str = "copy",
    endpoint: str | None = None,
    checksums: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Ingested:
    """Take files in.

    Parameters
    ----------
    items : iterable of FileDataset
        The files, each with what it holds.
    run : str
        RUN collection; made if there is none of this name.
    transfer : str
        auto, copy, move, link, hardlink, symlink; direct (they stay where they are and are not
        owned) or in_place (they lie below the endpoint's root already, and are owned from now on).
    endpoint : str, optional
        Name of the storage that they come to, or lie in; what the policy says of each by default.
    checksums : bool
        Whether the content of files that are not copied is read for their checksum; without, a
        later change is noticed by their size only.
    progress : callable, optional
        Called with how many files are done, of how many.

    Returns
    -------
    Ingested
        New datasets, and files whose datasets were there.

    Raises
    ------
    IngestError
        If a file is not there, cannot be taken so, or is the second of one identity.  Nothing of
        its batch was taken; what was taken before stays, and the same call goes on from there.
    NoRun
        If no run is given.
    InvalidDataId, UnknownDatasetType, UnknownDimensionValue
        Likewise.
    """
    if run is None:
        raise NoRun
    if transfer not in WAYS:
        raise IngestError(
            f"'{transfer}' is no way to transfer files.{did_you_mean(transfer, WAYS)}"
        )
    stays = transfer in ("direct", "in_place")
    where = butler.registry.database.ask(endpoints.named, endpoint or endpoints.ROOT)
    _require_way(where, transfer)
    listed, result = list(items), Ingested()
    known: dict[str, dict[str, Path]] = {}
    step = _BATCH if stays else _COPIED_BATCH
    for start in range(0, len(listed), step):
        staged: list[StagedFile] = []
        with many_objects(), butler.cleaning(staged):
            batch = _described(butler, listed[start : start + step], run, known)
            batch = _without_present(butler, batch, run, result)
            _require_there(batch)
            kept = kept_files(butler, [item.path for item in batch], transfer)
            for error in kept.values():
                raise error
            for item in batch:
                if stays:
                    _measure(butler, item, where, checksums, in_place=transfer == "in_place")
                else:
                    _stage(butler, item, endpoint, transfer, staged)
            if batch:
                _register(butler, batch, run)
        result.refs += [ref for item in batch for ref in item.refs]
        if transfer == "move":
            butler.after_commit(functools.partial(remove_moved, [item.path for item in batch]))
        if progress is not None:
            progress(min(start + step, len(listed)), len(listed))
    return result


def _require_way(where: Endpoint, transfer: str) -> None:
    """Refuse what cannot be done at an endpoint."""
    if transfer == "direct" and where.name != endpoints.ROOT:
        raise IngestError("With transfer='direct', files stay where they are; name no endpoint.")
    if transfer == "in_place" and not where.owned:
        raise IngestError(
            f"The endpoint '{where.name}' is only read by this repository; take its files with "
            "transfer='direct'."
        )
    if where.is_remote and transfer not in ("auto", "copy", "move"):
        raise IngestError(
            f"The endpoint '{where.name}' lies behind a URL, where nothing can be linked; take "
            "the files there with transfer='copy' or 'move'."
        )


def _described(
    butler: Butler, batch: Sequence[FileDataset], run: str, known: dict[str, dict[str, Path]]
) -> list[_Item]:
    """Give the datasets of each file their type, data ID and identity; set-wise by type."""
    of_type: dict[str | DatasetType, list[tuple[int, Mapping[str, Any]]]] = {}
    for n, given in enumerate(batch):
        ids = given.data_ids
        several = [ids] if isinstance(ids, Mapping) else list(ids)
        if not several:
            raise IngestError(f"Of {given.path} no data ID is given.", path=given.path)
        of_type.setdefault(given.dataset_type, []).extend((n, one) for one in several)
    refs: list[list[DatasetRef]] = [[] for _ in batch]
    paths = [g.path if isinstance(g.path, Path) else Path(g.path) for g in batch]
    for name, wanted in of_type.items():
        kind = butler.registry.dataset_type(name) if isinstance(name, str) else name
        checked = kind.data_ids([one for _, one in wanted])
        files = [paths[n] for n, _ in wanted]
        _require_distinct(kind, checked, files, known.setdefault(kind.name, {}))
        for (n, _), data_id, identity in zip(wanted, checked, uuid7s(len(checked)), strict=True):
            refs[n].append(DatasetRef(identity, kind, data_id, run))
    return [
        _Item(
            path, mine, _format_of(mine[0].dataset_type.storage_class, given.formatter, str(path))
        )
        for path, given, mine in zip(paths, batch, refs, strict=True)
    ]


def _require_distinct(
    kind: DatasetType, data_ids: Sequence[DataId], files: Sequence[Path], known: dict[str, Path]
) -> None:
    """Refuse the second file of one identity; those of the first ones are known from then on."""
    keys: list[str] = columns_of(data_ids)["identity_key"]
    new = dict(zip(keys, files, strict=True))
    if len(new) < len(keys) or not known.keys().isdisjoint(new):
        for key, path, data_id in zip(keys, files, data_ids, strict=True):
            if key in known:
                raise IngestError(
                    f"{path} and {known[key]} are both {kind.name} {data_id!r}; one of them is "
                    "wrong.",
                    path=path,
                )
            known[key] = path
    known |= new


@functools.lru_cache(maxsize=256)
def _endings(storage_class: str) -> tuple[tuple[str, str], ...]:
    """List the endings of what a storage class can be read from, and the formatter of each."""
    storage = get_storage_class(storage_class)
    names = [n for n in (storage.default_formatter, *storage.others) if n]
    return tuple((get_formatter(n).extension, n) for n in names)


def _format_of(storage_class: str, asked: str | None, name: str) -> str:
    """Choose the format of a file.

    Raises
    ------
    StorageClassError
        No format holds all of the dataset.
    """
    if asked is not None:
        return get_storage_class(storage_class).formatter(asked).name
    endings = _endings(storage_class)
    if not endings:  # it is nothing but its parts
        get_storage_class(storage_class).formatter()
    if len(endings) == 1:
        return endings[0][1]
    fitting = [(len(ending), n) for ending, n in endings if ending and name.endswith(ending)]
    return max(fitting, key=lambda f: f[0])[1] if fitting else endings[0][1]


def _without_present(butler: Butler, batch: list[_Item], run: str, result: Ingested) -> list[_Item]:
    """Leave out files all of whose datasets exist."""
    by_kind: dict[DatasetType, list[DataId]] = {}
    for item in batch:
        for ref in item.refs:
            by_kind.setdefault(ref.dataset_type, []).append(ref.data_id)
    present: set[tuple[str, DataId]] = set()
    with butler.registry.read() as connection:
        for kind, ids in by_kind.items():
            found = datasets.present_data_ids(connection, kind, ids, run)
            present.update((kind.name, data_id) for data_id in found)
    if not present:
        return batch
    keep = []
    for item in batch:
        n = sum((ref.dataset_type.name, ref.data_id) in present for ref in item.refs)
        if not n:
            keep.append(item)
        elif n == len(item.refs):
            result.present.append(item.path)
        else:
            raise IngestError(
                f"Of the {len(item.refs)} datasets in {item.path}, {n} are in '{run}' already and "
                "the others are not; name another run, or only those.",
                path=item.path,
            )
    return keep


def _require_there(batch: Sequence[_Item]) -> None:
    lost = []
    for item in batch:
        try:
            found = os.stat(item.path)  # noqa: PTH116 (thousands at once)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of a NUL
            lost.append(item.path)
        except OSError as error:
            raise IngestError(
                f"{item.path} cannot be read: {error.strerror or error}.", path=item.path
            ) from error
        else:
            item.size = found.st_size
            if not stat.S_ISREG(found.st_mode):
                lost.append(item.path)
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise IngestError(
            f"There is no file {', '.join(map(str, lost[:3]))}{more}: the first "
            f"{_what_is(lost[0])}; nothing of this batch of {len(batch)} was taken.",
            path=lost[0],
        )


def _what_is(path: Path) -> str:
    return "is a folder or a device, and no file" if path.exists() else "is not there"


def _measure(
    butler: Butler, item: _Item, where: Endpoint, checksums: bool, *, in_place: bool
) -> None:
    """Describe a file that stays where it is."""
    place = os.path.abspath(item.path)  # noqa: PTH100 (thousands at once; links stay links)
    item.recorded = place
    if in_place:
        root = os.path.abspath(where.locate("", butler.root))  # noqa: PTH100
        if os.path.commonpath([root, place]) != root:
            raise IngestError(
                f"{item.path} does not lie below {root}, where endpoint '{where.name}' has its "
                "files; take it with transfer='copy' or 'direct'.",
                path=item.path,
            )
        if _keeps(butler, place, root):
            raise IngestError(
                f"{item.path} belongs to a repository itself, or to another one that lies below "
                f"{root}; what is taken in place is removed with its dataset. Take it with "
                "transfer='copy'.",
                path=item.path,
            )
        item.recorded = os.path.relpath(place, root).replace(os.sep, "/")
        item.where = where.name
    if checksums:
        item.size, item.digest = measured(item.path)


def _keeps(butler: Butler, place: str, root: str) -> bool:
    """Tell whether a file is the database or the settings, or lies in another repository."""
    folder, name = os.path.split(place)
    if name in (owners.SETTINGS, owners.OWNER):
        return True
    database = file_of(butler.repository.url)
    if database is not None and place.startswith(str(database)):  # and what SQLite has beside it
        return True
    return any(
        os.path.exists(os.path.join(above, owners.SETTINGS))  # noqa: PTH110, PTH118
        for above in _folders_between(folder, root)
        if above != os.fspath(butler.root)
    )


@functools.lru_cache(maxsize=256)
def _folders_between(folder: str, root: str) -> tuple[str, ...]:
    """List a folder and those above it, without the root."""
    above = os.path.dirname(folder)  # noqa: PTH120
    return (folder, *_folders_between(above, root)) if len(folder) > len(root) else ()


def _stage(
    butler: Butler, item: _Item, endpoint: str | None, transfer: str, staged: list[StagedFile]
) -> None:
    """Bring a file to its storage, under a temporary name."""
    first, name = item.refs[0], item.path.name
    how = butler.policy.decide(first, endpoint=endpoint)
    _require_way(how.endpoint, transfer)
    known = (e for e, _ in _endings(first.dataset_type.storage_class) if name.endswith(e))
    ending = next(known, item.path.suffix)
    file = stage_for_dataset(how.endpoint, butler.root, how.stem(first), first.id, ending)
    staged.append(file)
    item.staged = [file]
    item.size, item.digest = file.take(item.path, transfer)
    file.send(item.size, fsync=how.fsync)
    item.recorded, item.where = file.path, how.endpoint.name


def _register(butler: Butler, batch: Sequence[_Item], run: str) -> None:
    refs = [ref for item in batch for ref in item.refs]
    butler.registry.database.transact_once(
        lambda connection: datasets.all_there(connection, [r.id for r in refs]),
        _record,
        batch,
        refs,
        run,
    )


def _record(
    connection: sa.Connection,
    batch: Sequence[_Item],
    refs: list[DatasetRef],
    run: str,
) -> list[DatasetRef]:
    target: Collection = ensure(connection, run)
    by_kind: dict[DatasetType, list[DatasetRef]] = {}
    for ref in refs:
        by_kind.setdefault(ref.dataset_type, []).append(ref)
    for kind, mine in by_kind.items():
        ids = [ref.id for ref in mine]
        datasets.insert_datasets(connection, kind, [r.data_id for r in mine], target, ids=ids)
    new: dict[str, list[files.NewFile]] = {}
    for item in batch:
        new.setdefault(item.where, []).extend(item.new_files())
    for where, made in new.items():
        files.record(connection, where, made)
    settle([file for item in batch for file in item.staged])
    return refs
