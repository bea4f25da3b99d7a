"""How does a program that holds a registry ask what made what?

`Provenance` is `registry.provenance` on a `Registry`: each question on a connection of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.provenance import graphs, questions

if TYPE_CHECKING:
    import uuid

    from registry.provenance.graphs import Edge
    from registry.registry import Registry

__all__ = ["Provenance"]


class Provenance:
    """Questions about what made what, on one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def ancestors(self, *ids: uuid.UUID, depth: int | None = None) -> list[Edge]:
        """Walk to everything that datasets were made from; see `registry.provenance.ancestors`."""
        with self._registry.read() as connection:
            return graphs.ancestors(connection, ids, depth)

    def descendants(self, *ids: uuid.UUID, depth: int | None = None) -> list[Edge]:
        """Walk to everything that was made from datasets; see `registry.provenance.descendants`."""
        with self._registry.read() as connection:
            return graphs.descendants(connection, ids, depth)

    def makers(self, *ids: uuid.UUID) -> dict[uuid.UUID, dict[str, Any]]:
        """Tell which quantum made datasets; see `registry.provenance.makers`."""
        with self._registry.read() as connection:
            return questions.makers(connection, ids)

    def packages(self, environment_id: int) -> dict[str, str]:
        """List the package versions of an environment."""
        with self._registry.read() as connection:
            return questions.packages(connection, environment_id)

    def config_history(
        self, run: str, label: str | None = None, field: str | None = None
    ) -> list[dict[str, Any]]:
        """List the values that configurations had; see `registry.provenance.config_history`."""
        with self._registry.read() as connection:
            return questions.config_history(connection, run, label, field)
