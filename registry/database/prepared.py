"""How does PostgreSQL plan a statement once that a connection executes again and again?

To plan the search for a dataset takes PostgreSQL four times as long as to execute it, and psycopg2
has it planned anew each time.  Here a statement that a connection has executed a few times is
prepared on it, and from then on executed by its name; the server itself decides whether its plan
may serve for all values.

Source
------
PREPARE and EXECUTE of PostgreSQL, with the threshold that psycopg 3 has.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from registry.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

__all__ = ["THRESHOLD", "Preparing", "threshold_of"]

THRESHOLD = 5
"""How often a connection executes a statement before it prepares it."""
_MOST = 200  # on one connection; the server keeps the plan of each
_MOST_COUNTED = 2_000
_LONGEST = 20_000  # [characters]; what is longer is a list of values, which does not come again
_WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_PARAMETER = re.compile(r"%\((\w+)\)s|%%")
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_NUMBERS = {*_BITS, "double precision", "real", "numeric"}
_FRACTIONS = _NUMBERS - set(_BITS)

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    """How a prepared statement is executed, and the integers that its types have room for."""

    text: str
    limits: tuple[tuple[str, int], ...]

    def fits(self, given: Mapping[str, Any]) -> bool:
        return all(-limit <= given[name] < limit for name, limit in self.limits)


@dataclass(slots=True)
class _Known:
    """What one connection has executed."""

    n_executed: dict[Key, int] = field(default_factory=dict)
    calls: dict[Key, _Call] = field(default_factory=dict)

    def count(self, key: Key) -> int:
        if len(self.n_executed) >= _MOST_COUNTED:
            self.n_executed.clear()
        n = self.n_executed[key] = self.n_executed.get(key, 0) + 1
        return n


def threshold_of(url: sa.URL) -> int | None:
    """Read ``?prepare_threshold=`` in the URL of a database; None is for never.

    Raises
    ------
    RegistryError
        If it is neither a number nor ``none``.
    """
    given = str(url.query.get("prepare_threshold", THRESHOLD))
    if given.lower() == "none":
        return None
    if given.isdecimal() and len(given) < 10:
        return int(given)
    raise RegistryError(
        f"prepare_threshold={given} in the URL of a database is no number of executions, after "
        "which a statement is prepared; nor 'none', with which none ever is."
    )


class Preparing:
    """What prepares and executes the statements of an engine of PostgreSQL.

    A statement is known by its text and by the Python types of its values.  One that the server
    would understand otherwise when it does not see the values is never prepared.

    Parameters
    ----------
    threshold : int
        How often a connection executes a statement before it prepares it.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._never: set[Key] = set()
        self._numbers = itertools.count(1)
        self._of: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()

    def admit(self, connection: Any) -> None:
        """Prepare statements on a connection of psycopg2; on no other is anything prepared."""
        self._of[connection] = _Known()

    def do_execute(self, cursor: Any, statement: str, given: Any, _context: Any) -> bool | None:
        """Execute a statement by its name, if it has one; else leave it to SQLAlchemy."""
        if cursor.name is not None or not isinstance(given, dict):
            return None
        known = self._of.get(cursor.connection)
        if known is None:
            return None
        key = (statement, *map(type, given.values()))
        call = known.calls.get(key)
        if call is None:
            if key in self._never or known.count(key) <= self._threshold:
                return None
            if len(known.calls) >= _MOST or (call := self._prepare(cursor, key, given)) is None:
                self._never.add(key)
                return None
            known.calls[key] = call
        if not call.fits(given):
            return None
        return _executed(cursor, call, given, known)

    def _prepare(self, cursor: Any, key: Key, given: Mapping[str, Any]) -> _Call | None:
        statement = key[0]
        if not statement.startswith(_WORDS) or len(statement) > _LONGEST:
            return None
        names: list[str] = []

        def numbered(found: re.Match[str]) -> str:
            if found[1] is None:
                return "%"
            if found[1] not in names:
                names.append(found[1])
            return f"${names.index(found[1]) + 1}"

        text = _PARAMETER.sub(numbered, statement)
        name = f"skyspine_{next(self._numbers)}"
        values = f"({', '.join(f'%({n})s' for n in names)})" if names else ""
        call = f"EXECUTE {name}{values}"
        kinds = _kinds(cursor.connection, name, text, f"EXPLAIN {call}", given)
        if kinds is None or not all(
            _understood_alike(given[n], kind) for n, kind in zip(names, kinds, strict=True)
        ):
            return None
        limits = tuple(
            (n, 1 << _BITS[kind])
            for n, kind in zip(names, kinds, strict=True)
            if kind in _BITS and type(given[n]) is int
        )
        return _Call(call, limits)


def _executed(cursor: Any, call: _Call, given: Mapping[str, Any], known: _Known) -> bool | None:
    from psycopg2 import errors

    try:
        cursor.execute(call.text, given)
    except (errors.FeatureNotSupported, errors.InvalidSqlStatementName):
        # its tables have changed since, or a pool has put another server behind the connection
        known.calls.clear()
        known.n_executed.clear()
        if not cursor.connection.autocommit:
            raise
        return None
    return True


def _kinds(
    connection: Any, name: str, text: str, trial: str, given: Mapping[str, Any]
) -> list[str] | None:
    """Prepare a statement and tell the types of its parameters; None if that cannot be done."""
    from psycopg2 import Error

    with connection.cursor() as cursor:
        guarded = not connection.autocommit
        if guarded:
            cursor.execute("SAVEPOINT skyspine_prepare")
        try:
            cursor.execute(f"PREPARE {name} AS {text}")
            cursor.execute(
                "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = %s",
                (name,),
            )
            kinds: list[str] = cursor.fetchone()[0]
            cursor.execute(trial, given)
        except Error:
            if connection.closed:
                raise
            if guarded:
                cursor.execute("ROLLBACK TO SAVEPOINT skyspine_prepare")
            return None
        if guarded:
            cursor.execute("RELEASE SAVEPOINT skyspine_prepare")
    return kinds


def _understood_alike(value: Any, kind: str) -> bool:
    """Tell whether a value means the same to a parameter of this type as it does when written out.

    A number that is written out has a type of its own; as a parameter it takes that of its
    neighbour, and a fraction would be rounded beside an integer.
    """
    if isinstance(value, str):
        return True
    if value is None:
        return kind != "text"
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in _NUMBERS
    if isinstance(value, (float, Decimal)):
        return kind in _FRACTIONS
    if isinstance(value, uuid.UUID):
        return kind == "uuid"
    if isinstance(value, dt.datetime):
        return kind == "timestamp with time zone"
    return False
