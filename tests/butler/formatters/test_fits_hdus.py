"""Lists of HDUs of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from butler.errors import InvalidParameter
from tests.butler.formatters.contract import PROVENANCE, FormatterContract

if TYPE_CHECKING:
    from pathlib import Path

STRUCTURE = {"EXTEND", "SKYHDUS", "COMMENT"}


def observed(header: fits.Header) -> list[str]:
    return [
        str(card)
        for card in header.cards
        if card.keyword not in STRUCTURE and not card.keyword.startswith("SKYS_")
    ]


class TestFitsHdus(FormatterContract):
    name = "fits-hdus"
    storage_class = "HDUList"
    truncations = (0.0, 0.1, 0.4, 0.7, 0.9)

    def example(self) -> Any:
        primary = fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4))
        primary.header["OBJECT"] = ("IC 310", "a comment")
        primary.header["SKYS_ID"] = "of another file"
        image = fits.ImageHDU(np.ones((5, 6), np.float32), name="SCI")
        image.header["HIERARCH ESO DET NAME"] = "Marlene"
        unsigned = fits.ImageHDU(np.array([0, 65535], np.uint16), name="RAW")
        lists = np.array([np.arange(n) for n in (3, 1)], dtype=object)
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column("flux", "E", unit="nJy", array=[1.5, np.nan]),
                fits.Column("name", "8A", array=["Vega", "Deneb"]),
                fits.Column("list", "PJ()", array=lists),
                fits.Column("scaled", "I", bzero=32768, array=np.array([1, 65535], np.uint16)),
            ],
            name="CAT",
        )
        tiles = fits.CompImageHDU(
            np.arange(900.0).reshape(30, 30),
            name="TILES",
            compression_type="GZIP_1",
            quantize_level=0.0,
        )
        return fits.HDUList([primary, image, unsigned, table, tiles, fits.ImageHDU(name="EMPTY")])

    def assert_same(self, got: Any, put: Any) -> None:
        assert [type(hdu) for hdu in got] == [type(hdu) for hdu in put]
        assert [hdu.name for hdu in got] == [hdu.name for hdu in put]
        for mine, theirs in zip(got, put, strict=True):
            if isinstance(theirs, fits.BinTableHDU):
                assert mine.columns.names == theirs.columns.names
                assert mine.columns["flux"].unit == "nJy"
                for name in ("flux", "name", "scaled"):
                    equal_nan = name == "flux"
                    assert np.array_equal(mine.data[name], theirs.data[name], equal_nan=equal_nan)
                assert [list(v) for v in mine.data["list"]] == [[0, 1, 2], [0]]
            elif theirs.data is None:
                assert mine.data is None
            else:
                assert mine.data.dtype.newbyteorder("=") == theirs.data.dtype.newbyteorder("=")
                assert np.array_equal(mine.data, theirs.data)
        assert got[0].header["OBJECT"] == "IC 310"
        assert got[0].header.comments["OBJECT"] == "a comment"
        assert got["SCI"].header["ESO DET NAME"] == "Marlene"

    def components(self, obj: Any) -> dict[str, Any]:
        return {"header": obj[0].header, "headers": [hdu.header for hdu in obj]}

    def assert_same_component(self, got: Any, expected: Any) -> None:
        if isinstance(expected, list):
            assert len(got) == len(expected)
            for mine, theirs in zip(got, expected, strict=True):
                assert mine.get("EXTNAME") == theirs.get("EXTNAME")
        else:
            assert observed(got) == observed(expected)

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [
            (fits.ImageHDU(), "HDUList([PrimaryHDU(), hdu])"),
            (CCDData(np.ones((2, 2)), unit="adu"), "ccd.to_hdu()"),
            ([fits.PrimaryHDU()], "HDUList(hdus)"),
        ]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [(fits.HDUList(), "PrimaryHDU"), (fits.HDUList([fits.ImageHDU()]), "PrimaryHDU")]

    def test_some_hdus(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        got = self.read(path, hdus=["CAT", 1])
        assert [hdu.name for hdu in got] == ["PRIMARY", "CAT", "SCI"]
        assert got[0].data is None
        assert np.array_equal(got["SCI"].data, np.ones((5, 6)))
        assert [hdu.name for hdu in self.read(path, hdus=0)] == ["PRIMARY"]
        with pytest.raises(InvalidParameter, match="Did you mean 'TILES'"):
            self.read(path, hdus="TILE")
        with pytest.raises(InvalidParameter, match="6 of them"):
            self.read(path, hdus=[6])

    def test_the_caller_keeps_his_hdus(self, path: Path) -> None:
        put = self.example()
        before = [str(hdu.header) for hdu in put], put[1].data.tobytes(), put[1].data.dtype
        self.formatter.write(put, path, PROVENANCE)
        assert (
            [str(hdu.header) for hdu in put],
            put[1].data.tobytes(),
            put[1].data.dtype,
        ) == before
