"""How does a program reach the registry?

`Registry` is the door: it opens a database, refuses one of another revision, and gives every verb
one transaction.  What a verb does is in the module of its table family; this one only says where a
transaction begins and ends.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from registry import calibrations, datasets, deploy, dimensions, finding, reports
from registry import collections as coll
from registry.database import Database, has_file, plan_of, question, safe_url, shown_sql
from registry.discovery import Discovery
from registry.errors import DatabaseUnavailable
from registry.identity import DataId, DatasetRef, DatasetType, uuid7s
from registry.logs import Logs
from registry.provenance.door import Provenance
from registry.quality.door import Quality
from registry.schema.identity import repository

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pandas as pd
    import pyarrow as pa

    from registry.collections import Collection
    from registry.exposure_logs import LoadedLog
    from registry.timespan import Timespan

__all__ = ["Provenance", "Registry"]


class _Undone(Exception):
    """What was tried shall not stay."""


class Registry(Discovery):
    """The registry of one repository.

    Make one with `Registry.connect` or `Registry.create`.  Used as a context manager it is closed
    at the end.

    Parameters
    ----------
    database : registry.database.Database
        An open database at the newest revision.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def __repr__(self) -> str:
        reads = "" if self.database.writeable else ", reads only"
        return f"<Registry of {safe_url(self.database.url)}{reads}>"

    @classmethod
    def connect(cls, url: str, *, writeable: bool = True) -> Self:
        """Open an existing registry.

        Parameters
        ----------
        url : str
            ``sqlite:///path``, ``postgresql://user@host/database`` or ``mariadb://user@host/database``.
        writeable : bool
            Whether verbs that change something are allowed.

        Raises
        ------
        WrongRevision
            If the database is empty, behind or ahead; the message has the command that helps.
        DatabaseUnavailable
            If it cannot be reached.
        """
        if not has_file(url):  # opening it would make an empty one
            raise DatabaseUnavailable(
                f"There is no database {safe_url(url)}: put its file back, or restore it from a "
                f"backup; a new one is made by: skyspine db create {safe_url(url)}"
            )
        database = Database(url, writeable=writeable)
        try:
            with database.read() as connection:
                deploy.require_head(connection, url)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def create(cls, url: str) -> Self:
        """Create the schema in an empty database, or open one that has it."""
        deploy.upgrade(url)
        return cls.connect(url)

    def close(self) -> None:
        """Close every connection to the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def id(self) -> uuid.UUID:
        """Global identity of the repository."""
        with self.read() as connection:
            found: uuid.UUID = connection.execute(sa.select(repository.c.id)).scalar_one()
        return found

    @cached_property
    def logs(self) -> Logs:
        """What programs and tasks told while they ran."""
        return Logs(self.database)

    def begin(self) -> AbstractContextManager[sa.Connection]:
        """Open a write transaction that verbs called inside join: all is committed, or nothing."""
        return self.database.begin()

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Open a connection for questions."""
        return self.database.read()

    @contextlib.contextmanager
    def undone(self) -> Iterator[sa.Connection]:
        """Open a write transaction whose changes are seen inside, and undone at its end."""
        with contextlib.suppress(_Undone), self.database.begin() as connection:
            yield connection
            raise _Undone

    def insert_dimension_records(self, element: str, rows: Any, on_conflict: str = "fail") -> int:
        """Insert dimension records; see `registry.dimensions.insert_dimension_records`."""
        again = on_conflict == "skip"
        transact = self.database.ensure if again else self.database.transact
        return transact(dimensions.insert_dimension_records, element, rows, on_conflict)

    def load_exposures(
        self,
        log: Any,
        mapping: Any = None,
        *,
        instrument: str = "",
        columns: Mapping[str, str] | None = None,
        noon_ns: int | None = None,
    ) -> LoadedLog:
        """Load the exposures of an observing log; see `registry.exposure_logs.load_exposures`.

        Parameters
        ----------
        log : path-like or pandas.DataFrame
            A CSV file with a header line, or a table.
        mapping : LogMapping, mapping, path-like or str, optional
            What its columns mean: a document, its YAML file, or the name of a shipped one.
        instrument : str
            Camera of every row, when no column says it.
        columns : mapping of str to str, optional
            Further columns, each with the field that it gives.
        """
        from registry import exposure_logs as logs

        meant = (
            mapping if isinstance(mapping, logs.LogMapping) else logs.read_mapping(mapping or {})
        )
        if instrument:
            meant = replace(meant, instrument=instrument)
        return self.database.transact(
            logs.load_exposures, log, meant.with_columns(columns or {}), noon_ns=noon_ns
        )

    @question
    def expand(self, data_ids: Sequence[Mapping[str, Any]]) -> list[DataId]:
        """Add what records imply to data IDs; see `registry.dimensions.expand`."""
        with self.read() as connection:
            return dimensions.expand(connection, data_ids)

    def register_dataset_type(self, kind: DatasetType) -> bool:
        """Register a dataset type; see `registry.datasets.register_dataset_type`."""
        return self.database.ensure(datasets.register_dataset_type, kind)

    def remove_dataset_type(self, name: str) -> None:
        """Remove a dataset type that has no dataset; see `registry.datasets`."""
        self.database.transact(datasets.remove_dataset_type, name)

    @question
    def dataset_type(self, name: str) -> DatasetType:
        """Look a dataset type up; see `registry.datasets.get_dataset_type`."""
        with self.read() as connection:
            return datasets.get_dataset_type(connection, name)

    @question
    def dataset_types(self) -> list[DatasetType]:
        """List all dataset types."""
        with self.read() as connection:
            return datasets.dataset_types(connection)

    def insert_datasets(
        self,
        dataset_type: DatasetType | str,
        data_ids: Iterable[Mapping[str, Any]],
        run: str,
        *,
        ids: Sequence[uuid.UUID] | None = None,
    ) -> list[DatasetRef]:
        """Register datasets without files; see `registry.datasets.insert_datasets`."""
        kind, asked = self._kind(dataset_type), list(data_ids)
        chosen = list(ids) if ids is not None else uuid7s(len(asked))
        return self.database.transact_once(
            lambda connection: datasets.all_there(connection, chosen),
            datasets.insert_datasets,
            kind,
            asked,
            run,
            ids=chosen,
        )

    @question
    def find_dataset(
        self,
        dataset_type: DatasetType | str,
        data_id: Mapping[str, Any],
        collections: str | Sequence[str],
        *,
        at: int | None = None,
    ) -> DatasetRef | None:
        """Find the first dataset of a type and data ID.

        Parameters
        ----------
        data_id : mapping
            The dataset's own keys; for a calibration looked up by time, at least those it holds
            for.
        collections : str or sequence of str
            Searched in this order.
        at : int, optional
            Observation time [TAI ns since 1970]: calibration collections are searched for what
            holds then.
        """
        with self.read() as connection:
            kind = self._kind_in(connection, dataset_type)
            if kind.is_calibration and at is not None:
                searched = coll.flatten(connection, collections)
                observed = [(data_id, at)]
                (found,) = calibrations.find_calibrations(connection, kind, observed, searched)
                if found is not None:
                    return found
            if set(kind.dimensions) - set(data_id):
                if at is not None:
                    datasets.require_current(connection, kind)
                    return None
                kind.data_id(data_id)
            return datasets.find_dataset(
                connection, kind, DataId.of(data_id).subset(kind.dimensions), collections
            )

    @question
    def query_datasets(
        self, dataset_type: DatasetType | str, collections: str | Sequence[str], **options: Any
    ) -> list[DatasetRef]:
        """Find many datasets; see `registry.finding.query_datasets` for the options."""
        with self.read() as connection:
            return finding.query_datasets(
                connection, self._kind_in(connection, dataset_type), collections, **options
            )

    def stream_datasets(
        self, dataset_type: DatasetType | str, collections: str | Sequence[str], **options: Any
    ) -> Iterator[DatasetRef]:
        """Find datasets and give them while they come; see `registry.finding.stream_datasets`."""
        with self.database.stream() as connection:
            kind = self._kind_in(connection, dataset_type)
            yield from finding.stream_datasets(connection, kind, collections, **options)

    @question
    def table_of_datasets(
        self, dataset_type: DatasetType | str, collections: str | Sequence[str], **options: Any
    ) -> pa.Table:
        """Find datasets as a table of Arrow; see `registry.finding.table_of_datasets`."""
        with self.read() as connection:
            kind = self._kind_in(connection, dataset_type)
            return finding.table_of_datasets(connection, kind, collections, **options)

    @question
    def count_datasets(
        self, dataset_type: DatasetType | str, collections: str | Sequence[str], **options: Any
    ) -> list[dict[str, Any]]:
        """Count datasets, by the values of some names; see `registry.finding.count_datasets`."""
        with self.read() as connection:
            kind = self._kind_in(connection, dataset_type)
            return finding.count_datasets(connection, kind, collections, **options)

    @question
    def show_query(
        self, dataset_type: DatasetType | str, collections: str | Sequence[str], **options: Any
    ) -> tuple[str, str]:
        """Show what `query_datasets` would run: the SQL with its values, and the database's plan.

        The SQL is for reading: it is not what is sent, where every value is a parameter.
        """
        with self.read() as connection:
            searched = coll.flatten(connection, collections)
            statement = finding.query_datasets_sql(
                self._kind_in(connection, dataset_type), searched, connection=connection, **options
            )
            if statement is None:
                return "-- no collection is searched", ""
            return shown_sql(connection, statement), plan_of(connection, statement)

    @question
    def get_refs(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, DatasetRef]:
        """Look datasets up by identity; unknown ones are left out."""
        with self.read() as connection:
            return datasets.get_refs(connection, ids)

    def register_collection(self, name: str, type: str = "RUN", doc: str = "") -> bool:  # noqa: A002
        """Register a collection; see `registry.collections.register`."""
        return self.database.ensure(coll.register, name, type, doc)

    def chain(self, name: str, children: Sequence[str]) -> None:
        """Set the children of a chain; see `registry.collections.chain`."""
        self.database.ensure(coll.chain, name, children)

    @question
    def collections(self, pattern: str = "*") -> list[Collection]:
        """List collections; see `registry.collections.query`."""
        with self.read() as connection:
            return coll.query(connection, pattern)

    def certify(
        self,
        collection: str,
        refs: Sequence[DatasetRef],
        timespan: Timespan,
        *,
        resolve: str | None = None,
    ) -> int:
        """Certify calibrations; see `registry.calibrations.certify`."""
        return self.database.ensure(
            calibrations.certify, collection, refs, timespan, resolve=resolve
        )

    def decertify(
        self,
        collection: str,
        dataset_type: DatasetType | str,
        timespan: Timespan,
        data_ids: Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """Decertify calibrations; see `registry.calibrations.decertify`."""
        kind = self._kind(dataset_type)
        return self.database.transact(calibrations.decertify, collection, kind, timespan, data_ids)

    @question
    def find_calibrations(
        self,
        dataset_type: DatasetType | str,
        observations: Sequence[tuple[Mapping[str, Any], int]],
        collections: str | Sequence[str],
        *,
        facts: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[DatasetRef | None]:
        """Find what holds for many observations; see `registry.calibrations.find_calibrations`."""
        with self.read() as connection:
            kind = self._kind_in(connection, dataset_type)
            searched = coll.flatten(connection, collections)
            return calibrations.find_calibrations(
                connection, kind, observations, searched, facts=facts
            )

    @question
    def explain_calibration(
        self,
        dataset_type: DatasetType | str,
        data_id: Mapping[str, Any],
        at: int,
        collections: str | Sequence[str],
        *,
        facts: Mapping[str, Any] | None = None,
    ) -> calibrations.Explanation:
        """Say why it is this calibration; see `registry.calibrations.explain_calibration`."""
        with self.database.snapshot() as connection:
            kind = self._kind_in(connection, dataset_type)
            searched = coll.flatten(connection, collections)
            return calibrations.explain_calibration(
                connection, kind, data_id, at, searched, facts=facts
            )

    def set_calibration_policy(
        self,
        dataset_type: DatasetType | str,
        selection: str = "valid",
        *,
        limit_ns: int | None = None,
        match: Mapping[str, float | None] | None = None,
    ) -> None:
        """Set which calibration of a type may be taken.

        Parameters
        ----------
        selection, limit_ns, match
            As in `registry.calibrations.Policy`.
        """
        policy = calibrations.Policy(selection, limit_ns, dict(match or {}))
        self.database.ensure(calibrations.set_policy, self._kind(dataset_type), policy)

    def remove_calibration_policy(self, dataset_type: DatasetType | str) -> bool:
        """Return a type to plain validity; see `registry.calibrations.remove_policy`."""
        return self.database.transact(calibrations.remove_policy, self._kind(dataset_type))

    @question
    def calibration_policies(self) -> dict[str, calibrations.Policy]:
        """List the policies by type; see `registry.calibrations.all_policies`."""
        with self.read() as connection:
            return calibrations.all_policies(connection)

    def record_calibration_facts(
        self, facts: Mapping[uuid.UUID, Mapping[str, float | str]]
    ) -> None:
        """Store facts of calibrations; see `registry.calibrations.record_facts`."""
        self.database.ensure(calibrations.record_facts, facts)

    def import_calibrations(
        self,
        collection: str,
        ranges: Sequence[calibrations.OldRange],
        *,
        dry_run: bool = False,
        **options: Any,
    ) -> calibrations.Imported:
        """Certify the ranges of an older registry; see `registry.calibrations.import_ranges`.

        Parameters
        ----------
        dry_run : bool
            Whether to undo it at the end.
        """

        def verb(connection: sa.Connection) -> calibrations.Imported:
            if not dry_run:
                return calibrations.import_ranges(connection, collection, ranges, **options)
            trial = connection.begin_nested()
            try:
                return calibrations.import_ranges(connection, collection, ranges, **options)
            finally:
                trial.rollback()

        return self.database.transact(verb)

    @question
    def report(self, view: str) -> pd.DataFrame:
        """Read a reporting view; see `registry.reports`."""
        with self.read() as connection:
            return reports.read_view(connection, view)

    @property
    def provenance(self) -> Provenance:
        """The questions about what made what."""
        return Provenance(self)

    @property
    def quality(self) -> Quality:
        """What is good enough, what was not, and who looks after it."""
        return Quality(self)

    @staticmethod
    def _kind_in(connection: sa.Connection, dataset_type: DatasetType | str) -> DatasetType:
        if isinstance(dataset_type, DatasetType):
            return dataset_type
        return datasets.get_dataset_type(connection, dataset_type)

    def _kind(self, dataset_type: DatasetType | str) -> DatasetType:
        return (
            dataset_type
            if isinstance(dataset_type, DatasetType)
            else self.dataset_type(dataset_type)
        )
