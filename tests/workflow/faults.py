"""Runs that are disturbed, and what they must leave behind all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import files
from backbone.audit import check
from butler import Butler
from butler.graphs import bring_home, export_graph
from registry import provenance
from registry.errors import SkyspineError
from registry.schema.identity import dataset
from registry.schema.provenance import quantum, quantum_input, quantum_metric, quantum_output, task
from tests.nursery import Moments
from tests.workflow.fault_tasks import PIPELINE
from workflow.graph_files import run_graph
from workflow.overrides import Override, parse_override
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

INPUT = "frames"
MADE = ("level", "above", "found", "total")
DAY = 86_400 * 10**9
KEYS = {"instrument": "DemoCam"}
N_NIGHTS, N_FRAMES, N_DETECTORS = 2, 3, 1
STATES = {
    ("level", "done"): 2,
    ("subtract", "done"): 6,
    ("find", "done"): 5,
    ("find", "no_work"): 1,
    ("gather", "done"): 1,
}
"""What becomes of the quanta of an undisturbed run."""
UNFRUITFUL = ("ready", "running", "no_work", "failed", "blocked", "away")


def fill(butler: Butler) -> None:
    """Register nights and exposures, and put small frames."""
    butler.register_instrument("demo")
    nights = range(20250310, 20250310 + N_NIGHTS)
    spans = [(n, (n - nights[0]) * DAY) for n in nights]
    butler.registry.insert_dimension_records(
        "day_obs",
        [{**KEYS, "id": n, "begin_tai_ns": at, "end_tai_ns": at + DAY} for n, at in spans],
    )
    exposures: list[dict[str, Any]] = [
        {
            **KEYS,
            "id": 1 + k,
            "obs_id": f"{1 + k}",
            "day_obs": night,
            "observation_type": "science",
            "begin_tai_ns": began + 1 + k,
            "end_tai_ns": began + 2 + k,
        }
        for k, (night, began) in enumerate(s for s in spans for _ in range(N_FRAMES))
    ]
    butler.registry.insert_dimension_records("exposure", exposures)
    kind = butler.register_dataset_type(
        "frame", ("instrument", "detector", "exposure"), "StructuredDataDict"
    )
    with butler.transaction():
        for record in exposures:
            for detector in range(1, 1 + N_DETECTORS):
                frame = {"exposure": record["id"], "value": 100.0 * record["id"] + detector}
                keys = {**KEYS, "detector": detector, "exposure": record["id"]}
                butler.put(frame, kind, keys, run=INPUT)


def run(root: str | Path, output: str, jobs: int = 1, **how: Any) -> RunReport:
    """Run the pipeline of the cheap tasks."""
    pipeline = Pipeline.from_yaml(PIPELINE, overrides=how.pop("overrides", None))
    return run_pipeline(root, pipeline, inputs=[INPUT], output=output, jobs=jobs, **how)


def overrides(*given: str) -> dict[str, list[Override]]:
    """Configure the task that may be told to die, or to wait."""
    return {"subtract": [parse_override(f"subtract:{text}")[1] for text in given]}


def program(root: str, output: str, jobs: int, last: int, held: str = "") -> int:
    """Run as a child of the nursery that dies at a moment; it says how each quantum ends."""
    moments = Moments(last)
    more = overrides("at=2", f"held={held}") if held else None
    try:
        report = run(root, output, jobs, overrides=more, progress=print)
    except SkyspineError as error:
        print(error)  # noqa: T201
        return 1
    print(moments.count)  # noqa: T201
    return 0 if report.succeeded else 1


def carry(root: str, output: str, file: str, into: str, last: int) -> int:
    """Take quanta away, execute them and bring them home; a child that dies at a moment."""
    moments = Moments(last)
    with Butler(root, writeable=True) as butler:
        export_graph(butler, output, file, into=into)
        run_graph(file)
        bring_home(butler, file)
    print(moments.count)  # noqa: T201
    return 0


def left_by(butler: Butler, output: str) -> dict[str, Any]:
    """Collect all that the last run of an output has made, without identities and times."""
    [run_name] = [c.children[0] for c in butler.registry.collections(output)]
    refs = [r for kind in MADE for r in butler.query_datasets(kind, collections=run_name)]
    with butler.registry.read() as connection:
        quanta = provenance.quanta_of_run(connection, run_name)
        outputs = provenance.outputs_of(connection, [q["id"] for q in quanta])
        recorded = connection.execute(
            sa.select(
                task.c.label,
                sa.select(sa.func.count())
                .where(quantum_input.c.quantum_id == quantum.c.id)
                .scalar_subquery(),
                sa.select(sa.func.coalesce(sa.func.sum(quantum_metric.c.value), 0.0))
                .where(quantum_metric.c.quantum_id == quantum.c.id)
                .scalar_subquery(),
            )
            .join(task, task.c.id == quantum.c.task_id)
            .where(quantum.c.id.in_([q["id"] for q in quanta]))
        ).all()
    assert sorted(i for ids in outputs.values() for i in ids) == sorted(r.id for r in refs)
    found = butler.registry.to_dataframe("SELECT * FROM calibration_coverage")
    found = found[found["collection"] == f"{output}/calib"]
    makers = butler.registry.provenance.makers(*(r.id for r in refs))
    ranges = found[["coverage", "valid_begin_tai_ns", "valid_end_tai_ns", "made_from_day_obs"]]
    return {
        "contents": sorted((r.dataset_type.name, repr(r.data_id), butler.get(r)) for r in refs),
        "configured": sorted(
            (r.dataset_type.name, repr(r.data_id), m["selection"])
            for r in refs
            if (m := makers[r.id])["selection"]
        ),
        "quanta": sorted((q["label"], repr(q["data_id"]), q["state"]) for q in quanta),
        "recorded": sorted(map(tuple, recorded)),
        "steps": sorted(
            (e.task_label, e.connection, repr(e.input.data_id), repr(e.output.data_id))
            for e in butler.registry.provenance.ancestors(*(r.id for r in refs), depth=1)
        ),
        "certified": sorted(map(tuple, ranges.to_numpy().tolist())),
    }


def quanta_of(butler: Butler, output: str) -> list[dict[str, Any]]:
    """List the quanta of the last run of an output; none when nothing of it was recorded."""
    names = [c.children[0] for c in butler.registry.collections(output)]
    with butler.registry.read() as connection:
        return [q for name in names for q in provenance.quanta_of_run(connection, name)]


def done_in(butler: Butler, output: str) -> dict[uuid.UUID, Any]:
    """Tell of each quantum that is done which attempt did it, and what it made."""
    quanta = quanta_of(butler, output)
    with butler.registry.read() as connection:
        outputs = provenance.outputs_of(connection, [q["id"] for q in quanta])
    return {
        q["id"]: (q["attempt"], q["started_at"], outputs.get(q["id"]))
        for q in quanta
        if q["state"] in ("done", "no_work")
    }


def assert_sound(butler: Butler, *, repair: bool) -> None:
    """Find every stored dataset readable, every quantum done with its outputs, no other with."""
    report = check(butler.registry.database, butler.root, grace=0, checksums=True, repair=repair)
    assert {f.problem for f in report.findings} <= {"orphan", "unfinished", "abandoned"}
    q, out = quantum.c, quantum_output.c
    with butler.registry.read() as connection:
        ids = list(connection.execute(sa.select(dataset.c.id)).scalars())
        assert files.stored(connection, ids) == set(ids)
        states = connection.execute(
            sa.select(q.state, out.dataset_id.is_not(None))
            .join_from(quantum, quantum_output, out.quantum_id == q.id, isouter=True)
            .distinct()
        ).all()
    allowed = {("done", True), *((state, False) for state in UNFRUITFUL)}
    assert {(s, bool(made)) for s, made in states} <= allowed


def resumed(butler: Butler, output: str, **how: Any) -> None:
    """Continue a run, from the beginning if nothing of it was recorded; nothing is done twice."""
    before = done_in(butler, output)
    begun = bool(butler.registry.collections(output))
    report = run(butler.root, output, resume=begun, **how)
    assert report.succeeded
    assert dict(report.states) == STATES
    after = done_in(butler, output)
    assert {i: after[i] for i in before} == before
