"""What is the best value of each pixel, given many frames of the same thing?

Frames are kept in a `FrameStack`, in memory or, when they would take more than allowed, in a
temporary file; `combine_stack` goes through it in blocks of rows, so that memory stays bounded
whatever the number and the size of the frames.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from lsst.pex.config import ChoiceField, Config, RangeField

from workflow.ccd.errors import FrameMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Combined", "FrameStack", "StatisticsConfig", "combine_stack"]


class StatisticsConfig(Config):
    """How the values of one pixel become one."""

    method = ChoiceField[str](
        doc="What is made of the values that are kept.",
        default="mean",
        allowed={
            "mean": "their mean",
            "median": "their median",
            "weighted": "their mean weighted by inverse variance (of the pixel, or the frame)",
        },
    )
    sigma_clip = RangeField(
        "Values further from the centre than so many deviations are left out; 0: none.",
        float,
        default=5.0,
        min=0.0,
    )
    sigma_low = RangeField(
        "Another limit for values below the centre.", float, optional=True, min=0.0
    )
    sigma_high = RangeField(
        "Another limit for values above the centre.", float, optional=True, min=0.0
    )
    centre = ChoiceField[str](
        doc="From where deviations are measured.",
        default="median",
        allowed={"median": "the median", "mean": "the mean"},
    )
    deviation = ChoiceField[str](
        doc="What a deviation is compared with.",
        default="mad_std",
        allowed={
            "mad_std": "1.4826 times the median absolute deviation of the values",
            "std": "the standard deviation of the values (cannot reject one of few frames)",
            "error": "the square root of each value's own variance",
        },
    )
    signal_fraction = RangeField(
        "With deviation='error', values nearer to the centre than this part of it are kept, since "
        "the cores of stars differ by seeing.",
        float,
        default=0.0,
        min=0.0,
    )
    iterations = RangeField("How often clipping is repeated at most.", int, default=1, min=1)
    memory_mb = RangeField("Memory for pixels at one time [MB].", float, default=512.0, min=1.0)


class Combined(NamedTuple):
    """What the frames of a stack became.

    Parameters
    ----------
    data, variance : array of float, shape (rows, columns)
        Value and its variance; 0 and infinite where no frame has a good value.
    n_used : array of int16, same shape
        How many frames went into each pixel.
    n_clipped : array of int, shape (frames,)
        How many pixels of each frame were clipped.
    """

    data: NDArray[np.float64]
    variance: NDArray[np.float64]
    n_used: NDArray[np.int16]
    n_clipped: NDArray[np.int64]


class FrameStack:
    """Frames of one shape with their variances, in memory or in a temporary file.

    Parameters
    ----------
    n_frames : int
        How many there will be.
    memory_mb : float
        Above this the frames go to an unnamed temporary file [MB].

    Examples
    --------
    >>> with FrameStack(2) as stack:
    ...     stack.add(np.ones((4, 4)))
    ...     stack.add(np.full((4, 4), 3.0))
    ...     combine_stack(stack, StatisticsConfig()).data[0, 0]
    np.float64(2.0)
    """

    def __init__(self, n_frames: int, memory_mb: float = 512.0) -> None:
        self.n_frames = n_frames
        self.memory_mb = memory_mb
        self.shape: tuple[int, int] = (0, 0)
        self.data: Any = None
        self.variance: Any = None
        self._filled = 0
        self._files: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.data = self.variance = None
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return self._filled

    def add(
        self,
        data: NDArray[Any],
        variance: NDArray[Any] | None = None,
        bad: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add a frame.

        Parameters
        ----------
        data, variance : array, shape (rows, columns)
            Values, and their variance: given with all frames or with none.
        bad : array of bool, optional
            Pixels that do not count.

        Raises
        ------
        FrameMismatch
            If its shape differs from that of the frames before.
        """
        if self.data is None:
            rows, columns = data.shape
            self.shape = (rows, columns)
            self.data = self._allocate()
            self.variance = None if variance is None else self._allocate()
        if data.shape != self.shape:
            raise FrameMismatch(
                "shapes of the frames", self.shape, data.shape, "Select frames of one window."
            )
        place = self.data[self._filled]
        place[...] = data
        if bad is not None:
            place[bad] = np.nan
        if self.variance is not None:
            self.variance[self._filled] = variance
        self._filled += 1

    def _allocate(self) -> Any:
        shape = (self.n_frames, *self.shape)
        if 8 * np.prod(shape) <= self.memory_mb * 1e6:
            return np.empty(shape)
        file = tempfile.TemporaryFile(prefix="skyspine-stack-")  # noqa: SIM115 (__exit__ closes it)
        self._files.append(file)
        return np.memmap(file, dtype=np.float64, mode="w+", shape=shape)


def combine_stack(
    stack: FrameStack,
    config: StatisticsConfig,
    *,
    scales: NDArray[np.float64] | None = None,
    clip_scaled: bool = True,
    frames: Sequence[int] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Combined:
    """Combine the frames of a stack pixel by pixel.

    Parameters
    ----------
    stack : FrameStack
        Values that are NaN do not count.
    config : StatisticsConfig
        What to clip and how to combine.
    scales : array of float, shape (frames,), optional
        Each frame that counts is multiplied by its scale.
    clip_scaled : bool
        Whether clipping looks at the scaled values, or at the values as they are.
    frames : sequence of int, optional
        Which frames count; all by default.
    weights : array of float, shape (frames,), optional
        One weight for each frame that counts, for ``method='weighted'``; by default each pixel has
        its own, which favours faint pixels if the variance holds the photon noise of sources.

    Returns
    -------
    Combined
        The variance is propagated from those of the frames, or, if they have none, taken from the
        scatter of the values that were kept.  A median's variance is that of the mean times a
        factor between 1 and pi / 2 that depends on the number of values.
    """
    chosen = list(range(len(stack)) if frames is None else frames)
    n = len(chosen)
    factors = np.ones(n) if scales is None else np.asarray(scales, dtype=float)
    data = np.zeros(stack.shape)
    variance = np.full(stack.shape, np.inf)
    n_used = np.zeros(stack.shape, dtype=np.int16)
    n_clipped = np.zeros(n, dtype=np.int64)
    # Clipping and sorting take about six copies of a block.
    block = max(1, int(config.memory_mb * 1e6 / (8 * 6 * n * stack.shape[1])))
    for first in range(0, stack.shape[0], block):
        rows = slice(first, first + block)
        values = np.array(stack.data[chosen, rows])
        errors = None if stack.variance is None else np.array(stack.variance[chosen, rows])
        scaled = values * factors[:, None, None]
        if errors is not None:
            errors *= np.square(factors)[:, None, None]
        clipped = _clipped(scaled if clip_scaled else values, errors, config)
        n_clipped += clipped.sum(axis=(1, 2))
        scaled[clipped] = np.nan
        data[rows], variance[rows], n_used[rows] = _joined(scaled, errors, config.method, weights)
    return Combined(data, variance, n_used, n_clipped)


def _clipped(
    values: NDArray[np.float64], errors: NDArray[np.float64] | None, config: StatisticsConfig
) -> NDArray[np.bool_]:
    """Say which values are clipped; shape (frames, rows, columns)."""
    low, high = (
        (config.sigma_clip if limit is None else limit) or np.inf
        for limit in (config.sigma_low, config.sigma_high)
    )
    if np.isinf(low) and np.isinf(high):
        return np.zeros(values.shape, dtype=bool)
    missing = np.isnan(values)
    if config.deviation == "error":
        if errors is None:
            raise FrameMismatch(
                "frames", "deviation = 'error'", "no variances", "Use deviation='mad_std'."
            )
        return _clipped_by_error(values, errors, (low, high), config)
    from astropy.stats import sigma_clip

    result = sigma_clip(
        np.ma.masked_array(values, missing) if missing.any() else values,
        sigma_lower=low,
        sigma_upper=high,
        maxiters=config.iterations,
        cenfunc=config.centre,
        stdfunc=config.deviation,
        axis=0,
        masked=True,
    )
    return np.ma.getmaskarray(result) & ~missing


def _clipped_by_error(
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    limits: tuple[float, float],
    config: StatisticsConfig,
) -> NDArray[np.bool_]:
    low, high = limits
    missing = np.isnan(values)
    out = np.zeros(values.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        for _ in range(config.iterations):
            kept = np.ma.masked_array(values, missing | out)
            centre = (np.ma.median if config.centre == "median" else np.ma.mean)(kept, axis=0)
            off = values - centre.filled(np.nan)
            sigma, slack = np.sqrt(errors), config.signal_fraction * np.abs(centre.filled(0.0))
            new = (~missing) & ((off < -low * sigma - slack) | (off > high * sigma + slack))
            # Of two values that differ, nobody knows which one is wrong.
            new &= (~missing).sum(axis=0) >= 3
            if np.array_equal(new, out):
                break
            out = new
    return out


def _joined(
    values: NDArray[np.float64],
    errors: NDArray[np.float64] | None,
    method: str,
    frame_weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int16]]:
    """Return value, variance and number of the values that are not NaN."""
    good = ~np.isnan(values)
    n = good.sum(axis=0)
    some = n > 0
    weights = good.astype(float)
    if method == "weighted" and frame_weights is not None:
        weights *= np.asarray(frame_weights)[:, None, None]
    elif method == "weighted" and errors is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.where(good & (errors > 0) & np.isfinite(errors), 1.0 / errors, 0.0)
        # Where no frame knows its noise, all count the same.
        lost = some & (weights.sum(axis=0) == 0)
        weights = np.where(lost[np.newaxis], good.astype(float), weights)
    total = np.where(some, weights.sum(axis=0), 1.0)
    mean = (weights * np.where(good, values, 0.0)).sum(axis=0) / total
    if errors is not None:
        known = np.where((weights > 0) & np.isfinite(errors), errors, 0.0)
        variance = (np.square(weights) * known).sum(axis=0) / np.square(total)
    else:
        spread = (np.where(good, np.square(values - mean), 0.0)).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(n > 1, spread / np.maximum(n - 1, 1) / np.maximum(n, 1), np.inf)
    data = mean
    if method == "median":
        data = np.zeros(mean.shape)
        if good.all():
            data = np.median(values, axis=0)
        else:
            data[some] = np.nanmedian(values[:, some], axis=0)
        variance = variance * _median_penalty(n)
    data = np.where(some, data, 0.0)
    return data, np.where(some, variance, np.inf), n.astype(np.int16)


def _median_penalty(n: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ratio of the variances of median and mean of n Gaussian values.

    Fitted to 400,000 draws for n of 3 to 30, good to 1 %; the limit is pi / 2.  The median of an
    even number is the mean of two values and so a little better.
    """
    fitted = np.pi / 2 * n / (n + np.where(n % 2 == 1, 0.5, 1.3))
    return np.where(n <= 2, 1.0, fitted)
