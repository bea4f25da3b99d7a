"""How are the values of two ranks made one?

Operations for `Communicator.reduce` and its kin; any function of two values does. They are applied
in the order of ranks, so that sums of floating-point numbers are the same in each run.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = ["LAND", "LOR", "MAX", "MIN", "PROD", "SUM"]

SUM = operator.add
PROD = operator.mul


def MAX(one: Any, other: Any) -> Any:  # noqa: N802 (mpi4py's name)
    """Give the larger, of arrays element by element."""
    return np.maximum(one, other) if isinstance(one, np.ndarray) else max(one, other)


def MIN(one: Any, other: Any) -> Any:  # noqa: N802 (mpi4py's name)
    """Give the smaller, of arrays element by element."""
    return np.minimum(one, other) if isinstance(one, np.ndarray) else min(one, other)


def LAND(one: Any, other: Any) -> Any:  # noqa: N802 (mpi4py's name)
    """Say whether both are true, of arrays element by element."""
    return np.logical_and(one, other) if isinstance(one, np.ndarray) else bool(one and other)


def LOR(one: Any, other: Any) -> Any:  # noqa: N802 (mpi4py's name)
    """Say whether one of them is true, of arrays element by element."""
    return np.logical_or(one, other) if isinstance(one, np.ndarray) else bool(one or other)
