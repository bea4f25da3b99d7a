"""How does a program that holds a registry ask what made what?

`Provenance` is `registry.provenance` on a `Registry`: each question on a connection of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.provenance import differences, exports, graphs, questions, software, taints

if TYPE_CHECKING:
    import uuid

    from registry.identity import DatasetRef
    from registry.provenance.differences import Difference
    from registry.provenance.graphs import Edge, Graph
    from registry.provenance.software import Made
    from registry.provenance.taints import Taint
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

    def graph_of_run(self, run: str) -> Graph:
        """Collect the graph of a run; see `registry.provenance.graphs.graph_of_run`."""
        with self._registry.read() as connection:
            return graphs.graph_of_run(connection, run)

    def taint(self, *ids: uuid.UUID) -> Taint:
        """Tell what withdrawn datasets taint; see `registry.provenance.taints.taint`."""
        with self._registry.read() as connection:
            return taints.taint(connection, ids)

    def differences(self, first: uuid.UUID, second: uuid.UUID) -> list[Difference]:
        """Compare two histories; see `registry.provenance.differences.differences`."""
        with self._registry.read() as connection:
            return differences.differences(connection, first, second)

    def made_with(self, package: str) -> list[Made]:
        """Count what a package's versions made; see `registry.provenance.software.made_with`."""
        with self._registry.read() as connection:
            return software.made_with(connection, package)

    def datasets_made_with(self, package: str) -> list[DatasetRef]:
        """List what a package's versions made; see `registry.provenance.software`."""
        with self._registry.read() as connection:
            return software.datasets_made_with(connection, package)

    def export(
        self,
        *ids: uuid.UUID,
        format: str = "prov",  # noqa: A002 (the word that users know)
        up: bool = True,
        depth: int | None = None,
        merged: bool = False,
    ) -> str:
        """Tell a history in a format that others read; see `registry.provenance.exports.export`."""
        with self._registry.read() as connection:
            return exports.export(connection, ids, format, up=up, depth=depth, merged=merged)
