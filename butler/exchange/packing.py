"""How does a part of a repository become an export of this project?

Datasets go with their whole history, and with the files that they have.  The rows are read in one
snapshot of the database; files come first, the manifest last, so that an export that was cut short
is seen as such and can be continued.
"""

from __future__ import annotations

import datetime as dt
import zipfile
from typing import TYPE_CHECKING, Any

from backbone import files
from backbone.staging import StagedFile, checksum
from butler.errors import ExchangeError, MissingFile
from butler.exchange import bundle
from butler.exchange.columnar import to_parquet
from butler.exchange.exporting import Exported
from butler.rows_as_files import as_files
from registry import deploy, portable
from registry.database import canonical_json
from registry.portable.tables import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from butler.butler import Butler
    from registry.identity import DatasetRef
    from registry.portable.taking import Row

__all__ = ["pack"]


def pack(
    butler: Butler,
    target: Path,
    refs: Sequence[DatasetRef],
    *,
    also: Sequence[str],
    transfer: str | None,
    everything: bool,
    history: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write datasets and what belongs to them as Parquet tables; see `butler.exchange.export`."""
    database = butler.registry.database
    ids = [ref.id for ref in refs]
    with database.snapshot() as connection:
        taken = portable.take(
            connection, ids, also=also, everything=everything, with_history=history
        )
        located = files.locate(connection, ids)
    packing = _Zip(target) if target.suffix == ".zip" else _Folder(target)
    made = Exported(target, datasets=len(ids), quanta=len(taken.rows["quantum"]))
    packing.begin()
    try:
        with as_files(butler, refs, located, target.parent, transfer) as copies:
            made.files = len(copies)
            taken.rows["file"] = _files(butler, packing, copies, transfer, progress)
        manifest = bundle.Manifest(
            str(butler.registry.id),
            deploy.head(),
            dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            {"direct": "outside", None: "none"}.get(transfer, "inside"),
        )
        for name in portable.TABLES:
            rows = taken.rows[name]
            if rows:
                content = to_parquet(name, rows)
                manifest.tables[name] = bundle.told_of(content, len(rows))
                packing.write(f"{bundle.TABLES}/{name}.parquet", content)
        packing.end(manifest)
    except BaseException:
        packing.abandon()
        raise
    made.records = {name: len(taken.rows[name]) for name in ELEMENTS if taken.rows[name]}
    made.notes = _notes(taken, len(ids) - made.files)
    return made


def _notes(taken: portable.Taken, without: int) -> list[str]:
    told = (
        (without, "datasets have no file and are exported as records only"),
        (taken.history, "datasets go along as records only, since others were made from them"),
        (taken.running, "quanta are still at work and were left out"),
    )
    return [f"{text} ({n})" if n > 1 else text for n, text in told if n]


def _files(
    butler: Butler,
    packing: _Folder,
    copies: Mapping[Any, Sequence[files.Stored]],
    transfer: str | None,
    progress: Callable[[int, int], None] | None,
) -> list[Row]:
    """Bring the files of datasets into the export, and give the rows that tell of them."""
    rows: list[Row] = []
    listed = [copy for stored in copies.values() for copy in stored]
    for n, copy in enumerate(listed):
        path, digest = copy.path, copy.checksum
        if transfer is None or transfer == "direct":
            if (transfer or not copy.endpoint.owned) and copy.endpoint.root:
                path = str(copy.place(butler.root).absolute())
        else:
            source = copy.place(butler.root)
            if not copy.endpoint.owned:
                path = f"{copy.dataset_id.hex}/{source.name}"
            packing.take(copy, source, path, transfer)
        if digest is None and transfer is not None:
            digest = checksum(copy.place(butler.root))
        options = canonical_json(copy.options) if copy.options else None
        of_file = (str(copy.dataset_id), copy.component, path, copy.size, digest)
        rows.append((*of_file, copy.formatter, options))
        if progress is not None:
            progress(n + 1, len(listed))
    return sorted(rows)


class _Folder:
    """An export that is written: a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> None:
        """Make the folder, or find what an attempt that was cut short has left."""
        bundle.prepare_folder(self.path)

    def take(self, copy: files.Stored, source: Path, path: str, transfer: str) -> None:
        """Bring a file here, unless it is here."""
        staged = StagedFile(self.path / bundle.FILES, bundle.inside(path))
        if copy.checksum is not None and staged.left_whole(copy.size, copy.checksum):
            staged.settle()
            return
        _is_whole(source, copy)
        staged.abandon(settled=False)
        staged.take(source, "copy" if transfer == "auto" else transfer)
        staged.settle()

    def write(self, name: str, content: bytes) -> None:
        """Write a member."""
        staged = StagedFile(self.path, name)
        staged.temporary.write_bytes(content)
        staged.settle()

    def end(self, manifest: bundle.Manifest) -> None:
        """Write the manifest, which says that all is there."""
        self.write(bundle.MANIFEST, manifest.to_json().encode())

    def abandon(self) -> None:
        """Leave what is here, for another attempt."""


class _Zip(_Folder):
    """An export that is written: one .zip; a new attempt begins anew."""

    def begin(self) -> None:
        if self.path.exists():
            raise ExchangeError(f"{self.path} exists already; name another file.", path=self.path)
        self._staged = StagedFile(self.path.parent, self.path.name)
        # tables and frames are packed already, or do not gain by it
        self._zip = zipfile.ZipFile(self._staged.temporary, "w", zipfile.ZIP_STORED)

    def take(self, copy: files.Stored, source: Path, path: str, transfer: str) -> None:
        del transfer
        _is_whole(source, copy)
        self._zip.write(source, f"{bundle.FILES}/{bundle.inside(path)}")

    def write(self, name: str, content: bytes) -> None:
        self._zip.writestr(name, content)

    def end(self, manifest: bundle.Manifest) -> None:
        super().end(manifest)
        self._zip.close()
        self._staged.settle()

    def abandon(self) -> None:
        self._zip.close()
        self._staged.abandon(settled=False)


def _is_whole(source: Path, copy: files.Stored) -> None:
    """Refuse a file that is not what was recorded."""
    try:
        size = source.stat().st_size
    except OSError as error:
        raise MissingFile(
            f"The file {source} cannot be read: {error.strerror}. `skyspine check REPO` tells what "
            "else is missing; exporting again goes on from here.",
            path=source,
        ) from error
    if size != copy.size:
        raise MissingFile(
            f"The file {source} has {size} bytes, and {copy.size} are recorded; `skyspine check "
            "REPO` tells what else is not as it was.",
            path=source,
        )
