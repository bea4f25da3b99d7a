"""How does a program get and put datasets without knowing where they lie or in which format?

`Butler` joins the registry (what a dataset is), the backbone (where its files are) and the
formatters (how they are read).  What it finds is `butler.asking.questions`, how it stores
`butler.writing`; here it reads, takes in, gives out and removes.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Self

from backbone import files
from backbone.file_cache import FileCache
from butler import adopting, cameras, exchange, reading, skymaps, visits
from butler.collections import Collections
from butler.deferred import Deferred
from butler.errors import UnmatchedName
from butler.inputs import given_folders, record_inputs
from butler.intake import archives, ingest, ingest_files
from butler.intake.ingest_files import FileDataset
from butler.moving import converting, removal, replicas, retrieving
from butler.moving import transfer as transferring
from butler.object_cache import ObjectCache
from butler.repository import Repository
from butler.storage_classes import get_storage_class
from butler.writing import Writing
from registry import site_migrations
from registry.answering import require_list
from registry.errors import MissingDataset
from registry.identity import DatasetRef, DatasetType
from registry.registry import Registry

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from backbone.file_cache import CacheInfo
    from butler.instrument import InstrumentDefinition
    from butler.intake.ingest import Ingested
    from registry import removing
    from registry.timespan import Timespan

__all__ = ["Butler", "Deferred", "FileDataset"]


class Butler(Writing):
    """Access to the datasets of one repository.

    Parameters
    ----------
    root : path-like
        Folder of the repository.
    run : str, optional
        RUN collection that puts go to; registered when it does not exist.
    collections : str or sequence of str, optional
        Searched in this order by gets; the run by default.
    writeable : bool, optional
        By default, whether a run is given.
    trusted : bool
        Whether files that hold code (pickles) may be read from this repository.
    inputs : path-like or sequence of path-like
        Folders of other repositories, on whatever databases, whose datasets are read too; searched
        in this order after this one and those that it has recorded.  A writeable Butler records
        them, so that they are found when it is next opened.

    Raises
    ------
    RepositoryNotFound
        If the folder holds no repository.
    WrongRevision
        If its database is behind or ahead of this code.
    SiteBehind
        If the repository has migrations of its own that were not run.

    Examples
    --------
    >>> import tempfile
    >>> butler = Butler.create(tempfile.mkdtemp())
    >>> kind = butler.register_dataset_type("summary", (), "StructuredDataDict")
    >>> ref = butler.put({"n": 3}, "summary", run="try")
    >>> butler.get("summary", collections="try")
    {'n': 3}
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        run: str | None = None,
        collections: str | Sequence[str] | None = None,
        writeable: bool | None = None,
        trusted: bool = False,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self.repository = Repository.open(root)
        searched = collections if collections is not None else ([run] if run else [])
        super().__init__(
            self.repository.root,
            Registry.connect(
                self.repository.url, writeable=run is not None if writeable is None else writeable
            ),
            [searched] if isinstance(searched, str) else list(searched),
            given_folders(inputs),
            run,
        )
        self.trusted = trusted
        site = self.root / site_migrations.FOLDER
        if site.is_dir() and self.repository.file is None:
            self._require_tables(site)
        caches = self.repository.caches
        self.file_cache = FileCache(caches.folder, caches.files) if caches.folder else None
        self.object_cache = ObjectCache(caches.objects) if caches.objects else None
        if self._given_inputs and self.registry.database.writeable:
            try:
                record_inputs(self.registry, self._given_inputs)
            except BaseException:
                self.close()
                raise
        if run is not None and self.registry.database.writeable:
            self.registry.register_collection(run, "RUN")

    def _require_tables(self, site: Path) -> None:
        try:
            with self.registry.read() as connection:
                site_migrations.require_newest(connection, site, self.root)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, root: str | os.PathLike[str], db: str | None = None) -> Self:
        """Make a repository and open it for writing.

        Parameters
        ----------
        root : path-like
            Folder; made when it does not exist.
        db : str, optional
            URL of an empty database; SQLite inside the folder by default.
        """
        Repository.create(root, db)
        return cls(root, writeable=True)

    def close(self) -> None:
        """Close every connection to the database, and to those of the inputs."""
        for place in self.__dict__.get("inputs", ()):
            place.registry.close()
        self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        searched = ", ".join(self._searched(None)) or "nothing by default"
        writes = self.registry.database.writeable
        use = f"writes to {self.run or 'runs that are named'}" if writes else "reads only"
        return f"<Butler of {self.root}: searches {searched}; {use}>"

    @property
    def collections(self) -> Collections:
        """The verbs on collections."""
        return Collections(self)

    def register_instrument(self, source: Any) -> InstrumentDefinition:
        """Register a camera; see `butler.cameras.register`."""
        return cameras.register(self.registry, source)

    def register_skymap(self, source: Any) -> str:
        """Register a division of the sky into tracts and patches; see `butler.skymaps.register`."""
        return skymaps.register(self.registry, source)

    def register_dataset_type(
        self,
        name: str,
        dimensions: Iterable[str],
        storage_class: str,
        *,
        is_calibration: bool = False,
    ) -> DatasetType:
        """Register a dataset type; the same definition may be registered again.

        Parameters
        ----------
        dimensions : iterable of str
            Keys of its data IDs.
        storage_class : str
            Name of the Python type that a get returns.
        is_calibration : bool
            Whether it may be certified with a validity range.

        Raises
        ------
        DefinitionConflict
            If it exists with another definition.
        UnknownStorageClass
            With the nearest names.
        """
        get_storage_class(storage_class)
        require_list("dimensions", dimensions)
        kind = DatasetType(name, tuple(dimensions), storage_class, is_calibration)
        self.registry.register_dataset_type(kind)
        return kind

    def get(
        self,
        dataset_type_or_ref: str | DatasetType | DatasetRef,
        data_id: Mapping[str, Any] | None = None,
        /,
        *,
        component: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        collections: str | Sequence[str] | None = None,
        **keys: Any,
    ) -> Any:
        """Read a dataset.

        Parameters
        ----------
        dataset_type_or_ref : str, DatasetType or DatasetRef
            What to read; ``"calexp.wcs"`` names a component.
        data_id : mapping, optional
            Key/value pairs; ``**keys`` win over them.
        component : str, optional
            Read only this.
        parameters : mapping, optional
            Read only a part, as the formatter allows (``bbox``, ``columns``, ...).
        collections : str or sequence of str, optional
            Searched in this order; the Butler's own by default.

        Raises
        ------
        MissingDataset
            If there is none; says what was searched and, for a calibration, what is nearest.
        MissingFile, DamagedFile, NoGoodCopy
            If its file is gone, or not what it was, and so is each further copy.
        """
        if isinstance(dataset_type_or_ref, str) and "." in dataset_type_or_ref:
            dataset_type_or_ref, _, component = dataset_type_or_ref.partition(".")
        ref = self._resolved(dataset_type_or_ref, data_id, collections, keys)
        for place in self._each_place():
            copies = place.registry.database.ask(files.copies, ref.id)
            while copies:
                try:
                    return reading.read(
                        ref,
                        place,
                        copies,
                        component,
                        parameters,
                        # what an input holds is not trusted because this repository is
                        trusted=self.trusted and place.root == self.root,
                        files=self.file_cache,
                        objects=self.object_cache,
                    )
                except replicas.GONE:
                    found = place.registry.database.ask(files.copies, ref.id)
                    if found == copies:
                        raise
                    copies = found  # it was converted after it was looked up
        raise MissingDataset(
            ref.dataset_type.name, ref.data_id, [ref.run], nearest=removal.why_unreadable(self, ref)
        )

    def get_dataset(self, dataset_id: uuid.UUID | str) -> DatasetRef | None:
        """Look a dataset up by its identity, here and in the inputs; None when none has it."""
        key = dataset_id if isinstance(dataset_id, uuid.UUID) else uuid.UUID(dataset_id)
        for place in self._each_place():
            if found := place.registry.get_refs([key]).get(key):
                return found
        return None

    def get_uri(
        self,
        dataset_type_or_ref: str | DatasetType | DatasetRef,
        data_id: Mapping[str, Any] | None = None,
        /,
        *,
        component: str | None = None,
        collections: str | Sequence[str] | None = None,
        **keys: Any,
    ) -> str:
        """Tell where the file of a dataset lies; see `butler.moving.retrieving.get_uri`.

        Parameters are those of `get`.
        """
        ref = self._resolved(dataset_type_or_ref, data_id, collections, keys)
        return retrieving.get_uri(self._each_place(), ref, component)

    def get_uris(self, refs: Iterable[DatasetRef]) -> dict[uuid.UUID, dict[str, str]]:
        """Tell where all files of datasets lie; see `butler.moving.retrieving.get_uris`."""
        return retrieving.get_uris(self._each_place(), [ref.id for ref in refs])

    def retrieve_artifacts(
        self, refs: Sequence[DatasetRef], folder: str | os.PathLike[str], **options: Any
    ) -> retrieving.Retrieved:
        """Bring the files of datasets into a folder; see `butler.moving.retrieving.retrieve`."""
        return retrieving.retrieve(self, refs, folder, **options)

    def cache_info(self) -> dict[str, CacheInfo]:
        """Tell what the caches hold, and what came of them; by ``files`` and ``objects``.

        Files of servers are counted for all processes that share the folder, objects for this
        Butler.  What is not kept at all is left out.
        """
        caches = {"files": self.file_cache, "objects": self.object_cache}
        return {name: cache.info() for name, cache in caches.items() if cache is not None}

    def get_deferred(self, *args: Any, **kwargs: Any) -> Deferred:
        """Find a dataset now and read it later; arguments as for `get`."""
        collections = kwargs.pop("collections", None)
        first, rest = args[0], args[1:]
        return Deferred(self, self._resolved(first, rest[0] if rest else None, collections, kwargs))

    def exists(
        self,
        dataset_type_or_ref: str | DatasetType | DatasetRef,
        data_id: Mapping[str, Any] | None = None,
        /,
        *,
        collections: str | Sequence[str] | None = None,
        **keys: Any,
    ) -> bool:
        """Tell whether a dataset is there to be read, with all of its parts."""
        try:
            ref = self._resolved(dataset_type_or_ref, data_id, collections, keys)
        except (MissingDataset, UnmatchedName):
            return False
        for place in self._each_place():
            if ref.id in place.registry.database.ask(files.stored, [ref.id]):
                return True
        return False

    def ingest(
        self, files: Iterable[FileDataset], *, run: str | None = None, **options: Any
    ) -> Ingested:
        """Take in files of which it is known what they are; see `butler.intake.ingest_files`."""
        return ingest_files.ingest_files(self, files, run=run or self.run, **options)

    def ingest_raws(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        run: str | None = None,
        **options: Any,
    ) -> Ingested:
        """Take raw files in; see `butler.intake.ingest.ingest_raws`."""
        return ingest.ingest_raws(self, paths, run=run or self.run, **options)

    def ingest_named(
        self,
        paths: Iterable[str | os.PathLike[str]],
        dataset_type: str,
        *,
        run: str | None = None,
        **options: Any,
    ) -> Ingested:
        """Take in files whose names tell what they are; see `butler.intake.archives`."""
        return archives.ingest_named(self, paths, dataset_type, run=run or self.run, **options)

    def define_visits(self, instrument: str, **options: Any) -> visits.DefinedVisits:
        """Make visits of exposures by the rule of the camera; see `butler.visits.define_visits`."""
        return visits.define_visits(self, instrument, **options)

    def find_files(self, name: str) -> list[tuple[DatasetRef, str]]:
        """Find the datasets of a file by its name; see `butler.intake.archives.find_files`."""
        return archives.find_files(self, name)

    def certify(self, collection: str, refs: Sequence[DatasetRef], timespan: Timespan) -> None:
        """Certify calibrations, those of inputs too; see `registry.calibrations.certify`."""
        if self.inputs:
            self.adopt(refs)
        self.registry.certify(collection, refs, timespan)

    def decertify(
        self,
        collection: str,
        dataset_type: str | DatasetType,
        timespan: Timespan,
        data_ids: Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """Decertify calibrations; see `registry.calibrations.decertify`."""
        return self.registry.decertify(collection, dataset_type, timespan, data_ids)

    def prune(
        self, refs: Sequence[DatasetRef], *, unstore: bool = True, purge: bool = False
    ) -> None:
        """Remove the files of datasets, and with ``purge`` the datasets themselves.

        A dataset that something was made from leaves its row behind, for the history of that; no
        search finds it.  Files go after the commit, at the end of the `transaction` around.

        Raises
        ------
        InUse
            With ``purge``, if one is another repository's and was read here.
        """
        if unstore or purge:
            removal.prune(self, [r.id for r in refs], purge=purge)

    def remove_runs(self, *names: str, dry_run: bool = False) -> removing.Removal:
        """Remove runs with their datasets, files, tasks and quanta; out of chains too.

        What something elsewhere was made from leaves its row behind, as after `prune`.

        Parameters
        ----------
        dry_run : bool
            Only tell what would go, and what depends on it.

        Returns
        -------
        registry.removing.Removal

        Raises
        ------
        UnknownCollection, CollectionTypeError
            If one is no RUN.
        """
        return removal.remove_runs(self, names, dry_run=dry_run)

    def empty_trash(self) -> int:
        """Remove files whose datasets are gone; see `butler.moving.removal.empty_trash`."""
        return removal.empty_trash(self)

    def convert(self, refs: Sequence[DatasetRef], **options: Any) -> converting.Converted:
        """Bring datasets into another format or elsewhere; see `butler.moving.converting`."""
        return converting.convert(self, refs, **options)

    def replicate(self, refs: Iterable[DatasetRef], endpoint: str) -> replicas.Replicated:
        """Give datasets a further copy, at an endpoint that is named; repeatable.

        What is copied is compared with its recorded size and checksum.  At an endpoint that is only
        read, the copy must be there, at the same path, and is taken note of.

        Raises
        ------
        ChangedFile
            If no copy is what was recorded, or what shall be there is not.
        EndpointAway, EndpointRefuses, StorageFull
            If the endpoint does not take it; what was copied until then stays.
        """
        return replicas.replicate(self, [ref.id for ref in refs], endpoint)

    def withdraw(self, refs: Iterable[DatasetRef], endpoint: str) -> tuple[int, int]:
        """Remove the copies of datasets at an endpoint, never the last good one of a file.

        Returns
        -------
        removed, kept : int
            Copies that went, and those that stay: they are pinned, or there is no other that is
            available at an endpoint in use, and was found there with the size recorded.
        """
        return removal.withdraw(self, [ref.id for ref in refs], endpoint)

    def adopt(self, refs: Sequence[DatasetRef]) -> list[DatasetRef]:
        """Make datasets of the inputs known here; see `butler.adopting.adopt`."""
        return adopting.adopt(self, refs)

    def freeze_inputs(self, into: str, searched: Sequence[str], **wanted: Any) -> list[str]:
        """Make all that a run may read of the inputs known here; see `butler.adopting.freeze`."""
        if not self._has_inputs:
            return list(searched)
        return adopting.freeze(self, into, searched, **wanted)

    def transfer_from(
        self,
        other: Butler | str | os.PathLike[str],
        refs_or_query: Iterable[DatasetRef] | Mapping[str, Any],
        **options: Any,
    ) -> transferring.Transferred:
        """Take datasets of another repository; see `butler.moving.transfer.transfer_from`."""
        return transferring.transfer_from(self, other, refs_or_query, **options)

    def export(
        self,
        path: str | os.PathLike[str],
        refs_or_query: Iterable[DatasetRef] | Mapping[str, Any] = (),
        **options: Any,
    ) -> exchange.Exported:
        """Write datasets and what belongs to them; see `butler.exchange.choosing.export`."""
        return exchange.export(self, path, refs_or_query, **options)

    def import_(self, path: str | os.PathLike[str], **options: Any) -> exchange.Imported:
        """Take in what a repository exported; see `butler.exchange.choosing.import_`."""
        return exchange.import_(self, path, **options)
