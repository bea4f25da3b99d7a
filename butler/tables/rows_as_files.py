"""How do datasets that lie in tables go where files are expected?

As files of formats that hold all that the rows say, tables as Parquet, in a temporary folder for as
long as they are copied from.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.endpoints import Endpoint
from backbone.staging import StagedFile
from butler.errors import ExchangeError
from butler.policy.decisions import plain_stem
from butler.storage_classes import get_storage_class
from butler.tables import in_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backbone.files import Stored
    from registry.database import Database
    from registry.identity import DatasetRef

__all__ = ["as_files"]


@contextmanager
def as_files(
    database: Database,
    refs: Sequence[DatasetRef],
    copies: Mapping[int, list[Stored]],
    folder: Path,
    transfer: str | None,
) -> Iterator[list[list[Stored]]]:
    """Give the copies of each file of datasets, all of which are files.

    Parameters
    ----------
    copies : mapping
        By file, the nearest first; what lies in a table is read, and replaced by a file.
    folder : Path
        Where the temporary folder is made, if one is needed.
    transfer : str or None
        With ``direct``, or without files (None), what lies in a table is left out.

    Raises
    ------
    ExchangeError
        With ``symlink``, if something lies in a table.
    """
    if not any(copy.endpoint.in_tables for each in copies.values() for copy in each):
        yield list(copies.values())
        return
    if transfer == "symlink":
        raise ExchangeError(
            "Some datasets lie in tables of the database, where no symbolic link leads; export "
            "them with transfer='copy'."
        )
    named = {ref.id: ref for ref in refs}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".skyspine-", dir=folder) as temporary:
        made: list[list[Stored]] = []
        for each in copies.values():
            kept = [copy for copy in each if not copy.endpoint.in_tables]
            if transfer not in (None, "direct"):
                kept += [
                    _written(database, named[copy.dataset_id], copy, Path(temporary))
                    for copy in each
                    if copy.endpoint.in_tables
                ]
            if kept:
                made.append(kept)
        yield made


def _written(database: Database, ref: DatasetRef, copy: Stored, folder: Path) -> Stored:
    """Write rows as a file, named as the Butler would name it."""
    found = in_tables.read(database, copy)
    storage = get_storage_class(ref.dataset_type.storage_class)
    stem = plain_stem(ref)
    if copy.component:
        part = get_storage_class(storage.parts[copy.component].storage_class)
        form, found = part.formatter(), storage.in_file(copy.component, found)
        stem += f"_{copy.component}"
    else:
        form = in_tables.form_of_file(copy.formatter)
    path = StagedFile.path_for(stem, ref.id, form.extension)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    done = form.write(found, folder / path, {"SKYS_ID": str(ref.id), "SKYS_RUN": ref.run})
    return replace(
        copy,
        path=path,
        size=done.size,
        checksum=done.checksum,
        formatter=form.name,
        endpoint=Endpoint(copy.endpoint.id, "files", str(folder), owned=True),
    )
