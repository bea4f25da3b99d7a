"""Which datasets could be inserted now, as far as one transaction can see?

What is to be inserted with many others at the end of a transaction is refused now if it would be
refused then.  To ask for each takes an exchange with the database, so what is asked for again and
again is read ahead: which data IDs have a dataset, and which records come next.  What other
processes do meanwhile is seen by the insertion itself, `registry.datasets.insert_datasets`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import ShortStatement
from registry.identity import DIMENSIONS
from registry.one_dataset import IDENTIFIED, referred
from registry.schema.identity import data_id, dataset

if TYPE_CHECKING:
    import uuid

    from registry.identity import DatasetRef, DatasetType

__all__ = ["Foreseen"]

_FIRST_AHEAD = 8
"""After so many questions, and twice as many, and so on, it is read ahead."""
_AHEAD = 64
"""How many rows are read ahead for each question that was asked: they take as long as it."""


@dataclass(slots=True)
class _Target:
    """A run, and a type of which a dataset was recorded there, so that both stay.

    Parameters
    ----------
    one : uuid.UUID
        The dataset that was recorded.
    taken : set of str
        Identities of data IDs that have a dataset, or will have.
    whole : bool
        Whether those are all.
    """

    one: uuid.UUID
    taken: set[str]
    whole: bool = False
    n_asked: int = 0
    keys: dict[str, int] | None = None


@dataclass(slots=True)
class Foreseen:
    """What one transaction knows of the datasets that can be inserted."""

    _targets: dict[tuple[DatasetType, str], _Target] = field(default_factory=dict)
    _records: set[tuple[str, tuple[Any, ...]]] = field(default_factory=set)
    _n_asked: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget everything, since something was changed."""
        self._targets.clear()
        self._records.clear()
        self._n_asked.clear()

    def recorded(self, ref: DatasetRef) -> None:
        """Note that a dataset was inserted in this transaction."""
        target = self._targets.setdefault((ref.dataset_type, ref.run), _Target(ref.id, set()))
        target.taken.add(ref.data_id.key)

    def allows(self, connection: sa.Connection, ref: DatasetRef) -> bool:
        """Tell whether a dataset can be inserted, and count on it from now on.

        False also when it is not sure: of the first of a type and run, and of data IDs with keys
        beyond the dimensions.

        Parameters
        ----------
        ref : DatasetRef
            With an identity that is new.
        """
        target = self._targets.get((ref.dataset_type, ref.run))
        identity = ref.data_id.key
        if target is None or identity in target.taken:
            return False
        if any(name not in DIMENSIONS for name in ref.data_id):
            return False
        needed = [
            (name, tuple([ref.data_id[column] for column in columns]))
            for name, columns in _references(tuple(ref.data_id))
        ]
        unknown = [record for record in needed if record not in self._records]
        if unknown or not target.whole:
            if not _can_be_inserted(connection, target, ref):
                return False
            self._records.update(unknown)
            if not target.whole:
                target.n_asked += 1
                _read_taken(connection, target)
            for name, values in unknown:
                self._read_following(connection, name, values)
        target.taken.add(identity)
        return True

    def _read_following(
        self, connection: sa.Connection, name: str, values: tuple[Any, ...]
    ) -> None:
        """Read which records follow one, when many were asked for."""
        n = self._n_asked[name] = self._n_asked.get(name, 0) + 1
        if not _is_due(n) or len(values) < 2:
            return
        given = {f"p{place}": value for place, value in enumerate(values)}
        rows = connection.execute(_following(name), {**given, "most": _AHEAD * n}).scalars()
        self._records.update((name, (*values[:-1], last)) for last in rows)


def _is_due(n_asked: int) -> bool:
    return n_asked >= _FIRST_AHEAD and n_asked & (n_asked - 1) == 0


def _can_be_inserted(connection: sa.Connection, target: _Target, ref: DatasetRef) -> bool:
    if target.keys is None:
        found = _KEYS.rows(connection, {"one": target.one})
        if not found:
            return False
        target.keys = {"run": found[0][0], "type": found[0][1]}
    given = {**target.keys, **ref.data_id, "identity": ref.data_id.key}
    return bool(_insertable(tuple(ref.data_id)).rows(connection, given))


def _read_taken(connection: sa.Connection, target: _Target) -> None:
    """Read which data IDs have a dataset, when many were asked for and they are not too many."""
    if not _is_due(target.n_asked):
        return
    most = _AHEAD * target.n_asked
    found = connection.execute(_TAKEN, {**(target.keys or {}), "most": most}).scalars().all()
    target.taken.update(found)
    target.whole = len(found) < most


_KEYS = ShortStatement(
    sa.select(dataset.c.run_id, dataset.c.dataset_type_id).where(
        dataset.c.id == sa.bindparam("one", type_=dataset.c.id.type)
    )
)
_OF_TARGET = (
    dataset.c.run_id == sa.bindparam("run", type_=sa.BigInteger),
    dataset.c.dataset_type_id == sa.bindparam("type", type_=sa.BigInteger),
)
_MOST = sa.bindparam("most", type_=sa.Integer)
_TAKEN = (
    sa.select(data_id.c.identity_key)
    .join_from(dataset, data_id, data_id.c.id == dataset.c.data_id)
    .where(*_OF_TARGET)
    .limit(_MOST)
)


@functools.cache
def _insertable(names: tuple[str, ...]) -> ShortStatement:
    """Write what gives a row if there is no such dataset, and all that its data ID refers to."""
    # the key by itself: a planner without statistics would join, and go through the whole run
    key = sa.select(data_id.c.id).where(IDENTIFIED).scalar_subquery()
    taken = sa.exists().where(dataset.c.data_id == key, *_OF_TARGET)
    return ShortStatement(sa.select(sa.literal_column("1")).where(~taken, *referred(names)))


@functools.cache
def _references(names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Tell which tables a data ID with such keys refers to, and by which of them."""
    return [
        (constraint.referred_table.name, tuple(constraint.column_keys))
        for constraint in data_id.foreign_key_constraints
        if set(names) >= set(constraint.column_keys)
    ]


@functools.cache
def _following(name: str) -> sa.Select[Any]:
    """Write what reads the last keys of the records of a table from one on."""
    (constraint,) = (c for c in data_id.foreign_key_constraints if c.referred_table.name == name)
    *before, last = (key.column for key in constraint.elements)
    same = [c == sa.bindparam(f"p{place}", type_=c.type) for place, c in enumerate(before)]
    begin = last >= sa.bindparam(f"p{len(before)}", type_=last.type)
    return sa.select(last).where(*same, begin).order_by(last).limit(_MOST)
