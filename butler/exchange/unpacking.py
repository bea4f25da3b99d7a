"""How does an export of this project become part of a repository?

What it says is checked whole and compared with what is here; what contradicts is told before
anything is written.  Then files come under temporary names, and one transaction records all.  An
import that was killed is repeated: files that are here whole are not brought again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import endpoints, files, trash
from butler.errors import ExchangeError, MissingFile, UnknownStorageClass
from butler.exchange import bundle
from butler.exchange.bringing import Beside, Wanted, bring_all
from butler.exchange.columnar import check_references, from_parquet
from butler.exchange.importing import Imported, endpoint_of, remove, tried
from butler.storage_classes import get_storage_class
from registry import portable
from registry.database import many_objects
from registry.errors import SkyspineError
from registry.portable.tables import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backbone.endpoints import Endpoint
    from backbone.staging import StagedFile
    from butler.butler import Butler
    from butler.exchange.bundle import Archive
    from registry.identity import DatasetRef
    from registry.portable.taking import Row

__all__ = ["unpack"]


@dataclass(slots=True)
class _Content:
    """An export that was read: all that a transaction needs; files by dataset and component."""

    rows: Mapping[str, Sequence[Row]]
    refs: Mapping[str, DatasetRef]
    where: str
    keep: bool
    files: dict[tuple[str, str], tuple[files.NewFile, StagedFile | None]] = field(
        default_factory=dict
    )


def unpack(
    butler: Butler,
    path: Path,
    *,
    transfer: str | None,
    directory: Path | None,
    endpoint: str,
    keep: bool,
    dry_run: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take in an export of this project; see `butler.exchange.import_`."""
    target = endpoint_of(butler, endpoint, transfer)
    archive = bundle.open_archive(path)
    try:
        manifest = bundle.read_manifest(archive)
        base: Archive = bundle.Files(archive) if directory is None else Beside(directory)
        where = endpoints.DIRECT if transfer == "direct" else target.name
        with many_objects():
            rows = _rows(archive, manifest)
            content = _Content(rows, portable.refs_of(rows), where, keep)
        if dry_run:
            return _tried(butler, content, transfer)
        staged: list[StagedFile] = []
        sources: list[str] = []
        with butler.cleaning(staged):
            if transfer is not None and rows["file"]:
                with butler.registry.read() as connection:
                    incoming = portable.compare(connection, rows)
                portable.refuse_contradictions(incoming, keep=keep)
                new = incoming.new["file"]
                if manifest.files == "none" and directory is None and new:
                    raise MissingFile(
                        f"{path} was exported without files; say where they are with "
                        "directory=..., or import its records alone (transfer=None, on the command "
                        "line --transfer none).",
                        path=path,
                    )
                sources = _stage(butler, target, content, new, base, transfer, staged, progress)
            result = butler.registry.database.transact(_record, content)
        if transfer == "move":
            butler.after_commit(partial(remove, [base.place(source) for source in sources]))
        _notes(content, transfer, result)
        return result
    finally:
        archive.close()


def _rows(archive: bundle.Archive, manifest: bundle.Manifest) -> dict[str, list[Row]]:
    """Read all tables, and check them together."""
    unknown = sorted(set(manifest.tables) - set(portable.TABLES))
    if unknown:
        raise ExchangeError(
            f"{archive.path} has the table {unknown[0]}, which is not known here: the export was "
            f"written by another version of skyspine (revision {manifest.revision}).",
            path=archive.path,
        )
    rows: dict[str, list[Row]] = {name: [] for name in portable.TABLES}
    for name, told in manifest.tables.items():
        rows[name] = from_parquet(name, bundle.read_table(archive, name, told), told["rows"])
    check_references(rows)
    return rows


def _stage(
    butler: Butler,
    target: Endpoint,
    content: _Content,
    new: Sequence[Row],
    base: Archive,
    transfer: str,
    staged: list[StagedFile],
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Bring the files that are new, and give their names in the export."""
    wanted = [_wanted(content, row, base, transfer) for row in new]
    brought = bring_all(butler, target, base, wanted, transfer, staged, progress)
    for row, file, made in zip(new, wanted, brought, strict=True):
        identity, component, *_, formatter, options = row
        record = files.NewFile(
            file.dataset_id,
            component,
            made.path,
            made.size,
            made.digest,
            formatter,
            None if options is None else json.loads(options),
        )
        content.files[identity, component] = (record, made.staged)
    return [file.source for file in wanted]


def _wanted(content: _Content, row: Row, base: Archive, transfer: str) -> Wanted:
    """Decide where a file of the export comes from, and whether it may."""
    identity, _, path, size, digest, *_ = row
    outside = Path(path).is_absolute()
    source = path if outside else bundle.inside(path)
    if transfer == "move" and outside:
        raise ExchangeError(
            f"The file {path[:120]} lies outside of the export, and is not moved; copy it, or "
            "leave it there with transfer='direct'.",
            path=path,
        )
    if transfer != "direct" and digest is None and (outside or base.leads_out(source)):
        raise ExchangeError(
            f"The file {path[:120]} lies outside of the export and has no checksum in it, so that "
            "it may be any file; it is not taken.",
            path=path,
        )
    return Wanted(source, path, content.refs[identity].id, size, digest)


@many_objects()
def _record(connection: sa.Connection, content: _Content) -> Imported:
    """Write it all."""
    incoming = portable.compare(connection, content.rows)
    portable.refuse_contradictions(incoming, keep=content.keep)
    try:
        merged = portable.merge(connection, incoming, content.refs)
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        raise ExchangeError(
            "The export breaks a rule of the database, and nothing was imported: "
            f"{str(error.orig).splitlines()[0][:200]}."
        ) from error
    except ValueError as error:
        if isinstance(error, SkyspineError):
            raise
        raise ExchangeError(f"The export holds what cannot be: {error}") from error
    wanted = {(identity, component) for identity, component, *_ in incoming.new["file"]}
    here = [new for key, (new, _) in content.files.items() if key in wanted]
    if here:
        files.record(connection, content.where, here)
        trash.reclaim(connection, content.where, [new.path for new in here])
    for key, (_, staged) in content.files.items():
        if staged is not None and key in wanted:
            staged.settle()
        elif staged is not None:  # another process has recorded it meanwhile
            staged.abandon(settled=False)
    result = Imported()
    result.records = {name: merged.records[name] for name in ELEMENTS if name in merged.records}
    result.refs = merged.refs
    result.present = incoming.present["dataset"]
    result.files = len(here)
    result.quanta = merged.records.get("quantum", 0)
    kept = len(incoming.contradictions)
    if kept:
        result.notes.append(f"places contradict the export; what is here was kept ({kept})")
    return result


def _tried(butler: Butler, content: _Content, transfer: str | None) -> Imported:
    """Record it all, and take it back."""
    result = tried(butler, _record, content)
    with butler.registry.read() as connection:
        incoming = portable.compare(connection, content.rows)
    result.files = 0 if transfer is None else len(incoming.new["file"])
    return result


def _notes(content: _Content, transfer: str | None, result: Imported) -> None:
    """Say what did not go through as it is."""
    if transfer is None and content.rows["file"]:
        result.notes.append("datasets registered without their files, as asked")
    for name in sorted({ref.dataset_type.storage_class for ref in result.refs}):
        try:
            get_storage_class(name)
        except UnknownStorageClass:
            result.notes.append(
                f"storage class {name} is unknown here: its datasets can be found, and not read"
            )
