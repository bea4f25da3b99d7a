"""obs_test: four amplifiers, defects, coordinates of a larger frame, visits that overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from tests.workflow.ccd.real_frames import read
from workflow.ccd import (
    CoaddConfig,
    CoaddTask,
    DetectSourcesConfig,
    DetectSourcesTask,
    IsrConfig,
    IsrTask,
    TanGrid,
    bit,
)
from workflow.ccd.frames import robust_sigma

if TYPE_CHECKING:
    from pathlib import Path

VISITS = {1: "raw_v1_fg", 2: "raw_v2_fg", 3: "raw_v3_fr"}


def obs_test_config() -> Any:
    """Configure ISR for obs_test; gains as the camera description of the package has them."""
    config = IsrConfig()
    assembly = config.assembly
    assembly.overscan = "mean"
    assembly.bias_sections = ["[1:4,1:1000]", "[1:4,1001:2000]", "[514:517,1:1000]",
                              "[514:517,1001:2000]"]  # fmt: skip
    assembly.data_sections = ["[5:513,1:1000]", "[5:513,1001:2000]", "[518:1026,1:1000]",
                              "[518:1026,1001:2000]"]  # fmt: skip
    assembly.gains = [1.7741, 1.65881, 1.74151, 1.67073]
    assembly.read_noise_from_overscan = True
    # The WCS counts in the frame of the whole CCD, of which the file holds columns from 0 and
    # rows from 1000.
    assembly.crpix_trimmed = True
    assembly.crpix_offset = [0.0, -1000.0]
    config.do_bias = config.do_flat = False
    config.do_defects = True
    return config


@pytest.fixture(scope="module")
def folder(test_data: Path) -> Path:
    return test_data / "lsst-obs-test-phosim"


@pytest.fixture(scope="module")
def tasks(folder: Path) -> dict[int, tuple[Any, Any]]:
    """Calibrate the visits; task and exposure by visit."""
    defects = Table.read(folder / "defects" / "defects.fits")
    done = {}
    for visit, name in VISITS.items():
        isr = IsrTask(obs_test_config())
        frame = read(folder / "raw" / f"{name}.fits.gz")
        done[visit] = (isr, isr.run(frame, defects=defects).calexp)
    return done


def _sources(calexp: Any) -> Any:
    return DetectSourcesTask(DetectSourcesConfig()).run(calexp).sources


@pytest.fixture(scope="module")
def sources(tasks: dict[int, tuple[Any, Any]]) -> dict[int, Any]:
    return {visit: _sources(calexp) for visit, (_, calexp) in tasks.items()}


def _matched(one: Any, two: Any, radius: float) -> tuple[Any, Any, Any]:
    """Match each of one with the nearest of two: rows of both and separation [arcsec]."""
    a = SkyCoord(one["ra"], one["dec"], unit="deg")
    b = SkyCoord(two["ra"], two["dec"], unit="deg")
    index, separation, _ = a.match_to_catalog_sky(b)
    near = separation.arcsec < radius
    return one[near], two[index[near]], separation.arcsec[near]


@pytest.mark.parametrize("visit", VISITS)
def test_amplifiers_are_joined_and_their_noise_is_known(
    tasks: dict[int, tuple[Any, Any]], visit: int
) -> None:
    isr, calexp = tasks[visit]
    assert calexp.data.shape == (2000, 1018)
    levels = [isr.metadata[f"overscan.{n}.level"] for n in range(4)]
    assert levels == pytest.approx([964.0, 971.1, 1042.0, 1005.0], abs=0.3)
    # Photons of the sky and the scatter of the overscan, through four gains, give what the sky
    # scatters by.
    assert isr.metadata["noise"] == pytest.approx(isr.metadata["expected_noise"], rel=0.02)
    # No step between the quadrants is left.
    data = calexp.data
    quadrants = [np.median(q) for q in (data[:1000, :509], data[1000:, :509],
                                        data[:1000, 509:], data[1000:, 509:])]  # fmt: skip
    assert np.ptp(quadrants) < 0.005 * np.mean(quadrants)
    assert calexp.unit == "electron"


def test_defects_are_where_the_hot_pixels_are(folder: Path, tasks: dict[int, Any]) -> None:
    _, calexp = tasks[1]
    bad = (calexp.mask & bit("BAD")) != 0
    assert 1300 < bad.sum() < 1400
    raw = read(folder / "raw" / "raw_v1_fg.fits.gz").data
    joined = np.hstack([raw[:, 4:513], raw[:, 517:]])
    # Hot, or dead: at the level of the overscan, 130 ADU below the sky and more.
    hot, dead = joined > 20000, joined < 1090
    assert (hot | dead)[bad].mean() > 0.99
    assert hot[~bad].mean() < 1e-4
    # They are interpolated over, and say so.
    assert ((calexp.mask[bad] & bit("INTRP")) != 0).all()
    assert np.median(calexp.data[bad]) == pytest.approx(np.median(calexp.data), rel=0.02)


def test_sources_of_visits_1_and_2_match_on_the_sky(sources: dict[int, Any]) -> None:
    one, two = sources[1], sources[2]
    bright = one[(one["snr"] > 20) & ((one["flags"] & bit("EDGE")) == 0)]
    first, second, separation = _matched(bright, two, 1.0)
    assert len(first) >= 0.85 * len(bright)
    assert len(first) >= 35
    assert np.median(separation) < 0.06
    assert np.median(second["flux"] / first["flux"]) == pytest.approx(1.0, abs=0.05)


def test_coadd_in_g_is_deeper_than_its_visits(
    tasks: dict[int, Any], sources: dict[int, Any]
) -> None:
    visits = [tasks[visit][1] for visit in (1, 2)]
    middle = TanGrid.covering(visits)
    # The inner part, which both cover.
    grid = TanGrid(middle.ra, middle.dec, middle.scale, 700, 700, 349.5, 349.5)
    config = CoaddConfig()
    config.scaling = "exposure_time"
    task = CoaddTask(config)
    result = task.run(visits, grid=grid, names=["1", "2"], band="g")
    coadd = result.coadd
    assert list(result.coadd_inputs["name"]) == ["1", "2"]
    assert [coadd.meta["INP00001"], coadd.meta["INP00002"]] == ["1", "2"]
    assert coadd.meta["FILTER"] == "g"
    assert str(coadd.unit) == "electron / s"
    assert task.metadata["covered_fraction"] > 0.99
    sky = coadd.data[coadd.mask == 0]
    expected = np.sqrt(np.median(coadd.uncertainty.array[coadd.mask == 0]))
    assert robust_sigma(sky) == pytest.approx(expected, rel=0.05)
    assert robust_sigma(sky) < 0.75 * robust_sigma(visits[0].data) / 15.0
    first, second, separation = _matched(sources[1], _sources(coadd), 0.5)
    strong = first["snr"] > 30
    assert strong.sum() >= 4
    assert np.median(separation[strong]) < 0.04
    ratio = 15.0 * second["flux"][strong] / first["flux"][strong]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)


def test_visit_3_stands_alone(tasks: dict[int, Any], sources: dict[int, Any]) -> None:
    one, three = sources[1], sources[3]
    assert len(_matched(one, three, 30.0)[0]) == 0
    # A bright star with its spikes is saturated in visit 3 only.
    assert tasks[3][0].metadata["saturated_fraction"] > 2 * tasks[1][0].metadata[
        "saturated_fraction"
    ]  # fmt: skip
