"""How do exposures of different pointings become one deep image of a patch of sky?

Each exposure loses its sky, is scaled to a common zero point, resampled to the patch's grid
(`workflow.ccd.warp`) and averaged with weights; pixels that are masked or unlike the others do not
count.  Header and table name what went in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigField,
    ConfigurableField,
    Field,
    ListField,
    RangeField,
)

from workflow.ccd.background import BackgroundTask
from workflow.ccd.errors import MissingCard
from workflow.ccd.frames import header_number, loaded, make_frame, variance_of
from workflow.ccd.grid import TanGrid
from workflow.ccd.planes import BAD_PLANES, bad_pixels, bit
from workflow.ccd.statistics import FrameStack, StatisticsConfig, combine_stack
from workflow.ccd.time_order import InTimeOrder, input_name
from workflow.ccd.warp import warp
from workflow.connections import Input, Output
from workflow.errors import NoWorkFound
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.nddata import CCDData
    from astropy.table import Table
    from numpy.typing import NDArray

    from workflow.task import QuantumContext

__all__ = ["CoaddConfig", "CoaddTask"]

_RAW = ("instrument", "detector", "exposure")
_PATCH = ("skymap", "tract", "patch", "band")

AB_NANOJANSKY = 31.4
"""AB magnitude of a flux of 1 nJy (Oke & Gunn 1983: 8.90 mag for 1 Jy)."""


class CoaddConfig(Config):
    """How exposures are resampled and averaged."""

    background = ConfigurableField[BackgroundTask]("Estimates the sky.", target=BackgroundTask)
    kernel = ChoiceField[str](
        doc="How values between pixels are found.",
        default="lanczos3",
        allowed={
            "bilinear": "from the four nearest pixels",
            "lanczos3": "from 36 pixels; keeps the sharpness of well sampled images",
            "adaptive": "by the area of pixels, for grids of very different scale",
        },
    )
    scaling = ChoiceField[str](
        doc="How exposures are brought to the same flux scale.",
        default="zero_point",
        allowed={
            "zero_point": "by their photometric zero points, to zero_point",
            "exposure_time": "by their exposure times, to flux per second",
            "none": "not at all",
        },
    )
    zero_point = Field[float](
        "Magnitude of a flux of 1 in the coadd; 31.4 makes it nanojansky.", default=AB_NANOJANSKY
    )
    zero_point_keys = ListField[str](
        "Cards with the magnitude of a flux of 1 in the exposure.", default=["MAGZERO"]
    )
    zero_point_record = Field[str](
        "Name of a number in the exposure record (or its extra facts) that is used instead, if "
        "the record has it; '' for none.",
        default="zero_point",
    )
    exposure_time_keys = ListField[str](
        "Cards with the exposure time [s].", default=["EXPTIME", "EXPOSURE"]
    )
    weighting = ChoiceField[str](
        doc="What the weight of a value is.",
        default="exposure",
        allowed={
            "exposure": "inverse of the median variance of its exposure: no bias against stars",
            "pixel": "inverse of its own variance",
            "equal": "the same for all",
        },
    )
    statistics = ConfigField[StatisticsConfig]("Clipping; its method is replaced by weighting.")
    bad_planes = ListField[str]("Planes whose pixels do not count.", default=list(BAD_PLANES))
    minimum_overlap = RangeField(
        "Exposures with a smaller number of good pixels in the patch are left out.", int, 1, min=1
    )

    def setDefaults(self) -> None:
        """Clip by each value's own error, leaving room for the cores of stars."""
        self.statistics.deviation = "error"
        self.statistics.sigma_clip = 5.0
        self.statistics.signal_fraction = 0.3
        self.statistics.iterations = 2


class _Entry(NamedTuple):
    """One row of the table of inputs."""

    name: str
    seconds: float
    zero_point: float
    scale: float
    background: float
    noise: float
    weight: float
    n_pixels: int


class CoaddTask(SuperTask):
    """Resample the exposures of a band to a patch and average them."""

    ConfigClass = CoaddConfig
    default_name = "coadd"
    dimensions = _PATCH

    calexps = Input("calexp", "Exposure", _RAW, multiple=True, defer_load=True)
    coadd = Output("coadd", "Exposure", _PATCH, doc="Average, on the grid of the patch.")
    coadd_inputs = Output("coadd_inputs", "Table", _PATCH, doc="One row per exposure.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.background: Any
        self.make_subtask("background")

    def run_quantum(self, context: QuantumContext) -> None:
        """Coadd what overlaps the patch of this quantum, known by data ID."""
        ordered = InTimeOrder(context, "calexps")
        cards = ordered.dimension_record("patch")["wcs"]
        grid = TanGrid.from_cards(json.loads(cards) if isinstance(cards, str) else cards)
        names = [input_name(ref.data_id) for ref in ordered.refs["calexps"]]
        records = list(ordered.records.get("calexps", ()))
        zero_points = [self._recorded(record) for record in records] or None
        result = self.run(
            ordered.get("calexps"),
            grid=grid,
            names=names,
            zero_points=zero_points,
            band=str(context.data_id["band"]),
        )
        for name in ("coadd", "coadd_inputs"):
            context.put(name, getattr(result, name))

    def run(
        self,
        calexps: Sequence[Any],
        grid: TanGrid | None = None,
        names: Sequence[str] | None = None,
        zero_points: Sequence[float | None] | None = None,
        band: str | None = None,
    ) -> Struct:
        """Coadd exposures.

        Parameters
        ----------
        calexps : sequence of astropy.nddata.CCDData or handles
            With WCS; their uncertainty may be a weight map.
        grid : TanGrid, optional
            The output pixels; by default those that cover all exposures.
        names : sequence of str, optional
            How the inputs are called in header, table and metadata; their number by default.
        zero_points : sequence of float or None, optional
            Zero points that are known better than by the header [mag].
        band : str, optional
            Written into the header.

        Returns
        -------
        Struct
            ``coadd``: CCDData (nJy if scaled to 31.4 mag) with variance, mask and the grid's WCS;
            ``coadd_inputs``: astropy.table.Table with ``name, seconds, zero_point, scale,
            background, noise, weight, n_pixels, n_clipped`` of each input that reaches the grid.

        Raises
        ------
        NoWorkFound
            If none does.
        MissingCard
            If an exposure has no zero point or exposure time to scale by.
        NoSkyCoordinates
            If an exposure has no WCS.
        """
        if grid is None:
            grid = TanGrid.covering(loaded(c) for c in calexps)
        names = list(names or (str(i) for i in range(len(calexps))))
        known = list(zero_points or [None] * len(calexps))
        entries: list[_Entry] = []
        first: Any = None
        bits = np.zeros(grid.shape, dtype=np.int32)
        with FrameStack(len(calexps), self.config.statistics.memory_mb) as stack:
            for name, handle, zero_point in zip(names, calexps, known, strict=True):
                calexp = loaded(handle)
                added = self._add(stack, grid, bits, name, calexp, zero_point)
                if added is not None:
                    first = calexp if first is None else first
                    entries.append(added)
            if not entries:
                raise NoWorkFound("No exposure has good pixels on the grid of this patch.")
            combined = combine_stack(stack, self._statistics(), weights=self._weights(entries))
            covered = np.isfinite(stack.data[: len(entries)]).sum(axis=0)
        bits[combined.n_used == 0] |= bit("NO_DATA")
        bits[combined.n_used > 0] &= ~bit("NO_DATA")
        bits[combined.n_used < covered] |= bit("CLIPPED")
        coadd = make_frame(
            combined.data,
            unit=self._unit(first),
            header={},
            variance=combined.variance,
            mask=bits,
            wcs=grid.wcs(),
        )
        table = self._table(entries, combined.n_clipped)
        self._describe(coadd, table, first, band)
        return Struct(coadd=coadd, coadd_inputs=table)

    def _add(
        self,
        stack: FrameStack,
        grid: TanGrid,
        bits: NDArray[np.int32],
        name: str,
        calexp: CCDData,
        zero_point: float | None,
    ) -> _Entry | None:
        """Put one exposure on the stack; None if it does not reach the grid."""
        from astropy.nddata import VarianceUncertainty

        sky = self.background.run(calexp).background
        seconds, zero, scale = self._scale(calexp, zero_point)
        ready = calexp.copy()
        ready.data = (np.asarray(calexp.data, dtype=float) - sky.level) * scale
        variance = variance_of(calexp)
        variance = np.square(sky.scatter) if variance is None else variance
        ready.uncertainty = VarianceUncertainty(variance * scale**2)
        warped = warp(ready, grid, self.config.kernel, self.config.bad_planes)
        if warped is None or np.count_nonzero(warped.good) < self.config.minimum_overlap:
            return None
        data, errors = np.full(grid.shape, np.nan), np.full(grid.shape, np.inf)
        place = warped.rows, warped.columns
        data[place] = np.where(warped.good, warped.data, np.nan)
        errors[place] = warped.variance
        stack.add(data, errors)
        bits[place] |= np.where(warped.good, warped.mask, 0)
        usable = variance[~bad_pixels(calexp, self.config.bad_planes) & np.isfinite(variance)]
        typical = float(np.median(usable)) * scale**2
        return _Entry(
            name,
            seconds,
            zero,
            scale,
            float(np.median(sky.level)),
            float(np.median(sky.scatter)),
            1.0 / typical if typical > 0 else 1.0,
            int(np.count_nonzero(warped.good)),
        )

    def _scale(self, calexp: CCDData, known: float | None) -> tuple[float, float, float]:
        """Return exposure time [s], zero point [mag] and the factor to the coadd's flux scale."""
        config = self.config
        nan = float("nan")
        seconds = header_number(calexp.meta, config.exposure_time_keys, "exposure time", nan)
        zero = nan if known is None else float(known)
        if not np.isfinite(zero):
            zero = header_number(calexp.meta, config.zero_point_keys, "zero point", nan)
        if config.scaling == "none":
            return seconds, zero, 1.0
        if config.scaling == "exposure_time":
            if not seconds > 0:
                raise MissingCard("exposure time", config.exposure_time_keys)
            return seconds, zero, 1.0 / seconds
        if not np.isfinite(zero):
            raise MissingCard(
                "zero point", config.zero_point_keys, "scaling='exposure_time' does without"
            )
        return seconds, zero, float(10.0 ** (0.4 * (config.zero_point - zero)))

    def _recorded(self, record: Mapping[str, Any]) -> float | None:
        """Find the configured number in an exposure record."""
        name = self.config.zero_point_record
        if not name:
            return None
        extra = record.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        value = record.get(name, extra.get(name))
        return None if value is None else float(value)

    def _statistics(self) -> StatisticsConfig:
        statistics = StatisticsConfig()
        for name in self.config.statistics.keys():  # noqa: SIM118 (a Config is no mapping)
            setattr(statistics, name, getattr(self.config.statistics, name))
        statistics.method = "mean" if self.config.weighting == "equal" else "weighted"
        return statistics

    def _weights(self, entries: list[_Entry]) -> NDArray[np.float64] | None:
        if self.config.weighting != "exposure":
            return None
        return np.array([entry.weight for entry in entries])

    def _unit(self, first: CCDData) -> Any:
        from astropy.units import second

        if self.config.scaling == "zero_point":
            return "nJy" if self.config.zero_point == AB_NANOJANSKY else ""
        return first.unit / second if self.config.scaling == "exposure_time" else first.unit

    def _table(self, entries: list[_Entry], n_clipped: NDArray[np.int64]) -> Table:
        from astropy.table import Table

        table = Table(rows=entries, names=_Entry._fields)
        table["n_clipped"] = n_clipped
        table["seconds"].unit, table["zero_point"].unit = "s", "mag"
        return table

    def _describe(self, coadd: CCDData, table: Table, first: CCDData, band: str | None) -> None:
        """Say in the header what went in, and note what came out."""
        meta = coadd.meta
        filters = [str(first.meta[k]) for k in ("FILTER", "BAND") if k in first.meta]
        if band or filters:
            meta["FILTER"] = (band or filters[0], "band")
        if self.config.scaling == "zero_point":
            meta["MAGZERO"] = (self.config.zero_point, "[mag] magnitude of a flux of 1")
        seconds = float(np.sum(table["seconds"]))
        if np.isfinite(seconds):
            meta["TEXPTIME"] = (seconds, "[s] exposure time of all inputs")
        meta["KERNEL"] = (self.config.kernel, "interpolation between pixels")
        meta["NINPUT"] = (len(table), "number of exposures")
        total = float(np.sum(table["weight"]))
        for number, row in enumerate(table, start=1):
            meta[f"INP{number:05d}"] = str(row["name"])
            key = f"inputs.{str(row['name']).replace('.', '_')}"
            self.metadata[key] = {
                "weight": float(row["weight"]) / total,
                "scale": float(row["scale"]),
                "background": float(row["background"]),
                "n_pixels": int(row["n_pixels"]),
                "n_clipped": int(row["n_clipped"]),
            }
        empty = (coadd.mask & bit("NO_DATA")) != 0
        variance = coadd.uncertainty.array[~empty]
        self.metadata["n_inputs"] = len(table)
        self.metadata["covered_fraction"] = 1.0 - empty.mean()
        self.metadata["n_clipped"] = int(np.sum(table["n_clipped"]))
        self.metadata["noise"] = float(np.sqrt(np.median(variance))) if variance.size else np.nan
        self.log.info("%d exposures, %.0f %% covered.", len(table), 100 * (1 - empty.mean()))
