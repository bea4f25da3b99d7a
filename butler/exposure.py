"""What is an image whose mask has several planes?

astropy's CCDData makes every mask boolean, and so forgets why a pixel is bad. `Exposure` is a
CCDData that keeps an integer mask as it is; the header names its planes (``MP_BAD = 0``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.nddata import CCDData

__all__ = ["Exposure"]


class Exposure(CCDData):  # type: ignore[misc]  # astropy ships no annotations
    """A CCDData whose mask may be boolean or an integer image of bit planes.

    Slicing, copying and pickling keep the planes. Arithmetic gives a boolean mask, as it does for
    CCDData. Whatever takes a CCDData takes this: nonzero means masked in both.

    Parameters
    ----------
    *args, **kwargs
        As of `astropy.nddata.CCDData`.

    Examples
    --------
    >>> exposure = Exposure(np.zeros((2, 2)), unit="adu", mask=np.full((2, 2), 8))
    >>> int(exposure[:1, :1].mask[0, 0])
    8
    """

    @property
    def mask(self) -> Any:
        """Boolean or integer array of the shape of the data, or None; nonzero is masked."""
        return super().mask

    @mask.setter
    def mask(self, value: Any) -> None:
        CCDData.mask.fset(self, value)
        if value is not None and np.asarray(value).dtype.kind in "iu":
            self._mask = np.asarray(value)
