"""Three files make one exposure: which of them are opened for a component, and for the whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits

from backbone import endpoints
from backbone.audit import check
from butler import Butler
from butler.errors import MissingFile
from butler.objects.comparing import difference
from tests.butler.declared import install
from tests.butler.test_image_parts import APART, COORDINATES, HEADER

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "legacysurvey-mosaic3-90prime-calexp/mzlsbass3/images/mosaic/CP20160310v2"
FILES = {part: f"k4m_160311_103249_oo{part[0]}_zd_v2-ccd3.fits.gz" for part in ("image", "weight")}
FILES["mask"] = "k4m_160311_103249_ood_zd_v2-ccd3.fits.gz"


def test_only_the_file_of_a_component_is_opened(repository: Path, test_data: Path) -> None:
    pixels = {part: fits.getdata(test_data / FOLDER / name) for part, name in FILES.items()}
    with Butler(repository, run="calexp") as butler:
        butler.register_instrument("mosaic3")
        (ref,) = butler.ingest_raws([test_data / FOLDER / name for name in FILES.values()]).refs
        whole = butler.get(ref)
        np.testing.assert_array_equal(whole.data, pixels["image"])
        np.testing.assert_array_equal(whole.mask, pixels["mask"])
        stored = {part: next(repository.rglob(f"*_{part}_*.fits.gz")) for part in FILES}

        stored["mask"].unlink()
        assert butler.get("calexp.wcs", ref.data_id).wcs.crval == pytest.approx(whole.wcs.wcs.crval)
        np.testing.assert_array_equal(butler.get(ref, component="image"), pixels["image"])
        with pytest.raises(MissingFile, match="_mask_"):
            butler.get(ref)
        with pytest.raises(MissingFile, match="_mask_"):
            butler.get(ref, component="mask")

        stored["image"].unlink()
        with np.errstate(divide="ignore"):
            variance = 1 / pixels["weight"]
        np.testing.assert_allclose(butler.get(ref, component="variance").array, variance)
        with pytest.raises(MissingFile, match="_image_"):
            butler.get(ref, component="wcs")


def test_a_real_frame_comes_into_parts_and_is_found_by_its_header(
    repository: Path, test_data: Path, tmp_path: Path
) -> None:
    install(repository, HEADER, COORDINATES)
    with Butler(repository, run="calexp") as butler:
        butler.register_instrument("mosaic3")
        (ref,) = butler.ingest_raws([test_data / FOLDER / name for name in FILES.values()]).refs
        whole = butler.get(ref)
        assert (whole.unit, whole.meta["BUNIT"]) == ("ct / s", "counts/s")
        butler.policy.set(storage_class="Exposure", **APART)
        done = butler.convert([ref])
        assert (done.n_files, done.failed) == (3, [])
        butler.empty_trash()
        assert difference(whole, butler.get(ref)) == ""
        assert butler.get(ref, component="header")["BUNIT"] == "counts/s"
        (tmp_path / "archive").mkdir()
        butler.registry.database.transact(endpoints.register, "archive", str(tmp_path / "archive"))
        copied = butler.replicate([ref], "archive")
        assert (copied.sent, copied.present) == (3, 2)
        for limit, found in ((0.9, [ref]), (0.8, [])):
            where = "calexp.header.keyword = 'SEEING' AND calexp.header.number < :limit"
            assert butler.query_datasets("calexp", where=where, bind={"limit": limit}) == found
        magnitudes = {"where": "keyword GLOB 'MAGZ*1'"}
        assert dict(butler.get(ref, component="header", parameters=magnitudes)) == {
            "MAGZERO1": 21.389,
            "MAGZSIG1": 0.057,
            "MAGZNAV1": 144,
        }
        assert check(butler.registry.database, butler.root, checksums=True, grace=0).findings == []
