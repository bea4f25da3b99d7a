"""An exposure lies in files and in rows: is it one dataset for who puts, gets and removes it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from backbone import endpoints
from backbone.audit import check
from backbone.errors import EndpointAway
from backbone.remote import remote
from butler import Butler
from butler.errors import CannotWrite, MissingComponent, MissingFile, PolicyError
from butler.exposure import Exposure
from registry.errors import MissingDataset
from registry.expressions import ExpressionError
from tests.backbone import storage_servers
from tests.butler.declared import install
from tests.nursery import Moments, Nursery, moments_to_die

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.identity import DatasetRef

SUMMARY = """
table: rows_summary
doc: What was found of calibrated frames.
storage_classes: [Exposure]
component: summary
one_row: true
columns:
  - {name: seeing, type: float64, unit: arcsec, doc: Seeing, nullable: true, indexed: true}
  - {name: n_stars, type: int32, doc: Stars, nullable: true}
  - {name: noise, type: float32, unit: adu, doc: Noise, nullable: true}
  - {name: grade, type: text, length: 8, doc: Verdict, nullable: true}
"""
HEADER = """
table: rows_header
doc: Header cards of frames.
storage_classes: [Exposure]
component: header
columns: cards
"""
COORDINATES = HEADER.replace("header", "wcs")
APART = {"mask.format": "fits-image-tiles", "uncertainty.format": "fits-image"}
TABLES = ("rows_summary", "rows_header", "rows_wcs")


def frame(seeing: float = 0.8) -> Exposure:
    """Make an image of 6 by 4 pixels, each with the number that its place says."""
    pixels = np.arange(24, dtype="f4").reshape(4, 6)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [3.0, 2.0]
    wcs.wcs.cdelt, wcs.wcs.cunit, wcs.pixel_shape = [-5e-5, 5e-5], ["deg", "deg"], (6, 4)
    cards = [
        ("EXPTIME", 30.0, "[s] time"),
        ("OBJECT", "O'Neil"),
        ("NCOMBINE", 3),
        ("DARK", False),
        ("EMPTY", None, "no value"),
        ("HIERARCH ESO DET NAME", "x y", "long keyword"),
        ("PROGRAM", "long " * 30 + "end", "over several lines"),
        ("HISTORY", "bias taken"),
        ("HISTORY", "flat divided"),
    ]
    return Exposure(
        pixels,
        unit="adu",
        mask=pixels > 20,
        uncertainty=StdDevUncertainty(np.full((4, 6), 2.0, "f4")),
        wcs=wcs,
        meta=fits.Header(cards),
        summary={"seeing": seeing, "n_stars": np.int64(12), "grade": None},
    )


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    install(repository, SUMMARY, HEADER, COORDINATES)
    with Butler(repository, run="u/parts") as opened:
        opened.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 9}])
        opened.register_dataset_type("calexp", ("instrument", "healpix"), "Exposure")
        opened.policy.set(storage_class="Exposure", **APART)
        yield opened


def put(butler: Butler, n: int = 0, **options: Any) -> DatasetRef:
    seeing = options.pop("seeing", 0.8)
    return butler.put(frame(seeing), "calexp", instrument="Cam", healpix=n, **options)


def in_files(butler: Butler) -> set[str]:
    made = [p.name.split("_")[3] for p in butler.root.rglob("calexp_*.fits*")]
    assert len(made) == len(set(made))
    return set(made)


def rows(butler: Butler) -> list[int]:
    with butler.registry.read() as connection:
        counted = [sa.select(sa.func.count()).select_from(sa.table(name)) for name in TABLES]
        return [connection.execute(one).scalar_one() for one in counted]


def test_what_is_put_in_parts_is_one_object(butler: Butler) -> None:
    ref = put(butler)
    assert in_files(butler) == {"image", "mask", "stddev"}
    assert rows(butler)[0] == 1
    given, back = frame(), butler.get(ref)
    np.testing.assert_array_equal(back.data, given.data)
    np.testing.assert_array_equal(back.mask, given.mask)
    assert back.mask.dtype == bool
    np.testing.assert_array_equal(back.uncertainty.array, given.uncertainty.array)
    assert isinstance(back.uncertainty, StdDevUncertainty)
    assert (back.unit, back.uncertainty.unit) == (given.unit, given.uncertainty.unit)
    assert back.summary == {"seeing": 0.8, "n_stars": 12, "grade": None}
    for card in given.meta.cards:
        if card.keyword != "HISTORY":
            assert back.meta.cards[card.keyword][1:] == (card.value, card.comment)
    assert list(back.meta["HISTORY"]) == ["bias taken", "flat divided"]
    assert (back.meta["SKYS_ID"], back.meta["BUNIT"]) == (str(ref.id), "adu")
    np.testing.assert_array_equal(
        back.wcs.wcs_pix2world([[5, 3]], 0), given.wcs.wcs_pix2world([[5, 3]], 0)
    )
    assert back.wcs.pixel_shape == (6, 4)
    box = butler.get(ref, parameters={"bbox": (2, 1, 5, 4)})
    np.testing.assert_array_equal(box.mask, given.mask[1:4, 2:5])
    assert box.wcs.wcs.crpix.tolist() == [1.0, 1.0]
    assert (box.meta["CRPIX1"], box.wcs.pixel_shape) == (1.0, (3, 3))
    assert butler.get("calexp.wcs", ref.data_id, parameters={"bbox": (2, 1, 5, 4)}).wcs.compare(
        box.wcs.wcs
    )


def test_a_part_lies_at_s3_or_all_of_it(butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with storage_servers.s3() as served:
        butler.registry.database.transact(endpoints.register, "far", served.root)
        butler.policy.set(storage_class="Exposure", **{"mask.endpoint": "far"})
        one, other = put(butler, 0), put(butler, 1, endpoint="far")
        assert in_files(butler) == {"image", "stddev"}
        at_s3 = remote("far", served.root)
        assert sorted(path.split("_")[3] for path in at_s3.list()) == [
            "image",
            "mask",
            "mask",
            "stddev",
        ]
        for ref in (one, other):
            back = butler.get(ref)
            np.testing.assert_array_equal(back.data, frame().data)
            np.testing.assert_array_equal(back.mask, frame().mask)
            assert back.summary["n_stars"] == butler.get(ref, component="summary")["n_stars"] == 12
            assert butler.get(ref, component="mask").sum() == 3
        assert butler.convert([one, other], endpoint="root").n_files == 4
        assert len(list(butler.root.rglob("calexp_*.fits*"))) == 6
        assert butler.get(other, component="mask").sum() == 3
        butler.empty_trash()
        assert not at_s3.list()
        again = put(butler, 2, endpoint="far")
        served.stop()
        with pytest.raises(EndpointAway):
            butler.get(again)
        assert butler.get(again, component="summary")["n_stars"] == 12


def test_each_part_is_read_alone_and_a_lost_one_is_missed(butler: Butler, tmp_path: Path) -> None:
    ref = put(butler)
    for path in butler.root.rglob("calexp_*.fits*"):
        if "_mask_" not in path.name:
            path.unlink()
    assert butler.get("calexp.summary", ref.data_id)["n_stars"] == 12
    assert butler.get(ref, component="header")["NCOMBINE"] == 3
    assert butler.get(ref, component="metadata")["DARK"] is False
    assert butler.get(ref, component="wcs").wcs.crval.tolist() == [150.0, 2.0]
    assert butler.get(ref, component="mask").sum() == 3
    times = {"where": "keyword = 'EXPTIME'"}
    assert list(butler.get(ref, component="header", parameters=times)) == ["EXPTIME"]
    with pytest.raises(MissingFile, match="_stddev_"):
        butler.get(ref, component="variance")

    other = put(butler, 1)
    next(butler.root.rglob("*_1_mask_*")).unlink()
    assert butler.exists(other)
    found = check(butler.registry.database, butler.root, repair=True, grace=0).findings
    assert len(found) == 3
    assert not butler.exists(other)
    for component in (None, "mask", "data"):
        with pytest.raises(MissingFile, match="lies in parts, and no copy of its mask can be read"):
            butler.get(other, component=component)
    assert butler.get(other, component="summary")["seeing"] == 0.8
    butler.export(tmp_path / "out.zip", [other])
    with Butler.create(tmp_path / "lab") as lab:
        lab.import_(tmp_path / "out.zip")
        with pytest.raises(MissingDataset, match="no copy of it can be read"):
            lab.get(other)


@pytest.mark.parametrize(
    ("where", "pixels"),
    [
        ("calexp.summary.seeing < :most", [1, 2]),
        ("calexp.summary.seeing < 1.0 OR healpix = 4", [1, 4]),
        ("calexp.summary.seeing IS NULL", [4]),
        ("calexp.header.keyword = 'EXPTIME' AND calexp.header.number = 30 AND "
         "calexp.wcs.keyword = 'CRVAL1' AND calexp.wcs.number > 100 AND "
         "calexp.summary.seeing > 1", [2, 3]),
        ("calexp.header.keyword = 'EXPTIME' AND calexp.header.number = 3", []),
    ],
)  # fmt: skip
def test_parts_are_found_by_what_is_in_them(butler: Butler, where: str, pixels: list[int]) -> None:
    for n, seeing in ((1, 0.7), (2, 1.1), (3, 1.9)):
        put(butler, n, seeing=seeing)
    butler.put(CCDData(np.ones((2, 2)), unit="adu"), "calexp", instrument="Cam", healpix=4)
    with pytest.raises(MissingComponent, match="was put without a summary"):
        butler.get("calexp.summary", instrument="Cam", healpix=4)
    found = butler.query_datasets("calexp", where=where, bind={"most": 1.2})
    assert [ref.data_id["healpix"] for ref in found] == pixels


def test_columns_of_parts_are_shown_and_wrong_ones_told(butler: Butler) -> None:
    put(butler, 1)
    shown = butler.table_of_datasets("calexp", columns=["calexp.summary.seeing"])
    assert shown["calexp.summary.seeing"].to_pylist() == [0.8]
    sql, plan = butler.show_query("calexp", where="calexp.summary.seeing < 1.2")
    assert "JOIN rows_summary AS calexp_summary_rows" in sql
    assert plan
    for where, message in (
        ("calexp.summary.seing < 1", "'calexp.summary' has no field 'seing'. Did you mean 'seei"),
        ("calexp.sumary.seeing < 1", "dimension 'calexp.sumary' here. Did you mean 'calexp.summa"),
        ("seeing < 1", "value 'seeing' here. Did you mean 'calexp.summary.seeing'"),
        ("calexp.header.value = 'r' OR calexp.wcs.number = 1", "give each a condition of its own"),
    ):
        with pytest.raises(ExpressionError) as told:
            butler.query_datasets("calexp", where=where)
        assert message in str(told.value)


def test_all_parts_go_together(butler: Butler, tmp_path: Path) -> None:
    ref, other = put(butler, 1), put(butler, 2)
    butler.prune([ref], purge=True)
    assert rows(butler)[0] == 1
    assert len(list(butler.root.rglob("calexp_*.fits*"))) == 3
    assert not butler.query_datasets("calexp", where="healpix = 1")
    butler.export(tmp_path / "out.zip", [other])
    with Butler.create(tmp_path / "lab") as lab:
        lab.import_(tmp_path / "out.zip")
        same_parts(butler, lab, other)
        files = {p.name.split("_")[3] for p in lab.root.rglob("calexp_*.*")}
        assert files == {"image", "mask", "stddev", "header", "wcs", "summary"}
        lab.prune([other], purge=True)
    install(tmp_path / "lab", SUMMARY)
    with Butler(tmp_path / "lab", writeable=True) as lab:
        assert lab.transfer_from(butler, [other]).files == 6
        same_parts(butler, lab, other)
        assert lab.query_datasets("calexp", collections="u/parts", where="calexp.summary.seeing<1")
    with Butler(tmp_path / "lab", inputs=[butler.root], writeable=True) as lab:
        third = put(butler, 3)
        assert lab.get(third).summary == frame().summary
        assert lab.exists(third)
    assert check(butler.registry.database, butler.root, checksums=True, grace=0).findings == []


def same_parts(one: Butler, other: Butler, ref: DatasetRef) -> None:
    here, there = one.get(ref), other.get(ref)
    assert there.summary == here.summary
    assert there.wcs.wcs.compare(here.wcs.wcs)
    assert there.wcs.pixel_shape == here.wcs.pixel_shape
    assert set(map(str, there.meta.cards)) == set(map(str, here.meta.cards))
    np.testing.assert_array_equal(there.mask, here.mask)


def test_what_cannot_lie_apart_is_told(butler: Butler) -> None:
    for summary, message in (
        ({"seeing": [1, 2]}, "'seeing' of the summary is a list"),
        ({"sieing": 1.0}, "column 'sieing' is not declared there. Did you mean 'seeing'"),
        ({"n_stars": 1.5}, "column 'n_stars' is 1.5 .float. and is declared as int32"),
        ({"n_stars": 2**40}, "which int32 does not hold"),
        ({"noise": 0.1}, "which float32 would round"),
        ({"grade": "far too long"}, "a text of 12 characters"),
    ):
        wrong = Exposure(frame(), summary=summary)
        with pytest.raises(CannotWrite, match=message):
            butler.put(wrong, "calexp", instrument="Cam", healpix=1)
    with pytest.raises(PolicyError, match=r"only parts lie in tables: header, wcs, summary\."):
        put(butler, endpoint="tables")
    assert not list(butler.root.rglob("calexp_*"))
    for settings, message in (
        ({"mask.endpoint": "tables"}, "lies in files alone, and in no table"),
        ({"psf.format": "fits-image"}, "no part 'psf' to be stored apart"),
        ({"summary.format": "fits-image"}, "writes astropy.nddata.CCDData, and not dict"),
    ):
        with pytest.raises(Exception, match=message):
            butler.policy.set(dataset_type="calexp", **settings)
    with pytest.raises(PolicyError, match="say of which storage class"):
        butler.policy.set(**{"mask.format": "fits-image"})


def test_without_a_word_only_the_summary_lies_apart(butler: Butler) -> None:
    butler.policy.unset(*APART, storage_class="Exposure")
    for part in ("header", "wcs", "summary"):
        butler.policy.set(dataset_type="calexp", **{f"{part}.endpoint": "root"})
    butler.policy.set(dataset_type="calexp", **{"summary.format": "json"})
    ref = put(butler)
    assert rows(butler) == [0, 0, 0]
    assert butler.get(ref).summary == frame().summary
    np.testing.assert_array_equal(butler.get(ref, component="mask"), frame().mask)


def program(root: str, run: str, last: int) -> None:
    """Put an exposure; die at a moment, or tell how many there are."""
    with Butler(root, run=run) as butler:
        moments = Moments(last)
        put(butler)
        print(moments.count)  # noqa: T201


def test_a_put_in_parts_is_all_or_nothing(butler: Butler, nursery: Nursery) -> None:
    this, root = f"{__name__}:program", str(butler.root)
    status, said = nursery.run(this, root, "whole", 0)
    assert status == 0
    for kill, last in enumerate(moments_to_die(int(said[-1]), kills=3)):
        run = f"killed/{kill}"
        nursery.kill(this, root, run, last)
        there = butler.query_datasets("calexp", collections=run)
        if not there:
            there = [put(butler, run=run)]
        assert butler.exists(there[0])
        assert butler.get(there[0]).summary == frame().summary
    check(butler.registry.database, butler.root, repair=True, grace=0)
    assert check(butler.registry.database, butler.root, checksums=True, grace=0).findings == []
    assert rows(butler)[0] == 4
