"""How does an astropy Table lie in a FITS file, so that all of it comes back?

As a binary table with units, descriptions and time columns as astropy writes them. What astropy
would lose is written beside: the mask of a masked column as a column of its own, and metadata that
header cards cannot hold (lower-case keys, nested values) as JSON in one long card.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import InvalidParameter
from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.fits_file import open_fits
from butler.formatters.fits_header import provenance_cards, provenance_in
from butler.formatters.plain import Inexpressible, plain
from registry.errors import did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from astropy.io.fits import HDUList
    from astropy.table import Table

__all__ = ["FitsTableFormatter", "selected_columns"]

_META_CARD = "SKYMETA"


class FitsTableFormatter(Formatter):
    """An astropy Table as the first binary table of a FITS file.

    Components: ``columns`` (the names), ``meta``. Parameters of a read: ``columns``, the names of
    those that are wanted. Tables that others wrote are read as they are: a NaN or an empty string
    is a value, not a masked one. FITS keeps no blanks at the end of a text.
    """

    name = "fits-table"
    extension: ClassVar[str] = ".fits"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.table.Table",)
    components: ClassVar[frozenset[str]] = frozenset({"columns", "meta"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Table, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the table; see `Formatter.dump`."""
        import warnings

        from astropy.io.fits import Header
        from astropy.table import MaskedColumn
        from astropy.utils.exceptions import AstropyWarning

        table = obj.copy(copy_data=False)
        meta = {str(k): v for k, v in obj.meta.items() if not PROVENANCE_KEY.fullmatch(str(k))}
        try:
            table.meta = self._card_values(meta)
        except Inexpressible as error:
            raise self.refuse(f"its metadata{error.where} {error}", error.remedy) from error
        for column in table.itercols():
            if isinstance(column, MaskedColumn) and column.mask.any():
                column.info.serialize_method["fits"] = "data_mask"
        table.meta.update(Header(provenance_cards(provenance)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                table.write(stream, format="fits")
            except (ValueError, TypeError, KeyError) as error:
                raise self.refuse(
                    str(error).rstrip("."), "change that column, or use the formatter ecsv"
                ) from error

    def load(
        self,
        path: str,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the table or a component of it; see `Formatter.load`."""
        from astropy.table import Table

        with open_fits(path, whole=component != "columns", character_as_bytes=False) as hdus:
            hdu = _table_of(hdus)
            if component == "columns":
                return [name for name in hdu.columns.names if not name.endswith(".mask")]
            table = Table.read(
                hdu,
                format="fits",
                astropy_native=True,
                mask_invalid=False,
                unit_parse_strict="silent",
            )
        for name in table.colnames:
            kind = table[name].info.dtype
            if kind is not None and not kind.isnative:
                table[name] = table[name].astype(kind.newbyteorder("="))
        if _META_CARD in table.meta:
            exact = json.loads(table.meta[_META_CARD])
            exact.update((k, v) for k, v in table.meta.items() if PROVENANCE_KEY.fullmatch(k))
            table.meta = exact
        if component == "meta":
            return dict(table.meta)
        if "columns" in parameters:
            return table[selected_columns(parameters["columns"], table.colnames, path)]
        return table

    def read_provenance(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Read the ``SKYS_*`` cards of the table's header."""
        with open_fits(str(path), whole=False) as hdus:
            return provenance_in(_table_of(hdus).header)

    def _card_values(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Choose what goes into cards; add all of it as JSON if the cards would change it."""
        kept = {
            key: value
            for key, value in meta.items()
            if key.isascii()
            and key.replace("_", "").replace("-", "").isalnum()
            and len(key) <= 8
            and (
                isinstance(value, bool | int)
                or (isinstance(value, float) and value - value == 0)
                or (isinstance(value, str) and value.isascii() and value.isprintable())
            )
        }
        exact = all(
            key in kept
            and key.isupper()
            and not (isinstance(meta[key], str) and meta[key][-1:] == " ")
            for key in meta
        )
        if not exact:
            kept[_META_CARD] = json.dumps(plain(meta, string_keys=True))
        return kept


def selected_columns(wanted: str | Iterable[str], known: Iterable[str], path: str) -> list[str]:
    """Check the names of columns that a read should give.

    Parameters
    ----------
    wanted : str or iterable of str
        What the caller asks for.
    known : iterable of str
        What the file has.
    path : str
        The file, for the message.

    Raises
    ------
    InvalidParameter
        A column is not there; names the nearest.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    have = list(known)
    for name in names:
        if name not in have:
            raise InvalidParameter(
                f"{path} has no column '{name}'.{did_you_mean(str(name), have)}",
                path=path,
                name=str(name),
            )
    return names


def _table_of(hdus: HDUList) -> Any:
    from astropy.io.fits import BinTableHDU, CompImageHDU, TableHDU

    for hdu in hdus:
        if isinstance(hdu, BinTableHDU | TableHDU) and not isinstance(hdu, CompImageHDU):
            return hdu
    raise ValueError("it has no table; an image is read by the formatter fits-image")
