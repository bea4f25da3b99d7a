"""What must be known of a task for its quanta to be found by statements?

Plain values: what a pipeline says in its classes, said for SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.collections import Collection
    from registry.identity import DatasetType
    from registry.plans.lookups import LookupFunction

__all__ = ["LooksUp", "Makes", "PlannedTask", "Reads", "Search"]


@dataclass(frozen=True, slots=True)
class Reads:
    """An input that decides which quanta there are.

    Parameters
    ----------
    name : str
        Name of the connection.
    kind : DatasetType
        What it reads.
    select : str
        Expression that its datasets fulfil.
    multiple, minimum : bool, int
        Whether a quantum has a list of them, and how many it needs.
    maker : (int, str), optional
        Task of the run that makes them, and the name of its connection.
    """

    name: str
    kind: DatasetType
    select: str = ""
    multiple: bool = False
    minimum: int = 1
    maker: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class LooksUp:
    """A prerequisite: a dataset that is looked up for each quantum.

    Parameters
    ----------
    kind : DatasetType
        What is looked up; it need not be registered.
    promised : bool
        Whether the run will certify it: it is looked up only then.
    function : callable, optional
        What looks it up, for all quanta at once; by keys, or by time and policy, without.
    """

    name: str
    kind: DatasetType
    multiple: bool = False
    minimum: int = 1
    promised: bool = False
    function: LookupFunction | None = None


@dataclass(frozen=True, slots=True)
class Makes:
    """An output."""

    name: str
    kind: DatasetType
    multiple: bool = False
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of a run.

    Parameters
    ----------
    id : int
        Its key.
    label : str
        Its name in the pipeline.
    dimensions : tuple of str
        Keys of its quanta.
    reads, looks_up, makes : tuple
        Its connections.
    """

    id: int
    label: str
    dimensions: tuple[str, ...]
    reads: tuple[Reads, ...] = ()
    looks_up: tuple[LooksUp, ...] = ()
    makes: tuple[Makes, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Where the datasets are searched that a pipeline begins with.

    Parameters
    ----------
    collections : sequence of Collection
        In order; without chains.
    where, bind : str, mapping
        Expression that every dataset from outside the pipeline fulfils, and its values.
    existing : sequence of Collection
        Where what exists already is not made again; empty makes everything.
    """

    collections: Sequence[Collection]
    where: str = ""
    bind: Mapping[str, Any] = field(default_factory=dict)
    existing: Sequence[Collection] = ()
