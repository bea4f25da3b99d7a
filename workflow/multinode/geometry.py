"""Which places does a computation have, and which of them touch?

A `Geometry` is a set of places (sites of a ring, cells of a grid, detectors, patches of the sky)
with named directions to their neighbours. It knows nothing of ranks: `Geometry.shares` divides the
places among any number of them, and `workflow.multinode.neighbours` exchanges between the two.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from workflow.multinode.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Place = Any  # hashable, as a direction
    Direction = Any
    Links = Mapping[Place, Mapping[Direction, tuple[Place, Direction] | None]]

__all__ = ["FocalPlane", "Geometry", "Grid", "Ring", "SkyPatches"]


class Geometry:
    """Places and their neighbours, by direction.

    Parameters
    ----------
    links : mapping
        For each place, in order, its directions; for each direction the neighbour there with the
        direction that leads back, or None at a border.

    Attributes
    ----------
    places : tuple
        All places, in order.

    Raises
    ------
    GeometryError
        If a link does not lead back.

    Examples
    --------
    >>> Geometry.of_pairs("abc", [("a", "b"), ("b", "c")]).neighbours("b")
    {'a': 'a', 'c': 'c'}
    """

    def __init__(self, links: Links) -> None:
        self._links = {place: dict(ways) for place, ways in links.items()}
        self.places: tuple[Place, ...] = tuple(self._links)
        for place, ways in self._links.items():
            for direction, link in ways.items():
                if link is not None and self._links.get(link[0], {}).get(link[1]) != (
                    place,
                    direction,
                ):
                    raise GeometryError(
                        f"'{direction}' of {place!r} leads to '{link[1]}' of {link[0]!r}, which "
                        "does not lead back; neighbours are so of each other."
                    )

    @classmethod
    def of_pairs(cls, places: Iterable[Place], pairs: Iterable[tuple[Place, Place]]) -> Geometry:
        """Make a geometry of pairs of neighbours; the direction to a place is the place itself."""
        return Geometry(_links_of(places, pairs))

    def __len__(self) -> int:
        return len(self.places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Geometry) and self._links == other._links

    def __hash__(self) -> int:
        return hash(self.places)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} places>"

    def neighbours(self, place: Place) -> dict[Direction, Place | None]:
        """Give the neighbour in each direction, None at a border."""
        return {d: None if link is None else link[0] for d, link in self._links[place].items()}

    def opposite(self, place: Place, direction: Direction) -> tuple[Place, Direction] | None:
        """Give the neighbour in a direction, and the direction that leads back from there."""
        return self._links[place][direction]

    def shares(self, size: int) -> list[tuple[Place, ...]]:
        """Divide the places among ranks: runs of them whose lengths differ by one at most."""
        edges = [len(self) * n // size for n in range(size + 1)]
        return [self.places[a:b] for a, b in pairwise(edges)]


class Grid(Geometry):
    """Cells in rows and columns; a place is (row, column).

    Directions are ``down`` and ``up`` (rows before and after), ``left`` and ``right``.

    Parameters
    ----------
    rows, columns : int
        Numbers of cells.
    periodic : (bool, bool)
        Whether rows, and columns, close to a ring: the first is then a neighbour of the last. With
        two of them the same cell lies on both sides, with one a cell is its own neighbour.

    Examples
    --------
    >>> Grid(2, 3).neighbours((0, 1))
    {'down': None, 'up': (1, 1), 'left': (0, 0), 'right': (0, 2)}
    """

    def __init__(
        self, rows: int, columns: int, *, periodic: tuple[bool, bool] = (False, False)
    ) -> None:
        if rows < 1 or columns < 1:
            raise GeometryError(f"A grid has rows and columns, not {rows} x {columns}.")
        self.shape = (rows, columns)
        self.periodic = periodic
        super().__init__(_cells(self.shape, periodic))


def _cells(shape: tuple[int, int], periodic: tuple[bool, bool]) -> dict[Place, Any]:
    steps = {"down": (0, -1, "up"), "up": (0, 1, "down"), "left": (1, -1, "right"),
             "right": (1, 1, "left")}  # fmt: skip
    links: dict[Place, Any] = {}
    for cell in np.ndindex(*shape):
        ways: dict[Direction, Any] = links.setdefault(cell, {})
        for direction, (axis, step, back) in steps.items():
            at = cell[axis] + step
            inside = periodic[axis] or 0 <= at < shape[axis]
            there = tuple(at % shape[axis] if n == axis else k for n, k in enumerate(cell))
            ways[direction] = (there, back) if inside else None
    return links


class Ring(Geometry):
    """Sites 0, 1, 2, ... with the directions ``left`` and ``right``.

    Parameters
    ----------
    size : int
        Number of sites.
    periodic : bool
        Whether the last is a neighbour of the first; otherwise it is a line.
    """

    def __init__(self, size: int, *, periodic: bool = True) -> None:
        if size < 1:
            raise GeometryError(f"A ring has at least one site, not {size}.")
        self.periodic = periodic
        steps = {"left": (-1, "right"), "right": (1, "left")}
        super().__init__({
            n: {
                d: ((n + s) % size, back) if periodic or 0 <= n + s < size else None
                for d, (s, back) in steps.items()
            }
            for n in range(size)
        })  # fmt: skip


class SkyPatches(Geometry):
    """The patches of a tract, by number, row after row as `butler.skymaps` counts them.

    Directions are those of a `Grid`.

    Parameters
    ----------
    columns, rows : int
        Patches of the tract along its two axes, as ``patches`` of a skymap definition has them.

    Examples
    --------
    >>> SkyPatches(3, 2).neighbours(4)
    {'down': 1, 'up': None, 'left': 3, 'right': 5}
    """

    def __init__(self, columns: int, rows: int) -> None:
        grid = Grid(rows, columns)
        number = {cell: n for n, cell in enumerate(grid.places)}
        super().__init__({
            number[cell]: {
                d: None if (link := grid.opposite(cell, d)) is None else (number[link[0]], link[1])
                for d in grid.neighbours(cell)
            }
            for cell in grid.places
        })  # fmt: skip

    @classmethod
    def of_tract(cls, tract: Mapping[str, Any]) -> Self:
        """Read the patches of one tract of a skymap definition."""
        columns, rows = tract.get("patches", (1, 1))
        return cls(int(columns), int(rows))


class FocalPlane(Geometry):
    """Detectors, or their amplifiers, whose sides face each other across a gap.

    The direction to a neighbour is the neighbour itself: a side may face two others, as the sides
    of detectors in shifted rows do.

    Parameters
    ----------
    outlines : mapping
        For each place the four corners of its pixels in order around it, in one plane common to all
        [pixel or any unit]; it may be turned or mirrored.
    reach : float
        Largest gap between neighbours, in the unit of the corners.
    share : float
        How much of the shorter of two sides must face the other.

    Examples
    --------
    >>> square = np.array([[0, 0], [9, 0], [9, 9], [0, 9]])
    >>> FocalPlane({"A": square, "B": square + [12, 0]}, reach=5).neighbours("A")
    {'B': 'B'}
    """

    def __init__(
        self, outlines: Mapping[Place, ArrayLike], reach: float, *, share: float = 0.2
    ) -> None:
        places = list(outlines)
        self.outlines = {p: np.asarray(c, dtype=float) for p, c in outlines.items()}
        wrong = [p for p, c in self.outlines.items() if c.shape != (4, 2)]
        if wrong:
            raise GeometryError(f"{wrong[0]!r} has other than four corners (x, y).")
        corners = np.array([self.outlines[p] for p in places]).reshape(-1, 4, 2)
        pairs = _facing(corners, reach, share)
        super().__init__(_links_of(places, [(places[a], places[b]) for a, b in pairs]))


def _links_of(places: Iterable[Place], pairs: Iterable[tuple[Place, Place]]) -> Links:
    links: dict[Place, dict[Direction, tuple[Place, Direction] | None]] = {p: {} for p in places}
    for one, other in pairs:
        for here, there in ((one, other), (other, one)):
            if here not in links:
                raise GeometryError(f"{here!r} is in a pair, but not among the places.")
            links[here][there] = (there, here)
    return links


def _facing(corners: NDArray[np.float64], reach: float, share: float) -> Sequence[tuple[int, int]]:
    """Find the pairs of outlines of which a side of one faces a side of the other."""
    start = corners.reshape(-1, 2)
    along = (np.roll(corners, -1, axis=1) - corners).reshape(-1, 2)
    length = np.hypot(*along.T)
    along = along / length[:, np.newaxis]
    centre = np.repeat(corners.mean(axis=1), 4, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    # Outward, whichever way the corners run.
    normal *= np.sign(np.sum(normal * (start - centre), axis=1))[:, np.newaxis]
    owner = np.repeat(np.arange(len(corners)), 4)
    found = set()
    for side in range(len(start)):
        offset = start - start[side]
        ends = np.stack(
            [offset @ along[side], (offset + along * length[:, np.newaxis]) @ along[side]]
        )
        overlap = np.minimum(ends.max(axis=0), length[side]) - np.maximum(ends.min(axis=0), 0.0)
        middle = offset + along * length[:, np.newaxis] / 2
        gap = middle @ normal[side]
        faces = (
            (normal @ normal[side] < -0.9)
            & (np.abs(gap) <= reach)
            & (overlap >= share * np.minimum(length, length[side]))
            & (owner != owner[side])
        )
        found |= {tuple(sorted((int(owner[side]), int(o)))) for o in owner[faces]}
    return sorted(found)  # type: ignore[arg-type]
