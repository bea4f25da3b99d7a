"""Cut-outs of two cameras with weight maps and masks are coadded per band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import InverseVariance
from astropy.table import Table
from photutils.aperture import SkyCircularAperture, aperture_photometry

from butler.exposure import Exposure
from tests.workflow.ccd.real_frames import read
from workflow.ccd import CoaddConfig, CoaddTask, DetectSourcesConfig, DetectSourcesTask, TanGrid
from workflow.ccd.frames import robust_sigma

if TYPE_CHECKING:
    from pathlib import Path

GRID = TanGrid.centred(217.45593, 34.87976, 0.45, 66, 67)
KERNELS = ("bilinear", "lanczos3", "adaptive")


class Band:
    """Exposures of a band, their zero points and names, as the table of CCDs has them."""

    def __init__(self) -> None:
        self.exposures: list[Any] = []
        self.zero_points: list[float | None] = []
        self.names: list[str] = []

    def coadd(self, kernel: str = "lanczos3") -> Any:
        config = CoaddConfig()
        config.kernel = kernel
        config.background.method = "constant"
        return CoaddTask(config).run(
            self.exposures, grid=GRID, names=self.names, zero_points=self.zero_points
        )


@pytest.fixture(scope="module")
def bands(test_data: Path) -> dict[str, Band]:
    folder = test_data / "legacysurvey-mosaic3-90prime-calexp" / "mzlsbass3"
    found: dict[str, Band] = {}
    for row in Table.read(folder / "survey-ccds-1.fits.gz"):
        path = folder / "images" / f"{str(row['image_filename']).strip()}.gz"
        parts = [read(path.with_name(path.name.replace("_ooi_", f"_oo{part}_"))) for part in "iwd"]
        exposure = Exposure(
            parts[0].data,
            unit="adu",
            meta=parts[0].meta,
            wcs=parts[0].wcs,
            uncertainty=InverseVariance(parts[1].data),
            mask=parts[2].data.astype(np.int32),
        )
        band = found.setdefault(str(row["filter"]).strip(), Band())
        band.exposures.append(exposure)
        band.zero_points.append(float(row["ccdzpt"]))
        band.names.append(f"{str(row['camera']).strip()}/{row['expnum']}/{row['ccdnum']}")
    return found


def test_every_coadd_names_its_visits(bands: dict[str, Band]) -> None:
    assert {name: len(band.names) for name, band in bands.items()} == {"g": 3, "r": 3, "z": 2}
    for band in bands.values():
        result = band.coadd()
        assert list(result.coadd_inputs["name"]) == band.names
        meta = result.coadd.meta
        assert [meta[f"INP{n:05d}"] for n in range(1, meta["NINPUT"] + 1)] == band.names
        assert str(result.coadd.unit) == "nJy"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["r", "z"])
def test_fluxes_agree_between_inputs_and_coadd(
    bands: dict[str, Band], name: str, kernel: str
) -> None:
    band = bands[name]
    result = band.coadd(kernel)
    # The star that r and z have in common; an aperture of 1.8 arcsec.
    star = SkyCoord(217.459830, 34.880963, unit="deg")
    aperture = SkyCircularAperture(star, r=1.8 * u.arcsec)
    inputs = [
        float(
            aperture_photometry(
                (exposure.data - row["background"]) * row["scale"], aperture, wcs=exposure.wcs
            )["aperture_sum"][0]
        )
        for exposure, row in zip(band.exposures, result.coadd_inputs, strict=True)
    ]
    expected = np.average(inputs, weights=result.coadd_inputs["weight"])
    coadd = result.coadd
    error = np.sqrt(np.where(coadd.mask == 0, coadd.uncertainty.array, 0.0))
    measured = aperture_photometry(coadd.data, aperture, error=error, wcs=coadd.wcs)
    flux, flux_err = (float(measured[c][0]) for c in ("aperture_sum", "aperture_sum_err"))
    assert flux > 6 * flux_err
    # Both see the same photons, so that they agree much better than the error of each.
    assert flux == pytest.approx(expected, abs=0.5 * flux_err)


def test_noise_is_that_of_the_weight_maps(bands: dict[str, Band]) -> None:
    for name in ("g", "r", "z"):
        coadd = bands[name].coadd("lanczos3").coadd
        good = coadd.mask == 0
        expected = np.sqrt(np.median(coadd.uncertainty.array[good]))
        assert robust_sigma(coadd.data[good]) == pytest.approx(expected, rel=0.15)


def test_star_has_the_same_place_in_r_and_z(bands: dict[str, Band]) -> None:
    config = DetectSourcesConfig()
    config.background.method = "constant"
    config.psf_fwhm = 3.0
    found = {}
    for name in ("r", "z"):
        sources = DetectSourcesTask(config).run(bands[name].coadd().coadd).sources
        found[name] = SkyCoord(sources["ra"], sources["dec"], unit="deg")
    assert found["r"].match_to_catalog_sky(found["z"])[1].arcsec.min() < 0.15


def test_pixels_of_a_quality_mask_do_not_count(bands: dict[str, Band]) -> None:
    band = bands["z"]
    whole = band.coadd("bilinear").coadd
    spoiled = Band()
    spoiled.zero_points, spoiled.names = band.zero_points, band.names
    first = band.exposures[0].copy()
    first.data = first.data.copy()
    first.data[40:44, 40:44] = 1e6
    first.mask = first.mask.copy()
    first.mask[40:44, 40:44] = 7
    spoiled.exposures = [first, band.exposures[1]]
    result = spoiled.coadd("bilinear").coadd
    good = (whole.mask | result.mask) == 0
    assert np.abs(result.data - whole.data)[good].max() < 6 * np.sqrt(
        np.median(whole.uncertainty.array[good])
    )
    assert (result.uncertainty.array[good] > 1.5 * whole.uncertainty.array[good]).sum() >= 4
