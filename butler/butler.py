"""How does a program get and put datasets without knowing where they lie or in which format?

`Butler` joins the registry (what a dataset is), the backbone (where its files are) and the
formatters (how they are read).  A put is one transaction: the file gets its name inside the
transaction that records it.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from backbone import files
from backbone.file_cache import FileCache
from butler import (
    adopting,
    archives,
    cameras,
    converting,
    exchange,
    ingest,
    ingest_files,
    removal,
    replicas,
    skymaps,
    storing,
    visits,
)
from butler import transfer as transferring
from butler.collections import Collections
from butler.deciding import Policy
from butler.deferred import Deferred
from butler.errors import NoRun, UnmatchedName
from butler.ingest_files import FileDataset
from butler.inputs import given_folders, record_inputs
from butler.object_cache import ObjectCache, frozen
from butler.pending import Pending
from butler.questions import Questions
from butler.repository import Repository
from butler.storage_classes import get_storage_class, storage_class_for
from registry import datasets, row_tables, site_migrations
from registry.errors import (
    MissingDataset,
    UnknownDatasetType,
    UnknownDimensionValue,
)
from registry.identity import DatasetRef, DatasetType, uuid7
from registry.registry import Registry

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from backbone.file_cache import CacheInfo
    from backbone.staging import StagedFile
    from butler.deciding import Format
    from butler.ingest import Ingested
    from butler.inputs import Place
    from butler.instrument import InstrumentDefinition
    from registry import removing
    from registry.row_tables import RowTable
    from registry.timespan import Timespan

__all__ = ["Butler", "Deferred", "FileDataset"]


class Butler(Questions):
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
        )
        self.run = run
        self.trusted = trusted
        site = self.root / site_migrations.FOLDER
        if site.is_dir():
            self._require_tables(site)
        caches = self.repository.caches
        self.file_cache = FileCache(caches.folder, caches.files) if caches.folder else None
        self.object_cache = ObjectCache(caches.objects) if caches.objects else None
        self._pending: ContextVar[Pending | None] = ContextVar("pending", default=None)
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

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Do several verbs all or nothing, files included; one inside another joins it.

        Files that go (pruned, or moved in by an ingest) are removed after the commit.
        """
        if self._pending.get() is not None:
            with self.registry.begin() as connection:
                yield connection
            return
        pending = Pending()
        token = self._pending.set(pending)
        try:
            with self.registry.begin() as connection:
                yield connection
        except BaseException as error:
            pending.abandon(error)
            raise
        finally:
            self._pending.reset(token)
        for action in pending.after:
            action()

    def after_commit(self, action: Callable[[], object]) -> None:
        """Do something when the transaction around is committed: at once when there is none."""
        pending = self._pending.get()
        if pending is None:
            action()
        else:
            pending.after.append(action)

    @cached_property
    def policy(self) -> Policy:
        """The verbs on the policy that decides how datasets are stored, and its decisions."""
        return Policy(self)

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
        kind = DatasetType(name, tuple(dimensions), storage_class, is_calibration)
        self.registry.register_dataset_type(kind)
        return kind

    def put(
        self,
        obj: Any,
        dataset_type: str | DatasetType,
        data_id: Mapping[str, Any] | None = None,
        /,
        *,
        run: str | None = None,
        format: Format | None = None,  # noqa: A002 (the word that users know)
        endpoint: str | None = None,
        **keys: Any,
    ) -> DatasetRef:
        """Store an object as a dataset.

        Parameters
        ----------
        obj : object
            Of the type that the dataset type's storage class names.
        dataset_type : str or DatasetType
            Registered, or new where the policy lets a put create it: its dimensions are the keys
            of the data ID, its storage class the first that holds the object.
        data_id : mapping, optional
            Key/value pairs; ``**keys`` win over them.
        run : str, optional
            RUN collection; the Butler's own by default.
        format : str or dict, optional
            Name of the format, as `butler.formatters` lists them, or a mapping of its ``name`` and
            its options; what the policy says by default. It is recorded, and a get needs no word
            of it.
        endpoint : str, optional
            Name of the storage, as ``skyspine endpoint list`` shows them; what the policy says by
            default.

        Returns
        -------
        DatasetRef
            What was stored.

        Raises
        ------
        DatasetExists
            If the run has one of this type and data ID.
        WrongType
            If the object is not what the storage class holds.
        NoRun
            If no run is given.
        EndpointAway, EndpointRefuses, StorageFull
            If the endpoint does not take it; nothing was changed.
        """
        target = run or self.run
        if target is None:
            raise NoRun

        def put(kind: DatasetType) -> DatasetRef:
            full = kind.data_id(self._completed(kind, {**(data_id or {}), **keys}))
            ref = DatasetRef(uuid7(), kind, full, target)
            self.store([(obj, ref)], format=format, endpoint=endpoint)
            return ref

        try:
            return self._with_kind(dataset_type, put)
        except UnknownDatasetType as error:
            name = dataset_type if isinstance(dataset_type, str) else dataset_type.name
            if error.name != name or not self.policy.may_create(name):
                raise
        with self.transaction():
            new = dataset_type
            if isinstance(new, str):
                named = tuple({**(data_id or {}), **keys})
                new = DatasetType(new, named, storage_class_for(obj).name)
            self.registry.register_dataset_type(new)
            return put(new)

    def put_as(self, obj: Any, ref: DatasetRef, provenance: Mapping[str, str]) -> DatasetRef:
        """Store an object under an identity that was chosen before; see `put`.

        Parameters
        ----------
        ref : DatasetRef
            What it will be.
        provenance : mapping of str to str
            Identifiers to be written into the file, beside the dataset's own.
        """
        self.store([(obj, ref)], provenance)
        return ref

    def store(
        self,
        items: Sequence[tuple[Any, DatasetRef]],
        provenance: Mapping[str, str] | None = None,
        also: Callable[[sa.Connection], None] | None = None,
        format: Format | None = None,  # noqa: A002 (the word that users know)
        endpoint: str | None = None,
    ) -> None:
        """Store several objects in one transaction.

        Parameters
        ----------
        items : sequence of (object, DatasetRef)
            Objects and what they will be.
        provenance : mapping of str to str, optional
            Identifiers to be written into the files.
        also : callable, optional
            Further work in the same transaction; repeatable.
        format : str or dict, optional
            The format of all; what the policy says of each by default.
        endpoint : str, optional
            Name of the storage of all; what the policy says of each by default.
        """
        content = storing.Content()
        with self.cleaning(content.staged):
            for obj, ref in items:
                content.add(self, obj, ref, provenance or {}, format, endpoint)
            refs = [ref for _, ref in items]
            try:
                self._record(refs, content, also)
            except (UnknownDimensionValue, UnknownDatasetType):
                # an input may know the exposure, the patch or the type
                if not (self._has_inputs and adopting.bring_records(self, refs)):
                    raise
                self._record(refs, content, also)

    @cached_property
    def row_tables(self) -> dict[str, RowTable]:
        """The tables of this repository that hold rows of datasets, by name."""
        return self.registry.database.ask(row_tables.described)

    def _record(self, refs: Sequence[DatasetRef], *what: Any) -> None:
        self.registry.database.transact_once(
            lambda connection: datasets.all_there(connection, [r.id for r in refs]),
            storing.record,
            refs,
            *what,
        )

    @contextlib.contextmanager
    def cleaning(self, staged: list[StagedFile]) -> Iterator[None]:
        """Remove files when what is inside fails, or the transaction around it does.

        Parameters
        ----------
        staged : list of StagedFile
            May grow inside.

        Raises
        ------
        ReadOnly
            If the repository was opened for reading only, before any file is made.
        """
        self.registry.database.require_writeable()
        try:
            yield
        except BaseException as error:
            Pending(staged).abandon(error)
            raise
        outer = self._pending.get()
        if outer is not None:
            outer.staged.extend(staged)

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
                    return self._read(ref, place, copies, component, parameters)
                except replicas.GONE:
                    found = place.registry.database.ask(files.copies, ref.id)
                    if found == copies:
                        raise
                    copies = found  # it was converted after it was looked up
        raise MissingDataset(
            ref.dataset_type.name, ref.data_id, [ref.run], nearest=removal.why_unreadable(self, ref)
        )

    def _read(
        self,
        ref: DatasetRef,
        place: Place,
        copies: Mapping[str, Sequence[files.Stored]],
        component: str | None,
        parameters: Mapping[str, Any] | None,
    ) -> Any:
        # what an input holds is not trusted because this repository is
        trusted = self.trusted and place.root == self.root

        def reader(of_one: Sequence[files.Stored]) -> Callable[[str | None], Any]:
            return lambda wanted: replicas.read_first_good(
                of_one, place, wanted, parameters, trusted=trusted, cache=self.file_cache
            )

        def read() -> Any:
            parts = {name: reader(of_one) for name, of_one in copies.items()}
            if "" in parts:
                return parts[""](component)
            storage = get_storage_class(ref.dataset_type.storage_class)
            if component is not None:
                return storage.read_component(component, parts)
            return storage.assemble({name: read(None) for name, read in parts.items()})

        if self.object_cache is None:
            return read()
        selected = frozen(parameters)
        what = tuple((n, c[0].size, c[0].checksum, c[0].formatter) for n, c in copies.items())
        key = None if selected is None else (ref.id, component, selected, trusted, what)
        return self.object_cache.get(key, read)

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
        """Tell whether a dataset is there to be read."""
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
        """Take in files of which it is known what they are; see `butler.ingest_files`."""
        return ingest_files.ingest_files(self, files, run=run or self.run, **options)

    def ingest_raws(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        run: str | None = None,
        **options: Any,
    ) -> Ingested:
        """Take raw files in; see `butler.ingest.ingest_raws`."""
        return ingest.ingest_raws(self, paths, run=run or self.run, **options)

    def ingest_named(
        self,
        paths: Iterable[str | os.PathLike[str]],
        dataset_type: str,
        *,
        run: str | None = None,
        **options: Any,
    ) -> Ingested:
        """Take in files whose names tell what they are; see `butler.archives.ingest_named`."""
        return archives.ingest_named(self, paths, dataset_type, run=run or self.run, **options)

    def define_visits(self, instrument: str, **options: Any) -> visits.DefinedVisits:
        """Make visits of exposures by the rule of the camera; see `butler.visits.define_visits`."""
        return visits.define_visits(self, instrument, **options)

    def find_files(self, name: str) -> list[tuple[DatasetRef, str]]:
        """Find the datasets of a file by its name; see `butler.archives.find_files`."""
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
        """Remove files from storage whose datasets are gone; see `butler.removal.empty_trash`."""
        return removal.empty_trash(self)

    def convert(self, refs: Sequence[DatasetRef], **options: Any) -> converting.Converted:
        """Bring datasets into another format or to another endpoint; see `butler.converting`."""
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
            available at an endpoint in use.
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
        """Take datasets of another repository; see `butler.transfer.transfer_from`."""
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
