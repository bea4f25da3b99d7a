"""Bare arrays: npy, npz and Zarr."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from astropy import units as u

from butler.errors import DamagedFile, InvalidParameter, UntrustedFormat
from butler.formatters import get_formatter
from tests.butler.formatters.contract import FormatterContract

if TYPE_CHECKING:
    from pathlib import Path


def same(a: Any, b: Any) -> bool:
    return bool(
        type(a) is type(b) is np.ndarray
        and a.dtype == b.dtype
        and a.shape == b.shape
        and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    )


class TestNpy(FormatterContract):
    name = "npy"
    storage_class = "Array"
    truncations = (0.0, 0.01, 0.5, 0.99)

    def example(self) -> Any:
        array = np.arange(3 * 20 * 30, dtype=np.float32).reshape(3, 20, 30)
        array[1, 2, 3] = np.nan
        return array

    def assert_same(self, got: Any, put: Any) -> None:
        assert same(got, put)

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [([1, 2], "numpy.asarray"), ({"a": 1}, "StructuredDataDict")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (np.array([{}, 1]), "Python objects"),
            (np.ones(3) * u.m, ".value"),
            (np.ma.masked_array([1, 2], [True, False]), ".filled()"),
        ]

    @pytest.mark.parametrize(
        "array",
        [
            np.array(3.5),
            np.zeros((0, 4)),
            np.array(["Vega", "天文"]),
            np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", ">f8")]),
            np.asfortranarray(np.arange(12.0).reshape(3, 4)),
            np.arange(5, dtype=">i2"),
            np.arange(12).reshape(3, 4)[:, ::2],
            np.array([True, False]),
        ],
        ids=lambda array: f"{array.dtype.kind}{array.shape}",
    )
    def test_every_kind_of_array(self, path: Path, array: Any) -> None:
        self.formatter.write(array, path)
        got = self.read(path)
        assert (got.shape, got.dtype) == (array.shape, array.dtype.newbyteorder("="))
        assert np.array_equal(got, array)

    def test_parts(self, path: Path) -> None:
        put = self.example()
        for array in (put, np.asfortranarray(put)):
            path.unlink(missing_ok=True)
            self.formatter.write(array, path)
            assert same(self.read(path, rows=(1, 3)), put[1:3])
            assert same(self.read(path, bbox=(2, 3, 9, 20)), put[:, 3:20, 2:9])
            assert same(self.read(path, rows=(1, 2), bbox=(2, 3, 9, 20)), put[1:2, 3:20, 2:9])
            assert self.read(path, rows=(2, 2)).shape == (0, 20, 30)
        for wrong in ({"rows": (0, 4)}, {"rows": 3}, {"bbox": (0, 0, 31, 1)}, {"bbox": (1, 2)}):
            with pytest.raises(InvalidParameter, match=next(iter(wrong))):
                self.read(path, **wrong)

    def test_a_header_that_lies_costs_no_memory(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        content = path.read_bytes()
        for was, lie in (
            (b"(3, 20, 30)", b"(3, 2000000000, 30)"),
            (b"(3, 20, 30)", b"(3,-20, 30)"),
        ):
            path.write_bytes(_relabelled(content, was, lie))
            with pytest.raises(DamagedFile):
                self.read(path)

    def test_pickled_objects_are_not_read(self, path: Path) -> None:
        np.save(path, np.array([{}], object), allow_pickle=True)
        with pytest.raises(DamagedFile, match="pickled"):
            self.read(path)


def _relabelled(content: bytes, was: bytes, lie: bytes) -> bytes:
    """Change the header of an npy file at its length."""
    end = content.index(b"\n") + 1
    head = content[:end].replace(was, lie).rstrip(b"\n")
    return head[: end - 1].rstrip(b" ").ljust(end - 1) + b"\n" + content[end:]


class NamedContract(FormatterContract):
    storage_class = "Arrays"

    def example(self) -> Any:
        rng = np.random.default_rng(5)
        return {
            "flat": rng.normal(1, 0.01, (300, 400)).astype(np.float32),
            "amp1/gain": np.array([1.5, np.nan, -np.inf]),
            "zeros": np.zeros((2, 3, 4), np.int16),
            "number": np.array(7, np.uint8),
            "none": np.zeros((0, 5)),
        }

    def assert_same(self, got: Any, put: Any) -> None:
        assert sorted(got) == sorted(put)
        for name, array in put.items():
            assert same(got[name], array), name

    def components(self, obj: Any) -> dict[str, Any]:
        return {"names": obj}

    def assert_same_component(self, got: Any, expected: Any) -> None:
        assert sorted(got) == sorted(expected)

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(np.ones(3), "storage class Array"), ([1], "StructuredDataList")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            ({"a": np.array([{}])}, "Python objects"),
            ({"a": np.ones(3) * u.m}, ".value"),
            ({"a": [1, 2]}, "np.asarray(values)"),
            ({3: np.ones(3)}, "name of an array"),
            ({"../up": np.ones(3)}, "name of an array"),
        ]

    def test_some_arrays(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        self.assert_same(self.read(path, arrays=["zeros", "flat"]), {
            "zeros": put["zeros"], "flat": put["flat"]
        })  # fmt: skip
        self.assert_same(self.read(path, arrays="amp1/gain"), {"amp1/gain": put["amp1/gain"]})
        with pytest.raises(InvalidParameter, match="no array 'flit'. Did you mean 'flat'"):
            self.read(path, arrays="flit")


class TestNpz(NamedContract):
    name = "npz"
    truncations = (0.0, 0.5, 0.99)

    def test_numpy_reads_it_and_we_what_numpy_packs(self, path: Path) -> None:
        put = {**self.example(), "names": np.array(["a", "bc"])}
        self.formatter.write(put, path)
        with np.load(path) as theirs:
            self.assert_same(dict(theirs), put)
        np.savez_compressed(path, **put)
        self.assert_same(self.read(path), put)

    def test_a_member_that_lies_costs_no_memory(self, path: Path) -> None:
        npy = io.BytesIO()
        np.save(npy, np.zeros((2, 2)))
        lie = _relabelled(npy.getvalue(), b"(2, 2)", b"(200000000, 200000)")
        bomb = npy.getvalue().replace(b"(2, 2), }    ", b"(900, 400), }  ")[:128] + bytes(
            900 * 400 * 8
        )
        for content, method, name in (
            (lie, zipfile.ZIP_STORED, "a.npy"),
            (lie, zipfile.ZIP_DEFLATED, "a.npy"),
            (bomb, zipfile.ZIP_BZIP2, "a.npy"),
        ):
            with zipfile.ZipFile(path, "w", method) as archive:
                archive.writestr(name, content)
            with pytest.raises(DamagedFile):
                self.read(path)


class TestZarr(NamedContract):
    name = "zarr"
    truncations = (0.0, 0.5, 0.99)

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [*super().inexpressible(), ({"a": np.array(["x"])}, "npz")]

    def test_parts(self, path: Path) -> None:
        put = {"a": np.arange(600 * 700.0).reshape(600, 700), "b": np.ones((2, 600, 700))}
        self.formatter.write(put, path)
        got = self.read(path, bbox=(250, 10, 260, 300))
        self.assert_same(got, {name: array[..., 10:300, 250:260] for name, array in put.items()})
        got = self.read(path, arrays="b", rows=(1, 2), bbox=(0, 0, 2, 2))
        self.assert_same(got, {"b": put["b"][1:2, :2, :2]})
        self.assert_same(self.read(path, arrays="a", rows=(5, 7)), {"a": put["a"][5:7]})
        with pytest.raises(InvalidParameter, match="not both"):
            self.read(path, arrays="a", rows=(5, 7), bbox=(0, 0, 2, 2))
        with pytest.raises(InvalidParameter, match="bbox"):
            self.read(path, bbox=(0, 0, 701, 2))

    def test_zarr_reads_it(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        with zarr.storage.ZipStore(path, mode="r") as store:
            flat: Any = zarr.open_group(store, mode="r")["flat"]
            assert np.array_equal(flat[...], put["flat"])

    def test_chunks_that_lack_are_found(self, path: Path) -> None:
        self.formatter.write({"a": np.ones((600, 600))}, path)
        _rewritten(path, drop="a/c/1/1")
        with pytest.raises(DamagedFile, match="8 chunks and needs 9"):
            self.read(path)

    def test_codecs_that_could_run_code_are_not_taken(self, path: Path) -> None:
        assert "pickle" in numcodecs.registry.codec_registry
        self.formatter.write({"a": np.ones((6, 6))}, path)
        for codec in (
            {"name": "numcodecs.pickle"},
            {"name": "gzip", "configuration": {"level": 1}},
        ):
            _rewritten(path, change={"a/zarr.json": {"codecs": [{"name": "bytes"}, codec]}})
            with pytest.raises(UntrustedFormat, match=str(codec["name"])):
                self.read(path)

    def test_a_shape_that_lies_costs_no_memory(self, path: Path) -> None:
        self.formatter.write({"a": np.ones((6, 6))}, path)
        _rewritten(path, change={"a/zarr.json": {"shape": [10**9, 10**9]}})
        with pytest.raises(DamagedFile, match="chunks"):
            self.read(path)
        _rewritten(path, change={"zarr.json": {"attributes": {}}})
        with pytest.raises(get_error("TooLarge"), match="memory"):
            self.read(path)


def get_error(name: str) -> type[Exception]:
    from butler import errors

    return getattr(errors, name)  # type: ignore[no-any-return]


def _rewritten(path: Path, drop: str = "", change: dict[str, dict[str, Any]] | None = None) -> None:
    """Leave a member of an archive out, or change keys in one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != drop}
    for name, keys in (change or {}).items():
        members[name] = json.dumps({**json.loads(members[name]), **keys}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_what_numpy_and_zarr_need_is_named_by_the_same_names() -> None:
    assert get_formatter("npz").components == get_formatter("zarr").components
