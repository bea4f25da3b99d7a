"""The simulated camera shows what its truth says, and the same seed shows it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from tests.workflow.ccd.real_frames import read
from workflow.ccd import (
    CombineBiasTask,
    CombineFlatTask,
    DetectSourcesTask,
    IsrConfig,
    IsrTask,
    bit,
)
from workflow.demo.simulate import FILTERS, NIGHTS, SATURATION, SIZE, Truth, simulate

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = NIGHTS


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("sky")
    return folder, simulate(folder)


def _paths(folder: Path, night: int, kind: str, detector: int, name: str = "") -> list[Path]:
    found = []
    for path in sorted((folder / "raw" / str(night)).glob(f"*_D{detector}.fits")):
        header = fits.getheader(path)
        if header["OBSTYPE"] == kind and (not name or header["FILTER"] == name):
            found.append(path)
    return found


def test_the_plan_of_two_nights(sky: tuple[Path, Truth]) -> None:
    folder, truth = sky
    assert truth.n_files == len(list(folder.glob("raw/*/*.fits"))) == 164
    counts = {
        (night, kind): len(_paths(folder, night, kind, 1))
        for night in NIGHTS
        for kind in ("BIAS", "DARK", "FLAT", "OBJECT")
    }
    assert counts == {
        (FIRST, "BIAS"): 5,
        (FIRST, "DARK"): 3,
        (FIRST, "FLAT"): 8,
        (FIRST, "OBJECT"): 6,
        (SECOND, "BIAS"): 5,
        (SECOND, "DARK"): 0,
        (SECOND, "FLAT"): 8,
        (SECOND, "OBJECT"): 6,
    }


def test_the_same_seed_gives_the_same_files(sky: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, _ = sky
    simulate(tmp_path)
    again, other = (sorted(f.glob("*/**/*.*")) for f in (folder, tmp_path))
    assert [p.name for p in again] == [p.name for p in other]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(again, other, strict=True))


def test_gain_and_read_noise_can_be_measured(sky: tuple[Path, Truth]) -> None:
    folder, truth = sky
    for number, facts in truth.detectors.items():
        biases = [read(p).data.astype(float) for p in _paths(folder, FIRST, "BIAS", number)[:2]]
        flats = [
            read(p).data.astype(float) for p in _paths(folder, FIRST, "FLAT", number, "Demo r")[:2]
        ]
        image = np.s_[:, :SIZE]
        # Janesick's pair method, without the bad columns.
        columns = [x for box in _defects(folder, number) for x in range(box[0], box[0] + box[2])]
        good = np.setdiff1d(np.arange(SIZE), columns)
        noise = np.var((biases[0] - biases[1])[image][:, good]) / 2
        light = sum(f[image][:, good].mean() - b[image][:, good].mean()
                    for f, b in zip(flats, biases, strict=True))  # fmt: skip
        scatter = np.var((flats[0] - flats[1])[image][:, good])
        gain = light / (scatter - 2 * noise)
        assert gain == pytest.approx(facts["gain"], rel=0.03)
        # Rounding to whole ADU adds 1/12.
        assert np.sqrt(noise - 1 / 12) * facts["gain"] == pytest.approx(
            facts["read_noise"], rel=0.03
        )
        assert np.median(biases[0]) == pytest.approx(facts["bias"], abs=1)


def _defects(folder: Path, number: int) -> list[Any]:
    table = Table.read(folder / "defects" / f"defects_D{number}.ecsv")
    return [tuple(row) for row in table["x0", "y0", "width", "height"]]


def test_one_star_is_saturated(sky: tuple[Path, Truth]) -> None:
    folder, truth = sky
    brightest = truth.stars[int(np.argmin(truth.stars["mag_r"]))]
    saturated = 0
    for number in truth.detectors:
        for path in _paths(folder, FIRST, "OBJECT", number, "Demo r"):
            frame = read(path)
            x, y = frame.wcs.all_world2pix(brightest["ra"], brightest["dec"], 0)
            if 5 < x < SIZE - 5 and 5 < y < SIZE - 5:
                saturated += 1
                assert frame.data[round(float(y)), round(float(x))] >= SATURATION - 1
    assert saturated == 3


def test_cosmic_rays_are_where_the_truth_says(sky: tuple[Path, Truth]) -> None:
    folder, truth = sky
    (path, *_) = _paths(folder, FIRST, "DARK", 2)
    header = fits.getheader(path)
    rays = truth.cosmic_rays[
        (truth.cosmic_rays["exposure"] == header["EXPID"]) & (truth.cosmic_rays["detector"] == 2)
    ]
    assert len(rays) > 5
    data = read(path).data.astype(float) - truth.detectors[2]["bias"]
    hit = data[rays["y"], rays["x"]] * truth.detectors[2]["gain"]
    assert (hit > 700).all()
    assert Table.read(folder / "truth" / "cosmic_rays.ecsv")["x"].tolist() == list(
        truth.cosmic_rays["x"]
    )


def test_the_tasks_find_the_stars(sky: tuple[Path, Truth]) -> None:
    folder, truth = sky
    bias = CombineBiasTask().run([read(p) for p in _paths(folder, FIRST, "BIAS", 3)]).bias
    flats = [read(p) for p in _paths(folder, FIRST, "FLAT", 3, "Demo r")]
    flat = CombineFlatTask().run(flats, bias=bias).flat
    good = (flat.mask == 0) & ~np.isin(
        np.arange(SIZE), [b[0] + i for b in _defects(folder, 3) for i in range(b[2])]
    )
    ratio = (flat.data / truth.detectors[3]["response"])[good]
    assert np.std(ratio / np.median(ratio)) < 0.004
    config = IsrConfig()
    config.do_defects = config.do_cosmic_rays = True
    defects = Table.read(folder / "defects" / "defects_D3.ecsv")
    frame = read(_paths(folder, FIRST, "OBJECT", 3, "Demo r")[0])
    calexp = IsrTask(config).run(frame, bias=bias, flat=flat, defects=defects).calexp
    sources = DetectSourcesTask().run(calexp).sources
    x, y = calexp.wcs.all_world2pix(truth.stars["ra"], truth.stars["dec"], 0)
    inside = (x > 8) & (x < SIZE - 9) & (y > 8) & (y < SIZE - 9) & (truth.stars["mag_r"] < 21)
    found, off = 0, []
    for star, sx, sy in zip(truth.stars[inside], x[inside], y[inside], strict=True):
        near = int(np.argmin(np.hypot(sources["x"] - sx, sources["y"] - sy)))
        if np.hypot(sources["x"][near] - sx, sources["y"][near] - sy) > 1.0:
            continue
        found += 1
        if not sources["flags"][near] & bit("SAT", "BAD", "CR"):
            off.append(float(sources["mag"][near] - star["mag_r"]))
    assert found >= 0.95 * inside.sum()
    # Some stars have a neighbour in their aperture.
    assert abs(np.median(off)) < 0.02
    assert np.mean(np.abs(off) < 0.1) > 0.8
    # The zero point of the header is that of the filter and the exposure time.
    assert calexp.meta["MAGZERO"] == pytest.approx(FILTERS["Demo r"][1] + 2.5 * np.log10(60.0))
