"""What can be done with collections through the Butler?

The verbs are those of `registry.collections`, each in one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from butler import adopting
from registry import chains, collections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from butler.butler import Butler
    from registry.collections import Collection
    from registry.identity import DatasetRef

__all__ = ["Collections"]


class Collections:
    """Verbs on the collections of one repository."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._registry = butler.registry

    def __repr__(self) -> str:
        return f"<Collections of {self._butler.root}>"

    def register(self, name: str, type: str = "RUN", doc: str = "") -> bool:  # noqa: A002
        """Register a collection; see `registry.collections.register`."""
        return self._registry.register_collection(name, type, doc)

    def chain(self, name: str, children: Sequence[str]) -> None:
        """Set the children of a chain; see `registry.collections.chain`.

        Collections of the inputs may be among them.
        """
        self._registry.chain(name, self._here(children))

    def extend_chain(self, name: str, children: Sequence[str]) -> None:
        """Put collections at the end of a chain; see `registry.chains.extend_chain`."""
        self._registry.database.ensure(chains.extend_chain, name, self._here(children))

    def prepend_chain(self, name: str, children: Sequence[str]) -> None:
        """Put collections at the beginning of a chain; see `registry.chains.prepend_chain`."""
        self._registry.database.ensure(chains.prepend_chain, name, self._here(children))

    def remove_from_chain(self, name: str, children: Sequence[str]) -> None:
        """Take collections out of a chain; see `registry.chains.remove_from_chain`."""
        self._registry.database.ensure(chains.remove_from_chain, name, children)

    def _here(self, children: Sequence[str]) -> Sequence[str]:
        """Give the names of collections that are known here, those of inputs made known."""
        return adopting.mirror(self._butler, children) if self._butler.inputs else children

    def tag(self, name: str, refs: Sequence[DatasetRef]) -> None:
        """Put datasets, those of inputs too, into a TAGGED collection.

        See `registry.collections.tag`.
        """
        if self._butler.inputs:
            self._butler.adopt(refs)
        self._registry.database.ensure(collections.tag, name, refs)

    def untag(self, name: str, refs: Sequence[DatasetRef]) -> None:
        """Take datasets out of a TAGGED collection; see `registry.collections.untag`."""
        self._registry.database.ensure(collections.untag, name, refs)

    def remove(self, name: str) -> None:
        """Remove a collection; see `registry.collections.remove`."""
        self._registry.database.transact(collections.remove, name)

    def query(self, pattern: str = "*") -> list[Collection]:
        """List collections whose name matches a glob."""
        return self._registry.collections(pattern)
