"""How does an astropy Table lie in a FITS file, so that all of it comes back?

As a binary table with units, descriptions and time columns as astropy writes them. What astropy
would lose is written beside: the mask of a masked column as a column of its own, and metadata that
header cards cannot hold (lower-case keys, nested values) as JSON in one long card.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.fits_file import open_fits, written_by_astropy
from butler.formatters.fits_header import provenance_cards, provenance_in
from butler.formatters.fits_scan import padded
from butler.formatters.plain import Inexpressible, plain
from butler.formatters.selections import selected_names, selected_rows
from butler.formatters.source import prefetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.io.fits import HDUList
    from astropy.table import Table

    from butler.formatters.fits_file import FitsFile
    from butler.formatters.source import Source

__all__ = ["FitsTableFormatter"]

_META_CARD = "SKYMETA"


class FitsTableFormatter(Formatter):
    """An astropy Table as the first binary table of a FITS file.

    Components: ``columns`` (the names), ``meta``. Parameters of a read: ``columns``, the names of
    those that are wanted, and ``rows = (start, stop)``; only those rows are read from the file,
    and the heap if there are vectors of varying length. Tables that others wrote are read as they
    are: a NaN or an empty string is a value, not a masked one. FITS keeps no blanks at the end of a
    text.
    """

    name = "fits-table"
    extension: ClassVar[str] = ".fits"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.table.Table",)
    components: ClassVar[frozenset[str]] = frozenset({"columns", "meta"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns", "rows"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Table, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the table; see `Formatter.dump`."""
        from astropy.io.fits import Header
        from astropy.table import MaskedColumn

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
        with written_by_astropy():
            try:
                table.write(stream, format="fits")
            except (ValueError, TypeError, KeyError) as error:
                raise self.refuse(
                    str(error).rstrip("."), "change that column, or use the formatter ecsv"
                ) from error

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the table or a component of it; see `Formatter.load`."""
        from astropy.table import Table
        from astropy.table.meta import YamlParseError

        with open_fits(source, whole=component != "columns", character_as_bytes=False) as file:
            hdu = _table_of(file.hdus)
            if component == "columns":
                return [name for name in hdu.columns.names if not str(name).endswith(".mask")]
            file.check_table(hdu)
            if "rows" in parameters:
                hdu = _rows_of(
                    file, hdu, selected_rows(parameters["rows"], hdu.header["NAXIS2"], source.name)
                )
            try:
                table = Table.read(
                    hdu,
                    format="fits",
                    astropy_native=True,
                    mask_invalid=False,
                    unit_parse_strict="silent",
                )
            except YamlParseError as error:
                raise ValueError("astropy's description of its columns is no YAML") from error
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
            return table[selected_names(parameters["columns"], table.colnames, source.name)]
        return table

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the ``SKYS_*`` cards of the table's header."""
        with open_fits(source, whole=False) as file:
            return provenance_in(_table_of(file.hdus).header)

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


def _table_of(hdus: HDUList) -> Any:
    from astropy.io.fits import BinTableHDU, CompImageHDU, TableHDU

    for hdu in hdus:
        if isinstance(hdu, BinTableHDU | TableHDU) and not isinstance(hdu, CompImageHDU):
            return hdu
    raise ValueError("it has no table; an image is read by the formatter fits-image")


def _rows_of(file: FitsFile, hdu: Any, rows: slice) -> Any:
    """Make a table of some rows, as they lie in the file, and of its heap."""
    from astropy.io import fits

    place, header = hdu.fileinfo(), hdu.header.copy()
    width, n_rows = header["NAXIS1"], header["NAXIS2"]
    first, heap = place["datLoc"] + rows.start * width, place["datLoc"] + n_rows * width
    spans = [(first, first + (rows.stop - rows.start) * width), (heap, heap + header["PCOUNT"])]
    prefetch(file.stream, spans)
    content = b""
    for start, end in spans:
        file.stream.seek(start)
        content += file.stream.read(end - start)
    header["NAXIS2"] = rows.stop - rows.start
    if "THEAP" in header:
        header["THEAP"] -= (n_rows - header["NAXIS2"]) * width
    content += b"\0" * (padded(len(content)) - len(content))
    made = fits.BinTableHDU.fromstring(header.tostring().encode("ascii") + content)
    made._character_as_bytes = False  # noqa: SLF001
    return made
