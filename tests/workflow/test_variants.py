"""Has each quantum the configuration that is for its data ID, wherever it is executed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from butler import Butler
from butler.graphs import bring_home, export_graph
from registry import cookbook, plans
from registry.errors import DefinitionConflict
from registry.schema.provenance import quantum_variant, task, task_variant
from tests.workflow import planned, test_runner
from workflow.cli import main
from workflow.errors import ConfigurationError, PipelineError, UnknownField
from workflow.graph_files import run_graph
from workflow.modes import Mode
from workflow.overrides import parse_override
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline
from workflow.single_quantum import execute_quantum
from workflow.testing.mocks import mocked

if TYPE_CHECKING:
    from pathlib import Path

root = test_runner.root
SCALE = "tests.workflow.variant_tasks.ScaleTask"
PIPELINE = f"""\
description: numbers
parameters: {{shift: 100, second: 2}}
tasks:
  scale:
    class: {SCALE}
    config:
      - factor: 2.0
      - dataId: {{detector: parameters.second}}
        factor: 3.0
      - where: "exposure = :second AND exposure.observation_type = 'science'"
        python: |
          config.add.offset = parameters.shift
      - largest: 100
"""
SECOND, LATE = "detector IN (2)", "exposure = 2 AND exposure.observation_type = 'science'"
BOTH = f"({SECOND}) AND ({LATE})"
MADE = {(1, 1): 22.0, (1, 2): 36.0, (2, 1): 142.0, (2, 2): 166.0}
"""Twice the frame, thrice that of detector 2, and 100 more with exposure 2."""


def read(*arguments: str, text: str = PIPELINE, **how: Any) -> Pipeline:
    overrides: dict[str, list[Any]] = {}
    for argument in arguments:
        label, override = parse_override(argument)
        overrides.setdefault(label, []).append(override)
    return Pipeline.from_yaml(text, overrides=overrides, **how)


def run(root: Path, pipeline: Pipeline | None = None, **how: Any) -> Any:
    return run_pipeline(root, pipeline or read(), inputs=["raw"], output="out", **how)


def made(root: Path) -> dict[tuple[object, object], float]:
    return test_runner.values(root, "scaled")


def rows(root: Path, statement: Any) -> list[tuple[Any, ...]]:
    with Butler(root) as butler, butler.registry.read() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def selections(root: Path) -> dict[tuple[object, object], str | None]:
    """Tell of each output for which data IDs its configuration was."""
    with Butler(root, collections="out") as butler:
        refs = {r.id: r.data_id for r in butler.query_datasets("scaled")}
        makers = butler.registry.provenance.makers(*refs)
    return {(k["exposure"], k["detector"]): makers[i]["selection"] for i, k in refs.items()}


def test_each_quantum_has_the_configuration_of_its_data_id(root: Path) -> None:
    report = run(root)
    assert dict(report.states) == {("scale", "done"): 4}
    assert report.selected == {("scale", SECOND): 2, ("scale", LATE): 2}
    assert made(root) == MADE
    assert selections(root) == {(1, 1): None, (1, 2): SECOND, (2, 1): LATE, (2, 2): BOTH}


def test_every_value_tells_who_set_it_where_for_which_data_ids(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scale.yaml"
    file.write_text(PIPELINE)
    cited = "scale[detector = 1]:factor=5"
    report = run(root, Pipeline.from_yaml(file, overrides=dict([_listed(cited)])))
    with Butler(root) as butler:
        asked = butler.registry.provenance
        found = asked.find_config_values("factor", run="out")
        steps = asked.config_history(report.run, "scale", "add.offset")
        uses = asked.find_config_values("offset", "100")
    assert {(u.selection, u.value, u.origin) for u in found} == {
        (SECOND, "3.0", f"{file}:9"),
        ("detector = 1", "5.0", f"-c {cited}"),
        (BOTH, "3.0", f"{file}:9"),
        (f"({LATE}) AND (detector = 1)", "5.0", f"-c {cited}"),
        (None, "2.0", f"{file}:7"),
    }
    assert {(u.run, u.task_label, u.selection, u.origin) for u in uses} == {
        (report.run, "scale", BOTH, f"{file}:12"),
        (report.run, "scale", f"({LATE}) AND (detector = 1)", f"{file}:12"),
    }
    last = {s["selection"]: (s["value"], s["origin_kind"]) for s in steps}
    assert (last[None], last[BOTH]) == (("0.0", "default"), ("100.0", "pipeline"))
    assert all(s["set_by"] and s["set_at"] for s in steps if s["value"] == "100.0")
    again = run(root, read("scale[detector = 1]:factor=6"))
    with Butler(root) as butler:
        differ = butler.registry.provenance.config_differences(report.run, again.run)
    assert {(d.task_label, d.path, d.first, d.second) for d in differ} == {
        ("scale where detector = 1", "factor", "5.0", "6.0"),
        (f"scale where ({LATE}) AND (detector = 1)", "factor", "5.0", "6.0"),
    }
    told = said(capsys, "config-history", root, "out", "scale.factor", "--format", "csv")[1]
    assert f"scale,{SECOND},factor,2,3.0,pipeline,{file}:9" in told
    assert f"{LATE},factor" not in told  # its steps are those of the task itself
    told = said(capsys, "config-find", root, "offset=100", "--format", "csv", "--run", report.run)[
        1
    ]
    assert told.count(LATE) == 2
    told = said(capsys, "how-made", root, "scaled", "--where", "exposure = 1 AND detector = 2")[1]
    assert told.startswith(f"scale where {SECOND} ({SCALE}) in {again.run}")
    assert "factor      3.0" in told


def _listed(argument: str) -> tuple[str, list[Any]]:
    label, override = parse_override(argument)
    return label, [override]


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_a_named_question_tells_the_data_ids_of_a_value(root: Path) -> None:
    run(root)
    with Butler(root) as butler, butler.registry.read() as connection:
        for path, value, wanted in (
            ("factor", "2.0", {(1, 1): None, (2, 1): LATE}),
            ("factor", "3.0", {(1, 2): SECOND, (2, 2): BOTH}),
            ("add.offset", "100.0", {(2, 1): LATE, (2, 2): BOTH}),
        ):
            told = cookbook.run(connection, "quanta_with_a_value", path=path, value=value)
            found = zip(told["exposure"], told["detector"], told["selection"], strict=True)
            assert {(e, d): s for e, d, s in found} == wanted
    summary = "SELECT task_label, n_quanta, n_done FROM run_summary"
    assert rows(root, sa.text(summary)) == [("scale", 4, 4)]


def test_a_planned_run_is_executed_one_by_one_in_a_file_and_continued(
    root: Path, tmp_path: Path
) -> None:
    run(root, plan_only=True)
    assert made(root) == {}
    [one] = rows(
        root,
        sa.select(quantum_variant.c.quantum_id)
        .join(task_variant, task_variant.c.task_id == quantum_variant.c.task_id)
        .where(task_variant.c.selection == BOTH),
    )
    assert execute_quantum(root, one[0]).outcome == "done"
    assert made(root) == {(2, 2): 166.0}
    with Butler(root, writeable=True) as butler:
        [given] = export_graph(butler, "out", tmp_path / "one.db", where="exposure = 1")
        assert dict(run_graph(given.file).states) == {("scale", "done"): 2}
        assert bring_home(butler, given.file).states == {"done": 2}
    assert made(root) == {k: v for k, v in MADE.items() if k != (2, 1)}
    assert dict(run(root, mode=Mode(resume=True)).states) == {("scale", "done"): 4}
    assert made(root) == MADE
    assert selections(root)[1, 2] == SECOND


def test_a_run_is_extended_with_the_same_configuration_only(root: Path) -> None:
    run(root)
    with Butler(root, writeable=True) as butler:
        test_runner.take(butler, 3)
    for other in (
        read("scale[exposure = 3]:factor=4"),  # another expression
        read("scale[detector IN (2)]:factor=4"),  # another value
        read(text=PIPELINE.replace(":second", "3")),
        read(text=PIPELINE[: PIPELINE.index("      - where")]),
    ):
        for mode in (Mode(extend=True), Mode(resume=True)):
            with pytest.raises(DefinitionConflict, match="start a new run for the new config"):
                run(root, other, mode=mode)
    assert run(root, mode=Mode(extend=True)).states == {("scale", "done"): 6}
    assert made(root) == {**MADE, (3, 1): 62.0, (3, 2): 96.0}
    assert len(rows(root, sa.select(task_variant))) == 3


def test_variants_that_no_quantum_has_leave_nothing(root: Path) -> None:
    run(root, read(text=PIPELINE.replace("largest: 100", "largest: 15")))
    with Butler(root, writeable=True) as butler:
        test_runner.take(butler, 3)
    other = read("scale[exposure = 1]:factor=9")
    report = run(root, other, mode=Mode(skip_existing=True))
    assert report.states["scale", "existing"] == 2
    run_of = task.c.run_id == sa.select(sa.func.max(task.c.run_id)).scalar_subquery()
    left = sa.select(task_variant.c.selection).join(task, task.c.id == task_variant.c.task_id)
    assert set(rows(root, left.where(run_of))) == {(BOTH,), (LATE,), (SECOND,)}
    report = run(root, mode=Mode(replace=True), where="exposure = 1")
    assert sorted(rows(root, left.where(run_of))) == [(SECOND,)]
    assert report.selected["scale", LATE] == 0
    with Butler(root, writeable=True) as butler:
        runs = [c.name for c in butler.registry.collections("out/*") if c.type == "RUN"]
        butler.collections.remove("out")
        butler.remove_runs(*runs)
    assert rows(root, sa.select(task_variant)) == rows(root, sa.select(quantum_variant)) == []


def test_a_task_chooses_its_inputs_with_the_configuration_of_the_quantum(root: Path) -> None:
    report = run(root, read("scale[detector = 2]:largest=15"))
    assert dict(report.states) == {("scale", "done"): 3, ("scale", "blocked"): 1}
    assert set(made(root)) == set(MADE) - {(2, 2)}


def test_it_goes_along_into_another_repository(root: Path, tmp_path: Path) -> None:
    run(root)
    other = tmp_path / "other"
    with Butler(root) as butler:
        butler.export(tmp_path / "all", butler.query_datasets("scaled", collections="out"))
    with Butler.create(other) as butler:
        butler.register_instrument("demo")
        butler.import_(tmp_path / "all")
    ours, theirs = (
        [
            (v, f)
            for u in _factors(place)
            for v, f in [((u.task_label, u.selection), (u.value, u.origin))]
        ]
        for place in (root, other)
    )
    assert sorted(map(str, ours)) == sorted(map(str, theirs))
    with Butler(other) as butler:
        refs = butler.query_datasets("scaled", collections="out/*")
        told = butler.registry.provenance.makers(*(r.id for r in refs))
    assert sorted(str(m["selection"]) for m in told.values()) == sorted(
        ["None", SECOND, LATE, BOTH]
    )


def _factors(place: Path) -> list[Any]:
    with Butler(place) as butler:
        return list(butler.registry.provenance.find_config_values("factor"))


def test_a_mock_is_configured_for_the_same_data_ids(root: Path) -> None:
    run(root, mocked(read()))
    with Butler(root) as butler:
        found = butler.registry.provenance.find_config_values("selections")
    told = {u.selection: u.value for u in found}
    assert set(told) == {None, SECOND, LATE, BOTH}
    assert SECOND in str(told[BOTH])
    assert LATE in str(told[BOTH]).replace("\\'", "'")


def test_what_many_expressions_say_together_is_found_for_all_quanta_at_once(root: Path) -> None:
    with Butler(root, writeable=True) as butler, butler.registry.undone() as connection:
        [scale] = planned.prepared(connection, list(read()))
        plans.plan(connection, [scale], plans.Search(butler.registry.collections("raw")))
        numbers = range(1, 71)
        asked = [f"detector = {n}" for n in numbers]
        asked += [f"exposure.obs_id = '{n}'" for n in numbers]
        found = plans.combinations(connection, scale, asked)
        assert found == {(d, 70 + e): 1 for d in (0, 1) for e in (0, 1)}
        assert plans.combinations(connection, scale, ["detector = 9"]) == {}


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ("{dataId: {detektor: 3}, factor: 2}", PipelineError, "Did you mean 'detector'"),
        ("{where: 'detector = ', factor: 2}", PipelineError, "where a value should follow"),
        ("{where: 'detector = :two', factor: 2}", PipelineError, "no parameter 'two'"),
        ("{dataId: {detector: 'S3'}, factor: 2}", PipelineError, "'detector' is a number"),
        ("{dataId: {detector: {a: 1}}, factor: 2}", PipelineError, "no value of a data ID"),
        ("{where: 'patch.cell_x > day_obs', factor: 2, largest: x}", ConfigurationError, "largest"),
        ("{where: 'skymap = 3', factor: 2}", PipelineError, "Nothing relates 'skymap'"),
        ("{dataId: {healpix: 3}, factor: 2}", PipelineError, "no 'healpix' that could choose"),
        ("{dataId: {tract: 1}, factr: 2}", UnknownField, "Did you mean 'factor'"),
        ("{where: 'detector = 2', factor: x}", ConfigurationError, "scale:factor"),
        ("{where: 'detector = 2', factor: 0}", ConfigurationError, "cannot both be 0"),
        ("{where: 'detector = 2', do_both: true}", PipelineError, "changes 'both'; what a task"),
        ("{where: 'detector = 2', connections.scaled: x}", PipelineError, "a second label"),
    ],
)
def test_mistakes_are_told_with_their_line(
    given: str, error: type[Exception], told: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"tasks:\n  scale:\n    class: {SCALE}\n    config:\n      - {given}\n")
    with pytest.raises(error) as caught:
        Pipeline.from_yaml(file)
    assert f"{file}:5" in str(caught.value)
    assert told in str(caught.value)


def test_contracts_hold_for_all_data_ids() -> None:
    more = "contracts:\n  - contract: scale.factor < 4\n    msg: not too large\n"
    assert len(read(text=PIPELINE + more)) == 1
    with pytest.raises(PipelineError, match=r"not too large \(scale.factor is 5.0\)"):
        read("scale[detector = 1]:factor=5", text=PIPELINE + more)


def test_what_does_not_fit_together_is_refused_before_anything_is_recorded(root: Path) -> None:
    apart = read("scale[detector = 1]:factor=0", "scale[detector = 1]:add.offset=1")
    assert run(root, apart, dry_run=True).states
    together = read(
        "scale:add.offset=1",
        "scale[detector = 1]:factor=0",
        "scale[exposure = 1]:add.offset=0",
        text=PIPELINE[: PIPELINE.index("      - where")] + "      - factor: 3\n",
    )
    with pytest.raises(ConfigurationError, match="cannot both be 0"):
        run(root, together)
    assert rows(root, sa.select(task)) == []


def test_the_command_line_chooses_data_ids(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scale.yaml"
    file.write_text(PIPELINE)
    (tmp_path / "more.yaml").write_text("factor: 7\n")
    words = ["run", root, "-p", file, "-i", "raw", "-o", "out"]
    words += ["-C", f"scale[detector = 1]:{tmp_path / 'more.yaml'}"]
    words += ["-c", "scale[exposure = 99]:factor=9"]
    status, told, _ = said(capsys, *words, "--dry-run")
    assert status == 0
    assert [line for line in told.splitlines() if line.startswith("Configured")] == [
        f"Configured apart: 2 of scale where {SECOND}.",
        f"Configured apart: 2 of scale where {LATE}.",
        "Configured apart: 2 of scale where detector = 1.",
        "Configured apart: 0 of scale where exposure = 99.",
    ]
    status, _, told = said(capsys, *words)
    assert (status, told) == (0, "No planned quantum of scale fulfils exposure = 99.\n")
    assert made(root) == {**MADE, (1, 1): 77.0, (2, 1): 247.0}
    for wrong, hint in (
        ("scale[]:factor=1", "has no expression in its brackets"),
        ("scale[detector = 1:factor=1", "label[where]:path=value"),
        ("scale[detector]:factor=1", "detector"),
    ):
        status, _, told = said(capsys, "pipeline", "check", file, "-c", wrong)
        assert status == 1
        assert hint in told
    status, told, _ = said(capsys, "pipeline", "show", file, "--of", "scale", "--changed")
    assert status == 0
    assert SECOND in told
