"""Is a run that was executed in files the same as one that stayed at home?"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import endpoints
from backbone.audit import check
from butler import Butler, graphs
from butler.errors import GraphFileError, RepositoryNotFound
from butler.graphs import BroughtHome, bring_home, export_graph
from registry import plans
from registry.schema import files as schema_of_files
from registry.schema import provenance as schema
from tests.backbone import storage_servers
from tests.butler.declared import install
from tests.nursery import moments_to_die
from tests.workflow import (
    fault_tasks,
    faults,
    hungry_tasks,
    test_faults,
    test_runner,
    test_supertask,
)
from workflow.cli import main
from workflow.graph_files import run_graph
from workflow.modes import Mode
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nursery import Nursery

FRAMES = """
doc: Frames, each a mapping.
dataset_types: [frame]
one_row: true
columns:
  - {name: exposure, type: int64, doc: Exposure}
  - {name: value, type: float64, doc: Its pixels}
"""
CARRY = "tests.workflow.faults:carry"
butler, expected = test_faults.butler, test_faults.expected
root = test_runner.root
REFUSED = test_supertask.BOTH.replace(
    "measure: tests.workflow.catalog_tasks.MeasureTask",
    "measure: {class: tests.workflow.catalog_tasks.MeasureTask, config: {refuse: 1}}",
)


def plan(butler: Butler, output: str = "out", *, new: bool = True) -> dict[tuple[str, str], int]:
    report = faults.run(butler.root, output, plan_only=True, resume=not new)
    return dict(report.states)


def carried(butler: Butler, file: Path, **options: Any) -> list[BroughtHome]:
    """Export, execute and bring home."""
    came = []
    for written in export_graph(butler, "out", file, **options):
        assert run_graph(written.file).succeeded
        came.append(bring_home(butler, written.file))
    return came


def test_what_files_leave_is_what_a_run_at_home_leaves(
    butler: Butler, expected: dict[str, Any], tmp_path: Path
) -> None:
    install(butler.root, FRAMES)
    with Butler(butler.root, writeable=True, collections=faults.INPUT) as other:
        frames = other.query_datasets("frame")
        assert other.convert(frames).n_files == len(frames)
        other.empty_trash()
    planned = plan(butler)
    assert {state for _, state in planned} == {"ready"}
    nights = carried(butler, tmp_path / "nights.db", pieces=2)
    assert [(c.states, c.datasets, c.away) for c in nights] == [({"done": 1}, 1, 0)] * 2
    assert plan(butler, new=False)["level", "done"] == 2
    [part] = carried(
        butler, tmp_path / "part.db", where="exposure IN (1, 2)", into=tmp_path / "scratch"
    )
    assert part.states == {"done": 4}
    [others] = export_graph(butler, "out", tmp_path / "rest.db", labels=["subtract"])
    assert others.quanta == {"subtract": 4}
    faults.run(butler.root, "out", resume=True)
    assert run_graph(others.file, jobs=2).succeeded
    assert bring_home(butler, others.file).states == {"done": 4}
    report = faults.run(butler.root, "out", resume=True)
    assert dict(report.states) == faults.STATES
    assert faults.left_by(butler, "out") == expected
    faults.assert_sound(butler, repair=False)
    assert check(butler.registry.database, butler.root, grace=0).findings == []


def test_what_is_killed_on_its_way_is_neither_lost_nor_doubled(
    butler: Butler, nursery: Nursery, expected: dict[str, Any], tmp_path: Path
) -> None:
    faults.run(butler.root, "calm/too", mode=Mode(only=("level",)))
    plan(butler, "calm/too", new=False)
    root, into = str(butler.root), str(tmp_path / "into")
    status, said = nursery.run(CARRY, root, "calm/too", str(tmp_path / "calm.db"), into, 0)
    assert status == 0, said
    for kill, last in enumerate(moments_to_die(int(said[-1]), 4)):
        output, file = f"killed/{kill}", tmp_path / f"{kill}.db"
        faults.run(butler.root, output, mode=Mode(only=("level",)))
        plan(butler, output, new=False)
        said = nursery.kill(CARRY, root, output, str(file), into if kill % 2 else root, last)
        print(f"killed at moment {last}: {said}")  # noqa: T201
        faults.assert_sound(butler, repair=True)
        if file.exists():
            assert run_graph(file).succeeded
            assert bring_home(butler, file).away == 0
            assert bring_home(butler, file) == BroughtHome()
        with butler.registry.read() as connection:
            lost = [g.id for g, states in plans.graph_files(connection) if states.get("away")]
        assert not (lost and file.exists())
        for key in lost:
            butler.registry.database.transact(plans.take_back, key)
        faults.resumed(butler, output)
        faults.assert_sound(butler, repair=True)
        assert faults.left_by(butler, output) == expected


def test_two_bring_it_home_once_while_it_is_executed(
    butler: Butler, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "BATCH", 3)
    faults.run(butler.root, "out", mode=Mode(only=("level",)))
    plan(butler, new=False)
    [written] = export_graph(butler, "out", tmp_path / "g.db", into=tmp_path / "into")
    came: list[BroughtHome] = []

    def bring() -> None:
        with Butler(butler.root, writeable=True) as own:
            while not came or came[-1].away:
                came.append(bring_home(own, written.file))

    both = [threading.Thread(target=bring) for _ in range(2)]
    for thread in both:
        thread.start()
    assert run_graph(written.file).succeeded
    for thread in both:
        thread.join()
    assert (sum(c.datasets for c in came), sum(c.refused for c in came)) == (12, 0)
    assert dict(faults.run(butler.root, "out", resume=True).states) == faults.STATES
    assert faults.left_by(butler, "out") == expected
    faults.assert_sound(butler, repair=False)


def test_tasks_come_back_as_the_pipeline_has_them(butler: Butler, tmp_path: Path) -> None:
    text = f"""\
tasks:
  find:
    class: {fault_tasks.__name__}.FindTask
    connections: {{above: frame, found: seen}}
  gather:
    class: {fault_tasks.__name__}.GatherTask
    dimensions: [instrument, detector, day_obs]
    connections: {{found: seen, total: night_total}}
"""
    run_pipeline(
        butler.root, Pipeline.from_yaml(text), inputs=["frames"], output="out", plan_only=True
    )
    [came] = carried(butler, tmp_path / "g.db")
    assert came.states == {"done": 7, "no_work": 1}
    totals = butler.query_datasets("night_total", collections="out")
    assert [(r.data_id["day_obs"], butler.get(r)["frames"]) for r in totals] == [
        (20250310, 3),
        (20250311, 2),
    ]


def test_a_file_keeps_to_the_limits_of_the_run_or_to_others(
    butler: Butler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"""\
tasks:
  one:
    class: {hungry_tasks.__name__}.HangTask
    config: {{at: 3}}
    resources: {{timeout: 1, cores: 2}}
"""
    run_pipeline(
        butler.root, Pipeline.from_yaml(text), inputs=["frames"], output="out", plan_only=True
    )
    [written] = export_graph(butler, "out", tmp_path / "g.db")
    report = run_graph(written.file)
    assert dict(report.states) == {("one", "done"): 5, ("one", "failed"): 1}
    assert "longer than 1 s" in report.failures[0].error

    def told(*words: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as left:
            main(["graph", "run", str(written.file), *words])
        return left.value.code, capsys.readouterr().err

    status, said = told("--resource", "one:timeout=0.5")
    assert status == 1
    assert "longer than 0.5 s" in said
    status, said = told("--resource", "one:timeout=0", "--timeout", "0.25", "-j", "2")
    assert status == 1
    assert "longer than 0.25 s" in said
    assert "has no need 'time'" in told("--resource", "one:time=1")[1]
    assert "no task 'on'" in told("--resource", "on:timeout=1")[1]
    assert "not of the form LABEL:NAME=VALUE" in told("--resource", "timeout=1")[1]
    came = bring_home(butler, written.file)
    assert came.states == {"done": 5, "failed": 1}
    assert quanta_attempts(butler) == {("done", 1), ("failed", 3)}


def quanta_attempts(butler: Butler) -> set[tuple[str, int]]:
    return {(row["state"], row["attempt"]) for row in faults.quanta_of(butler, "out")}


@pytest.mark.parametrize("over", ["own", "inputs"])
def test_on_another_machine_inputs_are_read_at_s3(
    butler: Butler, over: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folder of the repository, nor that of its inputs, nor a database is there."""
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with storage_servers.s3() as served:
        butler.registry.database.transact(endpoints.register, "far", served.root)
        frames = butler.query_datasets("frame", collections=faults.INPUT)
        assert butler.replicate(frames, "far").sent == 6
        home = butler.root
        if over == "inputs":
            home = tmp_path / "own" / "repo"
            Butler.create(home).close()
            Butler(home, inputs=[butler.root], writeable=True).close()
        assert {s for _, s in faults.run(home, "out", plan_only=True).states} == {"ready"}
        with Butler(home, writeable=True) as own:
            [written] = export_graph(
                own, "out", tmp_path / "g.db", into=tmp_path / "scratch", labels=["level"]
            )
        moved = [(path, path.with_name("away")) for path in {home, butler.root}]
        for path, away in moved:
            path.rename(away)
        there = tmp_path / "elsewhere" / "g.db"
        there.parent.mkdir()
        written.file.rename(there)
        assert run_graph(there).succeeded
        with Butler(there, writeable=True) as away_from_home:
            options = sa.update(schema_of_files.file).values(format_options={"told": 1})
            away_from_home.registry.database.transact(lambda c: c.execute(options))
        for path, away in moved:
            away.rename(path)
        with Butler(home, writeable=True) as own:
            assert bring_home(own, there).states == {"done": 2}
            told = sa.select(schema_of_files.file.c.format_options)
            with own.registry.read() as connection:
                found = list(connection.execute(told).scalars())
            assert found.count({"told": 1}) == 2
        report = faults.run(home, "out", resume=True)
        assert dict(report.states) == faults.STATES
        with Butler(home) as own:
            [night, _] = own.query_datasets("level", collections="out")
            edges = own.provenance.ancestors(night.id)
        assert sum(e.input.dataset_type.name == "frame" for e in edges) == 3


def test_what_is_away_is_not_executed_here_nor_given_twice(
    butler: Butler, expected: dict[str, Any], tmp_path: Path
) -> None:
    plan(butler)
    [written] = export_graph(butler, "out", tmp_path / "g.db")
    with pytest.raises(GraphFileError, match="No quantum of 'out/.*' can go"):
        export_graph(butler, "out", tmp_path / "again.db")
    with pytest.raises(GraphFileError, match="exists already, and perhaps quanta are away in it"):
        export_graph(butler, "out", tmp_path / "g.db")
    report = faults.run(butler.root, "out", resume=True)
    assert dict(report.states) == {("level", "away"): 2}
    run_graph(written.file)
    report_of_check = check(butler.registry.database, butler.root, grace=0, repair=True)
    assert report_of_check.findings == []  # the outputs lie here, and their rows are to come
    assert butler.registry.database.transact(plans.take_back, written.id) == 2
    came = bring_home(butler, written.file)
    assert (came.states, came.refused, came.away) == ({}, 2, 0)
    report = faults.run(butler.root, "out", resume=True)
    assert dict(report.states) == faults.STATES
    findings = check(butler.registry.database, butler.root, grace=0, repair=True).findings
    assert [f.problem for f in findings] == ["orphan"] * 2
    assert faults.left_by(butler, "out") == expected
    butler.remove_runs(report.run)
    with butler.registry.read() as connection:
        assert plans.graph_files(connection) == []


def test_failures_and_what_was_told_come_home(root: Any, tmp_path: Path) -> None:
    test_supertask.ran(root, REFUSED, plan_only=True)
    with Butler(root, writeable=True) as butler:
        [written] = export_graph(butler, "out", tmp_path / "g.db")
        assert written.quanta == {"measure": 4, "extend": 4}
        for attempt in (1, 2):
            report = run_graph(written.file, jobs=attempt)
            assert report.states["measure", "failed"] == 2
        came = bring_home(butler, written.file)
        assert came.states == {"done": 4, "failed": 2, "blocked": 2}, report.failures
        report = run_graph(written.file)  # what has come home is tried again there
        assert report.failures == []
        assert bring_home(butler, written.file).states == {}
        q, t = schema.quantum.c, schema.task.c
        asked = sa.select(t.label, q.state, q.attempt, q.error_kind, q.exception_message).join(
            schema.quantum, q.task_id == t.id
        )
        with butler.registry.read() as connection:
            rows = set(map(tuple, connection.execute(asked)))
        told = butler.registry.logs.records(run=written_run(butler), level=40)
    assert ("measure", "failed", 2, "unprocessable-data", "no star") in rows
    assert {r["message"] for r in told} == {"Failed: UnprocessableData: no star"}
    again = test_supertask.ran(root, REFUSED, mode=Mode(resume=True))
    assert again.states["measure", "failed"] == 2
    with Butler(root) as butler, butler.registry.read() as connection:
        attempts = set(connection.execute(asked.with_only_columns(q.state, q.attempt)))
    assert ("failed", 3) in attempts


def written_run(butler: Butler) -> str:
    [chain] = butler.registry.collections("out")
    return chain.children[0]


def test_mistakes_are_told(
    root: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    test_supertask.ran(root, test_supertask.BOTH, plan_only=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no database, but a text of some length" * 9)
    repo = str(root)

    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["graph", *words])
        said = capsys.readouterr()
        return f"{left.value.code or 0}: {said.out}{said.err}"

    assert "no name 'mesure'. Did you mean 'measure'?" in told(
        "export", repo, "out", "g.db", "--labels", "mesure"
    )
    assert "detectr" in told("export", repo, "out", "g.db", "--where", "detectr = 1")
    assert "Did you mean 'out'?" in told("export", repo, "ot", "g.db")
    assert "There is no folder" in told("export", repo, "out", "a/g.db")
    assert told("run", "notes.txt").startswith("1: skyspine: ")
    assert "no graph file" in told("run", "notes.txt")
    assert "is a directory" in told("run", repo)
    assert told("export", repo, "out", "g.db", "--where", "detector = 1").startswith("0: ")
    assert told("bring-home", repo, "g.db").startswith("1: ")
    with pytest.raises(GraphFileError, match="execute them with: skyspine graph run"):
        test_supertask.ran(tmp_path / "g.db", test_supertask.BOTH)
    Butler.create(tmp_path / "other").close()
    assert "bring it home there" in told("bring-home", str(tmp_path / "other"), "g.db")
    assert told("run", "g.db", "-j", "2").startswith("0: ")
    assert told("bring-home", repo, "g.db").startswith("0: ")
    assert "n_home" in told("list", repo)
    assert "'g.db' is no identity" in told("take-back", repo, "g.db")
    with pytest.raises(RepositoryNotFound, match="no graph file"):
        Butler(tmp_path / "notes.txt")
    with Butler(root, collections="out") as butler:
        assert butler.get("extended_schema") == {"columns": ["flux", "extra"]}
        refs = butler.query_datasets("extended")
        assert [butler.get(r)["extra"] for r in refs] == [-1.0] * 2
        read = {e.input.dataset_type.name for e in butler.registry.provenance.ancestors(refs[0].id)}
    assert read == {"measured", "frame", "measure_schema"}
