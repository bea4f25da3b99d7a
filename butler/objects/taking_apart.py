"""How is an object of any class taken apart by its attributes, and put together again?

What the classes of observatories need that are declared with parts and no code
(`butler.storage_classes`).  Exposures are taken apart in `butler.objects.image_parts`.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

from butler.errors import CannotWrite
from butler.formatters.base import PROVENANCE_KEY
from butler.formatters.fits_header import card_list, observation_header
from butler.plugins import load_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io.fits import HDUList, Header

__all__ = ["as_hdus", "called", "cards", "of_object", "with_attributes"]


def with_attributes(obj: Any, values: Mapping[str, Any]) -> Any:
    """Copy an object, and give the copy some other attributes; what is in it is not copied.

    Raises
    ------
    AttributeError, TypeError
        They cannot be set, or not be given to a frozen dataclass.
    """
    parameters = getattr(obj, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return dataclasses.replace(obj, **values)
    made = copy.copy(obj)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def called(python_type: str, values: Mapping[str, Any]) -> Any:
    """Call a type, which is named by its dotted path, with keyword arguments."""
    module, _, name = python_type.rpartition(".")
    kind: Any = load_reference(f"{module}:{name}")
    return kind(**values)


def of_object(value: Header | Mapping[str, Any], *, cards: bool) -> Any:
    """Give what an object has, without what tells of the one file that it was read from.

    Parameters
    ----------
    value : Header or mapping
        Values by name, or by keyword.
    cards : bool
        Whether a header is wanted, also of a mapping.

    Raises
    ------
    CannotWrite
        A value is not one that a card can hold.
    """
    if not cards:
        return {name: one for name, one in value.items() if not _of_file(name)}
    from astropy.io.fits import Header

    try:
        return Header([card for card in card_list(value) if not _of_file(card.keyword)])
    except ValueError as error:
        raise CannotWrite(f"{error}; remove it, or give it a plain value.") from error


def _of_file(name: object) -> bool:
    return PROVENANCE_KEY.fullmatch(str(name)) is not None


def as_hdus(header: Header) -> HDUList:
    """Give cards as a FITS file without pixels."""
    from astropy.io.fits import HDUList, PrimaryHDU

    return HDUList([PrimaryHDU(header=header)])


def cards(piece: Header | HDUList) -> Header:
    """Give the cards of a file without pixels, or cards as they are."""
    from astropy.io.fits import HDUList

    if isinstance(piece, HDUList):
        return observation_header(piece[0].header, piece[0].header)
    return piece
