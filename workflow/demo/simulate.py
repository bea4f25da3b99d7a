"""What would a small camera see of a known star field, and what does it write?

Four CCDs with overscan, two filters, two nights: biases, darks, flats and dithered science
frames, with read noise, dark current, vignetting, pixel response, bad columns, cosmic rays and
photon noise. The same seed gives the same files, pixel by pixel.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astropy.io.fits import Header
    from astropy.table import Table
    from numpy.typing import NDArray

__all__ = ["CENTRE", "NIGHTS", "PIXEL_SCALE", "Truth", "simulate"]

SIZE = 256
"""Pixels of a CCD on each side."""
OVERSCAN = 16
"""Columns of overscan."""
GAP = 8
"""Pixels between the CCDs of the 2 x 2 mosaic."""
PIXEL_SCALE = 0.4
"""[arcsec]"""
CENTRE = (150.10, 2.20)
"""Centre of the field, ICRS [deg]."""
NIGHTS = (20250310, 20250311)
FILTERS = {"Demo g": ("g", 25.0, 60.0), "Demo r": ("r", 25.3, 110.0)}
"""Band, zero point [mag for 1 electron/s], sky [electron in a frame] of each filter."""
EXPOSURE_TIME = 60.0
"""Of science frames [s]."""
DARK_TIME = 120.0
"""Of dark frames [s]."""
SEEING = 1.1
"""Full width at half maximum of a star [arcsec]."""
SATURATION = 60000
"""[adu]"""
N_STARS = 160
N_COSMIC_RAYS = 12
BRIGHTEST = (30.0, 35.0, 14.2, 13.9)
"""A star that saturates: east and north of the centre [arcsec], magnitudes in g and r."""

_TYPES = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "OBJECT"}
_DITHERS = ((0.0, 0.0), (7.3, -4.9), (-6.1, 8.2))


@dataclass(frozen=True)
class _Detector:
    """What is particular to one CCD."""

    number: int
    bias: float
    gain: float
    read_noise: float
    dark: float
    response: NDArray[np.float64]
    bad_columns: tuple[tuple[int, int], ...]

    @property
    def corner(self) -> tuple[float, float]:
        """Position of its first pixel in the mosaic, from the centre [pixel]."""
        column, row = (self.number - 1) % 2, (self.number - 1) // 2
        return (
            -SIZE - GAP / 2 if column == 0 else GAP / 2,
            -SIZE - GAP / 2 if row == 0 else GAP / 2,
        )


@dataclass(frozen=True)
class Truth:
    """What was put into the frames.

    Parameters
    ----------
    stars : astropy.table.Table
        ra, dec (ICRS [deg]), mag_g, mag_r (AB [mag]).
    detectors : dict of int to dict
        By number: bias [adu], gain [electron/adu], read_noise [electron], dark [electron/s],
        response (array, shape (256, 256)).
    cosmic_rays : astropy.table.Table
        exposure, detector, x, y (pixel, counted from 0), electrons, of each pixel that was hit.
    n_files : int
        Raw files written.
    """

    stars: Table
    detectors: dict[int, dict[str, Any]]
    cosmic_rays: Table
    n_files: int


def simulate(
    folder: Path, seed: int = 20250310, progress: Callable[[int, int], None] | None = None
) -> Truth:
    """Write the raw frames of both nights below a folder.

    Parameters
    ----------
    folder : Path
        ``raw/<night>/*.fits`` and ``defects/*.ecsv`` are made in it, and ``truth/*.ecsv``.
    seed : int
        The same seed gives the same files.
    progress : callable, optional
        Called with how many exposures are done, of how many.

    Returns
    -------
    Truth
    """
    from astropy.table import Table

    rng = np.random.default_rng(seed)
    detectors = [_detector(n, rng) for n in range(1, 5)]
    stars = _stars(rng)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    stars.write(folder / "truth" / "stars.ecsv", overwrite=True)
    (folder / "defects").mkdir(exist_ok=True)
    for d in detectors:
        boxes = Table(
            rows=[(x, 0, w, SIZE) for x, w in d.bad_columns],
            names=("x0", "y0", "width", "height"),
            dtype=(int, int, int, int),
        )
        boxes.write(folder / "defects" / f"defects_D{d.number}.ecsv", overwrite=True)
    plan = [(night, n, *what) for night in NIGHTS for n, what in enumerate(_plan(night), 1)]
    hits: list[tuple[int, int, int, int, float]] = []
    for done, (night, seq, kind, name, dither) in enumerate(plan, 1):
        for d in detectors:
            new = _write(folder, night, seq, kind, name, dither, d, stars, rng)
            hits += [(night * 10000 + seq, d.number, *hit) for hit in new]
        if progress is not None:
            progress(done, len(plan))
    cosmic_rays = Table(
        rows=hits,
        names=("exposure", "detector", "x", "y", "electrons"),
        dtype=(np.int64, int, int, int, float),
    )
    cosmic_rays.write(folder / "truth" / "cosmic_rays.ecsv", overwrite=True)
    facts = {
        d.number: {
            "bias": d.bias,
            "gain": d.gain,
            "read_noise": d.read_noise,
            "dark": d.dark,
            "response": d.response,
        }
        for d in detectors
    }
    return Truth(stars, facts, cosmic_rays, len(plan) * len(detectors))


def _plan(night: int) -> list[tuple[str, str | None, tuple[float, float]]]:
    """List a night's exposures: kind, filter, dither [arcsec]; darks in the first night only."""
    none = (0.0, 0.0)
    plan: list[tuple[str, str | None, tuple[float, float]]] = [("bias", None, none)] * 5
    if night == NIGHTS[0]:
        plan += [("dark", None, none)] * 3
    for name in FILTERS:
        plan += [("flat", name, none)] * 4
    for name in FILTERS:
        plan += [("science", name, dither) for dither in _DITHERS]
    return plan


def _detector(number: int, rng: np.random.Generator) -> _Detector:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    column, row = (number - 1) % 2, (number - 1) // 2
    x_away = (x - (SIZE if column == 0 else 0)) / SIZE
    y_away = (y - (SIZE if row == 0 else 0)) / SIZE
    vignetting = 1.0 - 0.12 * (x_away**2 + y_away**2)
    response = vignetting * rng.normal(1.0, 0.01, (SIZE, SIZE))
    columns = tuple((int(c), 1 + n) for n, c in enumerate(rng.integers(20, SIZE - 20, 2)))
    return _Detector(
        number,
        bias=1000.0 + 15.0 * number,
        gain=1.5 + 0.1 * number,
        read_noise=4.0 + 0.3 * number,
        dark=0.05,
        response=response / np.median(response),
        bad_columns=columns,
    )


def _stars(rng: np.random.Generator) -> Table:
    from astropy.table import Table

    half = (SIZE + 20) * PIXEL_SCALE / 3600
    ra = CENTRE[0] + rng.uniform(-half, half, N_STARS) / np.cos(np.deg2rad(CENTRE[1]))
    dec = CENTRE[1] + rng.uniform(-half, half, N_STARS)
    mag = 22.0 - rng.exponential(1.6, N_STARS).clip(0.0, 5.5)
    stars = Table(
        {"ra": ra, "dec": dec, "mag_g": mag + rng.normal(0.5, 0.2, N_STARS), "mag_r": mag},
        units={"ra": "deg", "dec": "deg", "mag_g": "mag", "mag_r": "mag"},
    )
    east, north, mag_g, mag_r = BRIGHTEST
    east_deg = east / 3600 / np.cos(np.deg2rad(CENTRE[1]))
    stars.add_row((CENTRE[0] + east_deg, CENTRE[1] + north / 3600, mag_g, mag_r))
    return stars


def _write(
    folder: Path,
    night: int,
    seq: int,
    kind: str,
    name: str | None,
    dither: tuple[float, float],
    detector: _Detector,
    stars: Table,
    rng: np.random.Generator,
) -> list[tuple[int, int, float]]:
    """Write one raw file and return its cosmic rays: x, y, electrons."""
    from astropy.io import fits

    seconds = {"bias": 0.0, "dark": DARK_TIME, "flat": 5.0, "science": EXPOSURE_TIME}[kind]
    header = _header(night, seq, kind, name, dither, detector, seconds)
    light = np.zeros((SIZE, SIZE))
    if kind == "flat":
        light += 30000.0
    elif kind == "science" and name is not None:
        light += FILTERS[name][2]
        light += _starlight(header, stars, name)
    electrons = rng.poisson(light * detector.response + detector.dark * seconds).astype(float)
    hits = _add_cosmic_rays(electrons, rng) if kind in ("dark", "science") else []
    for x, width in detector.bad_columns:
        electrons[:, x : x + width] = 0.0 if x % 2 else 80000.0
    pixels = np.full((SIZE, SIZE + OVERSCAN), detector.bias)
    pixels += rng.normal(0.0, detector.read_noise / detector.gain, pixels.shape)
    pixels[:, :SIZE] += electrons / detector.gain
    raw = np.round(pixels).clip(0, SATURATION).astype(np.uint16)
    target = folder / "raw" / str(night) / f"democam_{night}_{seq:04d}_D{detector.number}.fits"
    target.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(raw, header).writeto(target, overwrite=True)
    return hits


def _header(
    night: int,
    seq: int,
    kind: str,
    name: str | None,
    dither: tuple[float, float],
    detector: _Detector,
    seconds: float,
) -> Header:
    from astropy.io.fits import Header

    evening = dt.datetime.strptime(str(night), "%Y%m%d").replace(tzinfo=dt.UTC)
    begin = evening + dt.timedelta(hours=22 if kind != "science" else 27, minutes=3 * seq)
    end = begin + dt.timedelta(seconds=seconds)
    objects = {"bias": "bias", "dark": "dark", "flat": "dome flat", "science": "DEMO FIELD 1"}
    cards: dict[str, Any] = {
        "INSTRUME": "DemoCam",
        "TELESCOP": "SKYSPINE-1.0M",
        "OBSERVER": "simulator",
        "PROGRAM": "demo",
        "OBSTYPE": _TYPES[kind],
        "OBJECT": objects[kind],
        "FILTER": name or "NONE",
        "CCDNUM": detector.number,
        "CHIPID": f"D{detector.number}",
        "EXPID": night * 10000 + seq,
        "OBSID": f"DC_{night}_{seq:04d}",
        "SEQNUM": seq,
        "EXPTIME": seconds,
        "DARKTIME": seconds,
        "DATE-OBS": begin.strftime("%Y-%m-%dT%H:%M:%S.000"),
        "DATE-END": end.strftime("%Y-%m-%dT%H:%M:%S.000"),
        "MJD-OBS": _mjd(begin),
        "MJD-END": _mjd(end),
        "TIMESYS": "UTC",
        "GAIN": detector.gain,
        "RDNOISE": detector.read_noise,
        "SATURATE": SATURATION - 1,
        "BIASSEC": f"[{SIZE + 1}:{SIZE + OVERSCAN},1:{SIZE}]",
        "DATASEC": f"[1:{SIZE},1:{SIZE}]",
        "TRIMSEC": f"[1:{SIZE},1:{SIZE}]",
        "BUNIT": "adu",
    }
    if kind == "science" and name is not None:
        scale = PIXEL_SCALE / 3600
        x, y = detector.corner
        ra = CENTRE[0] + dither[0] / 3600 / np.cos(np.deg2rad(CENTRE[1]))
        dec = CENTRE[1] + dither[1] / 3600
        cards |= {
            "RA": ra,
            "DEC": dec,
            "AIRMASS": 1.1 + 0.01 * seq,
            "MAGZERO": FILTERS[name][1] + 2.5 * np.log10(EXPOSURE_TIME),
            "RADESYS": "ICRS",
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": ra,
            "CRVAL2": dec,
            "CRPIX1": 0.5 - x,
            "CRPIX2": 0.5 - y,
            "CD1_1": -scale,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": scale,
        }
    return Header([(k, float(v) if isinstance(v, np.floating) else v) for k, v in cards.items()])


def _mjd(moment: dt.datetime) -> float:
    return (moment - dt.datetime(1858, 11, 17, tzinfo=dt.UTC)) / dt.timedelta(1)


def _starlight(header: Header, stars: Table, name: str) -> NDArray[np.float64]:
    """Paint the stars as Gaussians whose sum is their flux [electron]."""
    from astropy.wcs import WCS

    band, zero_point, _ = FILTERS[name]
    x, y = WCS(header).all_world2pix(stars["ra"], stars["dec"], 0)
    flux = EXPOSURE_TIME * 10 ** (-0.4 * (np.asarray(stars[f"mag_{band}"]) - zero_point))
    sigma = SEEING / PIXEL_SCALE / 2.3548
    image = np.zeros((SIZE, SIZE))
    reach = int(np.ceil(6 * sigma))
    for x0, y0, f in zip(x, y, flux, strict=True):
        i, j = round(float(x0)), round(float(y0))
        if not (-reach <= i < SIZE + reach and -reach <= j < SIZE + reach):
            continue
        i0, i1 = max(i - reach, 0), min(i + reach + 1, SIZE)
        j0, j1 = max(j - reach, 0), min(j + reach + 1, SIZE)
        if i0 >= i1 or j0 >= j1:
            continue
        gx = np.exp(-0.5 * ((np.arange(i0, i1) - x0) / sigma) ** 2)
        gy = np.exp(-0.5 * ((np.arange(j0, j1) - y0) / sigma) ** 2)
        image[j0:j1, i0:i1] += f / (2 * np.pi * sigma**2) * np.outer(gy, gx)
    return image


def _add_cosmic_rays(
    electrons: NDArray[np.float64], rng: np.random.Generator
) -> list[tuple[int, int, float]]:
    """Add short tracks of a few pixels; return x, y and electrons of each pixel."""
    hits = []
    for _ in range(rng.poisson(N_COSMIC_RAYS)):
        x, y = rng.uniform(5, SIZE - 5, 2)
        angle, length = rng.uniform(0, np.pi), rng.integers(1, 6)
        for step in range(length):
            i, j = int(x + step * np.cos(angle)), int(y + step * np.sin(angle))
            if 0 <= i < SIZE and 0 <= j < SIZE:
                added = rng.uniform(800, 5000)
                electrons[j, i] += added
                hits.append((i, j, added))
    return hits
