"""Calibrating one exposure of a made-up CCD, whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from tests.workflow.ccd.real_frames import gaussian, image, raw
from workflow.ccd import (
    CombineBiasTask,
    CombineDarkTask,
    CombineFlatConfig,
    CombineFlatTask,
    IsrConfig,
    IsrTask,
    bit,
)
from workflow.ccd.errors import FrameMismatch, MissingCard, TooFewFrames
from workflow.ccd.planes import PLANES, bad_pixels, mask_of, planes_of
from workflow.ccd.signature import defect_mask

SHAPE = (120, 130)
GAIN, NOISE, DARK = 1.6, 5.0, 0.4
CARDS = {
    "GAIN": GAIN, "RDNOISE": NOISE, "SATURATE": 60000.0, "BIASSEC": "[131:142,1:120]",
    "TRIMSEC": "[1:130,1:120]",
}  # fmt: skip


class Camera:
    """A CCD with overscan, dark current, a pattern in the bias and a response."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
        self.pattern = 3.0 * np.sin(columns / 9.0)
        self.response = (1.0 - 1e-5 * (rows - 60.0) ** 2) * self.rng.normal(1.0, 0.02, SHAPE)
        self.response /= np.median(self.response)

    def frame(self, light: Any = 0.0, seconds: float = 0.0) -> Any:
        electrons = self.rng.poisson(light * self.response + DARK * seconds, SHAPE)
        pixels = np.full((SHAPE[0], SHAPE[1] + 12), 1000.0)
        pixels[:, : SHAPE[1]] += electrons / GAIN + self.pattern
        pixels += self.rng.normal(0.0, NOISE / GAIN, pixels.shape)
        data = np.clip(np.round(pixels), 0, 65535).astype(np.uint16)
        return raw(data, EXPTIME=str(seconds), DARKTIME=seconds, **CARDS)


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera()


@pytest.fixture(scope="module")
def bias(camera: Camera) -> Any:
    return CombineBiasTask().run([camera.frame() for _ in range(25)]).bias


@pytest.fixture(scope="module")
def dark(camera: Camera, bias: Any) -> Any:
    frames = [camera.frame(seconds=s) for s in (300.0, 300.0, 600.0, 300.0, 600.0)]
    return CombineDarkTask().run(frames, bias=bias).dark


@pytest.fixture(scope="module")
def flat(camera: Camera, bias: Any, dark: Any) -> Any:
    config = CombineFlatConfig()
    config.do_dark = True
    frames = [camera.frame(level, 20.0) for level in (30000.0, 40000.0, 20000.0, 30000.0, 35000.0)]
    return CombineFlatTask(config).run(frames, bias=bias, dark=dark).flat


def test_calibrations_are_the_truth_within_their_errors(
    camera: Camera, bias: Any, dark: Any, flat: Any
) -> None:
    for product, truth in ((bias, camera.pattern), (dark, DARK), (flat, camera.response)):
        pull = (product.data - truth) / np.sqrt(product.uncertainty.array)
        level = np.median(product.data - truth)
        assert level == pytest.approx(0.0, abs=6 * pull.std() * np.median(product.uncertainty.array)
                                      ** 0.5 / 20)  # fmt: skip
        assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert str(bias.unit) == "adu"
    assert str(dark.unit) == "electron / s"
    assert str(flat.unit) == ""


def test_exposure_is_the_truth_within_its_errors(
    camera: Camera, bias: Any, dark: Any, flat: Any
) -> None:
    light = 400.0 + gaussian(SHAPE, 60.3, 50.7, 2e5, fwhm=4.0)
    config = IsrConfig()
    config.do_dark = True
    task = IsrTask(config)
    calexp = task.run(camera.frame(light, 120.0), bias=bias, dark=dark, flat=flat).calexp
    pull = (calexp.data - light) / np.sqrt(calexp.uncertainty.array)
    assert np.median(pull) == pytest.approx(0.0, abs=0.1)
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert calexp.data.dtype == np.float32
    assert task.metadata["noise"] == pytest.approx(task.metadata["expected_noise"], rel=0.05)
    assert task.metadata["background"] == pytest.approx(400.0, abs=3.0)
    assert task.metadata["exposure_seconds"] == 120.0
    assert planes_of(calexp.meta) == PLANES
    assert "BIASSEC" not in calexp.meta
    assert calexp.meta["DID_FLAT"] is True


def test_cosmic_rays_are_found_and_stars_are_not(camera: Camera, bias: Any, flat: Any) -> None:
    light = 300.0 + sum(
        gaussian(SHAPE, x, y, 3e4, 3.0) for x, y in ((30, 30), (90.4, 40.2), (60.7, 95.1))
    )
    frame = camera.frame(light, 10.0)
    hits = [(20, 80), (21, 80), (22, 81), (70, 20), (100, 100), (110, 64), (110, 65)]
    frame.data = frame.data.copy()
    for y, x in hits:
        frame.data[y, x] += 1500
    config = IsrConfig()
    config.do_cosmic_rays = True
    task = IsrTask(config)
    calexp = task.run(frame, bias=bias, flat=flat).calexp
    found = (calexp.mask & bit("CR")) != 0
    assert all(found[y, x] for y, x in hits)
    assert found.sum() <= 2 * len(hits)
    assert task.metadata["n_cosmic_ray_pixels"] == found.sum()
    left = calexp.data[tuple(np.transpose(hits))] - 300.0
    assert np.abs(left).max() < 100


def test_defects_and_dead_pixels_of_the_flat(camera: Camera, bias: Any, flat: Any) -> None:
    frame = camera.frame(500.0, 10.0)
    defects = Table({"x0": [10, -3], "y0": [5, 0], "width": [2, 5], "height": [200, 4]})
    spoiled = flat.copy()
    spoiled.data = flat.data.copy()
    spoiled.data[100, 100] = 0.0
    config = IsrConfig()
    config.do_defects = True
    task = IsrTask(config)
    calexp = task.run(frame, bias=bias, flat=spoiled, defects=defects).calexp
    bad = (calexp.mask & bit("BAD")) != 0
    assert task.metadata["n_defect_pixels"] == 2 * 115 + 2 * 4
    assert bad.sum() == 2 * 115 + 2 * 4 + 1
    assert calexp.mask[100, 100] & bit("NO_DATA")
    assert bad_pixels(calexp).sum() == bad.sum()
    assert np.abs(calexp.data[bad] - 500.0).max() < 120


def test_tables_of_regions_count_from_one() -> None:
    regions = Table(
        {
            "X": [3.0, 6.0],
            "Y": [2.0, 5.0],
            "SHAPE": ["POINT", "BOX"],
            "R": [[9.0, 9.0], [1.0, 3.0]],
        }
    )
    mask = defect_mask(regions, (8, 8))
    assert np.argwhere(mask).tolist() == [[1, 2], [3, 5], [4, 5], [5, 5]]
    with pytest.raises(FrameMismatch, match="columns of the defects"):
        defect_mask(Table({"a": [1]}), (8, 8))


def test_calibrations_that_do_not_fit_are_refused(camera: Camera, bias: Any, dark: Any) -> None:
    frame = camera.frame(100.0, 10.0)
    with pytest.raises(FrameMismatch, match="same window"):
        IsrTask().run(frame, bias=bias[:50])
    config = IsrConfig()
    config.apply_gain = False
    with pytest.raises(FrameMismatch, match="apply_gain"):
        IsrTask(config).run(frame, bias=bias, dark=dark)
    del frame.meta["DARKTIME"], frame.meta["EXPTIME"]
    with pytest.raises(MissingCard, match="dark time"):
        IsrTask().run(frame, bias=bias, dark=dark)


def test_too_few_frames(camera: Camera) -> None:
    config = CombineBiasTask.ConfigClass()
    config.skip_first = 4
    with pytest.raises(TooFewFrames, match="5 frames with 4 left out"):
        CombineBiasTask(config).run([camera.frame() for _ in range(5)])


def test_saturated_flats_are_left_out(camera: Camera, bias: Any) -> None:
    frames = [camera.frame(level, 1.0) for level in (20000.0, 120000.0, 21000.0)]
    task = CombineFlatTask()
    flat = task.run(frames, bias=bias).flat
    assert flat.meta["NCOMBINE"] == 2
    assert task.metadata["n_left_out"] == 1


def test_masks_of_other_makers() -> None:
    data = np.zeros((1, 3))
    foreign = image(data, mask=np.array([[1, 2, 4]], dtype=np.int32))
    for key in [k for k in foreign.meta if k.startswith("MP_")]:
        del foreign.meta[key]
    assert bad_pixels(foreign).tolist() == [[True, True, True]]
    foreign.meta["MP_SAT"], foreign.meta["MP_EDGE"] = 0, 1
    assert bad_pixels(foreign).tolist() == [[True, False, False]]
    assert mask_of(foreign).tolist() == [[bit("SAT"), bit("EDGE"), 0]]
