"""Puts of frames, for tests, and for a process that is killed meanwhile."""

from __future__ import annotations

import contextlib
from typing import Any

from butler import Butler
from tests.nursery import Moments


def frame(detector: int, exposure: int = 1) -> dict[str, Any]:
    return {"instrument": "Cam", "detector": detector, "exposure": exposure}


def put(butler: Butler, *detectors: int) -> None:
    """Put frames of some detectors; each holds its number."""
    for detector in detectors:
        butler.put({"n": detector}, "frame", frame(detector))


def killed(root: str, run: str, last: int) -> None:
    """Put in a transaction with a part that is undone; die at a moment, or tell how many."""
    with Butler(root, run=run, writeable=True) as butler:
        moments = Moments(last)
        with butler.transaction():
            put(butler, *range(6))
            with contextlib.suppress(KeyError), butler.transaction():
                put(butler, 6, 7)
                raise KeyError
            put(butler, *range(8, 12))
        print(moments.count)  # noqa: T201


def killed_alone(root: str, run: str, last: int) -> None:
    """Put three frames, each alone; die at a moment, or tell how many."""
    with Butler(root, run=run, writeable=True) as butler:
        moments = Moments(last)
        put(butler, 0, 1, 2)
        print(moments.count)  # noqa: T201
