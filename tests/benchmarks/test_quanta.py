"""How long does it take to plan a thousand, ten thousand, thirty thousand and a million quanta?

And to write 30,000 of them into a file that runs without the database, and to bring them home.

    python -m pytest tests/benchmarks/test_quanta.py --timed -s -p no:xdist --db postgresql

prints the times, beside those of lsst-pipe-base for the same three tasks (isr and calibrate per
detector, gather per visit; 24 detectors), and by how much the memory of this process grew. On a
busy machine the processor's times are those to compare. ``-k "not 20408"`` leaves out the million,
``-k 20408`` takes it alone. Without ``--timed``
two small graphs are planned, to see that they are right.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import endpoints
from butler import Butler
from butler.graphs import bring_home, export_graph
from registry import Registry, collections, plans
from registry.database import analyze, utc_now
from registry.identity import DatasetType, uuid7
from registry.schema.collections import collection
from registry.schema.identity import data_id, dataset, dataset_type
from registry.schema.provenance import quantum
from tests.benchmarks.processors import Stopwatch
from tests.benchmarks.quanta_tasks import KIND, PIPELINE, PIXEL
from tests.benchmarks.test_scale import UUID_OF
from tests.workflow.planned import prepared
from workflow.pipeline import Pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from tests.databases import Databases

N_DETECTORS = 24
SIZES = {20: "1.0 s", 204: "7.8 s", 612: "38.9 s, 753 MB", 20_408: "not reachable"}
"""Visits, and what lsst-pipe-base took for them: measured on 2 cores with SQLite in memory."""
SMALL_SIZES = {2: "", 5: ""}
CAM = {"instrument": "Cam"}


def fill(registry: Registry, n_visits: int, backend: str) -> None:
    """Make exposures, each a visit, with a raw dataset for each detector."""
    insert = registry.insert_dimension_records
    insert("instrument", [{"name": "Cam", "detector_max": N_DETECTORS}])
    insert("detector", [{**CAM, "id": d, "full_name": f"D{d}"} for d in range(N_DETECTORS)])
    insert("physical_filter", [{**CAM, "name": "r1", "band": "r"}])
    insert("day_obs", [{**CAM, "id": 20260101, "begin_tai_ns": 0, "end_tai_ns": 10**18}])
    same: dict[str, Any] = {**CAM, "day_obs": 20260101, "physical_filter": "r1"}
    times = [(n, {"begin_tai_ns": n * 10**9, "end_tai_ns": n * 10**9 + 1}) for n in range(n_visits)]
    exposures = [
        {**same, **at, "id": n, "obs_id": str(n), "observation_type": "science"} for n, at in times
    ]
    insert("exposure", exposures)
    insert("visit", [{**same, **at, "id": n, "name": str(n)} for n, at in times])
    insert("visit_exposure", [{**CAM, "visit": n, "exposure": n} for n, _ in times])
    registry.register_dataset_type(DatasetType("raw", PIXEL, KIND))
    registry.register_collection("in")
    with registry.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO data_id (instrument, detector, exposure) "
                "SELECT e.instrument, d.id, e.id FROM exposure e CROSS JOIN detector d"
            )
        )
        rows = sa.select(
            sa.type_coerce(UUID_OF[backend](data_id.c.id), dataset.c.id.type),
            sa.select(dataset_type.c.id).scalar_subquery(),
            sa.select(collection.c.id).scalar_subquery(),
            data_id.c.id,
            sa.literal(0),
        )
        into = ["id", "dataset_type_id", "run_id", "data_id", "ingest_date_tai_ns"]
        connection.execute(sa.insert(dataset).from_select(into, rows))
        analyze(connection, data_id, dataset)


@pytest.mark.parametrize("n_visits", [*SIZES, *SMALL_SIZES])
def test_planning(databases: Databases, backend: str, timed: bool, n_visits: int) -> None:
    if (n_visits in SIZES) is not timed:
        return
    tasks = Pipeline.from_yaml(PIPELINE).tasks
    with databases.migrated() as url, Registry.connect(url) as registry:
        fill(registry, n_visits, backend)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Stopwatch(registry, backend) as took, registry.begin() as connection:
            own = prepared(connection, tasks)
            search = plans.Search(collections.flatten(connection, ["in"]))
            plans.plan(connection, own, search)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        with registry.read() as connection:
            run_id = collections.get_collection(connection, "run").id
            counts = plans.count_quanta(connection, run_id)
    each = n_visits * N_DETECTORS
    assert counts == {
        ("isr", "ready"): each,
        ("calibrate", "ready"): each,
        ("gather", "ready"): n_visits,
    }
    total = sum(counts.values())
    peer = SIZES.get(n_visits, "")
    print(
        f"\n{backend}: {total} quanta in {took}; this process grew by {grown:.0f} MB; "
        f"lsst-pipe-base: {peer}"
    )


@pytest.mark.parametrize("n_visits", [612, 5])
def test_export(
    databases: Databases, backend: str, timed: bool, n_visits: int, tmp_path: Path
) -> None:
    if (n_visits == 612) is not timed:
        return
    tasks = Pipeline.from_yaml(PIPELINE).tasks
    path = tmp_path / "graph.db"
    with databases.migrated() as url, Registry.connect(url) as registry:
        fill(registry, n_visits, backend)
        with registry.begin() as connection:
            endpoints.set_up(connection)
            search = plans.Search(collections.flatten(connection, ["in"]))
            plans.plan(connection, prepared(connection, tasks), search)
        file = plans.GraphFile(uuid7(), "run", registry.id, str(path), ".", 1, utc_now(), "me")
        with (
            Stopwatch(registry, backend) as took,
            Registry.create(f"sqlite:///{path}") as there,
            there.begin() as target,
            registry.begin() as connection,
        ):
            given = plans.give(connection, [file])
            plans.copy_graph(connection, target, file.id, ".")
    each = n_visits * N_DETECTORS
    assert given == {(1, "isr"): each, (1, "calibrate"): each, (1, "gather"): n_visits}
    with Registry.connect(f"sqlite:///{path}") as there, there.read() as target:
        n = target.execute(sa.select(sa.func.count()).select_from(quantum)).scalar()
    assert n == sum(given.values())
    size = path.stat().st_size
    print(f"\n{backend}: {sum(given.values())} quanta into a file of {size / 1e6:.1f} MB in {took}")


@pytest.mark.parametrize("n_visits", [204, 612, 50])
def test_bringing_home(
    databases: Databases, backend: str, timed: bool, n_visits: int, tmp_path: Path
) -> None:
    """What has ended without a dataset, so that what grows with the number of quanta is seen."""
    if (n_visits != 50) is not timed:
        return
    tasks = Pipeline.from_yaml(PIPELINE).tasks
    with databases.migrated() as url, Butler.create(tmp_path / "repo", url) as butler:
        fill(butler.registry, n_visits, backend)
        with butler.registry.begin() as connection:
            search = plans.Search(collections.flatten(connection, ["in"]))
            plans.plan(connection, prepared(connection, tasks), search)
        [written] = export_graph(butler, "run", tmp_path / "graph.db")
        total = sum(written.quanta.values())
        with Registry.connect(f"sqlite:///{written.file}") as there, there.begin() as target:
            target.execute(sa.update(quantum).values(state="no_work", finished_at=utc_now()))
        heard: list[tuple[int, int]] = []
        with Stopwatch(butler.registry, backend) as took:
            came = bring_home(butler, written.file, progress=lambda n, of: heard.append((n, of)))
        assert (came.states, came.away) == ({"no_work": total}, 0)
        assert heard[-1] == (total, total)
        assert len(heard) == -(-total // 500)
        assert bring_home(butler, written.file).states == {}
    print(f"\n{backend}: {total} quanta home in {took}")
