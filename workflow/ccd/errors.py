"""What can go wrong in the sample astronomical tasks, and what to do about it.

::

    SkyspineError
    └── WorkflowError
        └── TaskError
            └── UnprocessableData
                └── CcdError                         the pixels or the header do not allow it
                    ├── BadSection (ValueError)      an image section cannot be read, or is outside
                    ├── MissingCard (LookupError)    no header card says what is needed
                    ├── FrameMismatch (ValueError)   shapes or units of two frames differ
                    ├── TooFewFrames (ValueError)    not enough frames are left to combine
                    └── NoSkyCoordinates (ValueError)  a WCS is needed, and there is none
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow.errors import UnprocessableData

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BadSection",
    "CcdError",
    "FrameMismatch",
    "MissingCard",
    "NoSkyCoordinates",
    "TooFewFrames",
]


class CcdError(UnprocessableData):
    """The pixels or the header of this frame do not allow what the configuration asks for."""

    code = "ccd"


class BadSection(CcdError, ValueError):
    """An image section cannot be read, or reaches outside the image."""

    code = "bad-section"

    def __init__(self, section: str, problem: str) -> None:
        self.section = section
        super().__init__(
            f"The image section '{section}' {problem}; sections are written as in FITS headers, "
            "'[x1:x2,y1:y2]', counted from 1, both ends included."
        )


class MissingCard(CcdError, LookupError):
    """No header card says what is needed."""

    code = "ccd-missing-card"

    def __init__(self, what: str, keys: Iterable[str], found: str = "") -> None:
        self.what = what
        self.keys = tuple(keys)
        listed = ", ".join(self.keys) or "none configured"
        super().__init__(
            f"The header does not give the {what} (cards looked for: {listed})"
            + (f"; {found}" if found else "")
            + "; name the card, or give the value, in the configuration."
        )


class FrameMismatch(CcdError, ValueError):
    """Two frames do not fit each other."""

    code = "frame-mismatch"

    def __init__(self, what: str, first: object, second: object, remedy: str = "") -> None:
        self.first = first
        self.second = second
        super().__init__(
            f"The {what} differ: {first} and {second}." + (f" {remedy}" if remedy else "")
        )


class TooFewFrames(CcdError, ValueError):
    """Not enough frames are left to combine."""

    code = "too-few-frames"

    def __init__(self, n_frames: int, skipped: int, minimum: int) -> None:
        self.n_frames = n_frames
        super().__init__(
            f"{n_frames} frames with {skipped} left out are fewer than the {minimum} needed; "
            "lower skip_first or minimum_frames, or select more frames."
        )


class NoSkyCoordinates(CcdError, ValueError):
    """A WCS is needed here, and the image has none."""

    code = "no-sky-coordinates"
