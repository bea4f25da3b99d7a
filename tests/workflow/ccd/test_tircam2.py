"""TIRCAM2: noise from differences of frames, an outlying exposure, and a galaxy with stars."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.workflow.ccd.real_frames import read
from workflow.ccd import (
    CombineBiasConfig,
    CombineBiasTask,
    CombineFlatConfig,
    CombineFlatTask,
    DetectSourcesConfig,
    DetectSourcesTask,
    IsrConfig,
    IsrTask,
    StackConfig,
    StackTask,
    bad_pixels,
)
from workflow.ccd.frames import robust_sigma

if TYPE_CHECKING:
    from pathlib import Path


def _assembly(config: Any) -> Any:
    config.assembly.overscan = "none"
    # Photon transfer of frames 2 to 5: about 11 electron per ADU; the bias pairs are noisier.
    config.assembly.gain_key = ""
    config.assembly.gains = [11.0]
    config.assembly.read_noises = [20.0]
    return config


@pytest.fixture(scope="module")
def calexps(test_data: Path) -> list[Any]:
    folder = test_data / "dot-tircam2-ic310-2022"
    frames = {
        kind: [read(p) for p in sorted(folder.glob(f"{kind}*.fits.gz"))]
        for kind in ("bias", "flats", "IC310")
    }
    config = _assembly(CombineBiasConfig())
    config.statistics.method, config.statistics.sigma_clip = "median", 0.0
    bias = CombineBiasTask(config).run(frames["bias"]).bias
    config = _assembly(CombineFlatConfig())
    config.statistics.method, config.statistics.sigma_clip = "median", 0.0
    config.apply_gain = False
    flat = CombineFlatTask(config).run(frames["flats"], bias=bias).flat
    config = _assembly(IsrConfig())
    config.apply_gain = False
    config.flat_minimum = 0.3
    return [IsrTask(config).run(f, bias=bias, flat=flat).calexp for f in frames["IC310"]]


@pytest.fixture(scope="module")
def usable(calexps: list[Any]) -> Any:
    return ~np.any([bad_pixels(c) for c in calexps], axis=0)


@pytest.fixture(scope="module")
def pair_sigma(calexps: list[Any], usable: Any) -> float:
    pairs = combinations(calexps[1:], 2)
    return float(np.mean([robust_sigma((a.data - b.data)[usable]) for a, b in pairs]) / 2**0.5)


def test_sigma_of_pair_differences(pair_sigma: float) -> None:
    assert pair_sigma == pytest.approx(4.75, abs=0.05)


def test_difference_of_half_stacks_has_the_same_sigma(
    calexps: list[Any], usable: Any, pair_sigma: float
) -> None:
    even = StackTask().run([calexps[1], calexps[3]]).stack
    odd = StackTask().run([calexps[2], calexps[4]]).stack
    assert robust_sigma((even.data - odd.data)[usable]) == pytest.approx(pair_sigma, rel=0.15)


def test_frame_1_is_found_by_its_metrics(calexps: list[Any]) -> None:
    task = StackTask(StackConfig())
    result = task.run(calexps, names=["1", "2", "3", "4", "5"])
    assert list(result.stack_inputs["outlier"]) == [True, False, False, False, False]
    metrics = task.metadata["inputs"]
    assert metrics["1"]["background"] - metrics["2"]["background"] == pytest.approx(35, abs=5)
    others = [metrics[n]["scatter"] for n in "2345"]
    assert metrics["1"]["scatter"] > 2 * max(others)
    assert result.stack.meta["NCOMBINE"] == 4
    assert result.stack.meta["INP00001"] == "2"


def test_galaxy_and_stars_are_found_in_the_stack(calexps: list[Any]) -> None:
    stack = StackTask().run(calexps).stack
    config = DetectSourcesConfig()
    config.noise = "scatter"
    config.background.box_size = 32
    config.psf_fwhm = 4.0
    config.threshold = 4.5
    config.n_pixels = 10
    sources = DetectSourcesTask(config).run(stack).sources
    # The galaxy, and three stars that can be seen in the picture, by eye to a pixel.
    for x, y in ((266, 315), (123, 112), (333, 232), (330, 498)):
        assert np.hypot(sources["x"] - x, sources["y"] - y).min() < 2.0
    assert np.isnan(sources["ra"]).all()
