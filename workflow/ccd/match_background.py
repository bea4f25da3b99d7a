"""How do the detectors of an exposure come to see one sky, without steps at their borders?

Each cell (detector or amplifier) measures its sky along its sides, exchanges that with its
neighbours, and all agree on one number per cell to add, such that what is left of the steps is
least (weighted least squares, by conjugate gradients whose only communication is with neighbours
and in sums). It is a multi-node task: the cells are divided among any number of ranks, and every
number is the same, bit by bit, however they are.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from lsst.pex.config import Config, Field, ListField, RangeField

from workflow.ccd.focal_plane import Cell, cell_slices, focal_plane
from workflow.ccd.frames import loaded, sky_statistics
from workflow.ccd.planes import BAD_PLANES, bad_pixels
from workflow.connections import Input, Output
from workflow.multinode import FocalPlane
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.table import Table
    from numpy.typing import NDArray

    from workflow.multinode import Neighbourhood

__all__ = ["MatchBackgroundConfig", "MatchBackgroundTask"]

_RAW = ("instrument", "detector", "exposure")
_EXPOSURE = ("instrument", "exposure")
_SIDES = ((0, 1), (1, 2), (2, 3), (3, 0))
"""Corners between which the lowest row lies after each quarter turn by `numpy.rot90`."""
_OPPOSITE = -0.9
"""Cosine of the angle between the directions outward of two sides that face each other."""


class MatchBackgroundConfig(Config):
    """How the sky at the borders is measured and matched."""

    cells = ListField[int](
        "Parts that rows and columns of each detector are divided into: [2, 2] for four "
        "amplifiers, one in each corner.",
        default=[1, 1],
        length=2,
        itemCheck=lambda n: n > 0,
    )
    depth = RangeField("How deep a strip along a side is [pixel].", int, default=32, min=4)
    segments = RangeField("Parts that a strip is divided into.", int, default=8, min=1)
    reach = RangeField("Largest gap between neighbours [pixel].", float, default=150.0, min=0.0)
    sigma_clip = RangeField("Limit beyond which pixels are no sky.", float, default=3.0, min=0.5)
    minimum_fraction = RangeField(
        "Part of its pixels that a piece of a strip needs to be good.",
        float,
        0.25,
        min=0.0,
        max=1.0,
    )
    extrapolate = Field[bool](
        "Follow the slope of the sky from a strip to the middle of the gap; without, a slope along "
        "the focal plane is taken for steps.",
        default=True,
    )
    bad_planes = ListField[str]("Planes whose pixels do not count.", default=list(BAD_PLANES))
    tolerance = RangeField(
        "Part of the steps, after which nothing is gained any more.", float, 1e-13, min=0.0, max=0.1
    )


class _Frame(NamedTuple):
    """One detector: its image, pixels that do not count, and where its cells are."""

    image: Any
    bad: NDArray[np.bool_]
    slices: dict[Cell, tuple[slice, slice]]


class _Step(NamedTuple):
    """How much brighter a cell is than a neighbour, and of how many pairs of pieces."""

    height: float
    weight: float


class MatchBackgroundTask(SuperTask):
    """Add a number to each detector or amplifier, so that the sky has no steps between them.

    The numbers of cells that are connected add up to zero.
    """

    ConfigClass = MatchBackgroundConfig
    default_name = "matchBackground"
    dimensions = _EXPOSURE
    multinode = FocalPlane
    ranks = 4

    calexps = Input("calexp", "Exposure", _RAW, multiple=True, defer_load=True)
    matched = Output("matched", "Exposure", _RAW, multiple=True, doc="With the sky of its kin.")
    offsets = Output("background_offsets", "Table", _EXPOSURE, doc="One row per cell.")

    def geometry(self, calexps: Sequence[Any]) -> FocalPlane:
        """Find the cells and their neighbours."""
        shapes, wcs = {}, {}
        for n, handle in enumerate(calexps):
            detector = _detector(handle, n)
            shapes[detector], wcs[detector] = _extent(handle)
        return focal_plane(shapes, wcs, self.config.cells, self.config.reach)

    def run_nodes(self, around: Neighbourhood, calexps: Sequence[Any]) -> Struct:
        """Match the cells that this rank holds with their neighbours, wherever these are.

        Parameters
        ----------
        around : Neighbourhood
            Of a focal plane whose places are cells.
        calexps : sequence of astropy.nddata.CCDData or handles
            One per detector.

        Returns
        -------
        Struct
            ``matched``: for each detector whose first cell is held here, the image with the sum
            added, otherwise None; ``offsets``: on the first rank, a row per cell with its
            ``offset`` [unit of the image], the number of its neighbours, and the root mean square
            of the steps to them before and after.
        """
        numbers = [_detector(c, n) for n, c in enumerate(calexps)]
        frames = {
            d: self._frame(d, handle)
            for d, handle in zip(numbers, calexps, strict=True)
            if any(cell.detector == d for cell in around.mine)
        }
        plane = cast("FocalPlane", around.geometry)
        borders = {c: self._border(frames[c.detector], c, plane.outlines[c]) for c in around.mine}
        steps = _steps(around, borders)
        offset, iterations = _solved(around, steps, self.config.tolerance)
        after = _left(around, steps, offset)
        everywhere = around.allgather(offset)
        before = {c: _rms(list(s.values())) for c, s in steps.items()}
        rows = around.gather({
            c: (*c, offset[c], len(steps[c]), before[c], _rms(list(after[c].values())))
            for c in around.mine
        })  # fmt: skip
        self.metadata["iterations"] = iterations
        for name, found in (("step_before", steps), ("step_after", after)):
            self.metadata[name] = _overall(around, found)
        return Struct(
            matched=[self._matched(frames, d, around, everywhere) for d in numbers],
            offsets=None if rows is None else _table(list(rows.values())),
        )

    def _frame(self, detector: int, handle: Any) -> _Frame:
        image = loaded(handle)
        slices = cell_slices(detector, image.data.shape, self.config.cells)
        return _Frame(image, bad_pixels(image, self.config.bad_planes), slices)

    def _border(
        self, frame: _Frame, cell: Cell, corners: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Measure the sky along the sides of a cell.

        Parameters
        ----------
        corners : array of float, shape (4, 2)
            Those of the cell in the focal plane.

        Returns
        -------
        array of float, shape (n, 8)
            Place of a piece's outer edge (x, y), its level, how much the level rises outward per
            pixel, half of its depth, the direction outward (x, y), and half of its length; pieces
            without sky are left out.
        """
        rows, columns = frame.slices[cell]
        data, bad = frame.image.data[rows, columns], frame.bad[rows, columns]
        found = []
        for turns in range(4):  # each side in turn is made the lowest
            pixels, masked = np.rot90(data, turns), np.rot90(bad, turns)
            depth = max(1, min(self.config.depth, len(pixels) // 4))
            width = pixels.shape[1]
            edges = [width * k // self.config.segments for k in range(self.config.segments + 1)]
            for a, b in pairwise(edges):
                near = self._level(pixels[:depth, a:b], masked[:depth, a:b])
                far = self._level(pixels[depth : 2 * depth, a:b], masked[depth : 2 * depth, a:b])
                if near is None or (far is None and self.config.extrapolate):
                    continue
                slope = (near - far) / depth if far is not None and self.config.extrapolate else 0.0
                begin, end = corners[_SIDES[turns][0]], corners[_SIDES[turns][1]]
                place = begin + (end - begin) * (a + b) / (2 * width)
                outward = begin + end - 2 * corners.mean(axis=0)
                outward /= np.hypot(*outward)
                found.append((*place, near, slope, depth / 2, *outward, (b - a) / 2))
        return np.array(found, dtype=float).reshape(-1, 8)

    def _level(self, data: NDArray[Any], bad: NDArray[np.bool_]) -> float | None:
        good = np.count_nonzero(~bad)
        if not good or good < self.config.minimum_fraction * bad.size:
            return None
        return sky_statistics(np.asarray(data, dtype=float), bad, self.config.sigma_clip)[0]

    def _matched(
        self,
        frames: Mapping[int, _Frame],
        detector: int,
        around: Neighbourhood,
        offsets: Mapping[Any, float],
    ) -> Any:
        """Add the offsets to a detector's image, on the rank that holds its first cell."""
        if detector not in frames or next(iter(frames[detector].slices)) not in around.mine:
            return None
        image = frames[detector].image.copy()
        data = np.array(image.data)
        for cell, place in frames[detector].slices.items():
            data[place] += data.dtype.type(offsets[cell])
        image.data = data
        return image


def _detector(handle: Any, n: int) -> int:
    """Give the number of the detector; images in memory are counted."""
    return int(handle.ref.data_id["detector"]) if hasattr(handle, "ref") else n


def _extent(handle: Any) -> tuple[tuple[int, int], Any]:
    """Give shape and WCS of an image; of a handle, without its pixels if the WCS knows."""
    if hasattr(handle, "ref"):
        wcs = handle.get(component="wcs")
        if wcs is not None and wcs.array_shape is not None:
            rows, columns = wcs.array_shape
            return (int(rows), int(columns)), wcs
    image = loaded(handle)
    return (int(image.data.shape[0]), int(image.data.shape[1])), image.wcs


def _steps(
    around: Neighbourhood, borders: Mapping[Any, NDArray[np.float64]]
) -> dict[Any, dict[Any, _Step]]:
    """Exchange borders, and find the step from each cell to each of its neighbours."""
    heard = around.neighbor_allgather(borders)
    order = {place: n for n, place in enumerate(around.geometry.places)}
    found: dict[Any, dict[Any, _Step]] = {}
    for cell, neighbours in heard.items():
        found[cell] = {}
        for other, border in neighbours.items():
            # Both sides compute the same number from the same order.
            first = order[cell] < order[other]
            pair = (borders[cell], border) if first else (border, borders[cell])
            step = _step(*pair)
            if step.weight > 0:
                found[cell][other] = step if first else _Step(-step.height, step.weight)
    return found


def _step(one: NDArray[np.float64], other: NDArray[np.float64]) -> _Step:
    """Compare the pieces of two borders that face each other."""
    if not len(one) or not len(other):
        return _Step(0.0, 0.0)
    between = other[np.newaxis, :, :2] - one[:, np.newaxis, :2]
    out, back = one[:, np.newaxis, 5:7], other[np.newaxis, :, 5:7]
    gap = np.sum(between * out, axis=2)
    aside = np.abs(between[..., 0] * out[..., 1] - between[..., 1] * out[..., 0])
    faces = (
        (np.sum(out * back, axis=2) < _OPPOSITE)
        & (gap > -one[:, np.newaxis, 4])
        & (aside <= one[:, np.newaxis, 7] + 0.5)
    )
    if not faces.any():
        return _Step(0.0, 0.0)
    aside = np.where(faces, aside, np.inf)
    nearest, in_return = aside.argmin(axis=1), aside.argmin(axis=0)
    mine = np.arange(len(one))
    mutual = np.flatnonzero((in_return[nearest] == mine) & faces[mine, nearest])
    a, b = one[mutual], other[nearest[mutual]]
    half = gap[mutual, nearest[mutual]] / 2
    heights = (a[:, 2] + a[:, 3] * (a[:, 4] + half)) - (b[:, 2] + b[:, 3] * (b[:, 4] + half))
    return _Step(float(np.median(heights)), float(len(heights)))


def _solved(
    around: Neighbourhood, steps: Mapping[Any, Mapping[Any, _Step]], tolerance: float
) -> tuple[dict[Any, float], int]:
    """Find the offsets that leave the least of the steps, by conjugate gradients."""
    mine = around.mine
    x = dict.fromkeys(mine, 0.0)
    r = {c: -math.fsum(s.weight * s.height for s in steps[c].values()) for c in mine}
    p = dict(r)
    size = start = around.total({c: r[c] ** 2 for c in mine})
    n = 0
    while size > start * tolerance**2 and n < 4 * len(around.geometry):
        heard = around.neighbor_allgather(p)
        ap = {
            c: math.fsum(s.weight * (p[c] - float(heard[c][o] or 0.0)) for o, s in steps[c].items())
            for c in mine
        }
        curvature = around.total({c: p[c] * ap[c] for c in mine})
        if curvature <= 0.0:
            break
        x = {c: x[c] + size / curvature * p[c] for c in mine}
        r = {c: r[c] - size / curvature * ap[c] for c in mine}
        before, size = size, around.total({c: r[c] ** 2 for c in mine})
        p = {c: r[c] + size / before * p[c] for c in mine}
        n += 1
    return x, n


def _left(
    around: Neighbourhood,
    steps: Mapping[Any, Mapping[Any, _Step]],
    offset: Mapping[Any, float],
) -> dict[Any, dict[Any, _Step]]:
    """Find what is left of the steps."""
    heard = around.neighbor_allgather(offset)
    return {
        c: {
            o: _Step(s.height + offset[c] - float(heard[c][o] or 0.0), s.weight)
            for o, s in found.items()
        }
        for c, found in steps.items()
    }


def _overall(around: Neighbourhood, steps: Mapping[Any, Mapping[Any, _Step]]) -> float:
    """Give the root mean square of all steps, each counted from both sides."""
    squares = {c: math.fsum(s.height**2 for s in f.values()) for c, f in steps.items()}
    n = around.total({c: float(len(f)) for c, f in steps.items()})
    return math.sqrt(around.total(squares) / n) if n else 0.0


def _rms(steps: Sequence[_Step]) -> float:
    if not steps:
        return 0.0
    return math.sqrt(math.fsum(s.height**2 for s in steps) / len(steps))


def _table(rows: Sequence[tuple[Any, ...]]) -> Table:
    from astropy.table import Table

    names = ("detector", "row", "column", "offset", "n_neighbours", "step_before", "step_after")
    return Table(rows=list(rows), names=names)
