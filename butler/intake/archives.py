"""How do files of an archive become datasets under their own names, without a look into them?

Precursor data lie in archives under names that tell what they are.  A template reads the names;
the files stay where they are, or are linked or copied in, and are found by their names.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints
from butler import cameras
from butler.errors import IngestError, NoRun
from butler.instrument import Observation
from butler.instrument.errors import UnmatchedFile
from butler.intake.given_files import found_files
from butler.intake.ingest import Ingested, Item, batch_size, take, target_of
from registry import datasets
from registry.errors import SkyspineError
from registry.identity import DatasetRef, uuid7
from registry.schema.files import file as file_table

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Iterable, Sequence

    from butler.butler import Butler
    from butler.instrument import InstrumentDefinition

__all__ = ["find_files", "ingest_named", "read_names"]

_FEW = 1000
"""So many datasets of one name are found."""


_STANDS_FOR = {"detector_name": "detector"}
_NO_KEYS = {"run", "id", "extension", "component", "dataset_type", "file", "stem"}
"""Fields of templates that are no keys of data IDs."""


def read_names(
    butler: Butler,
    paths: Iterable[str | os.PathLike[str]],
    dataset_type: str,
    *,
    instrument: str | None = None,
    template: str | None = None,
    version: int | None = None,
) -> list[tuple[Path, Item | SkyspineError]]:
    """Tell what files are, by their names alone.

    Parameters
    ----------
    paths : iterable of path-like
        Files, and folders that are searched.
    dataset_type : str
        Registered; what all of them are.
    instrument : str, optional
        The camera; the only one by default.
    template : str, optional
        How the names were made; the template of the dataset type by default.
    version : int, optional
        Of the camera's definition, for names that an older one made.

    Returns
    -------
    list of (Path, Item or SkyspineError)
        What each file is, in a run that is not chosen yet, or why that cannot be told.

    Raises
    ------
    IngestError
        If the camera is not told, or there is no file.
    """
    name = instrument or cameras.only_one(place.registry for place in butler.places)
    if name is None:
        raise IngestError("There is not just one camera in this repository: name the instrument.")
    kind = butler.registry.dataset_type(dataset_type)
    definition = butler.definition(name, version)
    definition.name_template(dataset_type, template)  # refuses it before any file
    read: list[tuple[Path, Item | SkyspineError]] = []
    for path, below in _found(paths):
        try:
            fields = _read_name(definition, path, below, dataset_type, template)
            keys = {_STANDS_FOR.get(k, k): v for k, v in fields.items() if k not in _NO_KEYS}
            data_id = butler.complete_data_id(kind, keys)
        except SkyspineError as error:
            read.append((path, error))
            continue
        seen = Observation(name, "", dataset_type, data_id, path, {}, path.stat().st_size, 0)
        ref = DatasetRef(uuid7(), kind, data_id, "")
        read.append((path, Item(seen, definition, ref)))
    return read


def _found(paths: Iterable[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """List files, each with its path below the folder that was given."""
    found: dict[Path, Path] = {}
    for given in map(Path, paths):
        for path in found_files([given]):
            found.setdefault(path, path.relative_to(given if given.is_dir() else given.parent))
    return list(found.items())


def _read_name(
    definition: InstrumentDefinition, path: Path, below: Path, *template: Any
) -> dict[str, Any]:
    """Read a name below the folder that was given, else with the folders above."""
    try:
        return definition.read_name(below, *template)
    except UnmatchedFile:
        return definition.read_name(path.absolute(), *template)


def ingest_named(
    butler: Butler,
    paths: Iterable[str | os.PathLike[str]],
    dataset_type: str,
    *,
    run: str | None,
    transfer: str = "direct",
    endpoint: str = endpoints.ROOT,
    on_error: str = "skip",
    **naming: Any,
) -> Ingested:
    """Take in files whose names tell what they are; no header is read.

    The exposures, visits, tracts, ... that the names tell must be registered.

    Parameters
    ----------
    run : str
        RUN collection; made if there is none of this name.
    transfer : str
        direct (they stay where they are, under their own names, and are not owned), or another way
        of `butler.intake.ingest.ingest_raws`.
    endpoint : str
        Name of the storage that the files come to; the repository's own folder by default.
    on_error : {"skip", "stop"}
        Whether a file that cannot be taken is reported at the end, or ends everything.
    **naming
        ``instrument``, ``template``, ``version``; see `read_names`.

    Raises
    ------
    NoRun
        If no run is given.
    IngestError, UnsafePath
        If there is no file, the template cannot be used, or the endpoint cannot have them so.
    EndpointAway, EndpointRefuses
        If the endpoint does not take them; what was taken until then stays, and the same call goes
        on from there.
    """
    if run is None:
        raise NoRun
    target = target_of(butler, endpoint, transfer)
    result = Ingested()
    items: list[Item] = []
    for path, found in read_names(butler, paths, dataset_type, **naming):
        if isinstance(found, Item):
            found.ref = DatasetRef(found.ref.id, found.ref.dataset_type, found.ref.data_id, run)
            items.append(found)
            continue
        if on_error == "stop":
            raise found
        result.errors.append((path, found))
    step = batch_size(target)
    for start in range(0, len(items), step):
        take(butler, items[start : start + step], transfer, on_error, result, target)
    return result


def find_files(butler: Butler, name: str) -> list[tuple[DatasetRef, str]]:
    """Find the datasets of a file by its name, or the end of its path.

    Parameters
    ----------
    name : str
        As in the archive, with the compression suffix.

    Returns
    -------
    list of (DatasetRef, str)
        Of this repository and its inputs, each with the path that is recorded; at most 1000 of
        each.
    """
    found: list[tuple[DatasetRef, str]] = []
    for place in butler.places:
        rows = place.registry.database.ask(partial(_named, name=name.lstrip("/")))
        refs = place.registry.database.ask(datasets.get_refs, [i for i, _ in rows])
        found += [(refs[i], path) for i, path in rows if i in refs]
    return found


def _named(connection: sa.Connection, name: str) -> Sequence[tuple[uuid.UUID, str]]:
    path = file_table.c.path
    like = path.endswith(f"/{name}", autoescape=True)
    asked = sa.select(file_table.c.dataset_id, path).where(sa.or_(path == name, like))
    rows = connection.execute(asked.order_by(path).limit(_FEW))
    return [(row[0], row[1]) for row in rows]
