"""Grids and resampling: places, fluxes and variances are kept."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workflow.ccd.real_frames import gaussian, image, raw
from workflow.ccd.errors import NoSkyCoordinates
from workflow.ccd.grid import TanGrid
from workflow.ccd.planes import bit
from workflow.ccd.warp import pixel_map, warp

GRID = TanGrid.centred(150.0, 30.0, 0.5, 100, 110)


def _shifted(dx: float, dy: float, scale: float = 0.5) -> TanGrid:
    middle = TanGrid.centred(150.0, 30.0, scale, 90, 90)
    return TanGrid(middle.ra, middle.dec, scale, 90, 90, middle.x + dx, middle.y + dy)


def test_cards_hold_the_grid() -> None:
    assert TanGrid.from_cards(GRID.to_cards()) == GRID
    with pytest.raises(NoSkyCoordinates, match="CRVAL1"):
        TanGrid.from_cards({"NAXIS1": 4, "NAXIS2": 4})
    with pytest.raises(NoSkyCoordinates, match="north up"):
        TanGrid.from_cards({**GRID.to_cards(), "CD1_2": 1e-5})


def test_patches_share_the_pixels_of_the_whole() -> None:
    patches = list(GRID.divide(3, 2, overlap=5))
    assert len(patches) == 6
    sky = GRID.wcs().pixel_to_world(60, 70)
    for patch in patches:
        x, y = patch.wcs().world_to_pixel(sky)
        assert (x - 60) == pytest.approx(round(float(x - 60)), abs=1e-6)
        assert (y - 70) == pytest.approx(round(float(y - 70)), abs=1e-6)
    inner = list(GRID.divide(3, 2))
    assert sum(p.rows * p.columns for p in inner) == GRID.rows * GRID.columns


def test_a_grid_covers_its_images() -> None:
    images = [image(np.zeros((90, 90)), _shifted(dx, dy)) for dx, dy in ((0, 0), (35.5, -20.2))]
    grid = TanGrid.covering(images)
    for one in images:
        x, y = pixel_map(one.wcs, grid)
        for corner_x, corner_y in ((0, 0), (89, 0), (0, 89), (89, 89)):
            assert np.hypot(x - corner_x, y - corner_y).min() < 1.0
    with pytest.raises(NoSkyCoordinates):
        TanGrid.covering([raw(np.zeros((4, 4)))])


def test_places_are_those_of_the_exact_projections() -> None:
    far = TanGrid(150.3, 30.2, 0.5, 90, 90, 2000.0, -1500.0)
    x, y = pixel_map(far.wcs(), GRID)
    columns, rows = np.meshgrid(np.arange(GRID.columns), np.arange(GRID.rows))
    exact_x, exact_y = far.wcs().world_to_pixel(GRID.wcs().pixel_to_world(columns, rows))
    assert np.abs(x - exact_x).max() < 1e-6
    assert np.abs(y - exact_y).max() < 1e-6


@pytest.mark.parametrize("kernel", ["bilinear", "lanczos3", "adaptive"])
@pytest.mark.parametrize("scale", [0.5, 0.4])
def test_a_star_keeps_its_flux_and_place(kernel: str, scale: float) -> None:
    source = _shifted(0.37, -0.81, scale)
    star = image(gaussian((90, 90), 44.2, 46.9, 1e5, fwhm=3.5), source)
    warped = warp(star, GRID, kernel)
    assert warped is not None
    data = np.where(warped.good, warped.data, 0.0)
    # Two pixels per full width are few for bilinear interpolation.
    limit = {"bilinear": 1.5e-2, "lanczos3": 4e-3, "adaptive": 4e-3}[kernel]
    assert data.sum() == pytest.approx(1e5, rel=limit)
    rows, columns = np.mgrid[warped.rows, warped.columns]
    x, y = (data * columns).sum() / data.sum(), (data * rows).sum() / data.sum()
    expected = GRID.wcs().world_to_pixel(source.wcs().pixel_to_world(44.2, 46.9))
    assert np.hypot(x - expected[0], y - expected[1]) < 0.03


@pytest.mark.parametrize("kernel", ["bilinear", "lanczos3"])
def test_variance_is_that_of_the_resampled_noise(kernel: str) -> None:
    rng = np.random.default_rng(5)
    source = _shifted(0.3, -0.4)
    noise = np.array(
        [
            warp(image(rng.normal(0, 3, (90, 90)), source, variance=9.0), GRID, kernel).data  # type: ignore[union-attr]
            for _ in range(60)
        ]
    )
    warped = warp(image(np.zeros((90, 90)), source, variance=9.0), GRID, kernel)
    assert warped is not None
    measured = noise[:, warped.good].var(axis=0).mean()
    assert measured == pytest.approx(warped.variance[warped.good].mean(), rel=0.05)


@pytest.mark.parametrize("kernel", ["bilinear", "lanczos3", "adaptive"])
def test_what_is_masked_does_not_spread(kernel: str) -> None:
    data, mask = np.full((90, 90), 10.0), np.zeros((90, 90), dtype=np.int32)
    data[40, 50], mask[40, 50] = 1e7, bit("CR")
    data[20, 20], mask[20, 20] = 11.0, bit("INTRP")
    warped = warp(image(data, _shifted(0.25, 0.4), mask=mask), GRID, kernel)
    assert warped is not None
    assert np.abs(warped.data[warped.good] - 10.0).max() < 1.1
    assert (warped.mask[~warped.good] & bit("NO_DATA") != 0).all()
    assert ((warped.mask & bit("INTRP")) != 0).sum() >= 1
    assert warped.good.sum() < 0.999 * warped.good.size


def test_images_elsewhere_do_not_reach_the_grid() -> None:
    far = TanGrid.centred(160.0, 30.0, 0.5, 90, 90)
    assert warp(image(np.zeros((90, 90)), far), GRID) is None
    with pytest.raises(NoSkyCoordinates):
        warp(raw(np.zeros((4, 4))), GRID)
