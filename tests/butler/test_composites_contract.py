"""Does every class whose objects lie in parts keep what is promised of such?

Those that ship, and two as an observatory would declare them: one that is nothing but its parts,
and one with a format for the rest.  The life of an exposure: `test_image_parts`, `test_rewriting`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.nddata import NDData, VarianceUncertainty
from astropy.table import Table

from backbone import endpoints, files
from backbone.audit import check
from backbone.remote import remote
from butler import Butler
from butler.errors import MissingComponent, MissingFile
from butler.objects.comparing import difference
from butler.storage_classes import get_storage_class
from tests.backbone import storage_servers
from tests.butler.declared import install
from tests.butler.observatory_classes import Cube, Spectrum
from tests.butler.test_image_parts import APART, HEADER, SUMMARY, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from butler.exposure import Exposure
    from registry.identity import DatasetRef

PIXELS = np.arange(24.0).reshape(4, 6)
OBSERVATORY = "tests.butler.observatory_classes"
QUALITY = """
table: rows_quality
doc: How good something is.
storage_classes: [CLASS]
component: COMPONENT
one_row: true
columns:
  - {name: seeing, type: float64, unit: arcsec, doc: Seeing, indexed: true}
  - {name: grade, type: text, length: 8, doc: Verdict, nullable: true}
"""
LINES = """
table: rows_line
doc: Lines found in spectra.
storage_classes: [CLASS]
component: lines
columns:
  - {name: wavelength, type: float64, unit: nm, doc: Wavelength, indexed: true}
  - {name: width, type: float64, unit: nm, doc: Width}
"""


def exposure(seeing: float) -> Exposure:
    made = frame(seeing)
    made.meta["BUNIT"] = "adu"  # as it comes back
    made.summary = {"seeing": seeing, "n_stars": 12}
    return made


def values(seeing: float) -> NDData:
    """Make values without a unit, which an exposure must have."""
    header = fits.Header([("SEEING", seeing, "[arcsec]"), ("OBJECT", "M 31")])
    spread = VarianceUncertainty(PIXELS + 1)
    return NDData(PIXELS, mask=PIXELS > 20, uncertainty=spread, meta=header)


def table(seeing: float) -> Table:
    return Table({"x": [1.0, 2.0, 3.0]}, units={"x": "mm"}, meta={"seeing": seeing, "grade": "A"})


def spectrum(seeing: float) -> Spectrum:
    lines = pd.DataFrame({"wavelength": [500.0, 600.0 + seeing], "width": [0.1, seeing]})
    cards = fits.Header([("LAMP", "HgNe", "lit"), ("EXPTIME", 30.0)])
    return Spectrum(np.arange(10.0), lines, cards, {"seeing": seeing, "grade": "A"})


def cube(seeing: float) -> Cube:
    return Cube(PIXELS, PIXELS > 20, {"seeing": seeing, "grade": "A"})


@dataclass(frozen=True)
class Case:
    """A class, how its objects are made, and what is known of them."""

    name: str
    make: Callable[[float], Any]
    tables: tuple[str, ...]
    where: str
    """What is true of a seeing of 0.7, and not of 1.5."""
    before: frozenset[str]
    """What it lies in where nothing is declared."""
    parts: Mapping[str, str]
    """What it lies in then, and the formats of that."""
    components: Mapping[str, Callable[[Any], Any]]
    """A number that is known of each component."""
    partial: tuple[str, Mapping[str, Any], Any]
    lost: str
    apart: Mapping[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> list[str]:
        return [text.replace("CLASS", f'"{self.name}"') for text in self.tables]


CASES = [
    Case(
        "Exposure",
        exposure,
        (SUMMARY, HEADER),
        "thing.summary.seeing < 1",
        frozenset({"image", "summary"}),
        {
            "image": "fits-image",
            "mask": "fits-image-tiles",
            "stddev": "fits-image",
            "header": "rows-cards",
            "summary": "rows-mapping",
        },
        {
            "image": np.sum,
            "mask": np.sum,
            "variance": lambda found: found.array[0, 0],
            "header": lambda found: found["NCOMBINE"],
            "wcs": lambda found: found.wcs.crval[0],
            "summary": lambda found: found["n_stars"],
        },
        ("mask", {"bbox": (2, 3, 5, 4)}, [[False, True, True]]),
        "mask",
        APART,
    ),
    Case(
        "NDData",
        values,
        (HEADER.replace("[Exposure]", "[CLASS]"),),
        "thing.header.keyword = 'SEEING' AND thing.header.number < 1",
        frozenset({""}),
        {
            "image": "fits-nddata",
            "mask": "fits-image-tiles",
            "variance": "fits-image",
            "header": "rows-cards",
        },
        {
            "image": np.sum,
            "mask": np.sum,
            "uncertainty": lambda found: found.array[0, 0],
            "header": lambda found: len(found["OBJECT"]),
        },
        ("uncertainty", {"bbox": (0, 0, 2, 1)}, None),
        "mask",
        APART,
    ),
    Case(
        "Table",
        table,
        (QUALITY.replace("COMPONENT", "meta"),),
        "thing.meta.seeing < 1",
        frozenset({""}),
        {"body": "fits-table", "meta": "rows-mapping"},
        {"columns": len, "meta": lambda found: len(found["grade"])},
        ("", {"rows": (1, 3)}, [2.0, 3.0]),
        "body",
    ),
    Case(
        f"{OBSERVATORY}:SPECTRUM",
        spectrum,
        (QUALITY.replace("COMPONENT", "quality"), LINES, HEADER.replace("[Exposure]", "[CLASS]")),
        "thing.quality.seeing < 1 AND thing.lines.width < 0.8 AND thing.lines.wavelength > 550",
        frozenset({"flux", "lines", "header", "quality"}),
        {
            "flux": "npy",
            "lines": "rows-pandas",
            "header": "rows-cards",
            "quality": "rows-mapping",
        },
        {
            "flux": np.sum,
            "lines": len,
            "header": lambda found: found["EXPTIME"],
            "quality": lambda found: len(found["grade"]),
            "length": lambda found: found["pixels"],
        },
        ("flux", {"rows": (2, 4)}, [2.0, 3.0]),
        "flux",
    ),
    Case(
        f"{OBSERVATORY}:CUBE",
        cube,
        (QUALITY.replace("COMPONENT", "quality"),),
        "thing.quality.seeing < 1",
        frozenset({"slices_only", "bad", "quality"}),
        {
            "slices_only": f"{OBSERVATORY}:CubeFormatter",
            "bad": "npy",
            "quality": "rows-mapping",
        },
        {"slices": np.sum, "bad": np.sum, "quality": lambda found: len(found["grade"])},
        ("", {"rows": (1, 3)}, PIXELS[1:3]),
        "bad",
    ),
]


def stored(butler: Butler, ref: DatasetRef) -> dict[str, str]:
    """Tell what a dataset lies in, and in which format each of that."""
    with butler.registry.read() as connection:
        known = files.all_copies(connection, [ref.id])
    return {each[0].component: each[0].formatter for each in known.values()}


def same(butler: Butler, ref: DatasetRef, case: Case, seeing: float) -> bool:
    """See that all of an object comes back, and each of its components alone."""
    given = case.make(seeing)
    assert difference(given, butler.get(ref)) == ""
    kind = get_storage_class(case.name)
    for name, number in case.components.items():
        expected = number(kind.component(given, name))
        assert number(butler.get(ref, component=name)) == pytest.approx(expected)
    return True


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name.rpartition(":")[2])
def test_the_life_of_a_composite(repository: Path, case: Case) -> None:
    with Butler(repository, run="u/parts") as butler:
        butler.register_dataset_type("thing", ("healpix",), case.name)
        first = butler.put(case.make(0.7), "thing", healpix=1)
        assert set(stored(butler, first)) == case.before
        assert same(butler, first, case, 0.7)
    install(repository, *case.declared)
    with Butler(repository, run="u/parts") as butler:
        butler.policy.set(storage_class=case.name, **case.apart)
        done = butler.convert([first])
        assert done.failed == []
        second = butler.put(case.make(1.5), "thing", healpix=2)
        assert stored(butler, first) == stored(butler, second) == case.parts
        assert same(butler, first, case, 0.7)
        assert same(butler, second, case, 1.5)
        assert butler.query_datasets("thing", where=case.where) == [first]

        component, parameters, expected = case.partial
        part = butler.get(first, component=component or None, parameters=dict(parameters))
        if expected is not None:
            pixels = {"Table": lambda: part["x"], f"{OBSERVATORY}:CUBE": lambda: part.slices}
            np.testing.assert_array_equal(pixels.get(case.name, lambda: part)(), expected)
        with pytest.raises(Exception, match="cannot be read with the parameter 'nonsense'"):
            butler.get(first, parameters={"nonsense": 1})

        in_rows = [name for name, form in case.parts.items() if form.startswith("rows-")]
        butler.policy.unset(*case.apart, storage_class=case.name)
        back = {f"{name}.endpoint": "root" for name in in_rows}
        butler.policy.set(dataset_type="thing", **back)
        assert butler.convert([first, second]).failed == []
        assert not any(form.startswith("rows-") for form in stored(butler, second).values())
        assert same(butler, second, case, 1.5)

        butler.policy.unset(*back, dataset_type="thing")
        butler.policy.set(storage_class=case.name, **case.apart)
        assert butler.convert([first, second]).failed == []
        butler.empty_trash()
        next(repository.rglob(f"thing_1_{case.lost}_*")).unlink()
        assert len(check(butler.registry.database, butler.root, repair=True, grace=0).findings) == 1
        assert not butler.exists(first)
        with pytest.raises(MissingFile, match=f"no copy of its {case.lost} can be read"):
            butler.get(first)
        for name in in_rows:
            assert len(butler.get(first, component=name)) > 1

        butler.prune([first, second], purge=True)
        assert not list(repository.rglob("thing_*"))
        with butler.registry.read() as connection:
            for name in butler.row_tables:
                counted = sa.select(sa.func.count()).select_from(sa.table(name))
                assert connection.execute(counted).scalar_one() == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.rpartition(":")[2])
def test_composites_go_to_another_repository(tmp_path: Path, case: Case) -> None:
    Butler.create(tmp_path / "repo").close()
    install(tmp_path / "repo", *case.declared)
    with (
        Butler(tmp_path / "repo", run="u/parts") as butler,
        Butler.create(tmp_path / "lab") as lab,
    ):
        butler.register_dataset_type("thing", ("healpix",), case.name)
        butler.policy.set(storage_class=case.name, **case.apart)
        first = butler.put(case.make(0.7), "thing", healpix=1)
        second = butler.put(case.make(1.5), "thing", healpix=2)
        assert stored(butler, first) == case.parts
        butler.export(tmp_path / "out.zip", [first])
        lab.import_(tmp_path / "out.zip")
        assert lab.transfer_from(butler, [second]).files == len(case.parts)
        for ref, seeing in ((first, 0.7), (second, 1.5)):
            assert same(lab, ref, case, seeing)
            assert set(stored(lab, ref)) == set(case.parts)


def test_all_of_them_lie_at_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with storage_servers.s3() as served, Butler.create(tmp_path / "repo") as butler:
        butler.registry.database.transact(endpoints.register, "far", served.root)
        for n, case in enumerate(CASES):
            butler.register_dataset_type(f"thing{n}", (), case.name)
            butler.policy.set(storage_class=case.name, **case.apart)
            ref = butler.put(case.make(0.7), f"thing{n}", run="u/far", endpoint="far")
            assert same(butler, ref, case, 0.7)
            component, parameters, expected = case.partial
            if component and expected is not None:
                part = butler.get(ref, component=component, parameters=dict(parameters))
                np.testing.assert_array_equal(part, expected)
        assert not list(butler.root.rglob("thing*_*"))
        assert len(remote("far", served.root).list()) == 4 + 3 + 1 + 4 + 3


def test_what_an_object_lacks_is_not_stored(repository: Path) -> None:
    with Butler(repository, run="u/some") as butler:
        butler.register_dataset_type("thing", ("healpix",), f"{OBSERVATORY}:SPECTRUM")
        ref = butler.put(Spectrum(np.arange(3.0)), "thing", healpix=1)
        assert stored(butler, ref) == {"flux": "npy"}
        back = butler.get(ref)
        assert (back.flux.tolist(), back.lines, back.quality) == ([0, 1, 2], None, None)
        with pytest.raises(MissingComponent, match="was put without a quality"):
            butler.get(ref, component="quality")
