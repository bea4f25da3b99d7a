"""What is said of a class that is declared with parts that it cannot have?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backbone import endpoints
from butler import Butler
from butler.errors import CannotWrite, PolicyError, StorageClassError, UnknownComponent, WrongType
from butler.intake.ingest_files import FileDataset
from butler.storage_classes import Part, StorageClass
from butler.tables.in_tables import require_parts
from registry.row_declarations import WrongDeclaration, declared
from tests.butler.observatory_classes import CUBE, SPECTRUM, Cube, Spectrum

if TYPE_CHECKING:
    from pathlib import Path

HERE = "tests.butler.test_taking_apart"
SUMMARY = {"quality": Part("StructuredDataDict", rows="mapping")}


class Sealed:
    """Something that nothing can be taken from, nor given to."""

    def __init__(self, words: str = "") -> None:
        self._words = words

    @property
    def quality(self) -> dict[str, str]:
        return {"words": self._words}


def test_parts_are_components_and_wrong_ones_are_told() -> None:
    assert SPECTRUM.components["flux"] == "Array"
    assert SPECTRUM.components["header"] == "Header"
    with pytest.raises(StorageClassError, match="says rows='tabel'; it is one of mapping, cards"):
        StorageClass("X", "x.X", None, parts={"a": Part("Array", rows="tabel")})
    with pytest.raises(StorageClassError, match="has a part 'body', and records under this name"):
        StorageClass("X", "x.X", "yaml", parts={"body": Part("Array")})
    with pytest.raises(StorageClassError, match=r"only its parts have \(flux, lines, header, qual"):
        SPECTRUM.formatter()
    with pytest.raises(StorageClassError, match=r"use formats of its parts, such as flux\.format"):
        SPECTRUM.formatter("npy")


def test_a_class_that_takes_no_parts_is_told_with_what_to_define() -> None:
    alone = StorageClass("Sealed", f"{HERE}.Sealed", None, parts=SUMMARY)
    with pytest.raises(StorageClassError, match=r"called with its parts as keyword .* assemble"):
        alone.assemble({"quality": {}})
    other = StorageClass("Sealed", f"{HERE}.Sealed", "pickle", parts=SUMMARY)
    with pytest.raises(StorageClassError, match=r"set as attributes of a copy.* without\(\) and"):
        other.split(Sealed("x"), ["quality"], {})
    with pytest.raises(UnknownComponent, match=r"no part 'qality'\. Did you mean 'quality'"):
        other.assemble({"qality": {}})
    with pytest.raises(StorageClassError, match="nothing of the rest of this Sealed: its 'body'"):
        other.assemble({"quality": {}})


def test_objects_are_not_changed_and_nothing_is_copied() -> None:
    pixels = np.zeros((2, 2))
    cube = Cube(pixels, pixels > 1, {"seeing": 1.0, "SKYS_ID": "of a file"})
    pieces = CUBE.split(cube, ["bad", "quality"], {})
    assert pieces["quality"][1] == {"seeing": 1.0}
    assert pieces["slices_only"][1].slices is pixels
    assert pieces["slices_only"][1].bad is None
    assert cube.bad is not None
    again = CUBE.assemble({name: piece for name, (_, piece) in pieces.items()})
    assert again.slices is pixels
    assert CUBE.split(Cube(pixels), ["bad", "quality"], {}) == {}


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (Spectrum(None), "has none of its parts .flux, lines, header, quality"),
        (Spectrum(None, cards={"LAMP": [1, 2]}), "header card 'LAMP' cannot hold"),
        (Spectrum([1.0]), "The part 'flux' of this Spectrum: .* numpy.ndarray and was given list"),
        (Spectrum(None, lines=[1]), "part 'lines' .* pandas.DataFrame and was given list"),
        (Spectrum(None, cards=[1]), "part 'header' .* astropy.io.fits.Header and was given list"),
        (Spectrum(None, quality=1.5), "part 'quality' .* dict and was given float"),
    ],
)
def test_what_cannot_be_stored_leaves_nothing(tmp_path: Path, thing: Any, message: str) -> None:
    with Butler.create(tmp_path / "repo") as butler:
        butler.register_dataset_type("thing", (), "tests.butler.observatory_classes:SPECTRUM")
        with pytest.raises((CannotWrite, WrongType), match=message):
            butler.put(thing, "thing", run="x")
        assert not list(butler.root.rglob("thing_*"))
        file = FileDataset(tmp_path / "x.npy", "thing", {})
        with pytest.raises(StorageClassError, match="put an object, or name a format that"):
            butler.ingest([file], run="x")
        with pytest.raises(PolicyError, match="only parts lie in tables: lines, header, quality"):
            butler.put(Spectrum(np.zeros(3)), "thing", run="x", endpoint=endpoints.TABLES)


def test_where_each_part_goes_is_explained(tmp_path: Path) -> None:
    with Butler.create(tmp_path / "repo") as butler:
        for n, name in enumerate(("SPECTRUM", "CUBE")):
            kind = f"tests.butler.observatory_classes:{name}"
            butler.register_dataset_type(f"thing{n}", (), kind)
        butler.policy.set(dataset_type="thing0", **{"quality.format": "json"})
        told = [
            {r.setting: r.value for r in butler.policy.explain(name) if "format" in r.setting}
            for name in ("thing0", "thing1")
        ]
    assert told[0] == {
        "format": "(its parts have formats)",
        "flux.format": "npy",
        "lines.format": "parquet",
        "header.format": "fits-hdus",
        "quality.format": "json",
    }
    assert told[1] == {
        "format": "tests.butler.observatory_classes:CubeFormatter",
        "bad.format": "npy",
        "quality.format": "yaml",
    }


@pytest.mark.parametrize(
    ("component", "columns", "message"),
    [
        ("flux", "[{name: a, type: int32, doc: A}]", "no component 'flux' that could lie in a tab"),
        ("header", "[{name: a, type: int32, doc: A}]", "a row for each card; write columns: cards"),
        ("lines", "cards", "has columns of its own"),
        ("quality", "[{name: a, type: int32, doc: A}]", "add one_row: true"),
    ],
)
def test_tables_that_hold_no_such_part_are_refused(
    tmp_path: Path, component: str, columns: str, message: str
) -> None:
    file = tmp_path / "declared.yaml"
    file.write_text(
        f"table: rows_x\ndoc: X\ncomponent: {component}\ncolumns: {columns}\n"
        'storage_classes: ["tests.butler.observatory_classes:SPECTRUM"]\n'
    )
    with pytest.raises(WrongDeclaration, match=message):
        require_parts(declared(file), {})
