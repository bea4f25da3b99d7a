"""Which pixels does an image section of a header mean?

Sections are written ``[x1:x2,y1:y2]``, counted from 1, both ends included (FITS convention of
IRAF and NOAO); inside Python they are pairs of slices, rows first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from workflow.ccd.errors import BadSection

__all__ = ["Section"]

_PATTERN = re.compile(r"^\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*$")


@dataclass(frozen=True)
class Section:
    """A rectangle of pixels, counted from 0, ends excluded.

    Parameters
    ----------
    x0, x1, y0, y1 : int
        Columns ``x0 <= x < x1`` and rows ``y0 <= y < y1``.
    """

    x0: int
    x1: int
    y0: int
    y1: int

    @classmethod
    def parse(cls, text: str, shape: tuple[int, ...], *, clip: bool = False) -> Section:
        """Read ``[x1:x2,y1:y2]``.

        Parameters
        ----------
        text : str
            The section, counted from 1, both ends included.
        shape : tuple of int
            Rows and columns of the image that it must lie in.
        clip : bool
            Whether a section that reaches outside is cut at the border.

        Raises
        ------
        BadSection
            If it cannot be read, or reaches outside the image.

        Examples
        --------
        >>> Section.parse("[1:4,1:2001]", (2001, 513))
        Section(x0=0, x1=4, y0=0, y1=2001)
        """
        match = _PATTERN.match(text)
        if match is None:
            raise BadSection(text, "cannot be read")
        x1, x2, y1, y2 = (int(number) for number in match.groups())
        rows, columns = shape
        if clip:
            x2, y2 = min(x2, columns), min(y2, rows)
        if not (1 <= x1 <= x2 <= columns and 1 <= y1 <= y2 <= rows):
            raise BadSection(text, f"does not lie in an image of {columns} x {rows} pixels")
        return cls(x1 - 1, x2, y1 - 1, y2)

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Section:
        """Return the section that covers an image of so many rows and columns."""
        return cls(0, shape[1], 0, shape[0])

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    def __str__(self) -> str:
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"
