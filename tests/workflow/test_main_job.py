"""Does the main job give the known answers on real frames, on each database?"""

from __future__ import annotations

import json
import platform
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.coordinates import SkyCoord
from astropy.io import fits
from click.testing import CliRunner
from lsst.sphgeom import ConvexPolygon, LonLat

from butler import Butler
from registry import Timespan
from workflow.cli import root
from workflow.config_values import leaf_values, value_text
from workflow.demo.answers import compare_with_known
from workflow.overrides import Override, parse_override
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry import DatasetRef
    from registry.provenance import Edge

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
    with Butler(root, collections=OUT, writeable=True) as butler:
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

    # The flats of the 22nd were divided by the bias of their own night: to the last digit.
    limits = {20220920: 0.0015, 20220922: 1e-12}
    for night, limit in limits.items():
        folder = f"{str(night)[:4]}-{str(night)[4:6]}-{str(night)[6:]}"
        wanted = fits.getdata(
            test_data / f"ohp-t152-longslit-2022/{folder}/reference/master_flat.fits.gz"
        )
        [ref] = butler.query_datasets("flat", where=f"day_obs = {night}")
        made = butler.get(ref).data
        lit = wanted > 0.3
        assert np.median(np.abs(made / wanted - 1)[lit]) <= limit

    spectra(butler, test_data / "ohp-t152-longslit-2022")
    known = compare_with_known(butler, test_data / "ohp-t152-longslit-2022")
    assert [c.what for c in known if not c.passed] == []
    assert len(known) == 8
    which_products_used_the_bias_of_the_19th(butler)
    how_a_combined_spectrum_was_made(butler)
    what_a_flat_is_needed_for(butler)
    fewer_flats_in_one_night(butler)


def fewer_flats_in_one_night(butler: Butler) -> None:
    """Leave out the first four flats of one night, and the first two of the other, as before."""
    label, override = parse_override("combineFlat[day_obs = 20220922]:skip_first=4")
    pipeline = Pipeline.from_yaml(
        f"{shipped_pipeline('ohp-t152')}#combineFlat", overrides={label: [override]}
    )
    report = run_pipeline(butler.root, pipeline, inputs=[RAW, f"{OUT}/calib"], output="OHP/fewer")
    assert dict(report.states) == {("combineFlat", "done"): 2}
    good = "exposure.observation_type = 'flat' AND exposure.quality = 'good'"
    for night, skipped in ((20220920, 2), (20220922, 4)):
        n_raw = len(butler.query_datasets("raw", where=f"{good} AND day_obs = {night}"))
        after, before = (
            butler.get(ref)
            for c in ("OHP/fewer", OUT)
            for ref in butler.query_datasets("flat", where=f"day_obs = {night}", collections=c)
        )
        assert before.meta["NCOMBINE"] == n_raw - 2
        assert after.meta["NCOMBINE"] == n_raw - skipped
        assert np.array_equal(before.data, after.data) == (skipped == 2)
    found = butler.registry.provenance.find_config_values("skip_first", "4")
    assert [(u.run, u.task_label, u.selection, u.origin) for u in found] == [
        (report.run, label, "day_obs = 20220922", override.origin)
    ]


def spectra(butler: Butler, folder: Path) -> None:
    """Compare combined spectra with those that the observers extracted from the same exposures.

    They did not divide by the flat, and summed the rows around the trace; the gain is theirs.
    """
    for night, target, rows, least, scale in (
        (20220920, "M76", slice(14, 78), 0.999, None),
        (20220920, "ksi_Cas", slice(15, 26), 0.998, 0.15),
        (20220922, "M76", slice(14, 78), 0.999, None),
        (20220922, "ksi_Cas", slice(15, 26), 0.9999, 0.15),
    ):
        [ref] = butler.query_datasets("stack", where=f"day_obs = {night} AND target = '{target}'")
        [flat] = butler.query_datasets("flat", where=f"day_obs = {night}")
        stack = butler.get(ref)
        made = (stack.data * butler.get(flat).data)[rows].sum(axis=0)
        day = f"{str(night)[:4]}-{str(night)[4:6]}-{str(night)[6:]}"
        wanted = fits.getdata(folder / day / f"reduced/Master_{target}_s1d.fit.gz")
        assert np.corrcoef(made, wanted)[0, 1] > least
        if scale is not None:
            factor = np.median(wanted / made)
            assert np.median(np.abs(made * factor / wanted - 1)) < 0.01
            assert abs(factor / 300 - 1) < scale
        inputs = butler.get("stack_inputs", ref.data_id)
        # The stars of the slit vary from exposure to exposure: only cosmic rays are clipped.
        whole = inputs["seconds"] == inputs["seconds"].max()
        assert (inputs["n_clipped"][whole] < 0.001 * stack.data.size).all()
        assert not inputs["outlier"].any()
        assert stack.meta["TEXPTIME"] == inputs["seconds"].sum()


def asked(*arguments: str) -> str:
    """Ask a command of the root command, and give what it prints."""
    result = CliRunner().invoke(root, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def which_products_used_the_bias_of_the_19th(butler: Butler) -> None:
    """Ask by Python, plain SQL and command; no bias was taken on the 20th."""
    night_of_the_20th = {
        d["exposure"]
        for d in butler.query_data_ids(
            ["instrument", "exposure"],
            where="day_obs = 20220920 AND exposure.observation_type = 'science'",
        )
    }
    assert len(night_of_the_20th) == 12
    wanted: set[tuple[str, Any]] = {("calexp", exposure) for exposure in night_of_the_20th}
    wanted |= {("flat", None), ("stack", None), ("stack_inputs", None)}

    [bias] = butler.query_datasets("bias", where="day_obs = 20220919")
    edges = butler.registry.provenance.descendants(bias.id)
    assert {(e.output.dataset_type.name, e.output.data_id.get("exposure")) for e in edges} == wanted
    assert {e.output.data_id.get("day_obs", 20220920) for e in edges} == {20220920}

    with_plain_sql = butler.registry.to_dataframe(
        "WITH RECURSIVE made (dataset_id) AS ("
        " SELECT d.id FROM dataset AS d JOIN dataset_type AS t ON t.id = d.dataset_type_id"
        " JOIN data_id AS i ON i.id = d.data_id"
        " WHERE t.name = 'bias' AND i.day_obs = 20220919"
        " UNION SELECT e.output_id FROM made AS m"
        " JOIN provenance_edge AS e ON e.input_id = m.dataset_id"
        ") SELECT DISTINCT e.output_type, i.exposure FROM made AS m"
        " JOIN provenance_edge AS e ON e.input_id = m.dataset_id"
        " JOIN dataset AS d ON d.id = e.output_id JOIN data_id AS i ON i.id = d.data_id"
    )
    assert {
        (kind, None if exposure != exposure or exposure is None else int(exposure))  # noqa: PLR0124
        for kind, exposure in with_plain_sql.itertuples(index=False)
    } == wanted

    night = "day_obs = 20220919"
    told = json.loads(
        asked(
            "provenance", str(butler.root), "bias", "--where", night, "--down", "--format", "json"
        )
    )
    assert {(e["output_type"], e["output_data_id"].get("exposure")) for e in told} == wanted
    assert butler.find_dataset("bias", exposure=20220921020539, detector=0) == bias


def how_a_combined_spectrum_was_made(butler: Butler) -> None:
    """Compare configuration and software, as they were recorded, with the truth."""
    walk = butler.registry.provenance
    [spectrum] = butler.query_datasets("stack", where="day_obs = 20220922 AND target = 'M76'")
    maker = walk.makers(spectrum.id)[spectrum.id]
    pipeline = Pipeline.from_yaml(shipped_pipeline("ohp-t152"))
    made = sa.bindparam("made", spectrum.id, sa.Uuid())
    recorded = butler.registry.to_dataframe(
        sa.text(
            "SELECT v.path, v.value FROM config_value AS v"
            " JOIN task AS t ON t.config_id = v.config_id JOIN quantum AS q ON q.task_id = t.id"
            " JOIN quantum_output AS o ON o.quantum_id = q.id"
            " WHERE o.dataset_id = :made"
        ).bindparams(made)
    )
    truth = {v.path: value_text(v.value) for v in leaf_values(pipeline["stack"].config)}
    told = {path: value if isinstance(value, str) else None for path, value in recorded.values}
    assert told == truth
    assert (truth["per_second"], truth["statistics.signal_fraction"]) == ("True", "0.5")
    software = butler.registry.to_dataframe(
        sa.text(
            "SELECT p.name, p.version FROM environment_package AS p"
            " JOIN quantum AS q ON q.environment_id = p.environment_id"
            " JOIN quantum_output AS o ON o.quantum_id = q.id WHERE o.dataset_id = :made"
        ).bindparams(made)
    )
    versions = dict(software.itertuples(index=False))
    assert versions == walk.packages(maker["environment_id"])
    for package in ("astropy", "ccdproc", "numpy", "SQLAlchemy"):
        assert versions[package] == version(package)
    assert maker["python"] == platform.python_version()

    [by_command] = json.loads(
        asked("how-made", str(butler.root), str(spectrum.id), "--format", "json")
    )
    assert {v["field"]: v["value"] for v in by_command["configuration"]} == truth
    assert by_command["packages"] == versions
    steps = json.loads(
        asked(
            *("config-history", str(butler.root), OUT, "combineFlat.skip_first"),
            *("--format", "json"),
        )
    )
    assert [(h["value"], h["origin_kind"]) for h in steps] == [("0", "default"), ("2", "pipeline")]
    assert steps[-1]["origin"].rpartition(":")[0].endswith("ohp-t152.yaml")
    # What was left out is not among what was read: two rejected flats, and the first two others.
    [flat] = butler.query_datasets("flat", where="day_obs = 20220920")
    read = {
        e.input.data_id["exposure"]
        for e in walk.ancestors(flat.id, depth=1)
        if e.input.dataset_type.name == "raw"
    }
    assert len(read) == 6
    assert not read & {20220920233545, 20220920233626}


def what_a_flat_is_needed_for(butler: Butler) -> None:
    """Ask what must be made again without the flat of the 22nd, and what then has none."""
    [flat] = butler.query_datasets("flat", where="day_obs = 20220922")
    walk = butler.registry.provenance
    outdated = {e.output for e in walk.descendants(flat.id)}
    light = "day_obs = 20220922 AND exposure.physical_filter = 'grating'"
    night = butler.query_datasets("calexp", where=light)
    assert {r for r in outdated if r.dataset_type.name == "calexp"} == set(night)
    assert len(night) == 8
    assert Counter(r.dataset_type.name for r in outdated) == {
        "calexp": 8,
        "stack": 2,
        "stack_inputs": 2,
    }
    told = asked("provenance", str(butler.root), str(flat.id), "--down")
    assert all(str(r.id) in told for r in outdated)

    told = asked("taint", str(butler.root), str(flat.id), "--format", "csv")
    assert all(str(r.id) in told for r in outdated)
    assert without_a_flat(butler) == set()
    butler.registry.decertify(f"{OUT}/calib", "flat", Timespan.parse("2022-09-22T12:00:00", None))
    exposed = butler.query_datasets("raw", collections=f"{RAW}*", where=light, find_first=True)
    assert without_a_flat(butler) == {r.data_id["exposure"] for r in exposed}
    told = asked(
        *("query", str(butler.root), "raws_without_a_calibration", "dataset_type=flat"),
        *("--format", "json"),
    )
    science = butler.query_data_ids(
        ["instrument", "exposure"], where=f"{light} AND exposure.observation_type = 'science'"
    )
    assert {r["exposure"] for r in json.loads(told)} == {d["exposure"] for d in science}
    assert len(science) == 11
    # Ten flats, five arcs, and eleven of the sky, three of which the observers rejected.
    assert len(exposed) == 26


def without_a_flat(butler: Butler) -> set[int]:
    """List exposures that saw light and have no flat, by plain SQL."""
    found = butler.registry.to_dataframe(
        "SELECT e.id FROM exposure AS e WHERE e.physical_filter IS NOT NULL AND NOT EXISTS ("
        " SELECT 1 FROM calibration AS c JOIN dataset_type AS t ON t.id = c.dataset_type_id"
        " JOIN data_id AS i ON i.id = c.data_id WHERE t.name = 'flat'"
        " AND i.instrument = e.instrument AND i.physical_filter = e.physical_filter"
        " AND c.valid_begin_tai_ns <= e.begin_tai_ns AND c.valid_end_tai_ns > e.begin_tai_ns)"
    )
    return {int(i) for i in found["id"]}


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
        # What was left out, and by which numbers, is in the database as well as in the products.
        metrics = dict(
            butler.registry.to_dataframe(
                "SELECT m.name, m.value FROM quantum_metric AS m JOIN quantum AS q"
                " ON q.id = m.quantum_id JOIN task AS t ON t.id = q.task_id WHERE t.label = 'stack'"
            ).itertuples(index=False)
        )
        assert (metrics["n_inputs"], metrics["n_outliers"]) == (5, 1)
        assert [metrics[f"inputs.{name}.outlier"] for name in inputs["name"]] == [1, 0, 0, 0, 0]
        header = butler.get("stack.header", stack.data_id)
        assert [header[f"INP0000{n}"] for n in (1, 2, 3, 4)] == list(inputs["name"][1:])

        known = compare_with_known(butler, test_data)
        assert [c.passed for c in known] == [True] * 3
        frames = [
            butler.get(r).data for r in butler.query_datasets("calexp", order_by=["exposure"])
        ]
        pairs = [frames[i] - frames[j] for i in range(1, 5) for j in range(i + 1, 5)]
        single = np.median([_sigma(p) for p in pairs]) / np.sqrt(2)
        halves = (frames[1] + frames[3]) / 2 - (frames[2] + frames[4]) / 2
        assert abs(_sigma(halves) / single - 1) < 0.15


def _sigma(image: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(image - np.median(image))))


def test_phosim_visits_match_on_the_sky_and_are_coadded(
    tmp_path: Path, database_url: str, test_data: Path
) -> None:
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        butler.register_instrument("obs-test")
        tracts = [
            {"id": n, "ra": ra, "dec": dec, "scale": 0.4, "size": [400, 400]}
            for n, (ra, dec) in enumerate(((79.0385, -9.3625), (79.66, -8.975)))
        ]
        butler.register_skymap({"name": "sky", "tracts": tracts})
        folder = test_data / "lsst-obs-test-phosim"
        taken = butler.ingest_raws([folder / "raw", folder / "defects"], run="raw")
        assert (len(taken.refs), taken.errors) == (4, [])
    # The second look at the sky takes as long as everything else.
    quick = [Override("background.mask_sources", value=False)]
    pipeline = Pipeline.from_yaml(
        shipped_pipeline("obs-test"),
        overrides={"detect": quick, "coadd": quick, "detectCoadd": quick},
    )
    report = run_pipeline(
        root,
        pipeline,
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

        # Where ingest says that an exposure looked is where its calibrated pixels are.
        regions: dict[Any, Any] = {
            r["visit"]: ConvexPolygon.decode(r["region"])
            for r in butler.query_dimension_records("visit_detector_region")
        }
        for ref in butler.query_datasets("calexp"):
            corners = butler.get(ref, component="wcs").calc_footprint(
                center=False, axes=(1018, 2000)
            )
            told = regions[ref.data_id["exposure"]].getVertices()
            seen = SkyCoord(
                [LonLat(v).getLon().asDegrees() for v in told],
                [LonLat(v).getLat().asDegrees() for v in told],
                unit="deg",
            )
            _, off, _ = SkyCoord(corners, unit="deg").match_to_catalog_sky(seen)
            assert off.arcsec.max() < 0.001

        assert [c.passed for c in compare_with_known(butler, folder)][:2] == [True, True]
        coadds = {r.data_id["band"]: r for r in butler.query_datasets("coadd")}
        made_from = {
            band: {e.input.data_id["exposure"] for e in walk_of(butler, ref, "matched")}
            for band, ref in coadds.items()
        }
        assert made_from == {"g": {1, 2}, "r": {3}}
        coadd = butler.get(coadds["g"])
        assert [coadd.meta[f"INP0000{n}"] for n in (1, 2)] == ["obs_test/1/0", "obs_test/2/0"]
        table = butler.get("coadd_sources", coadds["g"].data_id)
        deep = SkyCoord(table["ra"], table["dec"], unit="deg")
        for visit in (1, 2):
            x, y = coadd.wcs.world_to_pixel(places[visit])
            within = (np.abs(x - 200) < 190) & (np.abs(y - 200) < 190)
            covered = np.zeros(len(x), dtype=bool)
            covered[within] = [
                np.isfinite(coadd.data[int(j), int(i)]) and coadd.mask[int(j), int(i)] & 256 == 0
                for i, j in zip(x[within], y[within], strict=True)
            ]
            _, apart, _ = places[visit][covered].match_to_catalog_sky(deep)
            assert covered.sum() >= 8
            assert np.median(apart.arcsec) < 0.05


def walk_of(butler: Butler, ref: DatasetRef, kind: str) -> list[Edge]:
    """List the steps that lead to a dataset from others of a type."""
    steps = butler.registry.provenance.ancestors(ref.id, depth=1)
    return [e for e in steps if e.input.dataset_type.name == kind]


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
