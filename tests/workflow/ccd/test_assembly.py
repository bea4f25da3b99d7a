"""Sections, amplifiers, overscan, saturation and coordinates of raw frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lsst.pex.config import FieldValidationError

from tests.workflow.ccd.real_frames import raw
from workflow.ccd.assembly import AssemblyConfig, assemble
from workflow.ccd.errors import BadSection, FrameMismatch, MissingCard
from workflow.ccd.grid import TanGrid
from workflow.ccd.planes import bit
from workflow.ccd.sections import Section


@pytest.mark.parametrize("text", ["[1:4,1:20]", " [ 1 : 4 , 1 : 20 ] ", "[   1:   4,   1:  20]"])
def test_sections_are_read_as_headers_write_them(text: str) -> None:
    section = Section.parse(text, (20, 30))
    assert (section.x0, section.x1, section.y0, section.y1) == (0, 4, 0, 20)
    assert section.shape == (20, 4)
    assert str(section) == "[1:4,1:20]"


@pytest.mark.parametrize("text", ["[1:4]", "", "[0:4,1:20]", "[4:1,1:20]", "[1:4,1:21]", "1:4,1:2"])
def test_sections_that_cannot_be(text: str) -> None:
    with pytest.raises(BadSection, match="counted from 1"):
        Section.parse(text, (20, 30))


def _config(**settings: Any) -> AssemblyConfig:
    config = AssemblyConfig(**settings)
    config.validate()
    return config


def _frame(rng: np.random.Generator) -> Any:
    data = rng.normal(500.0, 2.0, (50, 60))
    data[:, :50] += 100.0
    return data


@pytest.mark.parametrize("overscan", ["median", "mean", "row"])
def test_overscan_by_cards(overscan: str) -> None:
    data = _frame(np.random.default_rng(1))
    frame = raw(data, BIASSEC="[51:60,1:50]", TRIMSEC="[1:50,1:50]", GAIN=1.5, RDNOISE=3.0)
    assembled = assemble(frame, _config(overscan=overscan))
    assert assembled.data.shape == (50, 50)
    assert np.mean(assembled.data) == pytest.approx(100.0, abs=0.3)
    (amplifier,) = assembled.amplifiers
    assert amplifier.overscan_level == pytest.approx(500.0, abs=0.3)
    assert amplifier.overscan_noise == pytest.approx(2.0, rel=0.15)
    assert (amplifier.gain, amplifier.read_noise) == (1.5, 3.0)


def test_overscan_by_row_follows_a_drift() -> None:
    drift = np.linspace(0.0, 30.0, 50)[:, None]
    data = _frame(np.random.default_rng(2)) + drift
    frame = raw(data, BIASSEC="[51:60,1:50]", TRIMSEC="[1:50,1:50]")
    by_row = assemble(frame, _config(overscan="row", overscan_smoothing=3)).data.mean(axis=1)
    at_once = assemble(frame, _config(overscan="median")).data.mean(axis=1)
    assert np.ptp(by_row) < 5
    assert np.ptp(at_once) > 25


def test_four_amplifiers_are_joined_without_their_overscan() -> None:
    data = np.zeros((20, 28))
    levels = np.array([[10.0, 20.0], [30.0, 40.0]])
    sky = np.arange(20 * 20, dtype=float).reshape(20, 20)
    for row in (0, 1):
        for column in (0, 1):
            place = np.s_[10 * row : 10 * row + 10, 14 * column : 14 * column + 14]
            data[place] = levels[row, column]
            data[place][:, 4:] += sky[10 * row : 10 * row + 10, 10 * column : 10 * column + 10]
    config = _config(
        overscan="mean",
        bias_sections=["[1:4,1:10]", "[15:18,1:10]", "[1:4,11:20]", "[15:18,11:20]"],
        data_sections=["[5:14,1:10]", "[19:28,1:10]", "[5:14,11:20]", "[19:28,11:20]"],
        gains=[1.0, 2.0, 3.0, 4.0],
    )
    assembled = assemble(raw(data), config)
    np.testing.assert_allclose(assembled.data, sky)
    gain = assembled.amplifier_image("gain")
    assert isinstance(gain, np.ndarray)
    assert [gain[0, 0], gain[0, 19], gain[19, 0], gain[19, 19]] == [1.0, 2.0, 3.0, 4.0]
    assert assembled.amplifier_image("read_noise") is None


def test_saturation_is_marked_and_grown() -> None:
    data = np.full((9, 9), 100.0)
    data[4, 4] = 65535.0
    config = _config(overscan="none", saturation_grow=1)
    mask = assemble(raw(data, SATURATE=60000.0), config).mask
    assert ((mask & bit("SAT")) != 0).sum() == 9
    assert (assemble(raw(data), config).mask == 0).all()


def test_a_leading_axis_of_length_one_is_dropped() -> None:
    config = _config(overscan="none")
    assert assemble(raw(np.ones((1, 5, 7))), config).data.shape == (5, 7)
    with pytest.raises(FrameMismatch, match="Split the cube"):
        assemble(raw(np.ones((2, 5, 7))), config)


def test_coordinates_move_with_the_trimming() -> None:
    grid = TanGrid.centred(150.0, 2.0, 0.4, 50, 60)
    frame = raw(np.zeros((50, 60)), BIASSEC="[1:4,1:50]", TRIMSEC="[5:60,11:50]")
    frame.wcs = grid.wcs()
    before = frame.wcs.pixel_to_world(10, 20)
    moved = assemble(frame, _config()).wcs.pixel_to_world(10 - 4, 20 - 10)
    assert before.separation(moved).arcsec < 1e-6
    kept = assemble(frame, _config(crpix_trimmed=True, crpix_offset=[1.0, -2.0])).wcs
    assert before.separation(kept.pixel_to_world(11, 18)).arcsec < 1e-6


def test_what_is_missing_is_said() -> None:
    with pytest.raises(MissingCard, match="assembly.overscan='none'"):
        assemble(raw(np.ones((5, 5))), _config())
    with pytest.raises(MissingCard, match="GAIN = 'unknown' is no number"):
        assemble(raw(np.ones((5, 5)), GAIN="unknown"), _config(overscan="none"))
    with pytest.raises(FrameMismatch, match="overlap"):
        sections = ["[1:4,1:5]", "[3:5,1:5]"]
        assemble(raw(np.ones((5, 5))), _config(overscan="none", data_sections=sections))


def test_lists_must_fit_the_amplifiers() -> None:
    with pytest.raises(FieldValidationError, match="3 values for 2 amplifiers"):
        _config(data_sections=["[1:2,1:5]", "[3:5,1:5]"], gains=[1.0, 2.0, 3.0])
