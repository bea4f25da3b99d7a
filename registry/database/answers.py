"""How does a large answer come as whole columns, and not row by row?

A row of SQLAlchemy costs more than the database needs for it, and psycopg2 makes rows three times
as slowly as PostgreSQL copies them as text.  So the driver is asked directly here, inside the
execution of the statement: its values are bound, its errors told and its connection watched as for
any other.
"""

from __future__ import annotations

import gc
import io
import json
import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["many_objects", "take_whole", "whole_columns"]

_TAKEN = "answer taken whole"


class _Looking:
    """Whether garbage is looked for, which is one for all threads."""

    def __init__(self) -> None:
        self._turn = threading.RLock()  # garbage may hold what asks for it
        self._n_inside = 0
        self._was_on = True
        os.register_at_fork(
            before=self._turn.acquire,
            after_in_parent=self._turn.release,
            after_in_child=self._turn.release,
        )

    def stop(self) -> None:
        with self._turn:
            if not self._n_inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._n_inside += 1

    def go_on(self) -> None:
        with self._turn:
            self._n_inside -= 1
            if not self._n_inside and self._was_on:
                gc.enable()


_looking = _Looking()


@contextmanager
def many_objects() -> Iterator[None]:
    """Make objects by the hundred thousand without looking for garbage among them meanwhile.

    Python would go through all that were made again and again, which takes as long as to make them.
    """
    _looking.stop()
    try:
        yield
    finally:
        _looking.go_on()


def whole_columns(
    connection: sa.Connection, statement: Any, parameters: Mapping[str, Any] | None = None
) -> list[Sequence[Any]]:
    """Run a question and give the columns of its answer.

    Parameters
    ----------
    statement : sqlalchemy.Select or sqlalchemy.CompoundSelect
        The question.
    parameters : mapping, optional
        Values that it needs.

    Returns
    -------
    list of sequence
        One for each column that is selected; all of one length.
    """
    kinds = [_kind(column.type) for column in statement.selected_columns]
    if None in kinds:
        rows = connection.execute(statement, parameters).all()
        return list(zip(*rows, strict=True)) or [()] * len(kinds)
    taken: list[Sequence[Any]] = [()] * len(kinds)
    with many_objects():
        connection.execute(statement, parameters, execution_options={_TAKEN: taken}).close()
    if connection.dialect.name == "postgresql":
        return [_read(values, kind) for values, kind in zip(taken, kinds, strict=True)]
    return [
        [None if v is None else kind(v) for v in values] if kind in (bool, json.loads) else values
        for values, kind in zip(taken, kinds, strict=True)
    ]


def take_whole(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    """Execute a statement for `whole_columns`, if it is one of its; else leave it to SQLAlchemy."""
    taken = context.execution_options.get(_TAKEN)
    if taken is None:
        return None
    if context.dialect.name == "postgresql":
        text = io.BytesIO()
        cursor.copy_expert(b"COPY (%s) TO STDOUT" % cursor.mogrify(statement, parameters), text)
        values = text.getvalue().decode().replace("\n", "\t").split("\t")
        values.pop()  # of the line that the last newline ends
        taken[:] = [values[place :: len(taken)] for place in range(len(taken))]
    else:
        context.dialect.do_execute(cursor, statement, parameters, context)
        taken[:] = list(zip(*cursor.fetchall(), strict=True)) or taken
    return True


def _kind(kind: sa.types.TypeEngine[Any]) -> Callable[[Any], Any] | None:
    """Tell how a value of a type is read from what a driver gives; None: SQLAlchemy must."""
    for types, python in (
        (sa.Boolean, bool),
        (sa.Integer, int),
        (sa.Float, float),
        (sa.JSON, json.loads),
        (sa.String, str),
    ):
        if isinstance(kind, types):
            return python
    return None


_ESCAPED = re.compile(r"\\(.)")
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _read(texts: Sequence[str], kind: Callable[[Any], Any] | None) -> Sequence[Any]:
    r"""Read a column as COPY writes it: ``\N`` for none, control characters behind a backslash."""
    reader: Any = "t".__eq__ if kind is bool else kind
    if kind in (int, float, bool) and "\\N" not in texts:
        return list(map(reader, texts))
    if kind is str and not any("\\" in text for text in texts):
        return texts

    def plain(text: str) -> str:
        return _ESCAPED.sub(lambda found: _CONTROLS.get(found[1], found[1]), text)

    return [None if text == "\\N" else reader(plain(text)) for text in texts]
