"""How does a part of a repository become an export of this project?

Datasets go with their whole history, and with the files that they have.  The rows are read in one
snapshot of the database; files come first, the manifest last, so that an export that was cut short
is seen as such and can be continued.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import zipfile
from pathlib import PurePath
from typing import TYPE_CHECKING

from backbone import fetching
from backbone.staging import StagedFile
from butler.errors import ExchangeError
from butler.exchange import bundle, sources
from butler.exchange.carrying import carry, each_file, into_zip, left_there
from butler.exchange.columnar import to_parquet
from butler.exchange.exporting import Exported
from registry import deploy, portable
from registry.database import canonical_json, many_objects
from registry.portable.tables import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from butler.butler import Butler
    from butler.exchange.carrying import Held
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
    ids = [ref.id for ref in refs]
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(sources.opened(butler, refs))
        with many_objects():
            taken, notes = sources.take(
                found, ids, also=also, everything=everything, history=history
            )
            each = stack.enter_context(each_file(found, refs, target.parent, transfer))
        made = Exported(target, datasets=len(ids), quanta=len(taken.rows["quantum"]))
        made.files = len({held.first.dataset_id for held in each})
        _pack(butler, target, taken, each, transfer, progress)
    made.records = {name: len(taken.rows[name]) for name in ELEMENTS if taken.rows[name]}
    made.notes = [*_notes(taken, len(ids) - made.files), *notes]
    return made


def _pack(
    butler: Butler,
    target: Path,
    taken: portable.Taken,
    each: Sequence[Held],
    transfer: str | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Bring the files, then write the tables and the manifest."""
    packing = _Zip(target) if target.suffix == ".zip" else _Folder(target)
    packing.begin()
    try:
        taken.rows["file"] = _files(packing, each, transfer, progress)
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


def _notes(taken: portable.Taken, without: int) -> list[str]:
    told = (
        (without, "datasets have no file and are exported as records only"),
        (taken.history, "datasets go along as records only, since others were made from them"),
        (taken.running, "quanta are still at work and were left out"),
    )
    return [f"{text} ({n})" if n > 1 else text for n, text in told if n]


def _files(
    packing: _Folder,
    each: Sequence[Held],
    transfer: str | None,
    progress: Callable[[int, int], None] | None,
) -> list[Row]:
    """Bring the files of datasets into the export, and give the rows that tell of them."""

    def bring(held: Held) -> Row:
        copy = held.first
        path, digest = copy.path, copy.checksum
        if transfer == "direct":
            path, digest = left_there(held)
        elif transfer is None:
            if (held.foreign or not copy.endpoint.owned) and copy.endpoint.root and not held.far:
                path = str(copy.place(held.root).absolute())
        else:
            if held.shared or (not copy.endpoint.owned and PurePath(path).is_absolute()):
                path = f"{copy.dataset_id.hex}/{PurePath(path).name}"
            digest = packing.take(held, path, transfer)
        options = canonical_json(copy.options) if copy.options else None
        of_file = (str(copy.dataset_id), copy.component, path, copy.size, digest)
        return (*of_file, copy.formatter, options)

    far = transfer is not None and any(held.far for held in each)
    return sorted(fetching.each(bring, each, far=far and packing.several, progress=progress))


class _Folder:
    """An export that is written: a folder."""

    several = True
    """Whether several files may be brought at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> None:
        """Make the folder, or find what an attempt that was cut short has left."""
        bundle.prepare_folder(self.path)

    def take(self, held: Held, path: str, transfer: str) -> str:
        """Bring a file here, unless it is here, and give its checksum."""
        staged = StagedFile(self.path / bundle.FILES, bundle.inside(path))
        first = held.first
        if first.checksum is not None and staged.left_whole(first.size, first.checksum):
            digest = first.checksum
        else:
            digest = carry(held, staged, transfer)
        staged.settle()
        return digest

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

    several = False

    def begin(self) -> None:
        if self.path.exists():
            raise ExchangeError(f"{self.path} exists already; name another file.", path=self.path)
        self._staged = StagedFile(self.path.parent, self.path.name)
        # tables and frames are packed already, or do not gain by it
        self._zip = zipfile.ZipFile(self._staged.temporary, "w", zipfile.ZIP_STORED)

    def take(self, held: Held, path: str, transfer: str) -> str:
        del transfer
        name = f"{bundle.FILES}/{bundle.inside(path)}"
        return into_zip(self._zip, name, held, self.path)

    def write(self, name: str, content: bytes) -> None:
        self._zip.writestr(name, content)

    def end(self, manifest: bundle.Manifest) -> None:
        super().end(manifest)
        self._zip.close()
        self._staged.settle()

    def abandon(self) -> None:
        self._zip.close()
        self._staged.abandon(settled=False)
