"""How does a chain grow and shrink, while others change it too?

What is in a chain is read and written in one transaction, which nobody else's comes between.  A
chain is set as a whole by `registry.collections.chain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry import collections
from registry.errors import UnknownCollection
from registry.schema.collections import collection, collection_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["extend_chain", "prepend_chain", "remove_from_chain"]


def extend_chain(connection: sa.Connection, name: str, children: Sequence[str]) -> None:
    """Put collections at the end of a chain, in this order; register it if it is new.

    What is in it already goes there; errors as `registry.collections.chain`.
    """
    others = [child for child in _held(connection, name) if child not in children]
    collections.chain(connection, name, [*others, *children])


def prepend_chain(connection: sa.Connection, name: str, children: Sequence[str]) -> None:
    """Put collections at the beginning of a chain; else as `extend_chain`."""
    others = [child for child in _held(connection, name) if child not in children]
    collections.chain(connection, name, [*children, *others])


def remove_from_chain(connection: sa.Connection, name: str, children: Sequence[str]) -> None:
    """Take collections out of a chain; those not in it are passed over.

    Raises
    ------
    UnknownCollection
        If the chain, or one of them, does not exist.
    CollectionTypeError
        If it is no chain.
    """
    known = collections.known_types(connection, [name, *children])
    for given in (name, *children):
        if given not in known:
            raise UnknownCollection(given, [c.name for c in collections.query(connection)])
    collections.chain(
        connection, name, [child for child in _held(connection, name) if child not in children]
    )


def _held(connection: sa.Connection, name: str) -> list[str]:
    """Give the children of a chain, which only this transaction may change from now on."""
    collections.register(connection, name, "CHAINED")
    collections.hold_chains(connection)
    child = collection.alias()
    asked = (
        sa.select(child.c.name)
        .join_from(collection, collection_chain, collection_chain.c.parent_id == collection.c.id)
        .join(child, child.c.id == collection_chain.c.child_id)
        .where(collection.c.name == name)
        .order_by(collection_chain.c.position)
    )
    return list(connection.execute(asked).scalars())
