"""How does a dataset come from files to rows, from rows to files, or into parts and out of them?

It is read as a whole, and made anew as the policy says; what was made is put together again and
compared.  One transaction forgets what there was and records the new.  Old files stay as trash for
a while; who has looked up old rows finds them gone, and looks again.  A conversion that leaves a
dataset in one file, or one file of it where it is, is `butler.moving.converting`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import files, row_values, rows
from backbone.endpoints import TABLES
from backbone.errors import ChangedFile
from backbone.sending import SentFile
from butler import reading
from butler.errors import ConvertError
from butler.inputs import Place
from butler.objects.comparing import difference
from butler.policy.decisions import OfPart
from butler.storage_classes import get_storage_class
from butler.storing import Content
from butler.tables import in_tables
from registry import row_tables
from registry.database import lock_rows
from registry.schema.files import file, replica

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping, Sequence

    from butler.butler import Butler
    from butler.policy.decisions import Decision
    from butler.storage_classes import StorageClass
    from registry.identity import DatasetRef

__all__ = ["Parts", "Rewrite", "as_wanted", "make", "may_differ", "new_content", "switch"]

Parts = dict[str, tuple[str, str]]
"""By component: format with its options, and endpoint or table."""


@dataclass(slots=True)
class Rewrite:
    """A dataset that is to be stored anew.

    Parameters
    ----------
    ref : DatasetRef
        Which.
    copies : dict
        By component: the copies of each file, the nearest first.
    how : Decision
        How it is to be stored.
    obj : object, optional
        What it is, once it was read.
    content : Content
        What is made of it.
    """

    ref: DatasetRef
    copies: dict[str, Sequence[files.Stored]]
    how: Decision
    obj: Any = None
    content: Content = field(default_factory=Content)

    @property
    def new_size(self) -> int:
        """Bytes of the new files, and of the new rows [byte]."""
        new = [one for each in self.content.new.values() for one in each]
        return sum(one.size for one in (*new, *(told for told, _ in self.content.in_tables)))

    @property
    def size(self) -> int:
        """Bytes of its files, and of its rows [byte]."""
        return sum(each[0].size for each in self.copies.values())

    @property
    def now(self) -> Parts:
        """How it is stored."""
        return {
            component: (_format(each[0].formatter, each[0].options), _place(each[0]))
            for component, each in self.copies.items()
        }

    def kind_of_change(self, wanted: Parts) -> tuple[str, str, str, str]:
        """Tell the formats and the places, before and after."""
        before, after = self.now, wanted
        return (
            _listed(f for f, _ in before.values()),
            _listed(p for _, p in before.values()),
            _listed(f for f, _ in after.values()),
            _listed(p for _, p in after.values()),
        )


def _format(name: str, options: Mapping[str, Any] | None) -> str:
    chosen = [f"{key}={value}" for key, value in sorted((options or {}).items())]
    return " ".join([name, *chosen])


def _place(copy: files.Stored) -> str:
    return copy.path.partition("/")[0] if copy.endpoint.in_tables else copy.endpoint.name


def _listed(values: Any) -> str:
    return ", ".join(sorted(set(values)))


def may_differ(ref: DatasetRef, copies: Collection[str], how: Decision, *, in_table: bool) -> bool:
    """Tell whether a dataset may have to be stored anew: only who reads it knows what it has.

    Parameters
    ----------
    copies : collection of str
        Components that it lies in.
    in_table : bool
        Whether all of it lies in a table.
    """
    parts = get_storage_class(ref.dataset_type.storage_class).parts
    if in_table or how.table is not None or how.whole is None or set(copies) != {""}:
        return True
    return any(not parts[name].apart for name in how.parts)


def as_wanted(butler: Butler, task: Rewrite) -> Parts:
    """Read a dataset, and tell how it would be stored.

    Raises
    ------
    ButlerError, ChangedFile
        If it cannot be read.
    """
    place = Place(butler.registry.id, butler.root, butler.registry)
    task.obj = reading.read_stored(task.ref, place, task.copies, trusted=butler.trusted)
    storage = get_storage_class(task.ref.dataset_type.storage_class)
    how = task.how
    if how.table is not None:
        form = in_tables.form_of(storage.python_type)
        return {"": (form or "", how.table.name)}
    pieces = storage.split(task.obj, how.parts, {}) if how.parts else {}
    wanted: Parts = {}
    for component, (part, _) in (pieces or {"": ("", None)}).items():
        one = how.parts.get(part) or OfPart(how.writer, None)
        if one.table is not None:
            wanted[component] = in_tables.form_of_part(storage.parts[part]), one.table.name
        else:
            name = _format(one.writer.name, one.writer.chosen)
            wanted[component] = name, (one.endpoint or how.endpoint).name
    return wanted


def new_content() -> Content:
    """Begin what is made of a dataset, whose files get names that were never used.

    So what removes the old files can never hit the new ones.
    """
    return Content(suffix=f"_{os.urandom(3).hex()}", read_back={})


def make(butler: Butler, task: Rewrite, provenance: Mapping[str, str], tolerance: float) -> None:
    """Make the new files and rows of a dataset that was read, and see that they hold the same.

    Raises
    ------
    ConvertError
        If they do not.
    ButlerError, ChangedFile
        If they cannot be made, or have not arrived.
    """
    content = task.content
    storage = get_storage_class(task.ref.dataset_type.storage_class)
    content.add_as(butler, task.obj, task.ref, provenance, task.how)
    back: dict[str, Any] = dict(content.read_back or {})
    for told, new in content.in_tables:
        back[new.component] = in_tables.made_again(new, told.formatter)
    if "" in back:
        found = back[""]
    else:
        pieces = {name: storage.from_storage(name, piece, {}) for name, piece in back.items()}
        found = storage.assemble(pieces)
    why = difference(_stored(storage, task.obj), _stored(storage, found), tolerance)
    if why:
        raise ConvertError(
            f"What was made does not keep all of it: {why}. Allow a difference with tolerance=, or "
            "take another format.",
            name=task.ref.dataset_type.name,
        )
    by_path = {one.path: one for each in content.new.values() for one in each}
    for staged in content.staged:
        new_file = by_path[staged.path]
        if isinstance(staged, SentFile) and staged.arrived(new_file.size) != new_file.checksum:
            raise ChangedFile(f"{staged.path} has not arrived as it was sent; convert it again.")
    task.obj = content.read_back = None  # let go of what may be large


def _stored(storage: StorageClass, obj: Any) -> Any:
    """Give what is stored of an object: its parts, where there is nothing else."""
    if not storage.is_in_parts:
        return obj
    return {name: piece for name, (_, piece) in storage.split(obj, storage.parts, {}).items()}


def switch(connection: sa.Connection, tasks: Sequence[Rewrite]) -> list[bool]:
    """Let the new files and rows take the place of the old, and give them their names.

    Returns
    -------
    list of bool
        Of each, whether it was done: not where somebody has removed it, converted it or given it
        another copy meanwhile.

    Raises
    ------
    ChangedFile
        If rows do not come back from the database as they were given.
    """
    asked = sa.select(file.c.dataset_id, file.c.id, file.c.path).where(
        file.c.dataset_id.in_([task.ref.id for task in tasks])
    )
    there: dict[uuid.UUID, set[tuple[int, str]]] = {}
    for row in connection.execute(lock_rows(asked.order_by(file.c.id), connection)):
        there.setdefault(row.dataset_id, set()).add((row.id, row.path))
    keys = [key for of_one in there.values() for key, _ in of_one]
    good = sa.select(replica.c.file_id, replica.c.endpoint_id).where(
        replica.c.file_id.in_(keys), replica.c.state == "available"
    )
    copies = {(row.file_id, row.endpoint_id) for row in connection.execute(good)}
    done = []
    for task in tasks:
        known = {(each[0].file_id, each[0].path) for each in task.copies.values()}
        read = {(copy.file_id, copy.endpoint.id) for each in task.copies.values() for copy in each}
        own = {key for key, _ in known}
        more = {copy for copy in copies if copy[0] in own} - read
        done.append(there.get(task.ref.id) == known and not more)
    fit = [task for task, is_same in zip(tasks, done, strict=True) if is_same]
    if not fit:
        return done
    files.discard(connection, [task.ref.id for task in fit])
    together = Content()
    for task in fit:
        for where, new in task.content.new.items():
            together.new.setdefault(where, []).extend(new)
        together.staged += task.content.staged
        together.in_tables += task.content.in_tables
    together.record(connection)
    _require_same_rows(connection, together)
    together.settle()
    return done


def _require_same_rows(connection: sa.Connection, content: Content) -> None:
    """Read rows back from the database, and compare their checksums."""
    wanted = {(told.dataset_id, told.component): told for told, _ in content.in_tables}
    if not wanted:
        return
    found = files.all_copies(connection, [key for key, _ in wanted])
    of_rows = {key: each[0] for key, each in found.items() if each[0].endpoint.name == TABLES}
    placed = rows.placed(connection, list(of_rows))
    tables = row_tables.described(connection)
    for key, what in placed.items():
        table = tables[what.table]
        told = wanted[of_rows[key].dataset_id, of_rows[key].component]
        content_there = rows.read(connection, table, what)
        if row_values.size_and_checksum(table, content_there)[1] != told.checksum:
            raise ChangedFile(
                f"Rows of the dataset {what.dataset_id} do not come back from the table "
                f"{what.table} as they were given; nothing was changed."
            )
