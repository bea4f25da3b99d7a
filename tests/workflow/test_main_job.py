"""Does the main job give the known answers on real frames, on each database?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from butler import Butler
from registry import Timespan
from workflow.demo.job import shipped_pipeline
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW = "OHP-T152/raw"
OUT = "OHP/reduced"


@pytest.fixture
def processed(
    tmp_path: Path, database_url: str, test_data: Path
) -> Iterator[tuple[Butler, RunReport]]:
    """The OHP nights, ingested and processed."""
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        butler.register_instrument("ohp-t152")
        taken = butler.ingest_raws([test_data / "ohp-t152-longslit-2022"], run=RAW)
        assert (len(taken.refs), taken.errors) == (90, [])
    pipeline = Pipeline.from_yaml(shipped_pipeline("ohp-t152"))
    report = run_pipeline(root, pipeline, inputs=[RAW], output=OUT)
    with Butler(root, collections=OUT) as butler:
        yield butler, report


def test_ohp_nights(processed: tuple[Butler, RunReport], test_data: Path) -> None:
    butler, report = processed
    assert report.succeeded
    assert dict(report.states) == {
        ("combineBias", "done"): 3,
        ("combineFlat", "done"): 2,
        ("isr", "done"): 20,
        ("stack", "done"): 4,
        ("superBias", "done"): 1,
    }

    reference = fits.getdata(
        test_data / "ohp-t152-longslit-2022/2022-09-20/reference/master_bias.fits.gz"
    )
    [all_frames] = butler.query_datasets("superBias")
    difference = butler.get(all_frames).data - reference
    assert np.median(np.abs(difference)) == 0
    assert np.abs(difference).max() <= 0.7

    limits = {20220920: 0.0015, 20220922: 0.0003}
    for night, limit in limits.items():
        folder = f"{str(night)[:4]}-{str(night)[4:6]}-{str(night)[6:]}"
        wanted = fits.getdata(
            test_data / f"ohp-t152-longslit-2022/{folder}/reference/master_flat.fits.gz"
        )
        [ref] = butler.query_datasets("flat", where=f"day_obs = {night}")
        made = butler.get(ref).data
        lit = wanted > 0.3
        assert np.median(np.abs(made / wanted - 1)[lit]) <= limit

    answers(butler)


def answers(butler: Butler) -> None:
    """Ask the questions that the project exists for."""
    walk = butler.registry.provenance
    [first_bias] = butler.query_datasets("bias", where="day_obs = 20220919")
    made_with_it = {
        e.output.data_id["exposure"]
        for e in walk.descendants(first_bias.id)
        if e.output.dataset_type.name == "calexp"
    }
    with_plain_sql = butler.registry.to_dataframe(
        "SELECT DISTINCT i.exposure FROM provenance_edge AS e "
        "JOIN dataset AS d ON d.id = e.output_id JOIN data_id AS i ON i.id = d.data_id "
        "JOIN dataset AS b ON b.id = e.input_id JOIN data_id AS n ON n.id = b.data_id "
        "WHERE e.input_type = 'bias' AND n.day_obs = 20220919 AND e.output_type = 'calexp'"
    )
    night_of_the_20th = {
        d["exposure"]
        for d in butler.query_data_ids(
            ["instrument", "exposure"],
            where="day_obs = 20220920 AND exposure.observation_type = 'science'",
        )
    }
    assert made_with_it == night_of_the_20th == set(with_plain_sql["exposure"])
    assert len(night_of_the_20th) == 12

    [flat] = butler.query_datasets("flat", where="day_obs = 20220920")
    read = {
        e.input.data_id["exposure"]
        for e in walk.ancestors(flat.id, depth=1)
        if e.input.dataset_type.name == "raw"
    }
    offered = {20220920233545, 20220920233626}
    assert len(read) == 6
    assert not read & offered
    history = walk.config_history(OUT, "combineFlat", "skip_first")
    assert [(h["value"], h["origin_kind"]) for h in history][-1] == ("2", "pipeline")
    maker = walk.makers(flat.id)[flat.id]
    assert "astropy" in walk.packages(maker["environment_id"])

    taken_away = butler.registry.find_dataset(
        "flat",
        {"instrument": "OHP-T152", "detector": 0, "physical_filter": "grating"},
        OUT,
        at=Timespan.parse("2022-09-21T23:00:00", None).bounds[0],
    )
    assert taken_away is None
    assert butler.find_dataset("bias", exposure=20220921020539, detector=0) == first_bias


def test_tircam2_stack_leaves_out_the_outlier(
    tmp_path: Path, database_url: str, test_data: Path
) -> None:
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        butler.register_instrument("tircam2")
        taken = butler.ingest_raws([test_data / "dot-tircam2-ic310-2022"], run="raw")
        assert (len(taken.refs), taken.errors) == (13, [])
    pipeline = Pipeline.from_yaml(shipped_pipeline("tircam2"))
    report = run_pipeline(root, pipeline, inputs=["raw"], output="out")
    assert report.succeeded
    with Butler(root, collections="out") as butler:
        [stack] = butler.query_datasets("stack")
        inputs = butler.get("stack_inputs", stack.data_id)
        assert list(inputs["outlier"]) == [True, False, False, False, False]
        assert inputs["background"][0] - np.median(inputs["background"][1:]) > 30
        assert len(butler.get("stack_sources", stack.data_id)) > 0

        frames = [
            butler.get(r).data for r in butler.query_datasets("calexp", order_by=["exposure"])
        ]
        pairs = [frames[i] - frames[j] for i in range(1, 5) for j in range(i + 1, 5)]
        single = np.median([_sigma(p) for p in pairs]) / np.sqrt(2)
        halves = (frames[1] + frames[3]) / 2 - (frames[2] + frames[4]) / 2
        assert abs(_sigma(halves) / single - 1) < 0.15


def _sigma(image: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(image - np.median(image))))


def test_phosim_visits_match_on_the_sky(tmp_path: Path, database_url: str, test_data: Path) -> None:
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        butler.register_instrument("obs-test")
        folder = test_data / "lsst-obs-test-phosim"
        taken = butler.ingest_raws([folder / "raw", folder / "defects"], run="raw")
        assert (len(taken.refs), taken.errors) == (4, [])
    report = run_pipeline(
        root,
        Pipeline.from_yaml(shipped_pipeline("obs-test") + "#isr,detect"),
        inputs=["raw", "obs_test/calib"],
        output="out",
    )
    assert report.succeeded
    with Butler(root, collections="out") as butler:
        sources = {r.data_id["exposure"]: butler.get(r) for r in butler.query_datasets("sources")}
    bright = {n: t[np.asarray(t["snr"]) > 20] for n, t in sources.items()}
    places = {n: SkyCoord(t["ra"], t["dec"], unit="deg") for n, t in bright.items()}
    _, apart, _ = places[1].match_to_catalog_sky(places[2])
    near = apart.arcsec < 1
    assert near.sum() > 0.7 * len(places[1])
    assert np.median(apart.arcsec[near]) < 0.1


def test_calexps_of_two_cameras_are_coadded_per_band(
    tmp_path: Path, database_url: str, test_data: Path
) -> None:
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        for camera in ("90prime", "mosaic3"):
            butler.register_instrument(camera)
        field = {"id": 0, "ra": 217.4559, "dec": 34.8797, "scale": 0.4, "size": [80, 80]}
        butler.register_skymap({"name": "legacy", "tracts": [field]})
        folder = test_data / "legacysurvey-mosaic3-90prime-calexp"
        taken = butler.ingest_raws([folder], run="calexp")
        assert (len(taken.refs), taken.errors) == (8, [])
        triplet = butler.get(taken.refs[0])
        assert type(triplet.uncertainty).__name__ == "InverseVariance"
        assert triplet.mask is not None
    pipeline = Pipeline.from_yaml(shipped_pipeline("calexps"))
    report = run_pipeline(root, pipeline, inputs=["calexp"], output="out")
    assert report.succeeded
    with Butler(root, collections="out") as butler:
        coadds = {r.data_id["band"]: r for r in butler.query_datasets("coadd")}
        made_from = {
            band: {
                (e.input.data_id["instrument"], e.input.data_id["visit"])
                for e in butler.registry.provenance.ancestors(ref.id)
            }
            for band, ref in coadds.items()
        }
        assert {band: len(visits) for band, visits in made_from.items()} == {"g": 3, "r": 3, "z": 2}
        assert {i for i, _ in made_from["z"]} == {"Mosaic3"}
        for ref in coadds.values():
            assert np.isfinite(butler.get(ref).data).any()
