"""What does the error of a driver mean, and what is the user told?"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database.opening import busy_seconds, safe_url
from registry.database.roles import OPERATOR
from registry.errors import (
    Conflict,
    DatabaseUnavailable,
    InUse,
    ReadOnly,
    RegistryError,
    SkyspineError,
    UnstorableValue,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "insert_new",
    "is_answer",
    "kind_of",
    "may_be_repeated",
    "translated",
    "uncertain",
    "violated",
    "was_lost",
]

_RETRYABLE_STATES = {"40001", "40P01", "55P03"}
_LOST_CLASSES = ("08", "57")
"""PostgreSQL: connection exceptions, operator intervention."""
_RETRYABLE_NUMBERS = {1020, 1205, 1213}
_DRIVERS = {"psycopg2", "mariadb"}
_NO_SAVEPOINT = 1305
_CANCELLED = "57014"
_LOST_NUMBERS = {1053, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2055}
"""MariaDB: the server shuts down, the connection was killed or broke, or none could be made."""
_REFUSED_NUMBERS = {1044, 1045, 1049}
# of the errors below 2000, which the server gives, those that say that it cannot go on
_LEAVING_NUMBERS = {1020, 1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1927}
# before there is a connection, psycopg2 has no code but the text
_REFUSED = re.compile(r"FATAL: +(.* does not exist|.* authentication failed.*|no pg_hba.*)$")
_READ_ONLY = "25006"
_READ_ONLY_NUMBERS = {1290, 1792, 1836}
"""MariaDB: the server takes no changes, or the transaction, or the server for now."""
_TOO_LARGE = 1153
_DENIED = "42501"
_DENIED_NUMBERS = {1142, 1143, 1227, 1370}
_FULL_NUMBERS = {1021, 1114, 1026}
"""MariaDB: disk full, table full, error writing a file."""


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the errors of a driver into this project's.

    Parameters
    ----------
    url : str
        What messages call the database; its password is left out.
    """
    try:
        yield
    except SkyspineError:
        raise
    except sa.exc.DBAPIError as error:
        raise _translation(error, safe_url(url)) from error
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(
            f"No connection to {safe_url(url)} became free: {error}"
        ) from error
    except UnicodeEncodeError as error:
        raise UnstorableValue(
            "A text holds half of a surrogate pair, which is no character and cannot be stored; "
            "it may come from a name that is not UTF-8."
        ) from error
    except OverflowError as error:
        raise UnstorableValue(f"A number does not fit into 64 bits: {error}.") from error
    except ValueError as error:
        if "NUL" not in str(error):
            raise
        raise UnstorableValue("A text holds a zero byte, which cannot be stored.") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _DRIVERS:
            raise
        # SQLAlchemy does not look at a connection that is given back
        given_back = sa.exc.OperationalError("", None, error, connection_invalidated=True)
        raise _translation(given_back, safe_url(url)) from given_back


def _number(error: BaseException | None) -> int | None:
    number = getattr(getattr(error, "orig", None), "errno", None)
    return number if isinstance(number, int) else None


def may_be_repeated(error: BaseException | None) -> bool:
    """Tell whether a verb may be repeated after this error of a driver."""
    original = getattr(error, "orig", None)
    if getattr(original, "pgcode", None) in _RETRYABLE_STATES:
        return True
    if _number(error) in _RETRYABLE_NUMBERS or _ended_by_deadlock(error):
        return True
    # after SQLITE_BUSY itself, the whole patience is spent
    name = str(getattr(original, "sqlite_errorname", ""))
    return name.startswith(("SQLITE_BUSY_", "SQLITE_LOCKED"))


def _ended_by_deadlock(error: BaseException | None) -> bool:
    """Tell whether MariaDB misses a savepoint: it ended the transaction for a deadlock."""
    return _number(error) == _NO_SAVEPOINT and "SAVEPOINT" in str(error)


def was_lost(error: BaseException | None) -> bool:
    """Tell whether the server went away, or is not there yet; False when it refused something."""
    if not isinstance(error, sa.exc.DBAPIError) or hasattr(error.orig, "sqlite_errorname"):
        return False
    code, number = str(getattr(error.orig, "pgcode", None) or ""), _number(error)
    if code:
        return code.startswith(_LOST_CLASSES) and code != _CANCELLED
    if number:
        return number in _LOST_NUMBERS
    # without a code: psycopg2 lost the connection, or had none
    return error.connection_invalidated or (
        isinstance(error, sa.exc.OperationalError) and not _REFUSED.search(_first_line(error))
    )


def uncertain(url: str) -> DatabaseUnavailable:
    """Say that nobody can know whether a transaction was committed."""
    made = DatabaseUnavailable(
        f"The database {safe_url(url)} went away while a change was being committed: nobody can "
        "know whether it was. Look whether it is there before you repeat it. Is its server running?"
    )
    made.uncertain = True
    return made


def is_answer(error: BaseException | None) -> bool:
    """Tell whether the database itself refused, so that it is known what it did not do.

    False when the connection was lost, or nothing tells that it was not.
    """
    original = getattr(error, "orig", None)
    code = getattr(original, "pgcode", None) or ""
    return bool(
        getattr(original, "sqlite_errorname", "")
        or (code and not code.startswith(_LOST_CLASSES))
        or _number(error) in _FULL_NUMBERS | _RETRYABLE_NUMBERS
    )


def violated(error: sa.exc.DBAPIError) -> str:
    """Name the constraint that a statement violated, or give the text of the driver."""
    original = error.orig
    diagnosis = getattr(original, "diag", None)
    if diagnosis is not None and diagnosis.constraint_name:
        return str(diagnosis.constraint_name)
    text = str(original)
    named = re.search(
        r"for key '(?:\w+\.)?(\w+)'|CONSTRAINT `(\w+)`|constraint failed: (.+)$", text
    )
    return next((g for g in named.groups() if g), text) if named else text


def kind_of(error: sa.exc.DBAPIError) -> str:
    """Tell what was violated: unique, foreign, check, overlap, or an empty text."""
    name = violated(error)
    if "no_overlap_calibration" in name or "no_overlap_calibration" in str(error.orig):
        return "overlap"
    code = getattr(error.orig, "pgcode", None)
    number = _number(error)
    sqlite_name = getattr(error.orig, "sqlite_errorname", "")
    if (
        code == "23505"
        or number == 1062
        or sqlite_name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")
    ):
        return "unique"
    if code == "23503" or number in (1451, 1452) or sqlite_name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return "foreign"
    if (
        code in ("23514", "23502")
        or number in (4025, 1048, 1364)
        or sqlite_name.startswith("SQLITE_CONSTRAINT")
    ):
        return "check"
    return ""


def insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless its key exists; tell whether it was this transaction that did."""
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table), row)
    except sa.exc.IntegrityError as error:
        if kind_of(error) != "unique":
            raise
        return False
    return True


def _first_line(error: sa.exc.DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _translation(error: sa.exc.DBAPIError, url: str) -> SkyspineError:
    kind = kind_of(error)
    if kind == "foreign":
        return InUse(
            "A row that this one refers to is missing, or other rows still refer to it: "
            f"{violated(error)}."
        )
    if kind in ("unique", "overlap", "check"):
        return Conflict(f"The database refuses this: it violates {violated(error)}.")
    sqlite_name = getattr(error.orig, "sqlite_errorname", "")
    first_line = _first_line(error)
    if may_be_repeated(error):
        return DatabaseUnavailable(
            f"Other processes kept changing the same rows of {url} ({first_line}); "
            "nothing was changed. Repeat."
        )
    if sqlite_name.startswith("SQLITE_READONLY"):
        return ReadOnly(
            f"The database {url} cannot be written: {first_line}. "
            "Check the permissions of the file and its folder."
        )
    if getattr(error.orig, "pgcode", None) == _READ_ONLY or _number(error) in _READ_ONLY_NUMBERS:
        return ReadOnly(
            f"The database {url} takes no changes here: {first_line}. If its server follows "
            "another one, give the address of that; nothing was changed."
        )
    if (
        sqlite_name == "SQLITE_FULL"
        or getattr(error.orig, "pgcode", None) == "53100"
        or _number(error) in _FULL_NUMBERS
    ):
        return DatabaseUnavailable(
            f"The disk of the database {url} is full; nothing was changed. Make room and repeat."
        )
    if sqlite_name.startswith("SQLITE_IOERR"):
        return DatabaseUnavailable(
            f"The disk of the database {url} refuses to be read or written ({sqlite_name}); "
            "nothing was changed. See whether it is full or broken, and repeat."
        )
    if sqlite_name.startswith("SQLITE_BUSY"):
        return DatabaseUnavailable(
            f"Another process has been writing to {url} for more than {busy_seconds(url):g} s; "
            "nothing was changed. Repeat when it is done."
        )
    if sqlite_name == "SQLITE_CANTOPEN":
        return DatabaseUnavailable(
            f"The database {url} cannot be opened: does its folder exist, and may you write there? "
            "Where you may only read, it must have been closed by whoever wrote it last."
        )
    if sqlite_name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return DatabaseUnavailable(
            f"{url} is not a sound SQLite database ({first_line}); restore it from a backup."
        )
    refused = _REFUSED.search(first_line)
    if _number(error) in _REFUSED_NUMBERS or refused:
        reason = refused[1] if refused else first_line
        return DatabaseUnavailable(
            f"The server of {url} refuses the connection: {reason}. "
            "The database must exist (CREATE DATABASE), and user and password be right."
        )
    if getattr(error.orig, "pgcode", None) == _DENIED or _number(error) in _DENIED_NUMBERS:
        account = sa.make_url(url).username
        return ReadOnly(
            f"The account '{account}' may not do this in {url}: {first_line}. The role {OPERATOR} "
            f"may read and write (GRANT {OPERATOR} TO {account}, by who deploys the schema); only "
            "the account that deploys may change the schema."
        )
    number = _number(error) or 0
    if number == _TOO_LARGE:
        return UnstorableValue(
            f"The server of {url} takes no statement of this size; nothing was changed. Let its "
            "setting max_allowed_packet be 64M or more, or give less at once."
        )
    if 1000 <= number < 2000 and number not in _LEAVING_NUMBERS:
        return RegistryError(f"The database {url} refused a statement: {first_line}")
    if (
        isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
        or error.connection_invalidated
    ):
        return DatabaseUnavailable(
            f"The database {url} does not answer as it should: {first_line}. Is its server running?"
        )
    return RegistryError(f"The database {url} refused a statement: {first_line}")
