"""Images that are gzipped, lie in tiles, or have no unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData

from butler.exposure import Exposure
from tests.butler.formatters.contract import PROVENANCE
from tests.butler.formatters.images import ImageContract, corners_on_sky

if TYPE_CHECKING:
    from pathlib import Path


class TestGzippedImage(ImageContract):
    name = "fits-image-gzip"
    truncations = (0.0, 0.01, 0.2, 0.5, 0.85, 0.99)

    def test_astropy_reads_it(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        assert path.read_bytes()[:2] == b"\x1f\x8b"
        assert np.array_equal(fits.getdata(path, "MASK"), self.example().mask)


class TestTiledImage(ImageContract):
    name = "fits-image-tiles"
    truncations = (0.0, 0.01, 0.2, 0.5, 0.85)

    def test_astropy_reads_it(self, path: Path) -> None:
        put = Exposure(
            np.random.default_rng(1).normal(size=(300, 200)).astype(np.float32),
            unit="adu",
            mask=np.arange(60_000, dtype=np.int32).reshape(300, 200),
        )
        self.formatter.write(put, path)
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.compression_type for hdu in hdus[1:]] == ["GZIP_2", "RICE_1"]
            assert np.array_equal(hdus["IMAGE"].data, put.data)
            assert np.array_equal(hdus["MASK"].data, put.mask)
            assert hdus["IMAGE"].tile_shape == (128, 128)

    @pytest.mark.parametrize("shape", [(300, 500), (7,), (2, 3, 200, 130), (1, 1)])
    @pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"])
    def test_every_shape_and_type(self, path: Path, shape: Any, dtype: str) -> None:
        kind = np.dtype(dtype)
        rng = np.random.default_rng(1)
        data = (
            rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)
            if kind.kind in "iu"
            else rng.normal(size=shape).astype(kind)
        )
        self.formatter.write(CCDData(data, unit="adu"), path)
        got = self.read(path)
        assert got.data.dtype == kind
        assert np.array_equal(got.data, data)
        if data.ndim > 1:
            ny, nx = shape[-2:]
            box = (nx // 3, ny // 4, nx, ny // 4 + 1)
            assert np.array_equal(
                self.read(path, "image", bbox=box), data[..., box[1] : box[3], box[0] : box[2]]
            )


class TestNDData(ImageContract):
    name = "fits-nddata"
    storage_class = "NDData"

    def example(self) -> Any:
        ccd = super().example()
        return NDData(
            ccd.data.copy(), uncertainty=ccd.uncertainty, mask=ccd.mask, wcs=ccd.wcs, meta=ccd.meta
        )

    def assert_same(self, got: Any, put: Any) -> None:
        assert type(got) is NDData
        assert (got.unit, got.mask.dtype) == (put.unit, put.mask.dtype)
        assert np.array_equal(got.data, put.data, equal_nan=True)
        assert np.array_equal(got.mask, put.mask)
        assert np.array_equal(got.uncertainty.array, put.uncertainty.array)
        assert got.meta["OBJECT"] == put.meta["OBJECT"]
        assert np.allclose(corners_on_sky(got), corners_on_sky(put), rtol=0, atol=1e-12)

    def components(self, obj: Any) -> dict[str, Any]:
        return super().components(Exposure(obj, unit="adu"))

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(np.ones((2, 2)), "storage class Array"), (fits.HDUList(), "HDUList")]

    def test_the_caller_keeps_his_array_and_header(self, path: Path) -> None:
        put = self.example()
        before = str(put.meta), put.data.tobytes()
        self.formatter.write(put, path, PROVENANCE)
        assert (str(put.meta), put.data.tobytes()) == before

    @pytest.mark.parametrize("box", [(0, 0, 40, 30), (5, 7, 6, 8)])
    def test_a_box_of_pixels(self, path: Path, box: tuple[int, ...]) -> None:
        put = self.example()
        self.formatter.write(put, path)
        got = self.read(path, bbox=box)
        inside = slice(box[1], box[3]), slice(box[0], box[2])
        assert np.array_equal(got.data, put.data[inside], equal_nan=True)
        assert np.array_equal(got.mask, put.mask[inside])

    def test_a_unit_is_kept_and_none_stays_none(self, path: Path) -> None:
        for unit in (None, u.nJy, u.dimensionless_unscaled):
            path.unlink(missing_ok=True)
            self.formatter.write(NDData(np.ones((2, 3)), unit=unit), path)
            assert self.read(path).unit == unit
