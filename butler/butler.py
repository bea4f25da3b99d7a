"""How does a program get and put datasets without knowing where they lie or in which format?

`Butler` joins the registry (what a dataset is), the backbone (where its files are) and the
formatters (how they are read).  A put is one transaction: the file gets its name inside the
transaction that records it.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from backbone import endpoints, files
from backbone.staging import StagedFile, safe_name
from butler import cameras, exchange, ingest, skymaps
from butler.collections import Collections
from butler.errors import NoRun
from butler.formatters import get_formatter
from butler.repository import Repository
from butler.storage_classes import get_storage_class
from registry import calibrations, collections, datasets, explaining
from registry.errors import InvalidDataId, MissingDataset
from registry.identity import DataId, DatasetRef, DatasetType, uuid7
from registry.registry import Registry

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from butler.instrument import InstrumentDefinition
    from registry.timespan import Timespan

__all__ = ["Butler", "Deferred"]


@dataclass(slots=True)
class _Pending:
    """What is to be done to files when the transaction around has ended."""

    staged: list[StagedFile] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)

    def abandon(self, error: BaseException) -> None:
        """Remove the files of a transaction that failed.

        When it is not known whether it was committed (the server went away during the commit, the
        process was interrupted), a file that has its name stays: without a row the audit removes
        it, and a row without a file would be a loss.
        """
        unsure = getattr(error, "uncertain", False) or not isinstance(error, Exception)
        for file in self.staged:
            file.abandon(settled=not unsure)


class Butler:
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

    Raises
    ------
    RepositoryNotFound
        If the folder holds no repository.
    WrongRevision
        If its database is behind or ahead of this code.

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
    ) -> None:
        self.repository = Repository.open(root)
        self.root: Path = self.repository.root
        self.run = run
        self.trusted = trusted
        searched = collections if collections is not None else ([run] if run else [])
        self.default_collections = [searched] if isinstance(searched, str) else list(searched)
        self.registry = Registry.connect(
            self.repository.url, writeable=run is not None if writeable is None else writeable
        )
        self._kinds: dict[str, DatasetType] = {}
        self._pending: ContextVar[_Pending | None] = ContextVar("pending", default=None)
        if run is not None and self.registry.database.writeable:
            self.registry.register_collection(run, "RUN")

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
        """Close every connection to the database."""
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
        pending = _Pending()
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

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do something when the transaction around is committed: at once when there is none."""
        pending = self._pending.get()
        if pending is None:
            action()
        else:
            pending.after.append(action)

    @property
    def collections(self) -> Collections:
        """The verbs on collections."""
        return Collections(self.registry)

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
        formatter: str | None = None,
        **keys: Any,
    ) -> DatasetRef:
        """Store an object as a dataset.

        Parameters
        ----------
        obj : object
            Of the type that the dataset type's storage class names.
        dataset_type : str or DatasetType
            Registered.
        data_id : mapping, optional
            Key/value pairs; ``**keys`` win over them.
        run : str, optional
            RUN collection; the Butler's own by default.
        formatter : str, optional
            Name of the format, as `butler.formatters` lists them; that of the storage class by
            default. It is recorded, and a get needs no word of it.

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
        """
        kind = self._kind(dataset_type)
        target = run or self.run
        if target is None:
            raise NoRun
        full = kind.data_id(self._completed(kind, DataId.of(data_id, **keys)))
        ref = DatasetRef(uuid7(), kind, full, target)
        self.store([(obj, ref)], formatter=formatter)
        return ref

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
        formatter: str | None = None,
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
        formatter : str, optional
            Name of the format of all; that of each storage class by default.
        """
        staged: list[StagedFile] = []
        new: list[files.NewFile] = []
        with self.cleaning(staged):
            for obj, ref in items:
                storage = get_storage_class(ref.dataset_type.storage_class)
                storage.check(obj)
                writer = storage.formatter(formatter)
                file = StagedFile.for_dataset(self.root, self._stem(ref), ref.id, writer.extension)
                staged.append(file)
                cards = {"SKYS_ID": str(ref.id), "SKYS_RUN": ref.run, **(provenance or {})}
                done = writer.write(obj, file.temporary, cards)
                new.append(
                    files.NewFile(ref.id, "", file.path, done.size, done.checksum, writer.name)
                )
            refs = [ref for _, ref in items]
            self.registry.database.transact(_record, refs, new, staged, also)

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
            _Pending(staged).abandon(error)
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
        MissingFile, DamagedFile
            If its file is gone, or not what it was.
        """
        if isinstance(dataset_type_or_ref, str) and "." in dataset_type_or_ref:
            dataset_type_or_ref, _, component = dataset_type_or_ref.partition(".")
        ref = self._resolved(dataset_type_or_ref, data_id, collections, keys)
        with self.registry.read() as connection:
            copies = files.locate(connection, [ref.id]).get(ref.id)
        if not copies:
            raise MissingDataset(
                ref.dataset_type.name,
                ref.data_id,
                [ref.run],
                nearest="It is registered, but no copy of it can be read: it was never stored, was "
                "unstored, or its endpoint is offline.",
            )
        return self._read(ref, copies, component, parameters)

    def _read(
        self,
        ref: DatasetRef,
        copies: Sequence[files.Stored],
        component: str | None,
        parameters: Mapping[str, Any] | None,
    ) -> Any:
        def reader(copy: files.Stored) -> Callable[[str | None], Any]:
            return lambda wanted: get_formatter(copy.formatter).read(
                copy.place(self.root), wanted, parameters, trusted=self.trusted
            )

        parts = {copy.component: reader(copy) for copy in copies}
        if "" in parts:
            return parts[""](component)
        storage = get_storage_class(ref.dataset_type.storage_class)
        if component is not None:
            return storage.read_component(component, parts)
        return storage.assemble({name: read(None) for name, read in parts.items()})

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
        except MissingDataset:
            return False
        with self.registry.read() as connection:
            return ref.id in files.stored(connection, [ref.id])

    def find_dataset(
        self,
        dataset_type: str | DatasetType,
        data_id: Mapping[str, Any] | None = None,
        /,
        *,
        collections: str | Sequence[str] | None = None,
        at: int | None = None,
        **keys: Any,
    ) -> DatasetRef | None:
        """Find a dataset without reading it.

        Parameters
        ----------
        at : int, optional
            Observation time [TAI ns since 1970] for calibrations; taken from the exposure when
            the data ID names one.
        """
        kind = self._kind(dataset_type)
        full = self._completed(kind, DataId.of(data_id, **keys))
        searched = self._searched(collections)
        if kind.is_calibration and at is None and "exposure" in full:
            at = self._time_of(full)
        if at is None:
            full = DataId({k: v for k, v in full.items() if k in kind.dimensions})
        return self.registry.find_dataset(kind, full, searched, at=at)

    def query_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        where: str = "",
        bind: Mapping[str, Any] | None = None,
        data_id: Mapping[str, Any] | None = None,
        find_first: bool = True,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        after: DatasetRef | uuid.UUID | None = None,
        **keys: Any,
    ) -> list[DatasetRef]:
        """Find many datasets of one type; see `registry.finding.query_datasets`.

        As a table, a stream or counts: ``butler.registry.table_of_datasets`` and its neighbours.
        """
        return self.registry.query_datasets(
            self._kind(dataset_type),
            self._searched(collections),
            where=where,
            bind=bind,
            data_id={**(data_id or {}), **keys},
            find_first=find_first,
            order_by=order_by,
            limit=limit,
            after=after.id if isinstance(after, DatasetRef) else after,
        )

    def explain_no_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> str:
        """Say why `query_datasets` found nothing; see `registry.explaining.explain_no_datasets`."""
        kind, searched = self._kind(dataset_type), self._searched(collections)
        with self.registry.read() as connection:
            return explaining.explain_no_datasets(connection, kind, searched, **options)

    def explain_no_records(self, asked: str | Sequence[str], **options: Any) -> str:
        """Say why no record or data ID was found; see `registry.explaining.explain_no_records`."""
        with self.registry.read() as connection:
            return explaining.explain_no_records(connection, asked, **options)

    def query_data_ids(self, dimensions: Sequence[str], **options: Any) -> list[DataId]:
        """List data IDs; see `registry.finding.query_data_ids`."""
        return self.registry.query_data_ids(dimensions, **options)

    def query_dimension_records(self, element: str, **options: Any) -> list[dict[str, Any]]:
        """List dimension records; see `registry.finding.query_dimension_records`."""
        return self.registry.query_dimension_records(element, **options)

    def ingest_raws(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        run: str | None = None,
        transfer: str = "copy",
        on_error: str = "skip",
        progress: Any = None,
    ) -> ingest.Ingested:
        """Take raw files in; see `butler.ingest.ingest_raws`."""
        return ingest.ingest_raws(
            self,
            paths,
            run=run or self.run,
            transfer=transfer,
            on_error=on_error,
            progress=progress,
        )

    def certify(self, collection: str, refs: Sequence[DatasetRef], timespan: Timespan) -> None:
        """Certify calibrations; see `registry.calibrations.certify`."""
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

        Inside a `transaction` they are gone from it at once, and removed after its commit.

        Raises
        ------
        InUse
            With ``purge``, if a quantum read one of them; nothing is removed then.
        """
        ids = [r.id for r in refs]
        with self.registry.begin() as connection:
            copies = files.begin_deletion(connection, ids) if unstore or purge else []
            if purge:
                datasets.check_removable(connection, refs)

        def finish() -> None:
            for copy in copies:
                if copy.endpoint.owned:
                    copy.place(self.root).unlink(missing_ok=True)
            self.registry.database.transact(_forget, copies, refs if purge else [])

        self.after_commit(finish)

    def export(
        self,
        path: str | os.PathLike[str],
        refs_or_query: Iterable[DatasetRef] | Mapping[str, Any] = (),
        *,
        also: Sequence[str] = (),
        transfer: str | None = "auto",
        records: str = "needed",
    ) -> exchange.Exported:
        """Write datasets and what belongs to them into a file; see `butler.exchange.export`."""
        return exchange.export(
            self, path, refs_or_query, also=also, transfer=transfer, records=records
        )

    def import_(
        self,
        path: str | os.PathLike[str],
        *,
        transfer: str | None = "auto",
        directory: str | os.PathLike[str] | None = None,
    ) -> exchange.Imported:
        """Take in what another registry exported; see `butler.exchange.import_`."""
        return exchange.import_(self, path, transfer=transfer, directory=directory)

    def definition(self, instrument: str) -> InstrumentDefinition:
        """Give the definition of a registered camera, in the version that is in force."""
        return cameras.load(self.registry, instrument)

    @cached_property
    def _definitions(self) -> dict[str, InstrumentDefinition]:
        return {}

    def _kind(self, dataset_type: str | DatasetType) -> DatasetType:
        if isinstance(dataset_type, DatasetType):
            return dataset_type
        if not isinstance(dataset_type, str):
            raise TypeError(
                "What to get or put is told by the name of a dataset type, a DatasetType or a "
                f"DatasetRef, not by {dataset_type!r}."
            )
        kind = self._kinds.get(dataset_type)
        if kind is None:
            kind = self._kinds[dataset_type] = self.registry.dataset_type(dataset_type)
        return kind

    def _searched(self, given: str | Sequence[str] | None) -> list[str]:
        if given is None:
            return self.default_collections
        return [given] if isinstance(given, str) else list(given)

    def _completed(self, kind: DatasetType, data_id: DataId) -> DataId:
        """Let the camera's definition complete a data ID that lacks keys."""
        if set(kind.dimensions) <= set(data_id) and "instrument" in data_id:
            return data_id
        if "instrument" not in kind.dimensions:
            return data_id
        name = data_id.get("instrument") or cameras.only_one(self.registry)
        if name is None:
            return data_id
        definition = self._definitions.get(str(name))
        if definition is None:
            definition = self._definitions[str(name)] = self.definition(str(name))
        wanted = {*kind.dimensions, "exposure"} if kind.is_calibration else set(kind.dimensions)
        full = definition.expand({**data_id, "instrument": name})
        return DataId.of({k: v for k, v in full.items() if k in wanted or k in data_id})

    def _time_of(self, data_id: DataId) -> int | None:
        records = self.registry.query_dimension_records(
            "exposure", data_id={k: data_id[k] for k in ("instrument", "exposure") if k in data_id}
        )
        return int(records[0]["begin_tai_ns"]) if records else None

    def _resolved(
        self,
        what: str | DatasetType | DatasetRef,
        data_id: Mapping[str, Any] | None,
        collections_: str | Sequence[str] | None,
        keys: Mapping[str, Any],
    ) -> DatasetRef:
        if isinstance(what, DatasetRef):
            return what
        kind = self._kind(what)
        searched = self._searched(collections_)
        if not searched:
            raise InvalidDataId(
                "No collection to search: open the Butler with collections=..., "
                "or give collections=."
            )
        ref = self.find_dataset(kind, data_id, collections=searched, **keys)
        if ref is not None:
            return ref
        full = self._completed(kind, DataId.of(data_id, **keys))
        nearest = ""
        if kind.is_calibration and (at := self._time_of(full) if "exposure" in full else None):
            with self.registry.read() as connection:
                flat = collections.flatten(connection, searched)
                nearest = calibrations.nearest(connection, kind, full, at, flat)
        raise MissingDataset(kind.name, full, searched, nearest=nearest)

    def _stem(self, ref: DatasetRef) -> str:
        folders = [safe_name(p) for p in ref.run.split("/")]
        values = [safe_name(str(v)) for v in ref.data_id.values()]
        kind = safe_name(ref.dataset_type.name)
        night = ref.data_id.get("day_obs")
        name = safe_name("_".join([kind, *values]), 160)
        return "/".join([*folders, kind, *([str(night)] if night else []), name])


def _forget(
    connection: sa.Connection, copies: Sequence[files.Stored], refs: Sequence[DatasetRef]
) -> None:
    files.end_deletion(connection, [c.file_id for c in copies])
    datasets.remove_datasets(connection, refs)


def _record(
    connection: sa.Connection,
    refs: Sequence[DatasetRef],
    new: Sequence[files.NewFile],
    staged: Sequence[StagedFile],
    also: Callable[[sa.Connection], None] | None,
) -> None:
    """Register datasets with their files, and give the files their names."""
    grouped: dict[tuple[DatasetType, str], list[DatasetRef]] = {}
    for ref in refs:
        grouped.setdefault((ref.dataset_type, ref.run), []).append(ref)
    for (kind, run), members in grouped.items():
        target = collections.ensure(connection, run)
        datasets.insert_datasets(
            connection, kind, [r.data_id for r in members], target, ids=[r.id for r in members]
        )
    files.record(connection, endpoints.ROOT, new)
    if also is not None:
        also(connection)
    for file in staged:
        file.settle()


class Deferred:
    """A dataset that was found and is read when asked for.

    Parameters
    ----------
    butler : Butler
        Where it is.
    ref : DatasetRef
        What it is.
    """

    def __init__(self, butler: Butler, ref: DatasetRef) -> None:
        self._butler = butler
        self.ref = ref

    def get(
        self, *, component: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> Any:
        """Read it, or a part of it."""
        return self._butler.get(self.ref, component=component, parameters=parameters)
