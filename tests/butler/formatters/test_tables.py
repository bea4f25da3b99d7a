"""Tables in FITS, Parquet and ECSV."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from butler.errors import InvalidParameter
from butler.formatters import get_formatter
from tests.butler.formatters.contract import FormatterContract

if TYPE_CHECKING:
    from pathlib import Path


def without_provenance(meta: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in meta.items() if not key.startswith("SKYS_")}


class TableContract(FormatterContract):
    storage_class = "Table"

    def example(self) -> Table:
        table = Table(
            {
                "id": np.array([1, 2, 2**62]),
                "flux": np.array([1.5, np.nan, -np.inf]),
                "mag": np.array([20.5, 21, 22], np.float32) * u.mag,
                "name": ["Vega", "", "a longer name, with 'quotes' and \"more\""],
                "good": [True, False, True],
            }
        )
        table["flux"].unit = "nJy"
        table["flux"].description = "aperture flux"
        table["gap"] = MaskedColumn([1, 999999, 3], mask=[True, False, False])
        table["gap_f"] = MaskedColumn([1.0, np.nan, 3.0], mask=[True, False, False], unit="s")
        table["gap_s"] = MaskedColumn(["x", "", "z"], mask=[True, False, False])
        table.meta = {"FILTER": "z", "seeing": 1.25, "nested": {"b": [1, None], "a": "é"}, "n": 3}
        table.meta["SKYS_ID"] = "of another table"
        return table

    def assert_same(self, got: Any, put: Any) -> None:
        assert isinstance(got, Table)
        assert got.colnames == put.colnames
        for name in put.colnames:
            mine, theirs = got[name], put[name]
            assert mine.dtype == theirs.dtype, name
            assert (mine.unit, mine.description) == (theirs.unit, theirs.description)
            mask = np.asarray(getattr(theirs, "mask", np.zeros(len(theirs), bool)))
            assert np.array_equal(
                np.asarray(getattr(mine, "mask", np.zeros(len(mine), bool))), mask
            )
            values, expected = (np.asarray(column)[~mask] for column in (mine, theirs))
            assert np.array_equal(values, expected, equal_nan=theirs.dtype.kind == "f"), name
        assert without_provenance(got.meta) == without_provenance(put.meta)

    def components(self, obj: Any) -> dict[str, Any]:
        return {"columns": obj.colnames, "meta": dict(obj.meta)}

    def assert_same_component(self, got: Any, expected: Any) -> None:
        if isinstance(expected, dict):
            got, expected = without_provenance(got), without_provenance(expected)
        assert got == expected

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [
            (pd.DataFrame({"a": [1]}), "DataFrame"),
            (np.zeros(3), "Table(array)"),
            ({"a": [1]}, "Table(columns)"),
        ]

    def test_some_columns(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        got = self.read(path, columns=["gap_f", "id"])
        self.assert_same(got, put["gap_f", "id"])
        assert self.read(path, columns="id").colnames == ["id"]
        with pytest.raises(InvalidParameter, match="Did you mean 'flux'"):
            self.read(path, columns=["fluks"])

    def test_an_empty_table(self, path: Path) -> None:
        put = Table({"a": np.zeros(0), "b": np.zeros(0, np.int16)})
        self.formatter.write(put, path)
        got = self.read(path)
        assert (got.colnames, len(got), got["b"].dtype) == (["a", "b"], 0, np.int16)

    def test_some_rows(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        self.assert_same(self.read(path, rows=(1, 3)), put[1:3])
        self.assert_same(self.read(path, rows=(0, 1), columns=["id"]), put["id",][:1])
        assert len(self.read(path, rows=(3, 3))) == 0
        for wrong in ((0, 4), (2, 1), (-1, 2), 3, "all"):
            with pytest.raises(InvalidParameter, match="rows"):
                self.read(path, rows=wrong)


class TestFitsTable(TableContract):
    name = "fits-table"
    truncations = (0.0, 0.2, 0.5, 0.7)

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (Table({"a": ["José"]}), "ecsv"),
            (Table({"a": [{"b": 1}]}), "ecsv"),
            (Table({"a": [1]}, meta={"epoch": Time(2000, format="jyear")}), "['epoch']"),
        ]

    def test_vectors_unsigned_numbers_and_times(self, path: Path) -> None:
        put = Table({"v": np.arange(6.0).reshape(3, 2), "u2": np.array([0, 1, 65535], np.uint16)})
        put["t"] = Time([59841.25, 59842, 59843.125], format="mjd", scale="tai")
        self.formatter.write(put, path)
        got = self.read(path)
        assert np.array_equal(got["v"], put["v"])
        assert got["u2"].dtype == np.uint16
        assert np.array_equal(got["u2"], put["u2"])
        assert got["t"].scale == "tai"
        assert np.max(np.abs((got["t"] - put["t"]).to_value("ns"))) < 1

    def test_rows_of_vectors_of_varying_length(self, path: Path) -> None:
        lists = np.array([np.arange(n) for n in (3, 0, 5)], dtype=object)
        fits.BinTableHDU.from_columns(
            [fits.Column("n", "J", array=[1, 2, 3]), fits.Column("v", "PJ()", array=lists)]
        ).writeto(path)
        got = self.read(path, rows=(1, 3))
        assert list(got["n"]) == [2, 3]
        assert [list(values) for values in got["v"]] == [[], [0, 1, 2, 3, 4]]

    def test_upper_case_metadata_are_plain_cards(self, path: Path) -> None:
        put = Table({"a": [1]}, meta={"FILTER": "z", "NVISITS": 3, "GOOD": True, "SEEING": 1.5})
        self.formatter.write(put, path)
        header = fits.getheader(path, 1)
        assert "SKYMETA" not in header
        assert [header[key] for key in put.meta] == ["z", 3, True, 1.5]
        assert self.read(path).meta == put.meta

    def test_an_image_is_no_table(self, path: Path) -> None:
        fits.PrimaryHDU(np.ones((3, 3))).writeto(path)
        with pytest.raises(ValueError, match="fits-image"):
            self.read(path)

    def test_real_survey_table(self, test_data: Path, path: Path) -> None:
        folder = test_data / "legacysurvey-mosaic3-90prime-calexp" / "mzlsbass3"
        got = self.formatter.read(folder / "survey-ccds-1.fits.gz")
        assert len(got) == 8
        assert set(got["camera"]) == {"90prime", "mosaic"}
        assert got["telfocus"].shape == (8, 3)
        assert set(got["filter"]) == {"g", "r", "z"}
        self.formatter.write(got, path)
        again = self.read(path)
        for name in got.colnames:
            assert again[name].dtype == got[name].dtype
            assert np.array_equal(again[name], got[name], equal_nan=got[name].dtype.kind == "f")

    def test_real_defects(self, test_data: Path) -> None:
        got = self.formatter.read(test_data / "lsst-obs-test-phosim" / "defects" / "defects.fits")
        assert len(got) > 400
        assert {"POINT", "BOX"} <= set(got["SHAPE"])

    def test_damage_inside_gzip(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        path.write_bytes(gzip.compress(path.read_bytes())[:-40])
        with pytest.raises(ValueError, match="not a whole fits-table"):
            self.read(path)


class TestEcsv(TableContract):
    name = "ecsv"
    truncations = (0.0, 0.2)

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (Table({"a": [1]}, meta={"f": lambda: 1}), "metadata"),
            (Table({"a": [" outer blanks"]}), "begin or end with blanks"),
        ]


class TestParquetOfAstropy(TableContract):
    name = "parquet-astropy"
    truncations = (0.0, 0.3, 0.99)

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (Table({"a": [{"b": 1}, 2]}), "numbers or text"),
            (Table({"a": [1 + 2j]}), "complex128"),
            (Table({"a": [1]}, meta={"f": lambda: 1}), "metadata"),
        ]

    def test_times_coordinates_quantities_and_vectors(self, path: Path) -> None:
        put = QTable({"v": np.arange(6.0).reshape(3, 2), "q": [1.0, 2, 3] * u.nJy})
        put["t"] = Time([59841.25, 59842, 59843.125], format="mjd", scale="tai")
        put["where"] = SkyCoord([1, 2, 3], [4, 5, 6], unit="deg")
        self.formatter.write(put, path)
        assert self.read(path, "columns") == ["v", "q", "t", "where"]
        for got in (self.read(path), self.read(path, columns=["where", "t", "q", "v"])):
            assert isinstance(got, QTable)
            assert np.array_equal(got["v"], put["v"])
            assert np.all(got["q"] == put["q"])
            assert (got["t"].scale, list(got["t"].mjd)) == ("tai", list(put["t"].mjd))
            assert np.all(got["where"].ra == put["where"].ra)
        assert self.read(path, columns="t", rows=(1, 2)).colnames == ["t"]

    def test_others_find_values_and_units(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        field = pq.read_schema(path).field("flux")
        assert field.metadata[b"unit"] == b"nJy"
        frame = pd.read_parquet(path)
        assert list(frame["name"]) == list(self.example()["name"])
        assert frame["gap"].isna().tolist() == [True, False, False]

    def test_what_others_wrote_is_read(self, path: Path) -> None:
        schema = pa.schema(
            [
                pa.field("x", pa.float32(), metadata={"unit": "mag"}),
                pa.field("name", pa.string()),
                pa.field("n", pa.int16()),
            ]
        )
        values = {"x": [1.5, None], "name": ["a", None], "n": [1, 2]}
        pq.write_table(pa.table(values, schema=schema), path)
        got = self.read(path)
        assert (got["x"].unit, got["x"].dtype) == (u.mag, np.float32)
        assert got["x"].mask.tolist() == [False, True]
        assert (got["name"][0], got["name"].mask.tolist()) == ("a", [False, True])
        assert got["n"].dtype == np.int16
        assert self.read(path, "meta") == {}


class TestParquetOfArrow(FormatterContract):
    name = "parquet-arrow"
    storage_class = "ArrowTable"
    truncations = (0.0, 0.3, 0.99)

    def example(self) -> pa.Table:
        return pa.table(
            {
                "id": pa.array([1, 2, None], pa.int64()),
                "flux": pa.array([1.5, float("inf"), -0.0], pa.float32()),
                "flags": pa.array([["a"], [], None], pa.list_(pa.string())),
                "where": pa.array([{"ra": 1.0, "dec": 2.0}] * 3),
                "begin": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
                "band": pa.array(["g", "r", "g"]).dictionary_encode(),
            }
        ).replace_schema_metadata({"seeing": "1.25", "SKYS_ID": "of another table"})

    def assert_same(self, got: Any, put: Any) -> None:
        assert got.equals(put)
        kept = {k: v for k, v in got.schema.metadata.items() if not k.startswith(b"SKYS_")}
        assert kept == {b"seeing": b"1.25"}

    def components(self, obj: Any) -> dict[str, Any]:
        return {"columns": obj.column_names}

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [
            (pd.DataFrame({"a": [1]}), "Table.from_pandas(df)"),
            (Table({"a": [1]}), "storage class Table"),
            ({"a": [1]}, "pyarrow.table(columns)"),
        ]

    def inexpressible(self) -> list[tuple[Any, str]]:
        doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
        return [(doubled, "named 'a'")]

    def test_some_columns_and_rows(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        got = self.read(path, columns=["where", "id"], rows=(1, 3))
        assert got.equals(put.select(["where", "id"]).slice(1, 2))
        with pytest.raises(InvalidParameter, match="Did you mean 'flux'"):
            self.read(path, columns="fluks")


class TestCsv(FormatterContract):
    name = "csv"
    storage_class = "DataFrame"
    truncations = (0.0,)
    garbage = (b"", b"Dear diary,\nno data today.\n", b"\x00\xff\xfe" * 999, b"a,b\n1\n")

    def example(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "id": [1, 2, 2**62],
                "flux": [1.5, np.nan, -0.1],
                "name": ["Vega", None, 'quoted "x", a comma\nand 天文'],
                "empty": ["", "x", "y"],
                "good": [True, False, True],
            }
        )

    def assert_same(self, got: Any, put: Any) -> None:
        pd.testing.assert_frame_equal(got, put)

    def components(self, obj: Any) -> dict[str, Any]:
        return {"columns": list(obj.columns)}

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(Table({"a": [1]}), "table.to_pandas()")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        attributes = pd.DataFrame({"a": [1]})
        attributes.attrs = {"seeing": 1.25}
        return [
            (pd.DataFrame({"a": ["007", "008"]}), "column 'a'"),
            (pd.DataFrame({"a": np.array([1.5], np.float32)}), "float32"),
            (pd.DataFrame({"a": [1]}, index=[5]), "reset_index"),
            (pd.DataFrame({1: [2]}), "column 1"),
            (pd.DataFrame({"a": [[1, 2]]}), "parquet"),
            (attributes, "attributes"),
        ]

    def test_some_columns_and_rows(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        got = self.read(path, columns=["name", "id"], rows=(1, 3))
        pd.testing.assert_frame_equal(got, put[["name", "id"]].iloc[1:3])
        with pytest.raises(InvalidParameter, match="rows"):
            self.read(path, rows=(0, 4))


class TestParquet(FormatterContract):
    name = "parquet"
    storage_class = "DataFrame"
    truncations = (0.0, 0.3, 0.99)

    def example(self) -> pd.DataFrame:
        frame = pd.DataFrame(
            {
                "id": np.array([1, 2, 2**62]),
                "flux": np.array([1.5, np.nan, -np.inf]),
                "mag": np.array([20.5, 21, 22], np.float32),
                "name": ["Vega", None, "天文 🔭"],
                "band": pd.Categorical(["g", "r", "g"]),
                "begin": pd.to_datetime(["2022-09-19T19:47:40.123456789"] * 3, utc=True),
                "n": pd.array([1, None, 3], dtype="Int16"),
            },
            index=pd.Index([10, 20, 30], name="object"),
        )
        frame.attrs = {"seeing": 1.25}
        return frame

    def assert_same(self, got: Any, put: Any) -> None:
        pd.testing.assert_frame_equal(got, put)
        assert got.attrs == put.attrs

    def components(self, obj: Any) -> dict[str, Any]:
        return {"columns": list(obj.columns)}

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [
            (Table({"a": [1]}), "table.to_pandas()"),
            (pd.Series([1]), "series.to_frame()"),
            ({"a": [1]}, "DataFrame(columns)"),
        ]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (pd.DataFrame({1: [2]}), "df.rename(columns=str)"),
            (pd.DataFrame({"a": [1, "x"]}), "values of one type"),
        ]

    def test_some_columns(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        pd.testing.assert_frame_equal(self.read(path, columns=["mag", "id"]), put[["mag", "id"]])
        with pytest.raises(InvalidParameter, match="Did you mean 'flux'"):
            self.read(path, columns=["fluks"])

    @pytest.mark.parametrize("rows", [(0, 2), (65_530, 65_540), (100_000, 100_000), (0, 150_000)])
    @pytest.mark.parametrize("index", [None, "named", "stepped"])
    def test_some_rows_of_several_groups(self, path: Path, rows: Any, index: str | None) -> None:
        put = pd.DataFrame({"a": np.arange(150_000), "b": np.arange(150_000) / 7})
        if index == "named":
            put.index = pd.Index(np.arange(150_000) * 3, name="object")
        elif index == "stepped":
            put.index = pd.RangeIndex(10, 10 + 4 * 150_000, 4, name="time")
        self.formatter.write(put, path)
        expected = put.iloc[slice(*rows)]
        pd.testing.assert_frame_equal(self.read(path, rows=rows), expected)
        pd.testing.assert_frame_equal(self.read(path, rows=rows, columns=["b"]), expected[["b"]])

    def test_a_range_index_costs_no_column(self, path: Path) -> None:
        put = pd.DataFrame({"a": [1.0, 2.0]})
        get_formatter("parquet").write(put, path)
        assert self.read(path, "columns") == ["a"]
        pd.testing.assert_frame_equal(self.read(path), put)
