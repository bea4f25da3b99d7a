"""FITS files whose headers lie: refused in a sentence, before anything is unpacked or reserved."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits

from butler.errors import DamagedFile, InvalidParameter, TooLarge
from butler.formatters import get_formatter

if TYPE_CHECKING:
    from pathlib import Path

    from butler.formatters import Formatter

IMAGE, TABLE, HDUS = (get_formatter(n) for n in ("fits-image", "fits-table", "fits-hdus"))
MEMORY = 200_000_000
"""What a refusal may take [byte]."""


def read(formatter: Formatter, path: Path, **parameters: Any) -> Any:
    """Read, and take little memory for it."""
    known = {key: value for key, value in parameters.items() if key in formatter.parameters}
    tracemalloc.start()
    try:
        return formatter.read(path, None, known)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


def content_of(*hdus: Any) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def image(dtype: str = "f4") -> bytes:
    pixels = np.arange(2_000).reshape(40, 50).astype(dtype)
    return content_of(fits.PrimaryHDU(pixels), fits.ImageHDU(pixels, name="NEXT"))


def table() -> bytes:
    lists = np.array([np.arange(n) for n in (3, 1)], dtype=object)
    columns = [
        fits.Column("a", "J", array=[1, 2]),
        fits.Column("list", "PJ()", array=lists),
    ]
    return content_of(fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns))


def tiles(algorithm: str = "GZIP_1", dtype: str = "f4", quantize: float = 0.0) -> bytes:
    pixels = np.arange(10_000).reshape(100, 100).astype(dtype)
    hdu = fits.CompImageHDU(
        pixels, compression_type=algorithm, tile_shape=(50, 50), quantize_level=quantize
    )
    return content_of(fits.PrimaryHDU(), hdu)


def lying(content: bytes, which: int = 1, **cards: Any) -> bytes:
    """Change values of cards where they stand: of the so-manieth card of that name."""
    for key, value in cards.items():
        at = -1
        for _ in range(which):
            at = content.index(f"{key:8}=".encode(), at + 1)
        content = content[: at + 10] + f"{value:>20}".encode() + content[at + 30 :]
    return content


@pytest.mark.parametrize(
    ("cards", "word"),
    [
        ({"NAXIS1": 5_000_000_000}, "truncated"),
        ({"NAXIS2": 60}, "HDU"),
        ({"NAXIS1": -50}, "NAXIS1 = -50"),
        ({"NAXIS": -2}, "NAXIS = -2"),
        ({"NAXIS": 1_000}, "NAXIS"),
        ({"NAXIS": 3}, "NAXIS3 = nothing"),
        ({"NAXIS1": "'wide'"}, "NAXIS1 = 'wide'"),
        ({"NAXIS1": "1.5"}, "NAXIS1 = 1.5"),
        ({"BITPIX": 17}, "BITPIX = 17"),
        ({"BITPIX": 0}, "BITPIX = 0"),
        ({"BITPIX": -64}, "HDU"),
        ({"BITPIX": 8}, "something else than an HDU"),
        ({"BITPIX": 16, "NAXIS2": 10}, "something else than an HDU"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_images(tmp_path: Path, cards: dict[str, Any], word: str, packed: bool) -> None:
    path = tmp_path / "x.fits"
    content = lying(image(), **cards)
    path.write_bytes(gzip.compress(content) if packed else content)
    for formatter in (IMAGE, HDUS):
        for parameters in ({}, {"bbox": (1, 2, 3, 4)}):
            with pytest.raises((DamagedFile, TooLarge)) as raised:
                read(formatter, path, **parameters)
            assert word in str(raised.value) or isinstance(raised.value, TooLarge)


@pytest.mark.parametrize(
    "cards",
    [
        {"PCOUNT": -16},
        {"PCOUNT": 10**15},
        {"GCOUNT": 0},
        {"GCOUNT": 10**12},
        {"NAXIS1": 9},
        {"NAXIS2": 10**12},
        {"NAXIS2": -1},
        {"TFORM1": "'9000000J'"},
        {"TFORM2": "'1PJ(3)  '", "TFORM1": "'3J      '"},
        {"TFIELDS": 3},
        {"TFIELDS": -1},
        {"TFIELDS": 10**9},
        {"BITPIX": 16},
    ],
)
def test_tables(tmp_path: Path, cards: dict[str, Any]) -> None:
    path = tmp_path / "x.fits"
    start = table().index(b"XTENSION")
    path.write_bytes(table()[:start] + lying(table()[start:], **cards))
    for parameters in ({}, {"rows": (0, 1)}):
        with pytest.raises(DamagedFile):
            read(TABLE, path, **parameters)


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("value", [-1, 2**31 - 1])
def test_vectors_that_lie_outside_of_the_heap(tmp_path: Path, word: int, value: int) -> None:
    path = tmp_path / "x.fits"
    content = bytearray(table())
    at = content.index(struct.pack(">iii", 1, 3, 0)) + 4 + 4 * word
    content[at : at + 4] = struct.pack(">i", value)
    path.write_bytes(content)
    for formatter in (TABLE, HDUS):
        with pytest.raises(DamagedFile):
            read(formatter, path)


@pytest.mark.parametrize(
    "cards",
    [
        {"ZNAXIS1": 10**9},
        {"ZNAXIS1": -100},
        {"ZNAXIS1": 0},
        {"ZNAXIS": 3},
        {"ZNAXIS": 0},
        {"ZNAXIS2": 10**6, "ZTILE2": 500_000},
        {"ZNAXIS1": 10**7, "ZTILE1": 5 * 10**6, "ZNAXIS2": 10**7, "ZTILE2": 5 * 10**6},
        {"ZTILE1": 0},
        {"ZTILE1": -50},
        {"ZBITPIX": 7},
        {"ZCMPTYPE": "'MAGIC   '"},
        {"PCOUNT": 10},
        {"PCOUNT": 10**13},
        {"NAXIS1": 7},
        {"NAXIS2": 3},
        {"TFORM1": "'1PY(99) '"},
        {"TFORM1": "'0PB(99) '"},
    ],
)
@pytest.mark.parametrize("algorithm", ["GZIP_1", "RICE_1"])
def test_tiles(tmp_path: Path, cards: dict[str, Any], algorithm: str) -> None:
    path = tmp_path / "x.fits.fz"
    content = tiles(algorithm, "f4" if algorithm == "GZIP_1" else "i4")
    start = content.index(b"XTENSION")
    path.write_bytes(content[:start] + lying(content[start:], **cards))
    for formatter in (IMAGE, HDUS):
        for parameters in ({}, {"bbox": (0, 0, 60, 60)}):
            with pytest.raises((DamagedFile, TooLarge, InvalidParameter)):
                read(formatter, path, **parameters)


@pytest.mark.parametrize(("dtype", "quantize"), [("f4", 0.0), ("i4", 0.0), ("f4", 16.0)])
def test_a_tile_that_unpacks_to_more_than_its_pixels(
    tmp_path: Path, dtype: str, quantize: float
) -> None:
    """The bomb takes the room of the tile after it, which goes unread."""
    path = tmp_path / "x.fits.fz"
    content = bytearray(tiles("GZIP_1", dtype, quantize))
    with fits.open(io.BytesIO(bytes(content)), disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()["datLoc"]
        width, rows = hdus[1].header["NAXIS1"], hdus[1].header["NAXIS2"]
    heap = place + width * rows
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(1 << 21)) + packer.flush()
    assert len(bomb) < len(content) - heap
    content[heap : heap + len(bomb)] = bomb
    content[place : place + 8] = struct.pack(">ii", len(bomb), 0)
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="more than"):
        read(IMAGE, path)


def test_a_gzipped_file_is_unpacked_no_further_than_its_headers_say(tmp_path: Path) -> None:
    path = tmp_path / "x.fits.gz"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    whole = packer.compress(image()) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(whole + 1_000 * piece)
    assert read(IMAGE, path).data.shape == (40, 50)


def test_a_header_without_an_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"SIMPLE  =                    T".ljust(20 << 20))
    for formatter in (IMAGE, TABLE, HDUS):
        with pytest.raises(DamagedFile, match="HDU 0 has no whole header"):
            read(formatter, path)


@pytest.mark.parametrize("packed", [False, True])
def test_more_than_there_is_memory(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.fits"
    content = lying(image(), NAXIS1=10**9, NAXIS2=10**6)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(TooLarge if packed else DamagedFile):
        read(IMAGE, path)
