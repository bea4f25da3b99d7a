"""Combining frames: exact answers, bounded memory, and a variance that is true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workflow.ccd.errors import FrameMismatch
from workflow.ccd.statistics import Combined, FrameStack, StatisticsConfig, combine_stack


def _combined(
    frames: Any, variances: Any = None, *, memory_mb: float = 512.0, **settings: Any
) -> Combined:
    how = {k: settings.pop(k) for k in ("scales", "clip_scaled", "frames", "weights")
           if k in settings}  # fmt: skip
    config = StatisticsConfig(memory_mb=memory_mb, **settings)
    with FrameStack(len(frames), memory_mb) as stack:
        for i, frame in enumerate(frames):
            stack.add(frame, None if variances is None else variances[i])
        return combine_stack(stack, config, **how)


def test_one_wild_value_is_clipped_in_one_pixel() -> None:
    frames = np.array(
        [[[10.0, 10.0]], [[11.0, 11.0]], [[12.0, 12.0]], [[10.5, 900.0]], [[11.5, 11.5]]]
    )
    combined = _combined(frames, sigma_clip=5.0)
    assert combined.data[0, 0] == pytest.approx(11.0)
    assert combined.data[0, 1] == pytest.approx((10 + 11 + 12 + 11.5) / 4)
    assert combined.n_used.tolist() == [[5, 4]]
    assert combined.n_clipped.tolist() == [0, 0, 0, 1, 0]


def test_without_clipping_the_mean_and_the_median() -> None:
    frames = np.array([1.0, 2.0, 6.0])[:, None, None] * np.ones((3, 2, 2))
    assert _combined(frames, sigma_clip=0.0).data[0, 0] == 3.0
    assert _combined(frames, sigma_clip=0.0, method="median").data[0, 0] == 2.0


def test_weights_are_inverse_variances() -> None:
    frames = np.array([0.0, 10.0])[:, None, None] * np.ones((2, 1, 1))
    variances = np.array([1.0, 4.0])[:, None, None] * np.ones((2, 1, 1))
    combined = _combined(frames, variances, method="weighted", sigma_clip=0.0)
    assert combined.data[0, 0] == pytest.approx(2.0)
    assert combined.variance[0, 0] == pytest.approx(0.8)
    same = _combined(
        frames, variances, method="weighted", sigma_clip=0.0, weights=np.array([1.0, 1.0])
    )
    assert same.data[0, 0] == pytest.approx(5.0)
    assert same.variance[0, 0] == pytest.approx(1.25)


def test_values_that_are_nan_do_not_count() -> None:
    frames = np.array([[[np.nan, np.nan]], [[3.0, np.nan]], [[5.0, np.nan]]])
    combined = _combined(frames)
    assert combined.data.tolist() == [[4.0, 0.0]]
    assert combined.n_used.tolist() == [[2, 0]]
    assert np.isinf(combined.variance[0, 1])


@pytest.mark.parametrize("method", ["mean", "median", "weighted"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("n", [5, 8])
def test_variance_is_that_of_repeated_experiments(method: str, known: bool, n: int) -> None:
    rng = np.random.default_rng(3)
    frames = rng.normal(100.0, 2.0, (n, 100, 100))
    variances = np.full(frames.shape, 4.0) if known else None
    combined = _combined(frames, variances, method=method, sigma_clip=0.0)
    assert combined.data.var() == pytest.approx(combined.variance.mean(), rel=0.06)


def test_memory_is_bounded_and_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    frames = rng.normal(0.0, 1.0, (6, 200, 300))
    frames[2, 50, 60] = 1e4
    at_once, in_pieces = _combined(frames), _combined(frames, memory_mb=1.0)
    for one, other in zip(at_once, in_pieces, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_stacks_live_in_a_file() -> None:
    with FrameStack(3, memory_mb=1.0) as stack:
        stack.add(np.ones((400, 400)))
        assert isinstance(stack.data, np.memmap)
    with FrameStack(3, memory_mb=100.0) as stack:
        stack.add(np.ones((400, 400)))
        assert not isinstance(stack.data, np.memmap)


def test_clipping_before_or_after_scaling() -> None:
    # A flat whose lamp was 100 times brighter is no outlier once it is scaled.
    frames = np.array([1.0, 1.1, 0.9, 1.0, 100.0])[:, None, None] * np.ones((5, 2, 2))
    scales = 1.0 / np.array([1.0, 1.1, 0.9, 1.0, 100.0])
    assert _combined(frames, scales=scales).n_clipped.sum() == 0
    assert _combined(frames, scales=scales, clip_scaled=False).n_clipped.tolist() == [0, 0, 0, 0, 4]


def test_by_error_two_values_are_never_clipped_and_cores_of_stars_are_spared() -> None:
    frames = np.array([[[0.0, 0.0, 1000.0]], [[0.0, 500.0, 1100.0]], [[np.nan, 0.0, 1200.0]]])
    variances = np.ones(frames.shape)
    settings: dict[str, Any] = {"deviation": "error", "sigma_clip": 5.0, "signal_fraction": 0.3}
    combined = _combined(frames, variances, **settings)
    assert combined.n_used.tolist() == [[2, 2, 3]]
    assert combined.data.tolist() == [[0.0, 0.0, 1100.0]]


def test_frames_of_different_shape_are_refused() -> None:
    with FrameStack(2) as stack:
        stack.add(np.ones((4, 4)))
        with pytest.raises(FrameMismatch, match="shapes of the frames"):
            stack.add(np.ones((4, 5)))
