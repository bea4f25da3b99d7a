"""How does a repository take objects in, each with its row or neither?

`Writing` is the part of the Butler that stores: a put is one transaction, in which the file gets
its name, and several verbs in a `Writing.transaction` are one.  How a dataset is recorded is
`butler.storing`, where it goes `butler.policy.deciding`.
"""

from __future__ import annotations

import contextlib
import functools
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from butler import adopting, storing
from butler.asking.questions import Questions
from butler.errors import NoRun
from butler.pending import Pending, abandon
from butler.policy.deciding import Policy
from butler.storage_classes import storage_class_for
from registry import datasets, row_tables
from registry.errors import UnknownDatasetType, UnknownDimensionValue
from registry.identity import DatasetRef, DatasetType, uuid7

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import sqlalchemy as sa

    from backbone.staging import StagedFile
    from butler.policy.decisions import Format
    from registry.registry import Registry
    from registry.row_tables import RowTable

__all__ = ["Writing"]


class Writing(Questions):
    """What stores datasets in a repository.

    Parameters
    ----------
    root : Path
        Folder of the repository.
    registry : Registry
        Its registry.
    default_collections : list of str
        Searched when a question names none.
    given_inputs : sequence of Path
        Folders of inputs beyond those that are recorded.
    run : str, optional
        RUN collection that puts go to.
    """

    def __init__(
        self,
        root: Path,
        registry: Registry,
        default_collections: list[str],
        given_inputs: Sequence[Path],
        run: str | None,
    ) -> None:
        self.root = root
        self.registry = registry
        self.default_collections = default_collections
        self.run = run
        self._given_inputs = given_inputs
        self._kinds: dict[str, DatasetType] = {}
        self._pending: ContextVar[Pending | None] = ContextVar("pending", default=None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Do several verbs all or nothing, files included.

        One inside another is done when that is; if it fails, nothing of it is left, and what is
        around may go on.  Files that go (pruned, or moved in by an ingest) are removed after the
        commit.  Puts are recorded together: at the end, or before anything else is asked or done.
        """
        pending = self._pending.get()
        if pending is not None:
            with pending.part():
                yield pending.connection
            return
        staged: list[StagedFile] = []
        try:
            with self.registry.begin() as connection:
                pending = Pending(connection, staged)
                token = self._pending.set(pending)
                try:
                    with pending.collecting():
                        yield connection
                finally:
                    self._pending.reset(token)
        except BaseException as error:
            abandon(staged, error)
            raise
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
            with self._unobserved():
                full = kind.data_id(self._completed(kind, {**(data_id or {}), **keys}))
            ref = DatasetRef(uuid7(), kind, full, target)
            self._store([(obj, ref)], {}, self._record_new, format, endpoint)
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
        record = functools.partial(self._record, also=also)
        self._store(items, provenance or {}, record, format, endpoint)

    def _store(
        self,
        items: Sequence[tuple[Any, DatasetRef]],
        provenance: Mapping[str, str],
        record: Callable[[Sequence[DatasetRef], storing.Content], None],
        format: Format | None,  # noqa: A002 (the word that users know)
        endpoint: str | None,
    ) -> None:
        content = storing.Content()
        with self.cleaning(content.staged):
            with self._unobserved():
                for obj, ref in items:
                    content.add(self, obj, ref, provenance, format, endpoint)
            refs = [ref for _, ref in items]
            try:
                record(refs, content)
            except (UnknownDimensionValue, UnknownDatasetType):
                # an input may know the exposure, the patch or the type
                if not (self._has_inputs and adopting.bring_records(self, refs)):
                    raise
                record(refs, content)

    @cached_property
    def row_tables(self) -> dict[str, RowTable]:
        """The tables of this repository that hold rows of datasets, by name."""
        return self.registry.database.ask(row_tables.described)

    def _record(
        self,
        refs: Sequence[DatasetRef],
        content: storing.Content,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        self.registry.database.transact_once(
            lambda connection: datasets.all_there(connection, [r.id for r in refs]),
            storing.record,
            refs,
            content,
            also,
            alone=None
            if also
            else functools.partial(storing.record_alone, refs=refs, content=content),
        )

    def _record_new(self, refs: Sequence[DatasetRef], content: storing.Content) -> None:
        """Record one dataset with an identity that is new; in a transaction, it may wait."""
        pending = self._pending.get()
        if pending is None:
            self._record(refs, content)
        else:
            pending.put(refs[0], content)

    def _unobserved(self) -> AbstractContextManager[None]:
        """Let puts wait on while it is asked what no dataset is part of."""
        pending = self._pending.get()
        return contextlib.nullcontext() if pending is None else pending.unobserved()

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
            abandon(staged, error)
            raise
        outer = self._pending.get()
        if outer is not None:
            outer.staged.extend(staged)
