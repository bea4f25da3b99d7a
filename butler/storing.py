"""Where is a dataset stored, and how do datasets, files and rows get recorded together?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone import files, rows
from backbone.endpoints import TABLES
from backbone.one_file import record_with_dataset
from backbone.sending import stage_for_dataset
from backbone.staging import settle
from butler.formatters import get_formatter
from butler.policy.decisions import OfPart
from butler.storage_classes import get_storage_class
from butler.tables.in_tables import FORMS, as_rows, form_of_part
from registry import collections, datasets
from registry.one_dataset import insert_dataset
from registry.timespan import tai_now_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from backbone.staging import StagedFile
    from butler.policy.decisions import Decision, Format
    from butler.writing import Writing
    from registry.identity import DatasetRef, DatasetType

__all__ = ["Content", "record", "record_alone"]


@dataclass(slots=True)
class Content:
    """What is recorded of the datasets of one put.

    Parameters
    ----------
    new : dict of list of NewFile
        By the name of the endpoint, the files there.
    staged : list of StagedFile
        The same, under temporary names.
    in_tables : list of (NewFile, NewRows)
        What lies in tables instead.
    suffix : str
        What the names of files have at their end, before the dataset's identity.
    read_back : dict, optional
        If given, what the files hold, by component, as it was read from them.
    """

    new: dict[str, list[files.NewFile]] = field(default_factory=dict)
    staged: list[StagedFile] = field(default_factory=list)
    in_tables: list[tuple[files.NewFile, rows.NewRows]] = field(default_factory=list)
    suffix: str = ""
    read_back: dict[str, Any] | None = None

    def add(
        self,
        butler: Writing,
        obj: Any,
        ref: DatasetRef,
        provenance: Mapping[str, str],
        format: Format | None = None,  # noqa: A002 (the word that users know)
        endpoint: str | None = None,
    ) -> None:
        """Make a file or rows of an object, as the policy says; `record` makes them known.

        Parameters
        ----------
        provenance : mapping of str to str
            Identifiers to be written into the file, beside the dataset's own.
        format, endpoint : optional
            What the call asks for.
        """
        get_storage_class(ref.dataset_type.storage_class).check(obj)
        self.add_as(butler, obj, ref, provenance, butler.policy.decide(ref, format, endpoint))

    def add_as(
        self,
        butler: Writing,
        obj: Any,
        ref: DatasetRef,
        provenance: Mapping[str, str],
        how: Decision,
    ) -> None:
        """Make files or rows of an object, as is decided."""
        storage = get_storage_class(ref.dataset_type.storage_class)
        if how.table is not None:
            self.in_tables.append(as_rows(obj, ref.id, how.table, storage.python_type))
            return
        cards = {"SKYS_ID": str(ref.id), "SKYS_RUN": ref.run, **provenance}
        pieces = storage.split(obj, how.parts, cards) if how.parts else {}
        if not pieces:
            self._add_file(butler, obj, ref, how, OfPart(how.writer, None), cards, "")
        for component, (part, piece) in pieces.items():
            one = how.parts.get(part) or OfPart(how.writer, None)
            self._add_piece(butler, piece, ref, how, one, cards, component, part)

    def add_part(self, butler: Writing, ref: DatasetRef, part: str, piece: Any) -> None:
        """Make a file or rows of a part that lies apart elsewhere, as the policy here says."""
        storage = get_storage_class(ref.dataset_type.storage_class)
        how = butler.policy.decide(ref)
        own = get_storage_class(storage.parts[part].storage_class)
        one = how.parts.get(part) or OfPart(own.formatter(), None)
        cards = {"SKYS_ID": str(ref.id), "SKYS_RUN": ref.run}
        self._add_piece(butler, piece, ref, how, one, cards, part, part)

    def _add_piece(
        self,
        butler: Writing,
        piece: Any,
        ref: DatasetRef,
        how: Decision,
        one: OfPart,
        cards: Mapping[str, str],
        component: str,
        part: str,
    ) -> None:
        storage = get_storage_class(ref.dataset_type.storage_class)
        if one.table is None:
            held = storage.in_file(part, piece)
            self._add_file(butler, held, ref, how, one, cards, component)
            return
        held_as = FORMS[form_of_part(storage.parts[part])].python_types[0]
        self.in_tables.append(as_rows(piece, ref.id, one.table, held_as, component))

    def _add_file(
        self,
        butler: Writing,
        obj: Any,
        ref: DatasetRef,
        how: Decision,
        part: OfPart,
        cards: Mapping[str, str],
        component: str,
    ) -> None:
        writer, where = part.writer, part.endpoint or how.endpoint
        stem = how.stem(ref) + (f"_{component}" if component else "") + self.suffix
        file = stage_for_dataset(where, butler.root, stem, ref.id, writer.extension)
        self.staged.append(file)
        done = writer.write(obj, file.temporary, cards)
        if self.read_back is not None:
            found = get_formatter(writer.name).read(file.temporary, trusted=True)
            self.read_back[component] = found
        file.send(done.size, fsync=how.fsync)
        self.new.setdefault(where.name, []).append(
            files.NewFile(
                ref.id,
                component,
                file.path,
                done.size,
                done.checksum,
                writer.name,
                dict(writer.chosen),
            )
        )

    def join(self, other: Content) -> None:
        """Take in the files of another put; rows in tables it must not have."""
        for where, made in other.new.items():
            self.new.setdefault(where, []).extend(made)
        self.staged.extend(other.staged)

    def only_file(self) -> tuple[str, files.NewFile] | None:
        """Give the endpoint and the file, if one file is all that there is."""
        if self.in_tables or len(self.staged) != 1:
            return None
        ((where, (made,)),) = self.new.items()
        return where, made

    def record(self, connection: sa.Connection) -> None:
        """Record files and rows, in a transaction; the files get their names by `settle`."""
        for where, made in self.new.items():
            files.record(connection, where, made)
        if self.in_tables:
            rows.require_endpoint(connection)
            files.record(connection, TABLES, [file for file, _ in self.in_tables])
            rows.record(connection, [new for _, new in self.in_tables])

    def settle(self) -> None:
        """Give the files their names, at the end of the transaction."""
        settle(self.staged)


def record(
    connection: sa.Connection,
    refs: Sequence[DatasetRef],
    content: Content,
    also: Callable[[sa.Connection], None] | None,
    dates: Sequence[int] | None = None,
) -> Sequence[DatasetRef]:
    """Register datasets with their files and rows, and give the files their names.

    Parameters
    ----------
    also : callable, optional
        Further work, before the files have their names.
    dates : sequence of int, optional
        When each was put [TAI ns]; now by default.
    """
    given = dates or [tai_now_ns()] * len(refs)
    if not _recorded_as_one(connection, refs, content, given):
        _insert(connection, refs, given)
        content.record(connection)
    if also is not None:
        also(connection)
    content.settle()
    return refs


def record_alone(
    connection: sa.Connection, refs: Sequence[DatasetRef], content: Content
) -> Sequence[DatasetRef] | None:
    """Do what `record` does by one statement, which needs no transaction around it.

    The file has its name before.  Killed in between, it is a file without a row, as ever.

    Returns
    -------
    sequence of DatasetRef or None
        None if that cannot be, and nothing was recorded.
    """
    if content.only_file() is None or not all(file.ends_here for file in content.staged):
        return None
    content.settle()
    return refs if _recorded_as_one(connection, refs, content, [tai_now_ns()]) else None


def _recorded_as_one(
    connection: sa.Connection, refs: Sequence[DatasetRef], content: Content, dates: Sequence[int]
) -> bool:
    only = content.only_file()
    if only is None or len(refs) > 1:
        return False
    where, made = only
    return record_with_dataset(connection, refs[0], dates[0], where, made.row())


def _insert(connection: sa.Connection, refs: Sequence[DatasetRef], dates: Sequence[int]) -> None:
    grouped: dict[tuple[DatasetType, str], list[tuple[DatasetRef, int]]] = {}
    for ref, date in zip(refs, dates, strict=True):
        grouped.setdefault((ref.dataset_type, ref.run), []).append((ref, date))
    for (kind, run), members in grouped.items():
        if len(members) == 1 and insert_dataset(connection, *members[0]):
            continue
        target = collections.ensure(connection, run)
        data_ids, ids = [r.data_id for r, _ in members], [r.id for r, _ in members]
        when = [date for _, date in members]
        datasets.insert_datasets(connection, kind, data_ids, target, ids=ids, dates=when)
