"""How long do the everyday verbs take?  ``make bench`` prints it; the tests assert results only.

Without ``--timed`` they run at a small size, to see that they work.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from butler import Butler
from workflow.demo.simulate import simulate
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_PUTS = 300
N_RAWS = 1000
N_QUANTA = 200
SMALL = 20
"""How much less is done when nobody reads the times."""


def milliseconds(verb: Callable[[int], object], n: int) -> float:
    """Give the median time of a verb [ms]."""
    times = []
    for i in range(n):
        began = time.perf_counter()
        verb(i)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def test_put_and_get(tmp_path: Path, database_url: str, backend: str, timed: bool) -> None:
    n_puts = N_PUTS if timed else N_PUTS // SMALL
    with Butler.create(tmp_path / "repo", database_url) as butler:
        butler.register_instrument("demo")
        records = [
            {
                "instrument": "DemoCam",
                "id": 20250310,
                "begin_tai_ns": 0,
                "end_tai_ns": 10**15,
            }
        ]
        butler.registry.insert_dimension_records("day_obs", records)
        exposures = [
            {
                "instrument": "DemoCam",
                "id": 1 + i,
                "obs_id": f"{i}",
                "day_obs": 20250310,
                "observation_type": "science",
                "begin_tai_ns": i * 10**9,
                "end_tai_ns": i * 10**9 + 1,
            }
            for i in range(n_puts)
        ]
        butler.registry.insert_dimension_records("exposure", exposures)
        kind = butler.register_dataset_type(
            "small", ("instrument", "detector", "exposure"), "StructuredDataDict"
        )
        butler.collections.register("bench")

        def put(i: int) -> None:
            butler.put(
                {"i": i}, kind, instrument="DemoCam", detector=1, exposure=1 + i, run="bench"
            )

        def get(i: int) -> object:
            return butler.get(
                kind, instrument="DemoCam", detector=1, exposure=1 + i, collections="bench"
            )

        put_ms, get_ms = milliseconds(put, n_puts), milliseconds(get, n_puts)
        assert get(n_puts - 1) == {"i": n_puts - 1}
        print(f"\n{backend}: put {put_ms:.2f} ms, get by data ID {get_ms:.2f} ms")


def test_ingest_of_small_frames(
    tmp_path: Path, database_url: str, backend: str, timed: bool
) -> None:
    n_raws = N_RAWS if timed else N_RAWS // SMALL
    simulate(tmp_path / "frames")
    first = tmp_path / "frames/raw/20250310/democam_20250310_0001_D1.fits"
    header = fits.getheader(first)
    folder = tmp_path / "many"
    folder.mkdir()
    pixels = np.zeros((16, 16), np.uint16)
    for n in range(n_raws):
        seq, detector = divmod(n, 4)
        cards = header.copy()
        cards["EXPID"] = 20250310 * 10000 + seq
        cards["SEQNUM"] = seq
        cards["CCDNUM"] = detector + 1
        name = f"democam_20250310_{seq:04d}_D{detector + 1}.fits"
        fits.PrimaryHDU(pixels, cards).writeto(folder / name)
    with Butler.create(tmp_path / "repo", database_url) as butler:
        butler.register_instrument("demo")
        began = time.perf_counter()
        taken = butler.ingest_raws([folder], run="DemoCam/raw")
        seconds = time.perf_counter() - began
        assert (len(taken.refs), taken.errors) == (n_raws, [])
    print(f"\n{backend}: {n_raws} small frames ingested by copy in {seconds:.2f} s")


def test_overhead_of_a_quantum(tmp_path: Path, timed: bool) -> None:
    n_quanta = N_QUANTA if timed else N_QUANTA // SMALL
    root = tmp_path / "repo"
    with Butler.create(root) as butler:
        butler.register_instrument("demo")
        night = {"instrument": "DemoCam", "id": 20250310, "begin_tai_ns": 0, "end_tai_ns": 10**15}
        butler.registry.insert_dimension_records("day_obs", [night])
        exposures = [
            {
                "instrument": "DemoCam",
                "id": 1 + i,
                "obs_id": f"{i}",
                "day_obs": 20250310,
                "observation_type": "science",
                "begin_tai_ns": i,
                "end_tai_ns": i + 1,
            }
            for i in range(n_quanta)
        ]
        butler.registry.insert_dimension_records("exposure", exposures)
        kind = butler.register_dataset_type(
            "before", ("instrument", "detector", "exposure"), "StructuredDataDict"
        )
        with butler.transaction():
            for i in range(n_quanta):
                butler.put(
                    {"i": i}, kind, instrument="DemoCam", detector=1, exposure=1 + i, run="in"
                )
    pipeline = Pipeline.from_yaml(
        "description: nothing\ntasks:\n  noop:\n    class: tests.benchmarks.example_noop.NoopTask\n"
    )
    for jobs in (1, 2):
        moments: list[float] = []

        def note(_label: str, state: str, kept: list[float] = moments) -> None:
            if state == "done":
                kept.append(time.perf_counter())

        report = run_pipeline(
            root, pipeline, inputs=["in"], output=f"out{jobs}", jobs=jobs, progress=note
        )
        assert dict(report.states) == {("noop", "done"): n_quanta}
        each = 1000 * (moments[-1] - moments[0]) / (n_quanta - 1)
        print(f"\nno-op quantum, {jobs} process(es): {each:.2f} ms")


def test_start_of_the_command(timed: bool) -> None:
    def start(_: int) -> None:
        command = [sys.executable, "-c", "from workflow.cli import main; main()", "--help"]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "ingest-raws" in told.stdout

    print(f"\nskyspine --help: {milliseconds(start, 5 if timed else 1):.0f} ms")
