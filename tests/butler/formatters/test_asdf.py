"""Trees of values in ASDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from astropy.time import Time

from butler.errors import DamagedFile, InvalidParameter
from tests.butler.formatters.contract import FormatterContract

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
"""
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
OTHER = "lies in another file, .*x?.asdf', which is not read"


class TestAsdf(FormatterContract):
    name = "asdf"
    storage_class = "Tree"
    truncations = (0.0, 0.1, 0.6)

    def example(self) -> Any:
        table = Table({"id": [1, 2], "flux": [1.5, np.nan] * u.nJy})
        return {
            "name": "Jürgen 天文",
            "values": {"n": 3, "list": [1, 2.5, None, {"x": True}]},
            "pixels": np.arange(12, dtype=np.float32).reshape(3, 4),
            "nested": {"mask": np.eye(3, dtype=np.uint8)},
            "exposure": 40.0 * u.s,
            "begin": Time(59841.25, format="mjd", scale="tai"),
            "table": table,
        }

    def assert_same(self, got: Any, put: Any) -> None:
        assert type(got) is dict
        assert set(got) == set(put)  # in the order of their names
        assert (got["name"], got["values"]) == (put["name"], put["values"])
        assert type(got["pixels"]) is np.ndarray
        assert got["pixels"].dtype == np.float32
        assert np.array_equal(got["pixels"], put["pixels"])
        assert np.array_equal(got["nested"]["mask"], put["nested"]["mask"])
        assert got["exposure"] == put["exposure"]
        assert (got["begin"].scale, got["begin"].mjd) == ("tai", 59841.25)
        assert got["table"]["flux"].unit == u.nJy
        assert np.array_equal(got["table"]["flux"], put["table"]["flux"], equal_nan=True)

    def components(self, obj: Any) -> dict[str, Any]:
        return {"names": sorted(obj)}

    def assert_same_component(self, got: Any, expected: Any) -> None:
        assert sorted(got) == expected

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(np.ones(3), "put {'name': array}"), ([1], "StructuredDataList")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            ({3: 1}, "key of the tree"),
            ({"history": 1}, "key of the tree"),
            ({"a": {"b": object()}}, "object"),
            ({"a": lambda: 1}, "function"),
        ]

    def test_some_keys(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        got = self.read(path, names=["pixels", "name"])
        assert list(got) == ["pixels", "name"]
        assert np.array_equal(got["pixels"], put["pixels"])
        with pytest.raises(InvalidParameter, match="Did you mean 'pixels'"):
            self.read(path, names="pixel")

    def test_an_unknown_kind_of_object_is_told(self, path: Path) -> None:
        self.formatter.write({"a": {"b": 1}}, path)
        content = path.read_bytes().replace(
            b"a: {b: 1}", b"a: !<asdf://nowhere.org/tags/x-1> {b: 1}"
        )
        assert b"nowhere" in content
        path.write_bytes(content)
        with pytest.raises(ValueError, match="nowhere"):
            self.read(path)

    @pytest.mark.parametrize(
        ("tree", "told"),
        [
            ("a0: &a0 [x, x]\n" + LAUGHS, "its aliases unfold to more than 1,000,000 values"),
            ("a: " + "[" * 200 + "]" * 200, "more than 100 levels"),
            ("a: &a [*a]", "an alias stands inside of what it stands for"),
            ("a: !core/ndarray-1.0.0 {source: ../theirs.asdf, datatype: uint8, shape: [2]}", OTHER),
            ("a: !core/ndarray-1.1.0\n  shape: [2]\n  source: http://127.0.0.1/x.asdf", OTHER),
        ],
        ids=["laughs", "deep", "ring", "file", "url"],
    )
    def test_a_tree_that_reaches_beyond_its_file_is_refused(
        self, path: Path, tree: str, told: str
    ) -> None:
        path.write_text(HEAD + tree + "\n...\n")
        with pytest.raises(DamagedFile, match=told):
            self.read(path)
