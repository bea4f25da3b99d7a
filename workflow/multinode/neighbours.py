"""How do neighbouring places exchange what lies at their borders, on whichever ranks they are?

A `Neighbourhood` is a geometry divided among the ranks of a communicator: each rank holds a run of
places, and neighbours on the same rank are served without a message. What a place receives is keyed
by its own directions, so that a cell that is its own neighbour, or has one on both sides, is no
special case. Results do not depend on how many ranks there are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from workflow.multinode.errors import GeometryError, RanksDisagree
from workflow.multinode.messages import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflow.multinode.communicator import Communicator
    from workflow.multinode.geometry import Direction, Geometry, Place

__all__ = ["Neighbourhood"]

_T = TypeVar("_T")
_HALO = 10_010


class Neighbourhood:
    """The places of a geometry on the ranks of a group.

    Every rank calls the verbs in the same order, with a value for each place that it holds.

    Attributes
    ----------
    comm : Communicator
        This rank.
    geometry : Geometry
        All places.
    mine : tuple
        The places that this rank holds, in order; none if there are more ranks than places.
    """

    def __init__(self, comm: Communicator, geometry: Geometry) -> None:
        self.comm = comm
        self.geometry = geometry
        shares = geometry.shares(comm.size)
        self.mine: tuple[Place, ...] = shares[comm.rank]
        self._owner = {place: rank for rank, share in enumerate(shares) for place in share}

    def owner(self, place: Place) -> int:
        """Give the rank that holds a place."""
        return self._owner[place]

    def neighbor_allgather(
        self, values: Mapping[Place, _T]
    ) -> dict[Place, dict[Direction, _T | None]]:
        """Give each place the values of its neighbours.

        Parameters
        ----------
        values : mapping
            One value for each place that this rank holds.

        Returns
        -------
        dict
            For each of these places: direction to the value of the neighbour there, None at a
            border.
        """
        self._complete(values)
        return self.neighbor_alltoall({
            place: dict.fromkeys(self.geometry.neighbours(place), value)
            for place, value in values.items()
        })  # fmt: skip

    def neighbor_alltoall(
        self, values: Mapping[Place, Mapping[Direction, _T]]
    ) -> dict[Place, dict[Direction, _T | None]]:
        """Send each neighbour its own value: the halo of a place, side by side.

        Parameters
        ----------
        values : mapping
            For each place that this rank holds: direction to what the neighbour there gets. What
            has no neighbour in its direction goes nowhere.

        Returns
        -------
        dict
            As for `neighbor_allgather`.
        """
        self._complete(values)
        parcels: dict[int, dict[tuple[Place, Direction], _T]] = {
            rank: {} for rank in self._touching()
        }
        for place, ways in values.items():
            for direction, value in ways.items():
                link = self.geometry.opposite(place, direction)
                if link is not None:
                    parcels[self._owner[link[0]]][link] = value
        here = parcels.pop(self.comm.rank, {})
        for rank, parcel in parcels.items():
            self.comm._post(rank, _HALO, encode(parcel))  # noqa: SLF001 (see the package)
        for rank in parcels:
            here.update(decode(self.comm._take((rank,), _HALO)[1]))  # noqa: SLF001
        return {
            place: {d: here.get((place, d)) for d in self.geometry.neighbours(place)}
            for place in self.mine
        }

    def total(self, values: Mapping[Place, float]) -> float:
        """Add up the numbers of all places, rounded once: the same on any number of ranks."""
        return math.fsum(self.allgather(values).values())

    def allgather(self, values: Mapping[Place, _T]) -> dict[Place, _T]:
        """Give every rank the values of all places, in order."""
        self._complete(values)
        parts = self.comm.allgather(dict(values))
        joined = {place: value for part in parts for place, value in part.items()}
        return {place: joined[place] for place in self.geometry.places}

    def gather(self, values: Mapping[Place, _T], root: int = 0) -> dict[Place, _T] | None:
        """Give one rank the values of all places, in order; the others None."""
        self._complete(values)
        parts = self.comm.gather(dict(values), root)
        if parts is None:
            return None
        joined = {place: value for part in parts for place, value in part.items()}
        return {place: joined[place] for place in self.geometry.places}

    def _touching(self) -> list[int]:
        """Name the ranks that hold neighbours of places here, this one among them."""
        ranks = {
            self._owner[n]
            for place in self.mine
            for n in self.geometry.neighbours(place).values()
            if n is not None
        }
        return sorted(ranks)

    def _complete(self, values: Mapping[Place, Any]) -> None:
        if set(values) == set(self.mine):
            return
        strange = [p for p in values if p not in self._owner]
        if strange:
            raise GeometryError(f"{strange[0]!r} is no place of {self.geometry!r}.")
        raise RanksDisagree(
            f"Rank {self.comm.rank} gives values for {len(values)} places; it holds "
            f"{len(self.mine)} and gives one for each of these."
        )
