"""What can be asked of a repository and its inputs without reading a file?

`Questions` is the part of the Butler that finds: data IDs are completed by the definition of their
camera, and every question goes to the repository itself and then to its inputs
(`butler.asking.searching`).  What stores is `butler.writing`, what reads files `butler.butler`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from butler import cameras
from butler.asking import gathering, naming, searching
from butler.errors import UnmatchedName
from butler.inputs import Place, open_inputs, recorded
from registry import calibrations, collections, explaining
from registry.errors import InvalidDataId, MissingDataset, RegistryError
from registry.identity import DataId, DatasetRef, DatasetType
from registry.provenance.door import Provenance

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from butler.instrument import InstrumentDefinition
    from registry.registry import Registry

__all__ = ["Questions"]

T = TypeVar("T")


class Questions:
    """Questions about the datasets of a repository and of those that it reads.

    Attributes
    ----------
    root : Path
        Folder of the repository.
    registry : Registry
        Its registry.
    default_collections : list of str
        Searched when a question names none.
    """

    root: Path
    registry: Registry
    default_collections: list[str]
    _given_inputs: Sequence[Path]
    _kinds: dict[str, DatasetType]

    @cached_property
    def inputs(self) -> tuple[Place, ...]:
        """The other repositories whose datasets are read, in the order of the search.

        Each brings its own inputs, which come after it.

        Raises
        ------
        InputNotFound
            If one has moved, or another repository is in its place.
        """
        if not self._has_inputs:
            return ()
        return tuple(open_inputs(self._own, self._given_inputs))

    @cached_property
    def _has_inputs(self) -> bool:
        return bool(self._given_inputs or recorded(self.registry))

    @cached_property
    def _own(self) -> Place:
        return Place(self.registry.id, self.root, self.registry)

    @property
    def places(self) -> tuple[Place, ...]:
        """The repository and its inputs, in the order of the search."""
        return (self._own, *self.inputs)

    def _each_place(self) -> Iterator[Place]:
        """Give this repository, then its inputs, which are opened only when it is their turn."""
        yield self._own
        yield from self.inputs

    @property
    def provenance(self) -> Provenance:
        """The questions about what made what, in this repository and its inputs."""
        return Provenance(self.registry, [place.registry for place in self.inputs])

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
        searched = self._searched(collections)

        def find(kind: DatasetType) -> DatasetRef | None:
            try:
                full = self._completed(kind, {**(data_id or {}), **keys})
            except UnmatchedName:
                return None
            time = at
            if kind.is_calibration and time is None and "exposure" in full:
                time = self._time_of(full)
            if time is None:
                full = DataId({k: v for k, v in full.items() if k in kind.dimensions})
            if not self._has_inputs:
                return self.registry.find_dataset(kind, full, searched, at=time)
            for place, names in searching.names_in(self._each_place(), searched):
                found = place.find(kind.name, full, names, at=time) if names else None
                if found is not None:
                    return found
            return None

        return self._with_kind(dataset_type, find)

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

        As a table, a stream or counts: `table_of_datasets`, `stream_datasets`, `count_datasets`.
        """
        options: dict[str, Any] = {
            "where": where,
            "bind": bind,
            "data_id": {**(data_id or {}), **keys},
            "find_first": find_first,
            "order_by": order_by,
            "limit": limit,
            "after": after,
        }
        options = self._translated(options)
        searched = self._searched(collections)
        if not self._has_inputs:
            return self.registry.query_datasets(self._kind(dataset_type), searched, **options)
        return searching.query_datasets(self.places, _name(dataset_type), searched, **options)

    def table_of_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> pa.Table:
        """Find datasets as a table of Arrow; see `registry.finding.table_of_datasets`."""
        searched, options = self._searched(collections), self._translated(options)
        if not self._has_inputs:
            return self.registry.table_of_datasets(dataset_type, searched, **options)
        return searching.table_of_datasets(self.places, _name(dataset_type), searched, **options)

    def stream_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Iterator[DatasetRef]:
        """Find datasets and give them while they come; see `registry.finding.stream_datasets`."""
        searched, options = self._searched(collections), self._translated(options)
        if not self._has_inputs:
            return self.registry.stream_datasets(dataset_type, searched, **options)
        return searching.stream_datasets(self.places, _name(dataset_type), searched, **options)

    def count_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Count datasets, by the values of some names; see `registry.finding.count_datasets`."""
        searched, options = self._searched(collections), self._translated(options)
        if not self._has_inputs:
            return self.registry.count_datasets(dataset_type, searched, **options)
        return searching.count_datasets(self.places, _name(dataset_type), searched, **options)

    def show_query(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> tuple[str, str]:
        """Show what `query_datasets` would run; see `registry.registry.Registry.show_query`."""
        searched, options = self._searched(collections), self._translated(options)
        if not self._has_inputs:
            return self.registry.show_query(dataset_type, searched, **options)
        return searching.show_query(self.places, _name(dataset_type), searched, **options)

    def explain_no_datasets(
        self,
        dataset_type: str | DatasetType,
        *,
        collections: str | Sequence[str] | None = None,
        **options: Any,
    ) -> str:
        """Say why `query_datasets` found nothing; see `registry.explaining.explain_no_datasets`."""
        kind, searched = self._kind(dataset_type), self._searched(collections)
        options = self._translated(options)
        if self._has_inputs:
            return searching.explain_no_datasets(self.places, kind.name, searched, **options)
        return self.registry.database.ask(explaining.explain_no_datasets, kind, searched, **options)

    def explain_no_records(self, element: str, **options: Any) -> str:
        """Say why no record was found; see `registry.explaining.explain_no_records`."""
        options = self._translated(options)
        if self._has_inputs:
            return gathering.explain_no_records(self.places, element, **options)
        return self.registry.database.ask(explaining.explain_no_records, element, **options)

    def explain_no_data_ids(self, dimensions: Sequence[str], **options: Any) -> str:
        """Say why no data ID was found; see `registry.explaining.explain_no_data_ids`."""
        options = self._with_collections(options)
        if self._has_inputs:
            return gathering.explain_no_data_ids(self.places, dimensions, **options)
        return self.registry.database.ask(explaining.explain_no_data_ids, dimensions, **options)

    def query_data_ids(self, dimensions: Sequence[str], **options: Any) -> list[DataId]:
        """List data IDs; see `registry.data_ids.query_data_ids`.

        Datasets are looked for in the collections of this Butler by default.  As a table, a stream
        or counts: `table_of_data_ids`, `stream_data_ids`, `count_data_ids`.
        """
        options = self._with_collections(options)
        if not self._has_inputs:
            return self.registry.query_data_ids(dimensions, **options)
        return gathering.query_data_ids(self.places, dimensions, **options)

    def stream_data_ids(self, dimensions: Sequence[str], **options: Any) -> Iterator[DataId]:
        """Find data IDs and give them while they come; see `registry.data_ids.stream_data_ids`."""
        options = self._with_collections(options)
        if not self._has_inputs:
            return self.registry.stream_data_ids(dimensions, **options)
        return gathering.stream_data_ids(self.places, dimensions, **options)

    def table_of_data_ids(self, dimensions: Sequence[str], **options: Any) -> pa.Table:
        """List data IDs as a table of Arrow; see `registry.data_ids.table_of_data_ids`."""
        options = self._with_collections(options)
        if not self._has_inputs:
            return self.registry.table_of_data_ids(dimensions, **options)
        return gathering.table_of_data_ids(self.places, dimensions, **options)

    def count_data_ids(self, dimensions: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Count data IDs, by the values of some names; see `registry.data_ids.count_data_ids`."""
        options = self._with_collections(options)
        if not self._has_inputs:
            return self.registry.count_data_ids(dimensions, **options)
        return gathering.count_data_ids(self.places, dimensions, **options)

    def show_query_of_data_ids(self, dimensions: Sequence[str], **options: Any) -> tuple[str, str]:
        """Show what `query_data_ids` would run, and the database's plan."""
        options = self._with_collections(options)
        if not self._has_inputs:
            return self.registry.show_query_of_data_ids(dimensions, **options)
        return gathering.show_query_of_data_ids(self.places, dimensions, **options)

    def query_dimension_records(self, element: str, **options: Any) -> list[dict[str, Any]]:
        """List dimension records; see `registry.records.query_dimension_records`.

        As a table, a stream or counts: `table_of_dimension_records`, `stream_dimension_records`,
        `count_dimension_records`.
        """
        options = self._translated(options)
        if not self._has_inputs:
            return self.registry.query_dimension_records(element, **options)
        return gathering.query_dimension_records(self.places, element, **options)

    def stream_dimension_records(self, element: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Give records while they come; see `registry.records.stream_dimension_records`."""
        options = self._translated(options)
        if not self._has_inputs:
            return self.registry.stream_dimension_records(element, **options)
        return gathering.stream_dimension_records(self.places, element, **options)

    def table_of_dimension_records(self, element: str, **options: Any) -> pa.Table:
        """List records as a table of Arrow; see `registry.records.table_of_dimension_records`."""
        options = self._translated(options)
        if not self._has_inputs:
            return self.registry.table_of_dimension_records(element, **options)
        return gathering.table_of_dimension_records(self.places, element, **options)

    def count_dimension_records(self, element: str, **options: Any) -> list[dict[str, Any]]:
        """Count records, by the values of names; see `registry.records.count_dimension_records`."""
        options = self._translated(options)
        if not self._has_inputs:
            return self.registry.count_dimension_records(element, **options)
        return gathering.count_dimension_records(self.places, element, **options)

    def show_query_of_dimension_records(self, element: str, **options: Any) -> tuple[str, str]:
        """Show what `query_dimension_records` would run, and the database's plan."""
        options = self._translated(options)
        if not self._has_inputs:
            return self.registry.show_query_of_dimension_records(element, **options)
        return gathering.show_query_of_dimension_records(self.places, element, **options)

    def _with_collections(self, options: dict[str, Any]) -> dict[str, Any]:
        """Search the default collections for the datasets that data IDs are to have, or not."""
        options = self._translated(options)
        if not options.get("datasets") and not options.get("without"):
            return {k: v for k, v in options.items() if k != "collections"}
        return {**options, "collections": self._searched(options.get("collections"))}

    def definition(self, instrument: str, version: int | None = None) -> InstrumentDefinition:
        """Give the definition of a registered camera, in the version that is in force.

        Parameters
        ----------
        version : int, optional
            An older version, for what was named or translated by it.
        """
        for place in self._each_place():
            if instrument in cameras.names(place.registry):
                return cameras.load(place.registry, instrument, version)
        return cameras.load(self.registry, instrument, version)

    def _kind(self, dataset_type: str | DatasetType) -> DatasetType:
        if isinstance(dataset_type, DatasetType):
            return dataset_type
        if not isinstance(dataset_type, str):
            raise TypeError(
                "What to get or put is told by the name of a dataset type, a DatasetType or a "
                f"DatasetRef, not by {dataset_type!r}. (Butler.get_dataset finds one by its UUID.)"
            )
        if self._has_inputs:
            return searching.dataset_type(self._each_place(), dataset_type)
        return self.registry.dataset_type(dataset_type)

    def _with_kind(self, dataset_type: str | DatasetType, act: Callable[[DatasetType], T]) -> T:
        """Do something with a dataset type: as it was looked up before, if it still is that.

        What is done refuses a definition that is not in force.  The answers of calibrations are
        found by their times, and do not.
        """
        if not isinstance(dataset_type, str):
            return act(self._kind(dataset_type))
        known = self._kinds.get(dataset_type)
        if known is not None and not known.is_calibration:
            try:
                return act(known)
            except RegistryError:
                if self._kind(dataset_type) == known:
                    raise
        kind = self._kinds[dataset_type] = self._kind(dataset_type)
        return act(kind)

    def _searched(self, given: str | Sequence[str] | None) -> list[str]:
        if given is None:
            return self.default_collections
        return [given] if isinstance(given, str) else list(given)

    def complete_data_id(self, kind: DatasetType, given: Mapping[str, Any]) -> DataId:
        """Complete a data ID for a dataset of one type, from whatever names are given.

        Raises
        ------
        InvalidDataId
            If it lacks keys all the same, or could mean several things.
        """
        full = self._completed(kind, given)
        return kind.data_id({k: v for k, v in full.items() if k in kind.dimensions})

    def _completed(self, kind: DatasetType, given: Mapping[str, Any]) -> DataId:
        """Complete a data ID, and translate its names; see `butler.asking.naming.complete`."""
        if naming.is_complete(kind, given):
            return DataId.of(given)
        return naming.complete(self._each_place(), self._camera(given), kind, given)

    def _translated(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Translate the fixed keys of a question; see `butler.asking.naming.translated`."""
        given, after = options.get("data_id"), options.get("after")
        if isinstance(after, DatasetRef):
            options = {**options, "after": after.id}
        if not given:
            return dict(options)
        return naming.translated(self._each_place(), self._camera(given), options)

    def _camera(self, given: Mapping[str, Any]) -> str | None:
        """Name the camera that is given, or the only one that there is."""
        if "instrument" in given:
            return str(given["instrument"])
        return cameras.only_one(place.registry for place in self.places)

    def _time_of(self, data_id: DataId) -> int | None:
        records = self.query_dimension_records(
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
        searched = self._searched(collections_)
        if not searched:
            raise InvalidDataId(
                "No collection to search: open the Butler with collections=..., "
                "or give collections=."
            )
        ref = self.find_dataset(what, data_id, collections=searched, **keys)
        if ref is not None:
            return ref
        kind = self._kind(what)
        full = self._completed(kind, {**(data_id or {}), **keys})
        nearest = ""
        if kind.is_calibration and (at := self._time_of(full) if "exposure" in full else None):
            nearest = self._nearest(kind, full, at, searched)
        raise MissingDataset(kind.name, full, searched, nearest=nearest)

    def _nearest(self, kind: DatasetType, data_id: DataId, at: int, searched: Sequence[str]) -> str:
        """Say for each repository that knows the type which calibration comes nearest."""
        told = []
        for part in searching.asked(self.places, kind.name, searched):
            with part.place.registry.read() as connection:
                flat = collections.flatten(connection, part.names)
                why = calibrations.nearest(connection, part.kind, data_id, at, flat)
            told.append(f"In {part.place.root}: {why}" if self.inputs else why)
        return " ".join(told)


def _name(dataset_type: str | DatasetType) -> str:
    return dataset_type if isinstance(dataset_type, str) else dataset_type.name
