"""Which sources does an image show, where are they, and how bright?

Pixels whose matched-filter signal-to-noise ratio is above a threshold make segments (photutils),
touching sources are separated, and each is measured: windowed centroid, flux in a circular
aperture with its error, shape, and the mask planes that it touches.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from lsst.pex.config import ChoiceField, Config, ConfigurableField, Field, ListField, RangeField

from workflow.ccd.background import BackgroundTask
from workflow.ccd.frames import header_number, robust_sigma, variance_of
from workflow.ccd.planes import BAD_PLANES, bad_pixels, bit, mask_of
from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = [
    "DetectCoaddSourcesTask",
    "DetectSourcesConfig",
    "DetectSourcesTask",
    "DetectStackSourcesTask",
]

_RAW = ("instrument", "detector", "exposure")
_STACK = ("instrument", "detector", "physical_filter", "day_obs", "target")
_PATCH = ("skymap", "tract", "patch", "band")
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


class DetectSourcesConfig(Config):
    """How sources are found and measured."""

    background = ConfigurableField[BackgroundTask]("Estimates the sky.", target=BackgroundTask)
    threshold = RangeField("Least signal-to-noise ratio of a pixel.", float, default=5.0, min=0.5)
    n_pixels = RangeField("Least number of connected pixels.", int, default=5, min=1)
    psf_fwhm = RangeField(
        "FWHM of the Gaussian that the image is filtered with [pixel].", float, 2.5, min=0.5
    )
    noise = ChoiceField[str](
        doc="What the noise of a pixel is.",
        default="variance",
        allowed={
            "variance": "the square root of the image's variance, if it has one",
            "scatter": "the scatter about the sky around it, for detectors that leave structure",
        },
    )
    deblend = Field[bool]("Separate touching sources.", default=True)
    deblend_contrast = RangeField(
        "Part of the flux that a peak must have to count as a source of its own.",
        float,
        default=0.005,
        min=0.0,
        max=1.0,
    )
    aperture_radius = RangeField("Radius of the flux aperture [pixel].", float, 6.0, min=0.5)
    border = RangeField("Sources whose centre is nearer to the border are EDGE.", int, 5, min=0)
    ignored_planes = ListField[str](
        "Pixels of these planes are not part of a source.", default=["BAD", "CR", "NO_DATA"]
    )
    zero_point_key = Field[str](
        "Card with the magnitude of one unit of flux; no magnitudes without it.", default="MAGZERO"
    )
    zero_point = Field[float]("Magnitude of one unit of flux, in place of the card.", optional=True)


class DetectSourcesTask(SuperTask):
    """Find and measure the sources of a calibrated exposure."""

    ConfigClass = DetectSourcesConfig
    default_name = "detect"
    dimensions: ClassVar[tuple[str, ...]] = _RAW

    exposure = Input("calexp", "Exposure", _RAW, doc="Image with its sky.")
    sources = Output("sources", "Table", _RAW, doc="One row per source.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.background: Any
        self.make_subtask("background")

    def run(self, exposure: CCDData) -> Struct:
        """Find and measure sources.

        Parameters
        ----------
        exposure : astropy.nddata.CCDData
            With variance and mask, if it has them; without variance, the scatter of the sky is
            taken. Where the sky scatters more over the width of a star than the variance says,
            errors are scaled up accordingly.

        Returns
        -------
        Struct
            ``sources``: astropy.table.Table with columns ``id``; ``x, y`` [pixel, from 0];
            ``ra, dec`` [deg, ICRS; NaN without WCS]; ``flux, flux_err, peak, background`` in the
            unit of the image; ``snr``; ``fwhm, semimajor, semiminor`` [pixel], ``orientation``
            [deg, from x to y], ``ellipticity``; ``n_pixels``; ``flags`` (mask planes in the
            aperture); ``mag, mag_err`` [mag] if there is a zero point.
        """
        data = np.asarray(exposure.data, dtype=float)
        sky = self.background.run(exposure).background
        mask = mask_of(exposure)
        ignored = bad_pixels(exposure, self.config.ignored_planes)
        variance = variance_of(exposure)
        if variance is None or self.config.noise == "scatter":
            variance = np.square(sky.scatter)
        residual = np.where(ignored, 0.0, data - sky.level)
        ratio = _signal_to_noise(residual, variance, ignored, self.config.psf_fwhm)
        # Noise that is correlated (as in a coadd), or larger than the variance says, must neither
        # raise the number of sources nor make their errors too small.
        scale = float(robust_sigma(ratio[~ignored])) if not ignored.all() else 1.0
        self.metadata["noise_scale"] = scale
        ratio /= max(scale, 1.0)
        variance = variance * max(scale, 1.0) ** 2
        segments = self._segments(ratio, ignored, mask)
        if segments is None:
            sources = _empty_catalogue()
        else:
            unreadable = ignored & ((mask & bit("INTRP")) == 0)
            sources = self._measured(
                exposure,
                np.where(unreadable, 0.0, data - sky.level),
                variance,
                unreadable,
                segments,
            )
            sources["background"] = sky.level[_nearest(sources, data.shape)]
            sources["flags"] = self._flags(sources, mask)
        _set_magnitudes(sources, self._zero_point(exposure))
        sources.meta["UNIT"] = str(exposure.unit)
        self._summarize(sources)
        return Struct(sources=sources)

    def _segments(
        self, ratio: NDArray[Any], ignored: NDArray[np.bool_], mask: NDArray[np.int32]
    ) -> Any:
        """Return the segmentation image, or None when nothing is above the threshold."""
        from photutils.segmentation import deblend_sources, detect_sources
        from photutils.utils.exceptions import NoDetectionsWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoDetectionsWarning)
            found = detect_sources(ratio, self.config.threshold, self.config.n_pixels, mask=ignored)
        if found is None:
            return None
        if self.config.deblend:
            found = deblend_sources(
                ratio,
                found,
                self.config.n_pixels,
                contrast=self.config.deblend_contrast,
                progress_bar=False,
            )
        usable = (mask & bit(*BAD_PLANES)) == 0
        real = np.unique(found.data[usable])
        only_masked = np.setdiff1d(found.labels, real)
        found.remove_labels(only_masked)
        self.metadata["n_on_masked_pixels_only"] = len(only_masked)
        return found if found.n_labels else None

    def _measured(
        self,
        exposure: CCDData,
        residual: NDArray[Any],
        variance: NDArray[Any],
        unreadable: NDArray[np.bool_],
        segments: Any,
    ) -> Table:
        """Measure each segment."""
        from astropy.table import Table
        from photutils.aperture import CircularAperture, aperture_photometry
        from photutils.segmentation import SourceCatalog

        error = np.sqrt(np.where(np.isfinite(variance) & ~unreadable, variance, 0.0))
        catalogue = SourceCatalog(residual, segments, error=error, mask=unreadable)
        x, y = (np.atleast_1d(np.asarray(c, dtype=float)) for c in _centroids(catalogue))
        apertures = CircularAperture(np.column_stack([x, y]), self.config.aperture_radius)
        sums = aperture_photometry(residual, apertures, error=error, mask=unreadable)
        flux, flux_err = np.asarray(sums["aperture_sum"]), np.asarray(sums["aperture_sum_err"])
        sources = Table({"id": np.arange(1, len(x) + 1), "x": x, "y": y})
        sources["ra"], sources["dec"] = _sky_positions(exposure.wcs, x, y)
        sources["flux"] = flux
        sources["flux_err"] = flux_err
        sources["snr"] = np.divide(flux, flux_err, out=np.zeros(len(x)), where=flux_err > 0)
        for column, name in (
            ("peak", "max_value"),
            ("fwhm", "fwhm"),
            ("semimajor", "semimajor_axis"),
            ("semiminor", "semiminor_axis"),
            ("orientation", "orientation"),
            ("ellipticity", "ellipticity"),
        ):
            values = getattr(catalogue, name)
            sources[column] = np.atleast_1d(np.asarray(getattr(values, "value", values), float))
        sources["n_pixels"] = np.atleast_1d(np.asarray(segments.areas)).astype(int)
        for name, unit in _UNITS.items():
            sources[name].unit = unit
        for name in ("flux", "flux_err", "peak"):
            sources[name].unit = exposure.unit
        return sources

    def _flags(self, sources: Table, mask: NDArray[np.int32]) -> NDArray[np.int32]:
        """Join the mask planes within each aperture; EDGE near the border."""
        rows, columns = mask.shape
        radius = int(np.ceil(self.config.aperture_radius))
        dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disc = dx**2 + dy**2 <= self.config.aperture_radius**2
        y0, x0 = _nearest(sources, mask.shape)
        y = np.clip(y0[:, np.newaxis] + dy[disc], 0, rows - 1)
        x = np.clip(x0[:, np.newaxis] + dx[disc], 0, columns - 1)
        flags: NDArray[np.int32] = np.bitwise_or.reduce(mask[y, x], axis=1)
        border = self.config.border
        near = (x0 < border) | (y0 < border) | (x0 >= columns - border) | (y0 >= rows - border)
        flags[near] |= bit("EDGE")
        return flags

    def _zero_point(self, exposure: CCDData) -> float:
        if self.config.zero_point is not None:
            return float(self.config.zero_point)
        key = self.config.zero_point_key
        return header_number(exposure.meta, [key], "zero point", default=float("nan"))

    def _summarize(self, sources: Table) -> None:
        clean = sources[(sources["flags"] & bit("SAT", "EDGE", "BAD")) == 0]
        self.metadata["n_sources"] = len(sources)
        self.metadata["n_flagged"] = len(sources) - len(clean)
        bright = clean[clean["snr"] > 20]
        if len(bright):
            self.metadata["median_fwhm"] = float(np.median(bright["fwhm"]))
            self.metadata["median_ellipticity"] = float(np.median(bright["ellipticity"]))
        self.log.info("%d sources.", len(sources))


class DetectStackSourcesTask(DetectSourcesTask):
    """Find and measure the sources of the stack of a night and a target."""

    default_name = "detectStack"
    dimensions = _STACK
    extra_dimensions = ("target",)

    exposure = Input("stack", "Exposure", _STACK, doc="Stacked image.")
    sources = Output("stack_sources", "Table", _STACK, doc="One row per source.")


class DetectCoaddSourcesTask(DetectSourcesTask):
    """Find and measure the sources of a coadd."""

    default_name = "detectCoadd"
    dimensions = _PATCH

    exposure = Input("coadd", "Exposure", _PATCH, doc="Coadd of a patch and band.")
    sources = Output("coadd_sources", "Table", _PATCH, doc="One row per source.")


_UNITS = {
    "x": "pixel", "y": "pixel", "ra": "deg", "dec": "deg", "fwhm": "pixel", "semimajor": "pixel",
    "semiminor": "pixel", "orientation": "deg",
}  # fmt: skip


def _signal_to_noise(
    residual: NDArray[Any], variance: NDArray[Any], ignored: NDArray[np.bool_], fwhm: float
) -> NDArray[np.float64]:
    """Return the signal-to-noise ratio of the matched filter at each pixel.

    With weights w = 1/variance and a Gaussian kernel k, the amplitude of a source of that shape
    is sum(k w d) / sum(k2 w) and its error sum(k2 w)**-0.5.
    """
    from scipy.ndimage import convolve1d

    sigma = fwhm / _FWHM
    radius = int(np.ceil(3.5 * sigma))
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    known = np.isfinite(variance) & (variance > 0) & ~ignored
    weight = np.divide(1.0, variance, out=np.zeros(variance.shape), where=known)

    def filtered(values: NDArray[Any], k: NDArray[Any]) -> NDArray[np.float64]:
        rows = convolve1d(values, k, axis=0, mode="constant")
        both: NDArray[np.float64] = convolve1d(rows, k, axis=1, mode="constant")
        return both

    signal = filtered(residual * weight, kernel)
    noise = filtered(weight, kernel**2)
    return np.divide(signal, np.sqrt(noise), out=np.zeros(signal.shape), where=noise > 0)


def _centroids(catalogue: Any) -> tuple[Any, Any]:
    """Return windowed centroids, or those of the segment where the window walks off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wx, wy = np.atleast_1d(catalogue.x_centroid_win), np.atleast_1d(catalogue.y_centroid_win)
    x, y = np.atleast_1d(catalogue.x_centroid), np.atleast_1d(catalogue.y_centroid)
    lost = ~np.isfinite(wx) | ~np.isfinite(wy) | (np.hypot(wx - x, wy - y) > 2.0)
    return np.where(lost, x, wx), np.where(lost, y, wy)


def _sky_positions(wcs: Any, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
    """Return right ascension and declination [deg, ICRS]; NaN without WCS."""
    if wcs is None or not wcs.has_celestial:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    sky = wcs.celestial.pixel_to_world(x, y).icrs
    return sky.ra.deg, sky.dec.deg


def _nearest(sources: Table, shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return row and column of the pixel that each source's centre lies in."""
    rows = np.clip(np.rint(np.asarray(sources["y"])).astype(int), 0, shape[0] - 1)
    columns = np.clip(np.rint(np.asarray(sources["x"])).astype(int), 0, shape[1] - 1)
    return rows, columns


def _set_magnitudes(sources: Table, zero_point: float) -> None:
    """Add magnitudes; NaN where the flux is not above zero."""
    if not np.isfinite(zero_point):
        return
    flux, error = np.asarray(sources["flux"], float), np.asarray(sources["flux_err"], float)
    bright = flux > 0
    logarithm = np.log10(flux, out=np.full(len(flux), np.nan), where=bright)
    sources["mag"] = zero_point - 2.5 * logarithm
    sources["mag_err"] = np.divide(
        2.5 / np.log(10.0) * error, flux, out=np.full(len(flux), np.nan), where=bright
    )
    sources["mag"].unit = sources["mag_err"].unit = "mag"


def _empty_catalogue() -> Table:
    """Return a catalogue without rows, with the columns of one with rows."""
    from astropy.table import Table

    real = (
        "x", "y", "ra", "dec", "flux", "flux_err", "snr", "peak", "fwhm", "semimajor",
        "semiminor", "orientation", "ellipticity",
    )  # fmt: skip
    names = ["id", *real, "n_pixels", "background", "flags"]
    kinds = [int, *([float] * len(real)), int, float, np.int32]
    table = Table(names=names, dtype=kinds)
    for name, unit in _UNITS.items():
        table[name].unit = unit
    return table
