"""How does a program that holds a registry ask what made what?

`Provenance` is `registry.provenance` on a `Registry`: each question on a connection of its own,
where all of its statements see the same state of the database.
Histories that go on in other repositories are followed there (`registry.provenance.across`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from registry.database import question
from registry.provenance import (
    across,
    config_questions,
    differences,
    exports,
    graphs,
    questions,
    software,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from registry.database import Database
    from registry.identity import DatasetRef
    from registry.provenance.config_questions import ConfigDifference, Use
    from registry.provenance.differences import Difference
    from registry.provenance.graphs import Edge, Graph
    from registry.provenance.software import Made
    from registry.provenance.taints import Taint
    from registry.registry import Registry

__all__ = ["Provenance"]


class Provenance:
    """Questions about what made what, on one registry and those that it takes datasets from.

    Parameters
    ----------
    registry : Registry
        Asked first.
    others : sequence of Registry
        In which histories, and what was made of something, are followed further.
    """

    def __init__(self, registry: Registry, others: Sequence[Registry] = ()) -> None:
        self._registry = registry
        self._others = tuple(others)

    @property
    def database(self) -> Database:
        """The database that is asked first."""
        return self._registry.database

    @contextlib.contextmanager
    def places(self) -> Iterator[list[sa.Connection]]:
        """Open a connection to each registry."""
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(r.database.snapshot()) for r in (self._registry, *self._others)
            ]

    def _of(self, repository_id: uuid.UUID | None) -> Registry:
        """Give the registry of a repository, by its identity; the first one when it has none."""
        every = (self._registry, *self._others)
        return next((r for r in every if r.id == repository_id), self._registry)

    def walk(self, *ids: uuid.UUID, up: bool, depth: int | None = None) -> Graph:
        """Follow the graph; see `registry.provenance.across.walk_across`."""
        with self.places() as places:
            return across.walk_across(places, ids, up=up, depth=depth)

    @question
    def ancestors(self, *ids: uuid.UUID, depth: int | None = None) -> list[Edge]:
        """Walk to everything that datasets were made from; see `registry.provenance.ancestors`."""
        return graphs.nearest_first(self.walk(*ids, up=True, depth=depth), up=True)

    @question
    def descendants(self, *ids: uuid.UUID, depth: int | None = None) -> list[Edge]:
        """Walk to everything that was made from datasets; see `registry.provenance.descendants`."""
        return graphs.nearest_first(self.walk(*ids, up=False, depth=depth), up=False)

    @question
    def makers(self, *ids: uuid.UUID) -> dict[uuid.UUID, dict[str, Any]]:
        """Tell which quantum made datasets, and in which repository that is recorded.

        See `registry.provenance.makers`; ``repository_id`` comes with it.
        """
        with self.places() as places:
            return across.makers_across(places, ids)

    @question
    def packages(
        self, environment_id: int, repository_id: uuid.UUID | None = None
    ) -> dict[str, str]:
        """List the package versions of an environment, as `makers` names it."""
        with self._of(repository_id).database.snapshot() as connection:
            return questions.packages(connection, environment_id)

    @question
    def config_history(
        self,
        run: str,
        label: str | None = None,
        field: str | None = None,
        *,
        repository_id: uuid.UUID | None = None,
    ) -> list[dict[str, Any]]:
        """List the values that configurations had; see `registry.provenance.config_history`."""
        with self._of(repository_id).database.snapshot() as connection:
            return questions.config_history(connection, run, label, field)

    @question
    def config_differences(self, first: str, second: str) -> list[ConfigDifference]:
        """Compare two runs; see `registry.provenance.config_questions.config_differences`."""
        with self._registry.read() as connection:
            return config_questions.config_differences(connection, first, second)

    @question
    def find_config_values(
        self,
        field: str,
        value: str | None = None,
        *,
        label: str | None = None,
        run: str | None = None,
    ) -> list[Use]:
        """Find who used a value; see `registry.provenance.config_questions.find_config_values`."""
        with self._registry.read() as connection:
            return config_questions.find_config_values(
                connection, field, value, label=label, run=run
            )

    @question
    def config_fields(self) -> list[str]:
        """List the paths of all fields that any recorded configuration has."""
        with self._registry.read() as connection:
            return config_questions.field_paths(connection)

    @question
    def refs(self, *ids: uuid.UUID) -> dict[uuid.UUID, DatasetRef]:
        """Look datasets up by identity, where they are known first; unknown ones are left out."""
        found: dict[uuid.UUID, DatasetRef] = {}
        for registry in (self._registry, *self._others):
            found = registry.get_refs([i for i in ids if i not in found]) | found
        return found

    @question
    def graph_of_run(self, run: str) -> Graph:
        """Collect the graph of a run; see `registry.provenance.graphs.graph_of_run`."""
        with self.database.snapshot() as connection:
            return graphs.graph_of_run(connection, run)

    @question
    def taint(self, *ids: uuid.UUID) -> Taint:
        """Tell what withdrawn datasets taint; see `registry.provenance.taints.taint`."""
        with self.places() as places:
            return across.taint_across(places, ids)

    @question
    def differences(self, first: uuid.UUID, second: uuid.UUID) -> list[Difference]:
        """Compare two histories; see `registry.provenance.differences.differences`."""
        with self.places() as places:
            return differences.differences(places, first, second)

    @question
    def made_with(self, package: str) -> list[Made]:
        """Count what a package's versions made; see `registry.provenance.software.made_with`."""
        with self.places() as places:
            return software.made_with(places, package)

    @question
    def datasets_made_with(self, package: str) -> list[DatasetRef]:
        """List what a package's versions made; see `registry.provenance.software`."""
        with self.places() as places:
            return software.datasets_made_with(places, package)

    @question
    def export(
        self,
        *ids: uuid.UUID,
        format: str = "prov",  # noqa: A002 (the word that users know)
        up: bool = True,
        depth: int | None = None,
        merged: bool = False,
    ) -> str:
        """Tell a history in a format that others read; see `registry.provenance.exports.export`."""
        with self.places() as places:
            return exports.export(places, ids, format, up=up, depth=depth, merged=merged)
