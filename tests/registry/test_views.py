from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Timespan, deploy, provenance, reports
from registry.database import insert_rows
from registry.identity import DataId, uuid7
from registry.provenance import Outcome, QuantumRow
from registry.schema import files
from registry.schema.provenance import quantum, task
from tests.registry.observatory import BIAS, RAW, bias_id, raw_id

if TYPE_CHECKING:
    from registry import DatasetRef, Registry

NOW = dt.datetime(2022, 9, 20, 12, tzinfo=dt.UTC)


def rows(registry: Registry, view: str) -> list[dict[str, Any]]:
    """Read a view with None for every missing value."""
    frame = registry.report(view)
    return [
        {k: None if v != v else v for k, v in row.items()}  # noqa: PLR0124 (NaN differs from itself)
        for row in frame.astype(object).to_dict("records")
    ]


@pytest.fixture
def stored(filled: Registry) -> list[DatasetRef]:
    """Three raw frames in run `all`, two of them stored with 100 and 23 bytes; a third is lost."""
    filled.register_collection("all")
    filled.register_collection("none")
    refs = filled.insert_datasets(RAW, [raw_id(n) for n in (1, 2, 3)], "all")
    with filled.begin() as connection:
        insert_rows(connection, files.site, [{"id": 1, "name": "dome", "doc": ""}])
        insert_rows(
            connection,
            files.endpoint,
            [
                {"id": n, "site_id": 1, "name": name, "root": "", "owned": True, "state": state}
                for n, name, state in ((1, "disk", "online"), (2, "tape", "offline"))
            ],
        )
        insert_rows(
            connection,
            files.file,
            [
                {
                    "id": n,
                    "dataset_id": ref.id,
                    "component": "",
                    "path": f"raw{n}.fits",
                    "size_bytes": size,
                    "checksum": checksum,
                    "formatter": "fits-image",
                }
                for n, (ref, size, checksum) in enumerate(
                    zip(refs, (100, 23, 7), ("sha256:ab", None, None), strict=True), start=1
                )
            ],
        )
        insert_rows(
            connection,
            files.replica,
            [
                {"file_id": f, "endpoint_id": e, "state": state, "since": NOW}
                for f, e, state in (
                    (1, 1, "available"),
                    (2, 1, "available"),
                    (3, 1, "lost"),
                    (1, 2, "available"),
                )
            ],
        )
    return refs


def test_dataset_summary_counts_a_file_once_however_many_its_copies(
    filled: Registry, stored: list[DatasetRef]
) -> None:
    filled.insert_datasets(BIAS, [bias_id(20220920)], "all")
    summary = {r["dataset_type"]: r for r in rows(filled, "dataset_summary")}
    keys = ("run", "n_datasets", "n_stored", "size_bytes")
    assert {t: tuple(r[k] for k in keys) for t, r in summary.items()} == {
        "raw": ("all", len(stored), 2, 123),
        "bias": ("all", 1, 0, 0),
    }
    raw = summary["raw"]
    assert raw["first_ingest_tai_ns"] == raw["last_ingest_tai_ns"]
    assert raw["last_ingest_tai_ns"] <= summary["bias"]["first_ingest_tai_ns"]


def test_replica_health_counts_copies_by_endpoint_and_state(
    filled: Registry, stored: list[DatasetRef]
) -> None:
    del stored
    keys = ("endpoint", "endpoint_state", "state", "n_replicas", "size_bytes", "n_without_checksum")
    health = [tuple(r[k] for k in keys) for r in rows(filled, "replica_health")]
    assert sorted(health) == [
        ("disk", "online", "available", 2, 123, 1),
        ("disk", "online", "lost", 1, 7, 1),
        ("tape", "offline", "available", 1, 100, 0),
    ]
    assert {r["site"] for r in rows(filled, "replica_health")} == {"dome"}


def test_calibration_coverage_shows_the_gaps(filled: Registry) -> None:
    filled.register_collection("made")
    ids = [bias_id(20220920), bias_id(20220921), bias_id(20220920, detector=1)]
    one, two, other = filled.insert_datasets(BIAS, ids, "made")
    filled.certify("calib", [one], Timespan(1000, 4000))
    filled.certify("calib", [two], Timespan(4000, 5000))
    filled.certify("calib", [one], Timespan(8000, 9000))
    filled.certify("calib", [other], Timespan(6000, 7000))
    keys = (
        "detector",
        "valid_begin_tai_ns",
        "valid_end_tai_ns",
        "coverage",
        "dataset_id",
        "run",
        "made_from_day_obs",
    )
    found = rows(filled, "calibration_coverage")
    shown = sorted((tuple(r[k] for k in keys) for r in found), key=lambda r: r[:2])
    assert [(*r[:4], r[4] and str(r[4]).replace("-", ""), *r[5:]) for r in shown] == [
        (0, 1000, 4000, "valid", one.id.hex, "made", 20220920),
        (0, 4000, 5000, "valid", two.id.hex, "made", 20220921),
        (0, 5000, 8000, "gap", None, None, None),
        (0, 8000, 9000, "valid", one.id.hex, "made", 20220920),
        (1, 6000, 7000, "valid", other.id.hex, "made", 20220920),
    ]
    assert {(r["collection"], r["dataset_type"], r["instrument"]) for r in found} == {
        ("calib", "bias", "Cam")
    }


def timestamp(value: Any) -> dt.datetime | None:
    """Read a timestamp of a view, which SQLite gives as text."""
    return None if value is None else dt.datetime.fromisoformat(str(value))


def test_timestamps_are_the_tai_nanoseconds_to_the_microsecond(
    filled: Registry, stored: list[DatasetRef]
) -> None:
    epoch = dt.datetime.fromisoformat("1970-01-01")
    (raw,) = (r for r in rows(filled, "dataset_summary") if r["dataset_type"] == "raw")
    assert raw["n_datasets"] == len(stored)
    shown = timestamp(raw["first_ingest_tai"])
    assert shown == epoch + dt.timedelta(microseconds=raw["first_ingest_tai_ns"] // 1000)
    assert timestamp(raw["last_ingest_tai"]) == shown
    filled.register_collection("made")
    (bias,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "made")
    bounds = [
        None,
        "1899-12-31T23:59:59.999999",
        "1969-12-31T23:59:58.000001",
        "1972-06-30T00:00:35",
        "2022-09-20T12:00:00.123456",
        None,
    ]
    for begin, end in zip(bounds[::2], bounds[1::2], strict=True):
        span = [None if t is None else f"{t}/tai" for t in (begin, end)]
        filled.certify("calib", [bias], Timespan.parse(*span))
    spans = [
        tuple(timestamp(r[k]) for k in ("valid_begin_tai", "valid_end_tai"))
        for r in sorted(rows(filled, "calibration_coverage"), key=lambda r: r["valid_begin_tai_ns"])
    ]
    assert spans == list(itertools.pairwise(map(timestamp, bounds)))


@pytest.fixture
def ran(filled: Registry, stored: list[DatasetRef]) -> DatasetRef:
    """Bias made from two raw frames by one quantum; five more in every other kind of state."""
    filled.register_collection("out")
    (bias,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "out")
    ways = ("done", "no_work", "failed", "failed", "blocked", "ready")
    with filled.begin() as connection:
        config = provenance.record_config(connection, "a.Config", "", [])
        provenance.record_task(connection, "out", "idle", "a.Idle", config, [])
        task = provenance.record_task(connection, "out", "combine", "a.Combine", config, [])
        software = provenance.record_environment(connection, "3.11", "Linux", {})
        for n, state in enumerate(ways):
            key = uuid7()
            inputs = tuple(("raws", r.id) for r in stored[:2]) if state == "done" else ()
            data_id = DataId.of(instrument="Cam", target=n)
            provenance.insert_quanta(connection, task, [QuantumRow(key, data_id, inputs)])
            if state == "blocked":
                provenance.block(connection, {key: "no raw"})
            if state not in {"blocked", "ready"}:
                provenance.start(connection, key, software, "host", 1)
                error = "ValueError" if state == "failed" else None
                ended = Outcome(state, 2.0, 1.5, 1000 + n, {}, {}, error, error)
                outputs = [("bias", bias.id)] if state == "done" else []
                provenance.finish(connection, key, ended, outputs)
    return bias


def test_provenance_edge_is_a_row_per_input_and_output(
    filled: Registry, stored: list[DatasetRef], ran: DatasetRef
) -> None:
    def plain(value: Any) -> str:
        return str(value).replace("-", "")

    edges = rows(filled, "provenance_edge")
    assert {plain(e["input_id"]) for e in edges} == {r.id.hex for r in stored[:2]}
    assert {plain(e["output_id"]) for e in edges} == {ran.id.hex}
    assert len(edges) == 2
    with filled.read() as connection:
        made = connection.execute(sa.select(quantum.c.id).where(quantum.c.state == "done"))
        assert {plain(e["quantum_id"]) for e in edges} == {made.scalar_one().hex}
    keys = ("output_type", "input_type", "input_connection", "task_label", "run")
    assert {tuple(e[k] for k in keys) for e in edges} == {("bias", "raw", "raws", "combine", "out")}


def test_run_summary_counts_quanta_by_state(filled: Registry, ran: DatasetRef) -> None:
    del ran
    summary = {r["task_label"]: r for r in rows(filled, "run_summary")}
    keys = ("n_quanta", "n_done", "n_no_work", "n_failed", "n_blocked", "n_open")
    combine, idle = summary["combine"], summary["idle"]
    assert {r["run"] for r in summary.values()} == {"out"}
    assert [combine[k] for k in keys] == [6, 1, 1, 2, 1, 1]
    assert (combine["wall_s"], combine["cpu_s"], combine["max_rss_bytes"]) == (8.0, 6.0, 1003)
    assert combine["task_class"] == "a.Combine"
    assert combine["first_started_at"] is not None
    assert idle["n_quanta"] == 0
    assert (idle["wall_s"], idle["max_rss_bytes"], idle["last_finished_at"]) == (None,) * 3


def test_quantum_outcome_counts_what_ended_by_kind_of_error(
    filled: Registry, ran: DatasetRef
) -> None:
    del ran
    with filled.begin() as connection:
        key = connection.execute(sa.select(task.c.id).where(task.c.label == "idle")).scalar_one()
        quanta = [QuantumRow(uuid7(), DataId.of(instrument="Cam", target=n)) for n in range(3)]
        provenance.insert_quanta(connection, key, quanta)
        software = provenance.record_environment(connection, "3.11", "Linux", {})
        for n, one in enumerate(quanta):
            provenance.start(connection, one.id, software, f"host{n}", 1)
            memory = Outcome(
                "failed", 4.0, 1.0, 2000 + n, {}, {}, "MemoryLimit", "much", "out-of-memory"
            )
            partly = Outcome("done", 1.0, 1.0, 10, {}, {}, "Partly", "less", "partial-outputs")
            provenance.finish(connection, one.id, memory if n < 2 else partly)
        provenance.reset(connection, [quanta[0].id])
        provenance.start(connection, quanta[0].id, software, "host9", 1)
        provenance.finish(connection, quanta[0].id, memory)
    ended = {
        (r["task_label"], r["state"], r["error_kind"], r["exception_class"]): (
            r["n_quanta"],
            r["n_attempts"],
            r["n_hosts"],
            r["wall_s"],
            r["max_rss_bytes"],
        )
        for r in rows(filled, "quantum_outcome")
    }
    assert ended == {
        ("combine", "done", None, None): (1, 1, 1, 2.0, 1000),
        ("combine", "no_work", None, None): (1, 1, 1, 2.0, 1001),
        ("combine", "failed", None, "ValueError"): (2, 2, 1, 4.0, 1003),
        ("idle", "failed", "out-of-memory", "MemoryLimit"): (2, 3, 2, 8.0, 2002),
        ("idle", "done", "partial-outputs", "Partly"): (1, 1, 1, 1.0, 10),
    }
    with filled.read() as connection:
        failed = provenance.quanta_of_run(connection, "out", states=["failed"])
    kinds = [(q["label"], q["error_kind"]) for q in failed]
    assert sorted(kinds, key=str) == [
        ("combine", None),
        ("combine", None),
        ("idle", "out-of-memory"),
        ("idle", "out-of-memory"),
    ]


def test_views_without_a_row_are_empty_with_the_same_columns(
    registry: Registry,
) -> None:
    for view in deploy.view_names():
        frame = registry.report(view)
        assert len(frame) == 0
        assert len(frame.columns) >= 7


def test_every_view_says_its_question() -> None:
    described = reports.describe()
    assert list(described) == deploy.view_names()
    assert all(question.endswith("?") for question in described.values())


def test_unknown_view_suggests_the_right_one(registry: Registry) -> None:
    with pytest.raises(reports.UnknownView, match="Did you mean 'run_summary'"):
        registry.report("run_sumary")
