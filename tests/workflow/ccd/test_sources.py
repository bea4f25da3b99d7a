"""Background, detection, stacks and coadds of made-up skies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.workflow.ccd.real_frames import gaussian, image
from workflow.ccd import (
    BackgroundConfig,
    CoaddConfig,
    CoaddTask,
    DetectSourcesConfig,
    DetectSourcesTask,
    StackConfig,
    StackTask,
    TanGrid,
    bit,
)
from workflow.ccd.background import estimate_background
from workflow.ccd.errors import FrameMismatch, MissingCard, TooFewFrames
from workflow.errors import NoWorkFound

SHAPE = (200, 220)
GRID = TanGrid.centred(150.0, 2.0, 0.4, *SHAPE)
STARS = [(30.3, 40.8, 3e4), (120.0, 60.5, 8e3), (70.7, 150.2, 3e3), (180.4, 170.9, 1.5e4),
         (150.6, 110.1, 9e4), (40.2, 100.4, 2e3)]  # fmt: skip


def _sky(seed: int = 0, sky: float = 200.0, scale: float = 1.0, **more: Any) -> Any:
    """Draw the stars on a sky, with photon noise."""
    rng = np.random.default_rng(seed)
    light = np.full(SHAPE, sky)
    for x, y, flux in STARS:
        light += scale * gaussian(SHAPE, x, y, flux)
    return image(rng.poisson(light).astype(float), GRID, variance=light + 1e-9, **more)


def test_a_sloping_sky_is_followed_beneath_stars() -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slope = 300.0 + 0.5 * columns + 0.2 * rows
    data = _sky().data + slope
    sky = estimate_background(data, np.zeros(SHAPE, dtype=bool), BackgroundConfig(box_size=40))
    assert np.abs(sky.level - slope - 200.0).max() < 8
    assert np.median(sky.level - slope) == pytest.approx(200.0, abs=1.0)
    assert np.median(sky.scatter) == pytest.approx(np.sqrt(200.0), rel=0.1)


def test_masked_pixels_are_no_sky() -> None:
    data, bad = np.full((64, 64), 5.0), np.zeros((64, 64), dtype=bool)
    data[:, :20], bad[:, :20] = 1e5, True
    for method in ("mesh", "constant"):
        config = BackgroundConfig(box_size=16, method=method)
        assert np.abs(estimate_background(data, bad, config).level - 5.0).max() < 1e-6
    everything = np.ones((64, 64), dtype=bool)
    assert (estimate_background(data, everything, BackgroundConfig()).level == 0).all()


def test_every_star_is_found_with_its_place_flux_and_error() -> None:
    pulls, offsets = [], []
    for seed in range(4):
        config = DetectSourcesConfig()
        config.zero_point = 25.0
        sources = DetectSourcesTask(config).run(_sky(seed)).sources
        assert len(sources) == len(STARS)
        for x, y, flux in STARS:
            row = sources[int(np.argmin(np.hypot(sources["x"] - x, sources["y"] - y)))]
            # An aperture of 6 pixels holds all but 1e-4 of a star of 3 pixels.
            pulls.append((row["flux"] - flux) / row["flux_err"])
            offsets.append(np.hypot(row["x"] - x, row["y"] - y))
            sky = GRID.wcs().pixel_to_world(row["x"], row["y"])
            assert (row["ra"], row["dec"]) == pytest.approx((sky.ra.deg, sky.dec.deg), abs=1e-9)
            assert row["mag"] == pytest.approx(25.0 - 2.5 * np.log10(row["flux"]))
            if flux > 1e4:
                assert row["fwhm"] == pytest.approx(3.0, rel=0.15)
                assert row["snr"] == pytest.approx(flux / np.sqrt(flux + 200 * 113), rel=0.05)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.4)
    assert np.median(offsets) < 0.05


def test_pure_noise_has_no_sources() -> None:
    rng = np.random.default_rng(8)
    blank = image(rng.normal(100.0, 5.0, SHAPE), GRID, variance=25.0)
    task = DetectSourcesTask()
    sources = task.run(blank).sources
    assert len(sources) == 0
    assert task.metadata["n_sources"] == 0
    assert task.metadata["noise_scale"] == pytest.approx(1.0, abs=0.1)
    assert {"ra", "dec", "flux", "flux_err", "snr", "flags"} <= set(sources.colnames)


def test_sources_only_on_masked_pixels_are_none() -> None:
    exposure = _sky()
    exposure.data = exposure.data.copy()
    exposure.data[:, 100] += 5000.0
    mask = np.zeros(SHAPE, dtype=np.int32)
    mask[:, 100] = bit("BAD")
    exposure.data[20:24, 200:204] += 50000.0
    mask[10:34, 190:214] = bit("SAT")
    exposure.mask = mask
    task = DetectSourcesTask()
    sources = task.run(exposure).sources
    assert len(sources) == len(STARS)
    assert task.metadata["n_on_masked_pixels_only"] == 1
    assert np.abs(sources["x"] - 100).min() > 10


def test_flags_name_what_an_aperture_touches() -> None:
    exposure = _sky()
    mask = np.zeros(SHAPE, dtype=np.int32)
    mask[60, 123], mask[150, 68] = bit("CR", "INTRP"), bit("SAT")
    exposure.mask = mask
    sources = DetectSourcesTask().run(exposure).sources
    flags = {
        (x, y): int(sources["flags"][np.argmin(np.hypot(sources["x"] - x, sources["y"] - y))])
        for x, y, _ in STARS
    }
    assert flags[120.0, 60.5] == bit("CR", "INTRP")
    assert flags[70.7, 150.2] == bit("SAT")
    assert flags[30.3, 40.8] == 0


def test_stack_is_as_deep_as_its_inputs_together() -> None:
    task = StackTask(StackConfig())
    frames = [_sky(seed) for seed in range(5)]
    frames[3].data[100, 100] += 4000.0
    result = task.run(frames)
    truth = np.mean([f.uncertainty.array for f in frames], axis=0)
    pull = (result.stack.data - truth) / np.sqrt(result.stack.uncertainty.array)
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert result.stack.mask[100, 100] & bit("CLIPPED")
    assert abs(result.stack.data[100, 100] - 200.0) < 40
    assert result.stack_inputs["n_clipped"][3] >= 1
    assert task.metadata["n_combined"] == 5


def test_stack_of_exposures_of_different_length() -> None:
    frames = [_sky(1, sky=200.0), _sky(2, sky=600.0, scale=3.0)]
    frames[1].meta["EXPTIME"] = 30.0
    config = StackConfig()
    config.per_second = True
    config.statistics.method = "weighted"
    stack = StackTask(config).run(frames).stack
    assert np.median(stack.data) == pytest.approx(20.0, rel=0.01)
    assert str(stack.unit) == "electron / s"
    del frames[0].meta["EXPTIME"]
    with pytest.raises(MissingCard, match="exposure time"):
        StackTask(config).run(frames)


def test_stack_says_why_it_cannot() -> None:
    config = StackConfig()
    config.minimum_frames = 3
    with pytest.raises(TooFewFrames):
        StackTask(config).run([_sky(1), _sky(2)])
    other = _sky(3)
    other.unit = "adu"
    with pytest.raises(FrameMismatch, match="units of the exposures"):
        StackTask().run([_sky(1), other])


def test_coadd_brings_exposures_to_one_zero_point() -> None:
    # The second exposure has twice the throughput: half a magnitude and a quarter more.
    exposures = [
        _sky(1, MAGZERO=25.0),
        _sky(2, sky=400.0, scale=2.0, MAGZERO=25.0 + 2.5 * np.log10(2.0)),
        _sky(3, MAGZERO=25.0),
    ]
    config = CoaddConfig()
    config.zero_point = 25.0
    task = CoaddTask(config)
    result = task.run(exposures, grid=GRID, names=["a", "b", "c"], band="r")
    assert result.coadd_inputs["scale"].tolist() == pytest.approx([1.0, 0.5, 1.0])
    # Twice the throughput is twice the inverse variance.
    weights = [task.metadata[f"inputs.{n}.weight"] for n in "abc"]
    assert weights == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    sources = DetectSourcesTask().run(result.coadd).sources
    for x, y, flux in STARS:
        row = sources[int(np.argmin(np.hypot(sources["x"] - x, sources["y"] - y)))]
        assert abs(row["flux"] - flux) < 4 * row["flux_err"] + 0.01 * flux
        assert row["mag"] == pytest.approx(25 - 2.5 * np.log10(flux), abs=0.2)


def test_coadd_rejects_what_one_exposure_alone_shows() -> None:
    exposures = [_sky(seed, MAGZERO=31.4) for seed in range(4)]
    exposures[2].data[50:53, 90:93] += 3000.0
    coadd = CoaddTask().run(exposures, grid=GRID).coadd
    assert np.abs(coadd.data[50:53, 90:93]).max() < 60
    assert (coadd.mask[50:53, 90:93] & bit("CLIPPED") != 0).all()
    assert str(coadd.unit) == "nJy"
    # The cores of stars are not taken for outliers.
    for x, y, _ in STARS:
        assert not coadd.mask[round(y), round(x)] & bit("CLIPPED")


def test_coadd_says_why_it_cannot() -> None:
    with pytest.raises(MissingCard, match="zero point"):
        CoaddTask().run([_sky(1)], grid=GRID)
    elsewhere = TanGrid.centred(10.0, 2.0, 0.4, 50, 50)
    with pytest.raises(NoWorkFound):
        CoaddTask().run([_sky(1, MAGZERO=25.0)], grid=elsewhere)
