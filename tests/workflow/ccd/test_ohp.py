"""The observers' own masters of OHP T152 come out of the raw frames, to the last digit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from tests.workflow.ccd.real_frames import read
from workflow.ccd import (
    CombineBiasConfig,
    CombineBiasTask,
    CombineFlatConfig,
    CombineFlatTask,
    IsrConfig,
    IsrTask,
    StackConfig,
    StackTask,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(test_data: Path) -> Path:
    return test_data / "ohp-t152-longslit-2022"


def _assembly(config: Any) -> Any:
    """Card GAIN is an index of the controller; gain and noise are from the observers' notes."""
    config.assembly.overscan = "none"
    config.assembly.gain_key = ""
    config.assembly.gains = [0.945]
    config.assembly.read_noises = [2.76]
    return config


def _bias(folder: Path, nights: str = "*") -> Any:
    config = _assembly(CombineBiasConfig())
    config.statistics.sigma_clip = 7.0
    task = CombineBiasTask(config)
    frames = [read(p) for p in sorted((folder / "bias").glob(f"Bias_M2_ML_{nights}"))]
    return task.run(frames).bias


def _flats(folder: Path, night: str) -> list[Any]:
    return [read(p) for p in sorted((folder / night / "calibration").glob("Flat_*"))]


def _flat(frames: list[Any], bias: Any) -> Any:
    config = _assembly(CombineFlatConfig())
    config.skip_first = 2
    config.clip_scaled = False
    config.apply_gain = False
    return CombineFlatTask(config).run(frames, bias=bias).flat


def _reference(folder: Path, night: str, name: str, hdu: int = 0) -> Any:
    return fits.getdata(folder / night / "reference" / f"{name}.fits.gz", hdu)


@pytest.fixture(scope="module")
def bias(folder: Path) -> Any:
    return _bias(folder)


def test_bias_of_all_nights_is_the_reference(folder: Path, bias: Any) -> None:
    difference = np.abs(bias.data - _reference(folder, "2022-09-20", "master_bias"))
    assert difference.max() == 0.0
    assert bias.meta["NCOMBINE"] == 32
    assert bias.meta["FRAME"] == "2022-09-19T19:47:40.000"
    assert bias.unit == "adu"


def test_variance_of_the_bias_is_its_scatter(bias: Any) -> None:
    predicted = np.sqrt(np.median(bias.uncertainty.array))
    measured = np.std(bias.data - np.median(bias.data, axis=0))
    assert measured == pytest.approx(predicted, rel=0.08)


@pytest.mark.parametrize(("night", "limit"), [("2022-09-20", 0.0015), ("2022-09-22", 0.0003)])
def test_flats_with_the_bias_of_all_nights(
    folder: Path, bias: Any, night: str, limit: float
) -> None:
    reference = _reference(folder, night, "master_flat")
    flat = _flat(_flats(folder, night), bias)
    lit = reference > 0.3
    relative = np.abs(flat.data - reference)[lit] / reference[lit]
    assert np.median(relative) <= limit
    assert flat.meta["NCOMBINE"] == 8
    assert flat.meta["NSKIPPED"] == 2


def test_flat_of_the_20th_without_rejected_frames_is_the_reference(folder: Path, bias: Any) -> None:
    # Copies of the first and the last flat are called Rejected_: the observers did not use them.
    flat = _flat(_flats(folder, "2022-09-20")[1:-1], bias)
    assert np.abs(flat.data - _reference(folder, "2022-09-20", "master_flat")).max() < 1e-14


def test_flat_of_the_22nd_with_the_bias_of_its_night_is_the_reference(folder: Path) -> None:
    flat = _flat(_flats(folder, "2022-09-22"), _bias(folder, "Thu*"))
    reference = _reference(folder, "2022-09-22", "master_flat")
    assert np.abs(flat.data - reference).max() < 1e-14
    # The observers took the scatter of 8 frames over sqrt(8); ours is propagated from photons.
    scatter = _reference(folder, "2022-09-22", "master_flat", 2)
    ratio = np.median(np.sqrt(flat.uncertainty.array) / scatter)
    assert ratio == pytest.approx(1.0, abs=0.15)


def test_exposures_of_m76_of_a_night(folder: Path, bias: Any) -> None:
    flat = _flat(_flats(folder, "2022-09-20")[1:-1], bias)
    config = _assembly(IsrConfig())
    config.flat_minimum = 0.05
    config.apply_gain = False
    exposures = []
    for path in sorted((folder / "2022-09-20" / "raw").glob("M76_*")):
        isr = IsrTask(config)
        exposures.append(isr.run(read(path), bias=bias, flat=flat).calexp)
        assert isr.metadata["exposure_seconds"] == 1200.0
        assert exposures[-1].data.shape == (100, 2048)
    config = StackConfig()
    config.reject_outliers = False
    task = StackTask(config)
    stack = task.run(exposures, names=[str(n) for n in range(6)])
    assert stack.stack.meta["NCOMBINE"] == 6
    assert stack.stack.meta["TEXPTIME"] == 7200.0
    # Cosmic rays of 20 minutes are clipped: pixels that one input has far above the others.
    cube = np.array([e.data for e in exposures], dtype=float)
    usual = np.median(cube, axis=0)
    error = np.sqrt(np.median([e.uncertainty.array for e in exposures], axis=0))
    hit = (cube.max(axis=0) > usual + 15 * error) & (flat.data > 0.3)
    assert hit.sum() > 100
    left = np.abs(stack.stack.data - usual)[hit] / error[hit]
    assert np.mean(left > 3) < 0.03
    # What is expected from photons and read noise is what the exposures scatter by.
    ratio = (cube - stack.stack.data) / np.sqrt([e.uncertainty.array for e in exposures])
    usable = stack.stack.mask == 0
    spread = 1.4826 * np.median(np.abs(ratio[:, usable])) / np.sqrt(5 / 6)
    assert spread == pytest.approx(1.0, abs=0.15)
