"""The header reader against astropy, on every real file and on files made to be difficult."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits

from butler.instrument.cards import read_headers
from butler.instrument.errors import NotFits, TruncatedFits

if TYPE_CHECKING:
    from pathlib import Path

OHP = "ohp-t152-longslit-2022/2022-09-20/raw/M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"


def test_every_card_of_every_real_file_reads_as_with_astropy(test_data: Path) -> None:
    files = [p for p in sorted(test_data.rglob("*.fit*")) if p.suffix in {".fits", ".gz"}]
    cards = 0
    for path in files:
        with fits.open(path, disable_image_compression=True) as hdus:
            for number, hdu in enumerate(hdus):
                header = read_headers(path, number).unit(number)
                assert header is not None
                for name in dict.fromkeys(hdu.header):
                    if name in {"COMMENT", "HISTORY", ""}:
                        continue
                    wanted = hdu.header[name]
                    wanted = None if isinstance(wanted, fits.card.Undefined) else wanted
                    assert header[name] == wanted, (path, number, name)
                    assert type(header[name]) is type(wanted), (path, number, name)
                    cards += 1
    assert len(files) > 140
    assert cards > 19_000


def test_difficult_cards(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.zeros((3, 4), dtype="i2"))
    hdu.header["LONG"] = "it's " + "long " * 40 + "end"
    hdu.header["QUOTE"] = "O'Neill / not a comment"
    hdu.header["HIERARCH ESO DET ID"] = "CCD-7"
    hdu.header["EMPTY"] = ""
    hdu.header["UNDEF"] = None
    hdu.header["FLAG"] = False
    hdu.header["DOUBLE"] = 1.5e-300
    hdu.header.append(("TWICE", 1))
    hdu.header.append(("TWICE", 2))
    path = tmp_path / "difficult.fits"
    hdu.writeto(path)
    path.write_bytes(path.read_bytes().replace(b"1.5E-300", b"1.5D-300"))
    header = read_headers(path).data
    with fits.open(path) as hdus:
        wanted = hdus[0].header
        for name in ("LONG", "QUOTE", "EMPTY", "FLAG"):
            assert header[name] == wanted[name]
    assert header["ESO DET ID"] == "CCD-7"
    assert header["DOUBLE"] == 1.5e-300
    assert header["TWICE"] == 1
    assert header["UNDEF"] is None
    assert header.shape == (4, 3)
    assert "NOPE" not in header
    assert len(header) == len(list(header))


def test_the_data_unit_is_the_first_with_data_or_the_one_asked_for(tmp_path: Path) -> None:
    first = fits.ImageHDU(np.zeros((5, 6)), name="SCI")
    second = fits.ImageHDU(np.zeros((7, 8)), name="ERR")
    primary = fits.PrimaryHDU()
    primary.header["OBSERVER"] = "primary"
    first.header["OBSERVER"] = "sci"
    path = tmp_path / "mef.fits"
    fits.HDUList([primary, first, second]).writeto(path)
    headers = read_headers(path)
    assert headers.data.name == "SCI"
    assert headers.data.shape == (6, 5)
    assert headers.find("OBSERVER") is headers.data
    assert headers.merged()["OBSERVER"] == "sci"
    found = headers.find("OBSERVER", 0)
    assert found is not None
    assert found["OBSERVER"] == "primary"
    assert read_headers(path, "err").data.shape == (8, 7)
    third = read_headers(path, 2)
    assert third.find("OBSERVER") is third.units[0]
    assert third.find("OBSERVER", "SCI") is third.units[1]
    assert third.find("OBSERVER", "ERR") is None
    with pytest.raises(NotFits, match=r"no HDU 'DQ' \(it has: 0, 1 SCI, 2 ERR\)"):
        read_headers(path, "DQ")


def test_tile_compressed_images_tell_the_shape_inside(tmp_path: Path) -> None:
    path = tmp_path / "tiles.fits.fz"
    image = fits.CompImageHDU(np.arange(12_000, dtype="i2").reshape(100, 120), name="CCD1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    header = read_headers(path).data
    assert header.shape == (120, 100)
    assert header.is_image


def test_tables_and_headers_without_data(test_data: Path, tmp_path: Path) -> None:
    header = read_headers(test_data / "lsst-obs-test-phosim/defects/defects.fits").data
    assert header.index == 1
    assert not header.is_image
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    assert read_headers(tmp_path / "bare.fits").data.index == 0


@pytest.mark.parametrize("kept", [20, 600, 5000, 100_000, -10_000, -8, -1])
def test_truncated_gzipped_files_are_told(test_data: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.fits.gz"
    path.write_bytes((test_data / OHP).read_bytes()[:kept])
    with pytest.raises(TruncatedFits, match=r"cut\.fits\.gz: .*Fetch it again"):
        read_headers(path)


@pytest.mark.parametrize("kept", [2880, 5000, 10_000, -2881])
def test_truncated_plain_files_are_told(test_data: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.fits"
    path.write_bytes(gzip.decompress((test_data / OHP).read_bytes())[:kept])
    with pytest.raises(TruncatedFits, match="ends after"):
        read_headers(path)


def test_a_later_unit_that_is_cut_is_told_in_plain_files(tmp_path: Path) -> None:
    path = tmp_path / "mef.fits"
    units = [fits.PrimaryHDU(), *(fits.ImageHDU(np.zeros((50, 60))) for _ in range(3))]
    fits.HDUList(units).writeto(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(TruncatedFits, match="HDU 3"):
        read_headers(path, 1)


def test_missing_padding_and_several_gzip_members_are_no_truncation(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((10, 10))).writeto(tmp_path / "whole.fits")
    whole = (tmp_path / "whole.fits").read_bytes()
    (tmp_path / "unpadded.fits").write_bytes(whole[: 2880 + 800])
    assert read_headers(tmp_path / "unpadded.fits").data.shape == (10, 10)
    (tmp_path / "unpadded.fits.gz").write_bytes(gzip.compress(whole[: 2880 + 800]))
    assert read_headers(tmp_path / "unpadded.fits.gz").data.shape == (10, 10)
    members = gzip.compress(whole[:3000]) + gzip.compress(whole[3000:])
    (tmp_path / "members.fits.gz").write_bytes(members)
    assert read_headers(tmp_path / "members.fits.gz").data.shape == (10, 10)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"Dear observer,\nyour frames\n", "is text that begins with 'Dear observer,"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG image"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\x00\x01\x02\x03\x04\x05\xff", "begins with the bytes"),
        (gzip.compress(b"text " * 100, mtime=0), "not a FITS file inside"),
    ],
)
def test_what_is_not_fits_is_said_to_be(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "strange.fits"
    path.write_bytes(content)
    with pytest.raises(NotFits, match=says):
        read_headers(path)


def test_damaged_gzip_and_lying_headers(test_data: Path, tmp_path: Path) -> None:
    data = (test_data / OHP).read_bytes()
    path = tmp_path / "damaged.fits.gz"
    path.write_bytes(data[:2000] + b"\xff" * 40 + data[2040:])
    with pytest.raises(TruncatedFits, match="damaged"):
        read_headers(path)
    plain = gzip.decompress(data)
    path.write_bytes(
        plain.replace(b"NAXIS2  =                  100", b"NAXIS2  =               100000")
    )
    with pytest.raises(TruncatedFits, match="inside the data"):
        read_headers(path)
    path.write_bytes(
        plain.replace(b"BITPIX  =                  -32", b"BITPIY  =                  -32")
    )
    with pytest.raises(NotFits, match="how large its data are"):
        read_headers(path)
    path.write_bytes(
        plain.replace(b"NAXIS1  =                 2048", b"NAXIS1  =                'a'  ")
    )
    with pytest.raises(NotFits, match="how large its data are"):
        read_headers(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_headers(tmp_path / "none.fits")
