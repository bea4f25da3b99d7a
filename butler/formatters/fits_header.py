"""Which header cards belong to the observation, which to the file, and which to the WCS?

A file's structure (NAXIS, EXTNAME, checksums) is made anew at each write; the celestial WCS goes
with the pixels; provenance cards (``SKYS_*``) tell of one file only; all else is the
observation's and is kept as it is, card by card; what astropy cannot parse goes out as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from butler.formatters.base import PROVENANCE_KEY, decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.io.fits import Card, Header
    from astropy.units import UnitBase
    from astropy.wcs import WCS

__all__ = [
    "card_list",
    "celestial_wcs",
    "file_cards",
    "is_of_wcs",
    "observation_header",
    "provenance_cards",
    "provenance_in",
    "unit_card",
    "unit_of",
    "unit_text",
    "wcs_cards",
]

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|CHECKSUM|DATASUM"
    r"|INHERIT|SKYHDUS|END"
)
# FITS standard 4.0, table 22, primary WCS only; SIP (Shupe et al. 2005).
_WCS = re.compile(
    r"WCSAXES|C(TYPE|UNIT|RVAL|RPIX|DELT|ROTA)\d+|(CD|PC|PV|PS)\d+_\d+|PC\d{6}"
    r"|LONPOLE|LATPOLE|[AB]P?_(ORDER|DMAX|\d+_\d+)"
)
_FRAME = re.compile(r"RADE(SYS|CSYS)|EQUINOX|EPOCH")
_COMMENTARY = {"COMMENT", "HISTORY", ""}
_AS_WRITTEN = {"adu": "adu", "counts": "ct", "e-": "electron", "electrons": "electron"}


def observation_header(primary: Header, image: Header, extra: Iterable[Card] = ()) -> Header:
    """Join the headers of a file into the one of the observation.

    Parameters
    ----------
    primary : `astropy.io.fits.Header`
        Of the primary HDU.
    image : `astropy.io.fits.Header`
        Of the HDU with the pixels; the same object when they are in the primary HDU. Its cards
        win over the primary's, which are left out if it says ``INHERIT = F``.
    extra : iterable of `astropy.io.fits.Card`
        Further cards, taken where no other has their keyword.

    Returns
    -------
    `astropy.io.fits.Header`
        All cards in order, without those that describe the file's structure.
    """
    from astropy.io.fits import Header

    inner = [card for card in image.cards if not _STRUCTURE.fullmatch(card.keyword)]
    if image is primary:
        cards = inner
    else:
        if image.get("EXTNAME") == "IMAGE":
            inner = [card for card in inner if card.keyword != "EXTNAME"]
        own = {card.keyword for card in inner} - _COMMENTARY
        inherited = [] if image.get("INHERIT") is False else primary.cards
        cards = [
            card
            for card in inherited
            if card.keyword not in own and not _STRUCTURE.fullmatch(card.keyword)
        ] + inner
    known = {card.keyword for card in cards}
    return Header(cards + [card for card in extra if card.keyword not in known])


def file_cards(meta: Mapping[str, Any], *, without_wcs: bool) -> list[Card]:
    """Choose the cards that go into the primary header of a new file.

    Parameters
    ----------
    meta : `astropy.io.fits.Header` or mapping
        The observation's header.
    without_wcs : bool
        Leave the celestial WCS out, because it is written with the pixels.

    Raises
    ------
    ValueError
        A value is not one that a card can hold; the message names the card.
    """
    return [
        card
        for card in card_list(meta)
        if not _STRUCTURE.fullmatch(card.keyword)
        and not PROVENANCE_KEY.fullmatch(card.keyword)
        and card.keyword != "BUNIT"
        and not (without_wcs and _WCS.fullmatch(card.keyword))
    ]


def card_list(meta: Mapping[str, Any]) -> list[Card]:
    """List the cards of a header, or those that a mapping of values by keyword makes.

    Raises
    ------
    ValueError
        A value is not one that a card can hold; the message names the card.
    """
    from astropy.io.fits import Header

    cards = list(meta.cards) if isinstance(meta, Header) else _cards_of_mapping(meta)
    for card in cards:
        if len(card.keyword) > 40:
            _check_room(card)
    return cards


def is_of_wcs(keyword: str) -> bool:
    """Tell whether a card says something of the celestial WCS or its frame."""
    return bool(_WCS.fullmatch(keyword) or _FRAME.fullmatch(keyword))


def celestial_wcs(header: Header) -> WCS | None:
    """Make the WCS of an image, if the header has a valid celestial one.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Of the HDU with the pixels. Only its WCS cards are parsed: long headers cost wcslib
        milliseconds.
    """
    from astropy import wcs
    from astropy.io.fits import Header

    if "CTYPE1" not in header:
        return None
    wanted = [
        card for card in header.cards if is_of_wcs(card.keyword) or card.keyword.startswith("NAXIS")
    ]
    try:
        found = wcs.WCS(Header(wanted))
        found.wcs.set()
    except (wcs.WcsError, ValueError, TypeError):
        return None
    return found if found.has_celestial else None


def wcs_cards(wcs: WCS) -> list[Card]:
    """Write a WCS as header cards, at the precision of a double.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        Any projection that FITS has, with SIP or TPV distortion.

    Raises
    ------
    ValueError
        The WCS has lookup-table distortions, or is not a FITS WCS.
    """
    from astropy.wcs import WCS

    if not isinstance(wcs, WCS):
        raise ValueError(f"its WCS is of type {type(wcs).__name__}, which FITS cards cannot hold")  # noqa: TRY004
    if any((wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise ValueError("its WCS has lookup-table distortions, which FITS cards cannot hold")
    cards = wcs.to_header(relax=True).cards
    exact = _parameters(wcs)
    for card in cards:
        if card.keyword in exact:
            card.value = exact[card.keyword]  # wcslib writes 14 digits of it
    return [card for card in cards if is_of_wcs(card.keyword)]


def provenance_cards(provenance: Mapping[str, str]) -> list[Card]:
    """Write provenance identifiers as cards; what is not printable ASCII is percent-encoded."""
    from astropy.io.fits import Card

    return [Card(key, encoded(value), "skyspine provenance") for key, value in provenance.items()]


def provenance_in(header: Header) -> dict[str, str]:
    """Find the provenance identifiers in a header."""
    return {
        card.keyword: decoded(str(card.value))
        for card in header.cards
        if PROVENANCE_KEY.fullmatch(card.keyword)
    }


def unit_of(header: Mapping[str, Any]) -> UnitBase:
    """Read the unit of the pixels from ``BUNIT``.

    Parameters
    ----------
    header : `astropy.io.fits.Header` or mapping
        Of the HDU with the pixels, or of the observation.

    Returns
    -------
    `astropy.units.UnitBase`
        adu when there is no such card; an ``UnrecognizedUnit`` that keeps its text when it names
        none that astropy knows.
    """
    from astropy import units

    text = header.get("BUNIT")
    if not isinstance(text, str):
        return units.adu
    parts = [part.strip() for part in text.split("/")]
    text = "/".join(_AS_WRITTEN.get(part.lower(), part) for part in parts)
    for spelling, form in ((text, "fits"), (text, None), (text.lower(), None)):
        try:
            return units.Unit(spelling, format=form)
        except (ValueError, TypeError):
            continue
    return units.Unit(text, parse_strict="silent")


def unit_card(unit: UnitBase, meta: Mapping[str, Any]) -> Card:
    """Write the unit of pixels as ``BUNIT``: as the header has it, where that is the same unit."""
    from astropy.io.fits import Card

    given = meta.get("BUNIT")
    same = isinstance(given, str) and unit_of(meta) == unit
    return Card("BUNIT", given if same else unit_text(unit))


def unit_text(unit: UnitBase) -> str:
    """Write a unit for ``BUNIT``, as the FITS standard does where that knows it."""
    try:
        return str(unit.to_string("fits"))
    except ValueError:
        return str(unit.to_string())


def _parameters(wcs: WCS) -> dict[str, float]:
    """Give the linear part of a WCS by header keyword, as `to_header` names it."""
    found: dict[str, float] = {}
    has_cd = wcs.wcs.has_cd()
    matrix = wcs.wcs.cd if has_cd else wcs.wcs.get_pc()
    for i in range(wcs.naxis):
        found[f"CRPIX{i + 1}"] = float(wcs.wcs.crpix[i])
        found[f"CRVAL{i + 1}"] = float(wcs.wcs.crval[i])
        if not has_cd:
            found[f"CDELT{i + 1}"] = float(wcs.wcs.cdelt[i])
        found.update({f"PC{i + 1}_{j + 1}": float(matrix[i][j]) for j in range(wcs.naxis)})
    return found


def _check_room(card: Card) -> None:
    """Make sure that a card with a very long keyword has room for its value: astropy cuts it."""
    from astropy.io.fits import Card

    if Card.fromstring(str(card)).value != card.value:
        raise ValueError(f"header card '{card.keyword}' leaves no room for its value")


def _cards_of_mapping(meta: Mapping[str, Any]) -> list[Card]:
    from astropy.io.fits import Card

    cards = []
    for key, value in meta.items():
        name = str(key)
        keyword = name if len(name) <= 8 and " " not in name else f"HIERARCH {name}"
        try:
            cards.append(Card(keyword, value))
        except ValueError as error:
            raise ValueError(f"header card '{name}' cannot hold {value!r}: {error}") from error
    return cards
