from __future__ import annotations

import pickle
import re
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from lsst.pex.config import Config

from tests.workflow import example_tasks
from workflow.configuration import digest
from workflow.connections import Connections, Input, Output
from workflow.errors import ConfigurationError, PipelineError, UnknownField, UnknownLabel
from workflow.marked_yaml import load
from workflow.overrides import parse_override
from workflow.pipeline import Pipeline, PipelineTask
from workflow.task import SuperTask

if TYPE_CHECKING:
    from pathlib import Path

T = example_tasks.__name__

NIGHT = f"""\
description: A night at the T152
instrument: OHP-T152
parameters: {{skip: 2, night: 20220920}}
tasks:
  sources:
    class: {T}.SourcesTask
  isr:
    class: {T}.IsrTask
    select: {{raw: "exposure.observation_type = 'science' AND exposure.day_obs = :night"}}
    config:
      binning: 2
  combineFlat:
    class: {T}.CombineFlatTask
    certify: {{flat: forever}}
  combineBias:
    class: {T}.CombineBiasTask
    select: {{raws: "exposure.observation_type = 'bias'"}}
    config:
      skip_first: parameters.skip
      clip: {{sigma: 3}}
    certify:
      bias: {{validity: until-next}}
subsets:
  calibration: [combineBias, combineFlat]
"""


def chain(**tasks: tuple[list[str], list[str]]) -> list[PipelineTask]:
    """Make tasks that read and write the named dataset types."""
    made = []
    for label, (reads, makes) in tasks.items():
        connections: dict[str, Any] = {f"in{n}": Input(r, "X", ()) for n, r in enumerate(reads)}
        connections |= {f"out{n}": Output(m, "X", ()) for n, m in enumerate(makes)}
        made.append(
            PipelineTask(
                label, SuperTask, Config(), Connections(connections, ()), origin="p.yaml:1"
            )
        )
    return made


def error_of(text: str, **kwargs: Any) -> PipelineError:
    """Read a pipeline that has a mistake."""
    with pytest.raises(PipelineError) as caught:
        Pipeline.from_yaml(textwrap.dedent(text), **kwargs)
    return caught.value


def isr(more: str) -> str:
    """Write a pipeline of one task, with further lines for it."""
    below = textwrap.indent(textwrap.dedent(more), "    ")
    return f"tasks:\n  isr:\n    class: {T}.IsrTask\n{below}\n"


class TestReading:
    def test_a_night(self) -> None:
        pipeline = Pipeline.from_yaml(NIGHT)
        assert pipeline.description == "A night at the T152"
        assert pipeline.instrument == "OHP-T152"
        assert pipeline.parameters == {"skip": 2, "night": 20220920}
        assert pipeline.subsets == {"calibration": ("combineBias", "combineFlat")}
        assert [t.label for t in pipeline] == ["combineBias", "combineFlat", "isr", "sources"]
        assert pipeline["isr"].config.binning == 2
        assert pipeline["isr"].select["raw"].endswith(":night")
        assert pipeline["combineBias"].config.skip_first == 2
        assert pipeline["combineBias"].config.clip.sigma == 3.0
        assert pipeline["combineBias"].certify == {"bias": "until-next"}
        assert pipeline["combineFlat"].certify == {"flat": "forever"}
        assert pipeline["isr"].class_name == f"{T}.IsrTask"
        assert pipeline["isr"].make().log.name == "skyspine.isr"
        assert pipeline.text == NIGHT

    def test_calibrations_are_certified_before_their_consumers_stage(self) -> None:
        stages = Pipeline.from_yaml(NIGHT).stages()
        assert [[t.label for t in s] for s in stages] == [
            ["combineBias"],
            ["combineFlat"],
            ["isr", "sources"],
        ]

    def test_what_no_task_makes_comes_from_outside(self) -> None:
        pipeline = Pipeline.from_yaml(NIGHT)
        assert list(pipeline.overall_inputs()) == ["raw"]
        assert list(pipeline.dataset_types()) == ["bias", "calexp", "flat", "raw", "src"]
        assert pipeline.dataset_types()["bias"].is_calibration
        maker = pipeline.producer("calexp")
        assert maker is not None
        assert maker.label == "isr"
        assert pipeline.producer("raw") is None

    def test_lines_reach_the_history(self, tmp_path: Path) -> None:
        file = tmp_path / "night.yaml"
        file.write_text(NIGHT)
        history = Pipeline.from_yaml(file, by="lead")["combineBias"].history
        last = history["skip_first"][-1]
        assert (last.value, last.kind, last.by) == (2, "parameter", "lead")
        assert last.origin == f"{file}:19 parameters.skip"
        last = history["clip.sigma"][-1]
        assert (last.value, last.kind, last.origin) == (3.0, "pipeline", f"{file}:20")

    def test_overrides_come_in_their_order(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("config.binning = 3\n")
        (tmp_path / "b.yaml").write_text("\nbinning: 4\n")
        file = tmp_path / "p.yaml"
        file.write_text(
            isr("""\
                config_files: [a.py]
                config: {binning: 2}
            """)
        )
        label, override = parse_override("isr:binning=5")
        instrument = parse_override("isr:binning=9", kind="instrument")[1]
        pipeline = Pipeline.from_yaml(
            file, overrides={label: [override]}, instrument_overrides={"isr": [instrument], "x": []}
        )
        assert [(e.value, e.kind) for e in pipeline["isr"].history["binning"]] == [
            (1, "default"),
            (9, "instrument"),
            (3, "file"),
            (2, "pipeline"),
            (5, "command-line"),
        ]
        assert pipeline["isr"].history["binning"][2].origin == f"{tmp_path}/a.py:1"
        file.write_text(
            isr("config:\n- {binning: 2}\n- {file: b.yaml}\n- python: config.binning += 1")
        )
        history = Pipeline.from_yaml(file)["isr"].history["binning"]
        assert [(e.value, e.origin) for e in history[1:]] == [
            (2, f"{file}:5"),
            (4, f"{tmp_path}/b.yaml:2"),
            (5, f"{file}:7"),
        ]

    def test_code_in_a_block_keeps_its_lines(self, tmp_path: Path) -> None:
        file = tmp_path / "p.yaml"
        file.write_text(
            isr("config:\n  python: |\n    config.binning = 2\n    config.do_bias = 1\n")
        )
        with pytest.raises(ConfigurationError, match="Expected type bool") as caught:
            Pipeline.from_yaml(file)
        assert caught.value.origin == f"{file}:7"

    def test_a_task_survives_the_way_to_another_process(self) -> None:
        task = Pipeline.from_yaml(NIGHT)["combineBias"]
        again = pickle.loads(pickle.dumps(task))
        assert digest(again.config) == digest(task.config)
        assert repr(again.history) == repr(task.history)
        assert dict(again.connections) == dict(task.connections)
        assert again.make().statistic.name == "statistic"
        with pytest.raises(ValueError, match="frozen"):
            again.config.skip_first = 1

    def test_parameters_are_replaced(self) -> None:
        pipeline = Pipeline.from_yaml(NIGHT, parameters={"skip": 7})
        assert pipeline["combineBias"].config.skip_first == 7
        assert pipeline.parameters["skip"] == 7

    def test_a_task_may_be_its_class(self) -> None:
        pipeline = Pipeline.from_yaml(f"tasks:\n  src: {T}.SourcesTask\n")
        assert pipeline["src"].config.toDict() == {}

    def test_plain_texts_stay_texts(self) -> None:
        data = load("a: on\nb: 12:30:00\nc: 2022-09-20\nd: 1e-3\ne: 0o17\nf: '1'\ng: .nan\nh: ~\n")
        assert str(data.pop("g")) == "nan"
        assert data == {
            "a": "on",
            "b": "12:30:00",
            "c": "2022-09-20",
            "d": 0.001,
            "e": 15,
            "f": "1",
            "h": None,
        }

    def test_anchors_are_merged(self) -> None:
        data = load("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\n")
        assert data["more"] == {"x": 1, "y": 3}
        assert load("") is None
        with pytest.raises(PipelineError, match="takes a mapping"):
            load("more: {<<: 5}\n")


class TestChanges:
    def test_connections_are_renamed(self) -> None:
        text = NIGHT.replace(
            "    select: {raws:", "    connections: {bias: superBias}\n    select: {raws:"
        )
        pipeline = Pipeline.from_yaml(text)
        assert pipeline["combineBias"].connections["bias"].dataset_type == "superBias"
        assert list(pipeline.overall_inputs()) == ["bias", "raw"]
        assert [len(s) for s in pipeline.stages()] == [2, 2]

    def test_dimensions_reach_outputs_and_who_looks_them_up(self) -> None:
        text = NIGHT.replace("until-next", "forever").replace(
            "    select: {raws:", "    dimensions: [instrument, detector]\n    select: {raws:"
        )
        pipeline = Pipeline.from_yaml(text)
        assert pipeline["combineBias"].dimensions == ("instrument", "detector")
        assert pipeline["isr"].connections["bias"].dimensions == ("instrument", "detector")
        assert pipeline.dataset_types()["bias"].dimensions == ("instrument", "detector")

    def test_keys_of_the_instrument_are_declared_by_the_pipeline(self) -> None:
        text = f"""\
            extra_dimensions: [target]
            tasks:
              bias: {{class: {T}.CombineBiasTask, dimensions: [instrument, target]}}
            """
        pipeline = Pipeline.from_yaml(textwrap.dedent(text))
        assert pipeline["bias"].connections["bias"].dimensions == ("instrument", "target")

    def test_configuration_takes_connections_away(self) -> None:
        pipeline = Pipeline.from_yaml(isr("config: {do_bias: no, do_flat: no}"))
        assert list(pipeline.overall_inputs()) == ["raw"]

    def test_labels_and_subsets_select_tasks(self, tmp_path: Path) -> None:
        file = tmp_path / "night.yaml"
        file.write_text(NIGHT)
        pipeline = Pipeline.from_yaml(f"{file}#sources,isr")
        assert [t.label for t in pipeline] == ["isr", "sources"]
        assert list(pipeline.overall_inputs()) == ["bias", "flat", "raw"]
        assert pipeline.name == f"{file}#sources,isr"
        assert [t.label for t in Pipeline.from_yaml(f"{file}#calibration")] == [
            "combineBias",
            "combineFlat",
        ]
        with pytest.raises(UnknownLabel, match=r"no task or subset 'isrr'.*Did you mean 'isr'"):
            Pipeline.from_yaml(f"{file}#isrr")

    def test_imports_are_extended_and_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "base.yaml").write_text(NIGHT)
        file = tmp_path / "p.yaml"
        file.write_text(
            f"imports:\n- location: base.yaml\n  exclude: [combineFlat]\n"
            f"parameters: {{skip: 5}}\n"
            f"tasks:\n  isr:\n    config: {{do_flat: false}}\n  sources: {T}.CombineFlatTask\n"
        )
        pipeline = Pipeline.from_yaml(file)
        assert [t.label for t in pipeline] == ["combineBias", "sources", "isr"]
        assert pipeline["combineBias"].config.skip_first == 5
        assert pipeline["isr"].config.binning == 2
        assert [e.origin for e in pipeline["isr"].history["do_flat"][1:]] == [f"{file}:7"]
        assert pipeline["isr"].history["binning"][-1].origin == f"{tmp_path}/base.yaml:11"
        assert pipeline["sources"].class_name == f"{T}.CombineFlatTask"
        assert pipeline.subsets == {"calibration": ("combineBias",)}
        assert pipeline.instrument == "OHP-T152"
        file.write_text("imports: {location: base.yaml, include: calibration}\n")
        assert len(Pipeline.from_yaml(file)) == 2


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("tasks: {a: [}", 1, "not YAML"),
            ("- 1\n- 2\n", 1, "a pipeline is a mapping"),
            ("description: x\nother: 1\n", 2, "has no key 'other'"),
            ("description: x\ntask:\n  a: b\n", 2, "Did you mean 'tasks'"),
            ("description: x\n", None, "has no tasks"),
            ("tasks:\n  isr:\n    config: {}\n", 2, "task 'isr' has no `class`"),
            ("tasks:\n  a b: x.Y\n", 2, "no label"),
            (isr("confg: {}"), 4, "task 'isr' has no key 'confg'. Did you mean 'config'"),
            (isr("config: 5"), 4, "config of task 'isr' is a mapping"),
            (isr("config: {binning: parameters.bin}"), 4, "no parameter 'bin'"),
            (isr("connections: {imag: x}"), 4, "no connection 'imag'. Did you mean 'image'"),
            (isr("connections:\n  image: raw"), 4, "also its input 'raw'"),
            (isr("connections:\n  image: [raw]"), 5, "needs a text"),
            (isr("select:\n  image: x"), 5, "no input 'image'"),
            (isr("certify: {image: night}"), 4, "no output with is_calibration 'image'"),
            (isr("dimensions: [instrument, detectors]"), 4, "Did you mean 'detector'"),
            (isr("dimensions: [instrument, detector]"), 4, "beyond the task's dimensions"),
            (isr("dimensions: [1]"), 4, "a list of names"),
            (isr("config_files: [nowhere.py]"), 4, "there is no configuration file"),
            (f"tasks:\n  i:\n    class: {T}.IsrTsk\n", 3, "Did you mean 'IsrTask'"),
            ("tasks:\n  i:\n    class: no.such.Task\n", 3, "no module 'no'"),
            (f"tasks:\n  i:\n    class: {T}.MeanTask\n", 3, "is no SuperTask"),
            (f"tasks:\n  i: {T}.IsrTask\n  i: {T}.IsrTask\n", 3, "given twice, on lines 2 and 3"),
            (isr("select:\n  raw: band = = 'r'"), 5, "select of 'raw': "),
            (
                NIGHT.replace(
                    "Task\n    select: {raws", "Task\n    dimensions: [detector]\n    select: {raws"
                ),
                23,
                "'bias' cannot hold 'until-next': it has no day_obs",
            ),
            (NIGHT.replace("until-next", "until-nxt"), 22, "Did you mean 'until-next'"),
            (NIGHT.replace("[combineBias,", "[combineBia,"), 24, "Did you mean 'combineBias'"),
            (NIGHT.replace("  calibration:", "  isr:"), 24, "is a task and cannot"),
        ],
    )
    def test_a_mistake_names_its_line(
        self, tmp_path: Path, text: str, line: int | None, message: str
    ) -> None:
        file = tmp_path / "p.yaml"
        file.write_text(text)
        with pytest.raises(PipelineError, match=re.escape(message)) as caught:
            Pipeline.from_yaml(file)
        place = f"{file}:{line}: " if line else f"{file}: "
        assert str(caught.value).startswith(place)

    def test_a_wrong_configuration_names_label_field_and_line(self, tmp_path: Path) -> None:
        file = tmp_path / "p.yaml"
        file.write_text(isr("config:\n  bining: 2\n"))
        with pytest.raises(UnknownField, match=r"isr:bining: .*Did you mean 'binning'") as caught:
            Pipeline.from_yaml(file)
        assert caught.value.origin == f"{file}:5"

    def test_a_module_that_fails_to_import_is_named(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('no licence')\n")
        monkeypatch.syspath_prepend(tmp_path)
        error = error_of("tasks:\n  a: broken_tasks.ATask\n")
        assert "importing 'broken_tasks.ATask' failed: RuntimeError: no licence" in str(error)

    def test_unknown_labels_and_parameters_of_the_caller(self) -> None:
        with pytest.raises(UnknownLabel, match=r"no task 'irs' to configure. Did you mean 'isr'"):
            Pipeline.from_yaml(NIGHT, overrides={"irs": []})
        assert "no parameter 'skp'. Did you mean 'skip'" in str(
            error_of(NIGHT, parameters={"skp": 1})
        )
        with pytest.raises(UnknownLabel, match="Did you mean 'isr'"):
            Pipeline.from_yaml(NIGHT)["irs"]

    def test_files_that_are_not_there_or_import_themselves(self, tmp_path: Path) -> None:
        with pytest.raises(
            PipelineError, match=r"none\.yaml: the pipeline cannot be read: No such"
        ):
            Pipeline.from_yaml(tmp_path / "none.yaml")
        loop = tmp_path / "loop.yaml"
        loop.write_text("imports: [loop.yaml]\n")
        with pytest.raises(PipelineError, match=r"loop\.yaml:1: 'loop\.yaml' imports itself"):
            Pipeline.from_yaml(loop)
        loop.write_text("imports: [other.yaml]\n")
        with pytest.raises(PipelineError, match=r"'other\.yaml' cannot be read"):
            Pipeline.from_yaml(loop)
        loop.write_text("imports: [$UNSET_PIPE_DIR/other.yaml]\n")
        with pytest.raises(PipelineError, match=r":1: .* UNSET_PIPE_DIR is not set in the env"):
            Pipeline.from_yaml(loop)
        (tmp_path / "other.yaml").write_text(NIGHT)
        loop.write_text("imports:\n- location: other.yaml\n  include: [isrr]\n")
        with pytest.raises(PipelineError, match=r":3: 'other\.yaml' has no task or subset 'isrr'"):
            Pipeline.from_yaml(loop)
        loop.write_text("imports:\n- {location: other.yaml, include: isr, exclude: isr}\n")
        with pytest.raises(PipelineError, match="not both"):
            Pipeline.from_yaml(loop)

    def test_a_calibration_that_nothing_certifies(self) -> None:
        error = error_of(NIGHT.replace("certify: {flat: forever}", "certify: {}"))
        assert "'isr' looks up flat, which 'combineFlat' makes but nothing certifies" in str(error)
        assert "certify: {flat: {validity: until-next}}" in str(error)
        assert error.line == 12

    def test_two_makers_of_one_dataset_type(self) -> None:
        error = error_of(f"tasks:\n  a: {T}.IsrTask\n  b: {T}.IsrTask\n")
        assert "'a' and 'b' both make calexp" in str(error)
        assert error.line == 3

    def test_a_storage_class_that_differs(self) -> None:
        text = f"tasks:\n  a: {T}.IsrTask\n  b:\n    class: {T}.SourcesTask\n"
        text += "    connections: {image: src2, sources: flat}\n"
        assert "flat has the storage class" in str(error_of(text))

    def test_dimensions_that_differ(self) -> None:
        made = chain(a=(["raw"], ["x"]), b=(["x"], ["y"]))
        wrong = Connections({"in0": Input("x", "X", ("band",), multiple=True)}, ())
        made[1] = PipelineTask("b", made[1].task_class, made[1].config, wrong, origin="p.yaml:9")
        with pytest.raises(
            PipelineError, match=r"p\.yaml:9: x has the dimensions .* in 'a' and band"
        ):
            Pipeline(made)

    def test_a_cycle_is_named(self) -> None:
        tasks = chain(
            first=(["raw"], ["a"]),
            isr=(["a", "z"], ["x"]),
            measure=(["x"], ["y"]),
            refine=(["y"], ["z"]),
            last=(["z"], ["end"]),
        )
        with pytest.raises(PipelineError) as caught:
            Pipeline(tasks)
        shown = re.findall(r"(\w+) -> (\w+) -> (?=(\w+))", str(caught.value))
        assert {(a, t, b) for a, t, b in shown} == {
            ("isr", "x", "measure"),
            ("measure", "y", "refine"),
            ("refine", "z", "isr"),
        }

    def test_the_order_of_the_file_holds_where_it_is_free(self) -> None:
        tasks = chain(c=(["b1"], ["c1"]), d=(["raw"], ["d1"]), b=(["a1"], ["b1"]), a=([], ["a1"]))
        assert [t.label for t in Pipeline(tasks)] == ["d", "a", "b", "c"]
        assert [t.label for t in Pipeline(tasks).stages()[0]] == ["d", "a", "b", "c"]
