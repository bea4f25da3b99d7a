"""Which keys do data IDs have beyond the dimensions, and of which type are their values?

Such keys are values in JSON, `data_id.extra`; the table `registry.schema.identity.data_id_key` says
whether they are compared and sorted as numbers or as texts.  An instrument definition declares
them, or the first data ID that has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import insert_rows, remembered
from registry.errors import DefinitionConflict, InvalidDataId
from registry.schema.identity import data_id_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.identity import DataId

__all__ = ["check_keys", "declare_keys", "key_type"]

_TYPES: dict[str, type] = {"str": str, "int": int}
_WORDS = {"str": "texts", "int": "integers"}


def key_type(connection: sa.Connection, name: str) -> type:
    """Tell the type of the values of a key: int or str; str for one that no data ID has yet."""

    def ask() -> str | None:
        asked = sa.select(data_id_key.c.kind).where(data_id_key.c.name == name)
        return connection.execute(asked).scalar()

    return _TYPES[remembered(connection, f"data ID key {name}", ask) or "str"]


def declare_keys(connection: sa.Connection, keys: Mapping[str, type]) -> None:
    """Declare keys beyond the dimensions; the same ones may be declared again.

    Raises
    ------
    DefinitionConflict
        If one is declared with another type.
    """
    wanted = {name: kind.__name__ for name, kind in keys.items()}
    known = _known(connection, wanted)
    new = [{"name": name, "kind": kind} for name, kind in wanted.items() if name not in known]
    if new:
        insert_rows(connection, data_id_key, new, skip_existing=True)
        known = _known(connection, wanted)
    for name, kind in wanted.items():
        if known[name] != kind:
            raise DefinitionConflict(
                f"The values of '{name}' are {_WORDS[known[name]]} in this repository, and are now "
                f"declared as {_WORDS[kind]}; choose another name for the key."
            )


def check_keys(connection: sa.Connection, data_ids: Iterable[DataId]) -> None:
    """Make sure that the keys of data IDs beyond the dimensions are declared and of their type.

    Raises
    ------
    InvalidDataId
        If a value is of another type than those that are there.
    """
    given: dict[str, Any] = {}
    for data_id in data_ids:
        for name, value in data_id.extra.items():
            other = given.setdefault(name, value)
            if type(other) is not type(value):
                raise _mixed(name, other, value)
    if not given:
        return
    try:
        declare_keys(connection, {name: type(value) for name, value in given.items()})
    except DefinitionConflict as error:
        known = _known(connection, given)
        name = next(n for n, v in given.items() if known[n] != type(v).__name__)
        shown = "an integer" if known[name] == "int" else "a text"
        raise InvalidDataId(
            f"The key '{name}' takes {shown} in this repository, and was given {given[name]!r}."
        ) from error


def _mixed(name: str, one: Any, other: Any) -> InvalidDataId:
    return InvalidDataId(
        f"The key '{name}' was given a text and an integer, {one!r} and {other!r}; "
        "its values must be of one type."
    )


def _known(connection: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    asked = sa.select(data_id_key.c.name, data_id_key.c.kind)
    found = connection.execute(asked.where(data_id_key.c.name.in_(list(names))))
    return {row.name: row.kind for row in found}
