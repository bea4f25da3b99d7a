"""What is an image whose mask has several planes, and of which numbers were found?

astropy's CCDData makes every mask boolean, and so forgets why a pixel is bad. `Exposure` is a
CCDData that keeps an integer mask as it is; the header names its planes (``MP_BAD = 0``).  Its
summary are numbers about the image as a whole, such as its seeing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.nddata import CCDData

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Exposure"]


class Exposure(CCDData):  # type: ignore[misc]  # astropy ships no annotations
    """A CCDData with a summary, whose mask may be boolean or an integer image of bit planes.

    Slicing, copying and pickling keep the planes. Arithmetic gives a boolean mask, as it does for
    CCDData. Whatever takes a CCDData takes this: nonzero means masked in both. Copies keep the
    summary; slices and results of arithmetic have none, since it was not found of them.

    Parameters
    ----------
    *args, **kwargs
        As of `astropy.nddata.CCDData`.
    summary : mapping of str to scalar, optional
        What was found of the whole image, by name.

    Examples
    --------
    >>> exposure = Exposure(np.zeros((2, 2)), unit="adu", mask=np.full((2, 2), 8))
    >>> int(exposure[:1, :1].mask[0, 0])
    8
    """

    def __init__(self, *args: Any, summary: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = args[0] if args else kwargs.get("data")
        found = getattr(given, "summary", None) if summary is None else summary
        self.summary: dict[str, Any] | None = None if found is None else dict(found)

    @property
    def mask(self) -> Any:
        """Boolean or integer array of the shape of the data, or None; nonzero is masked."""
        return super().mask

    @mask.setter
    def mask(self, value: Any) -> None:
        CCDData.mask.fset(self, value)
        if value is not None and np.asarray(value).dtype.kind in "iu":
            self._mask = np.asarray(value)
