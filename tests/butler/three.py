"""A repository that reads two others: what tests put into each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler import Butler
from registry import DatasetType
from tests.registry import observatory

if TYPE_CHECKING:
    from pathlib import Path

    from registry import DatasetRef

FRAME = DatasetType("frame", ("instrument", "detector", "exposure"), "StructuredDataDict")
FLAT = DatasetType("flat", ("instrument", "detector"), "StructuredDataDict", is_calibration=True)
NOTE = DatasetType("note", (), "StructuredDataDict")


def frame(exposure: int, detector: int = 0) -> dict[str, Any]:
    return {"instrument": "Cam", "detector": detector, "exposure": exposure}


def fill(root: Path, url: str, run: str, *exposures: int) -> list[DatasetRef]:
    """Make a repository with frames of some of four exposures; each holds what it is."""
    with Butler.create(root, url) as butler:
        observatory.fill(butler.registry)
        for kind in (FRAME, FLAT):
            butler.registry.register_dataset_type(kind)
        with butler.transaction():
            return [
                butler.put({"of": root.name, "n": n}, "frame", frame(n), run=run) for n in exposures
            ]


class Three:
    """A repository, and two that it reads: frames 1 and 2, and frames 2 and 3."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        self.folder = folder
        self.first = fill(folder / "first", urls[1], "frames", 1, 2)
        self.second = fill(folder / "second", urls[2], "frames", 2, 3)
        Butler.create(folder / "me", urls[0]).close()

    def open(self, **how: Any) -> Butler:
        given = {"inputs": [self.folder / "first", self.folder / "second"], **how}
        return Butler(self.folder / "me", **given)
