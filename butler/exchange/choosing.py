"""Which format does an export have: by its name, by what it holds, or as was asked?

``parquet`` is this project's own, a folder or one .zip, with the whole history of its datasets;
``daf-butler-yaml`` and ``daf-butler-zip`` are those of lsst-daf-butler.
"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from backbone import endpoints
from backbone.staging import transfer_modes
from butler.errors import ExchangeError
from butler.exchange import exporting, importing, packing, unpacking, zips
from butler.exchange.bundle import FILES, MANIFEST, TABLES
from registry.errors import did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from butler.butler import Butler
    from registry.identity import DatasetRef

__all__ = ["FORMATS", "export", "import_"]

FORMATS = {
    "parquet": "Parquet tables in a folder or one .zip, with the whole history of the datasets",
    "daf-butler-yaml": "one file of YAML, as lsst-daf-butler exports and imports",
    "daf-butler-zip": "files with an index in one .zip, as lsst-daf-butler retrieves and ingests",
}
"""The formats, with a line each."""
_YAML = (".yaml", ".yml")


def export(
    butler: Butler,
    path: str | os.PathLike[str],
    refs_or_query: Iterable[DatasetRef] | Mapping[str, Any] = (),
    *,
    also: Sequence[str] = (),
    transfer: str | None = "auto",
    records: str = "needed",
    history: bool = True,
    format: str | None = None,  # noqa: A002
    progress: Callable[[int, int], None] | None = None,
) -> exporting.Exported:
    """Write datasets and what belongs to them into a folder or a file.

    What lies in inputs of the repository goes along from there: files, dimension records, and the
    history through all of them.  Where they tell one thing differently, what is searched first
    counts.

    Parameters
    ----------
    path : path-like
        What is to be made: a file of YAML when it ends in .yaml or .yml, one archive when it ends
        in .zip, a folder otherwise.
    refs_or_query : iterable of DatasetRef, or mapping
        What to export; a mapping holds the arguments of `Butler.query_datasets`, such as
        ``{"dataset_type": "raw", "collections": "OHP/raw", "where": "exposure > 5"}``.
    also : sequence of str
        Further collections: TAGGED and CALIBRATION ones with what they say of these datasets,
        CHAINED ones with their children, RUN ones though they are empty.
    transfer : str or None
        auto, copy, link, hardlink or symlink puts the files beside the export; direct leaves them
        and writes their absolute paths; None leaves them and writes paths below the repository.
    records : {"needed", "all"}
        Dimension records that these datasets need, or all that the repository itself has; with all,
        all dataset types and quanta go along too.
    history : bool
        Whether what made the datasets goes along, back to the first; only in Parquet.
    format : str, optional
        One of `FORMATS`; by default as the path says, Parquet when it says nothing.
    progress : callable, optional
        Called with the number of files done and in all.

    Returns
    -------
    Exported

    Raises
    ------
    ExchangeError
        If the path holds something already, or the format cannot express what is asked for.
    MissingFile
        If a file is not there.
    MissingDataset
        If neither the repository nor an input has one of the datasets.
    Conflict
        If one name means two things in the repositories that the datasets come from.
    """
    if transfer == "move" or (transfer is not None and transfer not in transfer_modes):
        raise ExchangeError(
            f"'{transfer}' is no way to export files."
            f"{did_you_mean(str(transfer), [m for m in transfer_modes if m != 'move'])}"
        )
    if records not in ("needed", "all"):
        raise ExchangeError(f"records is 'needed' or 'all', not '{records}'.")
    given = Path(path)
    chosen = _known(format) or ("daf-butler-yaml" if given.suffix in _YAML else "parquet")
    if chosen == "parquet" and given.suffix in _YAML:
        raise ExchangeError(
            f"{given} ends as a file of YAML, and Parquet makes a folder or one .zip; name one.",
            path=given,
        )
    refs = _refs(butler, refs_or_query)
    everything = records == "all"
    if chosen == "parquet":
        return packing.pack(
            butler,
            given,
            refs,
            also=also,
            transfer=transfer,
            everything=everything,
            history=history,
            progress=progress,
        )
    if chosen == "daf-butler-zip":
        if transfer in (None, "direct"):
            raise ExchangeError("A zip of lsst-daf-butler holds its files; copy them.")
        return zips.export(butler, given, refs, progress=progress)
    return exporting.export(
        butler,
        given,
        refs,
        also=also,
        transfer=transfer,
        everything=everything,
        progress=progress,
    )


def import_(
    butler: Butler,
    path: str | os.PathLike[str],
    *,
    transfer: str | None = "auto",
    directory: str | os.PathLike[str] | None = None,
    endpoint: str = endpoints.ROOT,
    format: str | None = None,  # noqa: A002
    conflicts: str = "fail",
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> importing.Imported:
    """Take in what this project or lsst-daf-butler exported.

    What is here already and equal is passed over, so that an import may be repeated; one that was
    killed goes on where it was.

    Parameters
    ----------
    path : path-like
        The folder, archive or file of YAML.
    transfer : str or None
        How its files are taken: auto, copy, move, link, hardlink, symlink or direct (they stay
        where they are); None registers datasets without files.
    directory : path-like, optional
        What the paths in the export are relative to; its own folder by default.
    endpoint : str
        Name of the storage that the files come to; the repository's own folder by default.
    format : str, optional
        One of `FORMATS`; by default what it is found to be.
    conflicts : {"fail", "keep"}
        Whether records that are here with other values refuse the export, or stay as they are.  A
        dataset, quantum or name that means something else here refuses it always.
    dry_run : bool
        Whether only to tell what would be imported: all is recorded, and taken back.
    progress : callable, optional
        Called with the number of files done and in all.

    Returns
    -------
    Imported

    Raises
    ------
    ExchangeError
        If it is not an export, is damaged, or holds something that cannot be here.
    IngestError, UnknownEndpoint
        If the files cannot come to the endpoint so.
    MissingFile
        If a file is not there; nothing is imported then.
    Conflict
        If it contradicts what is here; nothing is imported then.
    EndpointAway, EndpointRefuses
        If the endpoint does not take the files; nothing is imported then.
    """
    if transfer is not None and transfer not in transfer_modes:
        raise ExchangeError(
            f"'{transfer}' is no way to transfer files.{did_you_mean(transfer, transfer_modes)}"
        )
    if conflicts not in ("fail", "keep"):
        raise ExchangeError(f"conflicts is 'fail' or 'keep', not '{conflicts}'.")
    butler.registry.database.require_writeable()
    given = Path(path)
    below = None if directory is None else Path(directory)
    _require_there(given)
    chosen = _known(format) or _found(given)
    if chosen == "parquet":
        return unpacking.unpack(
            butler,
            given,
            transfer=transfer,
            directory=below,
            endpoint=endpoint,
            keep=conflicts == "keep",
            dry_run=dry_run,
            progress=progress,
        )
    if chosen == "daf-butler-zip":
        return zips.import_(
            butler,
            given,
            transfer=transfer,
            endpoint=endpoint,
            dry_run=dry_run,
            progress=progress,
        )
    return importing.import_(
        butler,
        given,
        transfer=transfer,
        directory=below,
        endpoint=endpoint,
        dry_run=dry_run,
        progress=progress,
    )


def _refs(
    butler: Butler, refs_or_query: Iterable[DatasetRef] | Mapping[str, Any]
) -> list[DatasetRef]:
    if hasattr(refs_or_query, "keys"):
        query = dict(cast("Mapping[str, Any]", refs_or_query))
        if "dataset_type" not in query:
            raise ExchangeError("A query for an export names its 'dataset_type'.")
        found = butler.query_datasets(query.pop("dataset_type"), **query)
    else:
        found = list(refs_or_query)
    return list({ref.id: ref for ref in found}.values())


def _known(name: str | None) -> str | None:
    if name is not None and name not in FORMATS:
        raise ExchangeError(f"'{name}' is no format of exports.{did_you_mean(name, FORMATS)}")
    return name


def _require_there(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # the last of a NUL
        raise ExchangeError(f"There is no export file {path}.", path=path) from error
    except OSError as error:
        raise ExchangeError(
            f"{path} cannot be read: {error.strerror or error}.", path=path
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ExchangeError(f"{path} is a pipe or a device, and no export.", path=path)


def _found(path: Path) -> str:
    """Tell which format an export has.

    Raises
    ------
    ExchangeError
        If it is none.
    """
    if path.is_dir():
        if (path / MANIFEST).exists():
            return "parquet"
        if (path / importing.EXPORT_FILE).exists():
            return "daf-butler-yaml"
        if (path / TABLES).exists() or (path / FILES).exists():
            raise ExchangeError(
                f"{path} is an export that was cut short: it lacks {MANIFEST}. Run the export "
                "again, with the same folder; it goes on where it was.",
                path=path,
            )
        raise ExchangeError(
            f"{path} holds neither {MANIFEST} nor {importing.EXPORT_FILE}: it is no export.",
            path=path,
        )
    if path.suffix == ".zip" or zipfile.is_zipfile(path):
        return "daf-butler-zip" if zips.has_index(path) else "parquet"
    return "daf-butler-yaml"
