"""What do imports, steps, contracts and choices mean, and what mistakes are told?"""

from __future__ import annotations

import json
import pickle
import textwrap
from typing import TYPE_CHECKING, ClassVar
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from tests.workflow import example_tasks
from workflow.cli import root
from workflow.connections import Output
from workflow.errors import PipelineError, TaskDefinitionError, UnknownLabel
from workflow.overrides import parse_override
from workflow.pipeline import Pipeline
from workflow.shipped import pipeline_names

if TYPE_CHECKING:
    from pathlib import Path

T = example_tasks.__name__
NIGHT = f"""\
description: a night
instrument: T152
tasks:
  bias: {{class: {T}.CombineBiasTask, certify: {{bias: forever}}}}
  flat: {{class: {T}.CombineFlatTask, certify: {{flat: forever}}}}
  isr: {T}.IsrTask
  sources: {T}.SourcesTask
subsets:
  calibs: [bias, flat]
  images: {{subset: [isr, sources], description: the rest}}
"""


def labels(text: str | Path, **options: object) -> list[str]:
    return [task.label for task in Pipeline.from_yaml(text, **options)]  # type: ignore[arg-type]


def told(text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        Pipeline.from_yaml(textwrap.dedent(text))
    return str(caught.value)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    file = tmp_path / "night.yaml"
    file.write_text(NIGHT)
    return file


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ("isr", "isr"),
        ("images", "isr sources"),
        ("isr,calibs", "bias flat isr"),
        ("flat..isr", "flat isr"),
        ("..flat", "bias flat"),
        ("isr..", "isr sources"),
        ("<isr", "bias flat"),
        ("<=isr", "bias flat isr"),
        (">flat", "isr sources"),
        (">=flat & ~sources", "flat isr"),
        ("~calibs", "isr sources"),
        ("~(isr | sources)", "bias flat"),
        ("bias | sources", "bias sources"),
        (">bias & <sources", "flat isr"),
        ("<=calexp", "bias flat isr"),
        (">flat, bias", "bias isr sources"),
        (">calexp", "sources"),
        ("<(isr)", "bias flat"),
        ("..", "bias flat isr sources"),
    ],
)
def test_choices(night: Path, choice: str, chosen: str) -> None:
    if choice == "..":
        choice = "bias..sources"
    assert labels(f"{night}#{choice}") == chosen.split()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("irs..sources", "no task 'irs'. Did you mean 'isr'"),
        ("<imagse", "no task, subset or dataset type 'imagse'. Did you mean 'images'"),
        ("isr..bias", "'isr' runs after 'bias'"),
        ("(isr", "a bracket is not closed"),
        ("isr & ", "a name is missing"),
        ("isr) | bias", "')' was not expected"),
        ("isr + bias", "'+ bias' is not understood"),
        ("isr & bias", "chooses no task"),
    ],
)
def test_mistakes_of_choices(night: Path, choice: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.from_yaml(f"{night}#{choice}")
    assert message in str(caught.value)
    assert str(night) in str(caught.value)
    assert isinstance(caught.value, UnknownLabel) == ("Did you mean" in message)


def test_imports_bring_subsets_steps_and_contracts(night: Path, tmp_path: Path) -> None:
    more = "steps: [calibs, images]\ncontracts: ['isr.binning > 0', 'bias.skip_first == 0']\n"
    night.write_text(NIGHT + more)

    def importing(wish: str) -> Pipeline:
        text = f"imports:\n  - {{location: night.yaml{wish}}}\n"
        (tmp_path / "own.yaml").write_text(text)
        return Pipeline.from_yaml(tmp_path / "own.yaml")

    whole = importing("")
    assert [s.label for s in whole.steps] == ["calibs", "images"]
    assert len(whole.contracts) == 2
    assert whole.instrument == "T152"
    part = importing(", exclude: bias, instrument: null")
    assert part.subsets == {"calibs": ("flat",), "images": ("isr", "sources")}
    assert [c.expression for c in part.contracts] == ["isr.binning > 0"]
    assert part.instrument is None
    dropped = importing(", exclude: [bias], labeledSubsetModifyMode: DROP")
    assert list(dropped.subsets) == ["images"]
    assert [s.label for s in dropped.steps] == ["images"]
    bare = importing(", include: [calibs], importContracts: false, importSteps: false")
    assert (bare.steps, bare.contracts) == ((), ())
    with pytest.raises(PipelineError, match=r"own\.yaml:2: labeledSubsetModifyMode is one of EDIT"):
        importing(", labeledSubsetModifyMode: KEEP")
    with pytest.raises(PipelineError, match=r"no key 'exlude'\. Did you mean 'exclude'"):
        importing(", exlude: bias")


def test_steps_are_in_order_and_share_no_task() -> None:
    steps = "steps:\n  - {label: calibs, dimensions: [detector]}\n  - images\n"
    pipeline = Pipeline.from_yaml(NIGHT + steps)
    assert [(s.label, s.dimensions) for s in pipeline.steps] == [
        ("calibs", ("detector",)),
        ("images", ()),
    ]
    assert [s.label for s in pipeline.part(["isr"]).steps] == ["images"]
    late = told(NIGHT + "steps:\n  - images\n  - calibs\n")
    assert "pipeline:12: 'isr' of the step 'images' reads bias, which 'bias' of the later" in late
    twice = told(NIGHT + "  again: [isr]\nsteps: [images, again]\n")
    assert "'isr' is in the steps 'images' and 'again'" in twice
    assert "no subset 'image'. Did you mean 'images'" in told(NIGHT + "steps: [image]\n")
    assert "no dimension 'detectr'" in told(
        NIGHT + "steps:\n  - {label: calibs, sharding_dimensions: [detectr]}\n"
    )


@pytest.mark.parametrize(
    "contract",
    [
        "isr.binning == 1",
        "isr.do_flat and not isr.binning > 2",
        "bias.clip.sigma in (7.0, 8.0) and bias.weights[0] == 1",
        "len(bias.bands) == 2 and bias.model['clip'].sigma < max(6, 1)",
        "isr.connections.image == sources.connections.image == 'calexp'",
        "isr.ConnectionsClass(config=isr).image.name == 'calexp'",
        "1 < isr.binning + 1 <= 2 if isr.do_bias else False",
        "bias.note is None",
    ],
)
def test_contracts_that_hold(contract: str) -> None:
    listed = json.dumps([{"contract": contract, "msg": "never"}])
    assert len(Pipeline.from_yaml(NIGHT + f"contracts: {listed}\n").contracts) == 1


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ("isr.binning == 2", "pipeline:11: a contract is broken: why not (isr.binning is 1)."),
        ("isr.bining == 2", "'isr' has no 'bining'. Did you mean 'binning'"),
        ("irs.binning == 2", "'irs', which is no task. Did you mean 'isr'"),
        ("isr.binning ==", "is no expression"),
        ("isr.connections.imag == 'x'", "no connection 'imag'. Did you mean 'image'"),
        ("isr.__class__", "has no '__class__'"),
        ("isr.validate()", "is not possible: the functions of contracts are"),
        ("open('f')", "names 'open', which is no task"),
        ("[x for x in bias.bands]", "names 'x', which is no task"),
        ("isr.binning + 'a'", "cannot be computed"),
        ("lambda: 1", "is not possible"),
    ],
)
def test_contracts_that_do_not(contract: str, message: str) -> None:
    listed = json.dumps([{"contract": contract, "msg": "why not."}])
    assert message in told(NIGHT + f"contracts: {listed}\n")


def test_a_contract_waits_for_all_its_tasks(night: Path) -> None:
    night.write_text(NIGHT + "contracts: ['isr.binning == flat.nothing']\n")
    assert labels(f"{night}#isr") == ["isr"]
    with pytest.raises(PipelineError, match="has no 'nothing'"):
        Pipeline.from_yaml(night)


def test_a_file_of_the_field_is_read_as_it_is(tmp_path: Path, monkeypatch: object) -> None:
    (tmp_path / "isr.py").write_text("config.do_flat = False\n")
    base = f"""\
        description: ISR and sources
        instrument: lsst.obs.some.T152
        parameters:
          binning: 2
        tasks:
          isr:
            class: {T}.IsrTask
            config:
              - file: isr.py
              - connections.image: postISRCCD
                binning: parameters.binning
              - dataId: {{instrument: T152}}
                do_bias: false
              - dataId: {{instrument: lsst.obs.some.Other}}
                python: |
                  raise ValueError("for another camera")
          sources:
            class: {T}.SourcesTask
            config:
              connections.image: postISRCCD
        contracts:
          - isr.connections.image == sources.connections.image
          - contract: "isr.binning == 2"
            msg: "binned"
        subsets:
          step1:
            subset:
              - isr
              - sources
            description: |
              Everything.
        steps:
          - label: step1
            sharding_dimensions: [exposure, detector]
    """
    (tmp_path / "base.yaml").write_text(textwrap.dedent(base))
    (tmp_path / "own.yaml").write_text(
        "description: own\nimports:\n  - location: $PWD_OF_TEST/base.yaml\n    include: [step1]\n"
    )
    monkeypatch.setenv("PWD_OF_TEST", str(tmp_path))  # type: ignore[attr-defined]
    pipeline = Pipeline.from_yaml(tmp_path / "own.yaml")
    assert pipeline.instrument == "T152"
    assert pipeline["isr"].connections["image"].dataset_type == "postISRCCD"
    config = pipeline["isr"].config
    assert (config.do_flat, config.do_bias, config.binning) == (False, False, 2)
    maker = pipeline.producer("postISRCCD")
    assert maker is not None
    assert maker.label == "isr"


COADDS = f"""\
parameters:
  kind: goodSeeing
tasks:
  warp:
    class: {T}.TemplatedTask
    config:
      connections.coaddName: parameters.kind
      order: 2
  assemble:
    class: {T}.TemplatedTask
    connections: {{coadd: "{{coaddName}}Coadd_{{suffix}}", coaddName: deep, suffix: calexp}}
    config:
      - dataId: {{instrument: Other}}
        connections.suffix: other
      - connections.warps: goodSeeingCoadd
contracts:
  - contract: warp.connections.coaddName == 'goodSeeing'
    msg: the warps' kind
  - warp.connections.coadd == assemble.connections.warps
"""


def named(pipeline: Pipeline, label: str) -> dict[str, str]:
    return {k: c.dataset_type for k, c in pipeline[label].connections.items()}


def test_templates_in_names_are_filled_in() -> None:
    pipeline = Pipeline.from_yaml(COADDS)
    assert named(pipeline, "warp") == {"warps": "goodSeeingWarp", "coadd": "goodSeeingCoadd"}
    assert named(pipeline, "assemble") == {"warps": "goodSeeingCoadd", "coadd": "deepCoadd_calexp"}
    assert [task.label for task in pipeline] == ["warp", "assemble"]
    assert pipeline["warp"].config.order == 2
    here = Pipeline.from_yaml(
        COADDS, overrides={"assemble": [parse_override("assemble:connections.suffix=2025")[1]]}
    )
    assert named(here, "assemble")["coadd"] == "deepCoadd_2025"
    with pytest.raises(PipelineError, match="the warps' kind .*coaddName is 'deep'"):
        Pipeline.from_yaml(COADDS, parameters={"kind": "deep"})
    assert named(pickle.loads(pickle.dumps(pipeline)), "warp")["coadd"] == "goodSeeingCoadd"


def test_an_importing_file_has_the_last_word_on_names(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(COADDS)
    own = "tasks:\n  assemble:\n    connections: {warps: best, suffix: mine}\n"
    (tmp_path / "own.yaml").write_text(
        "imports: [{location: base.yaml, importContracts: false}]\n" + own
    )
    found = named(Pipeline.from_yaml(tmp_path / "own.yaml"), "assemble")
    assert found == {"warps": "best", "coadd": "deepCoadd_mine"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("connections.coaddName:", "connections.coadName:",
         "pipeline:7 parameters.kind: task 'warp' has no connection 'coadName'. Did you mean 'co"),
        ("_{suffix}", "_{sufix}", "there is no template 'sufix'. Did you mean 'suffix'?"),
        ("parameters.kind", "parameters.kid", "pipeline:7: there is no parameter 'kid'. Did you"),
        ("suffix: calexp", "sufix: calexp", "pipeline:11: task 'assemble' has no connection 'suf"),
    ],
)  # fmt: skip
def test_mistakes_in_templates_are_told(old: str, new: str, message: str) -> None:
    assert message in told(COADDS.replace(old, new))


def test_a_class_whose_templates_do_not_fit_is_refused() -> None:
    with pytest.raises(TaskDefinitionError, match="no template 'coadName'. Did you mean 'coaddNam"):

        class Misspelt(example_tasks.TemplatedTask):
            coadd = Output("{coadName}Coadd", "StructuredDataDict", ("skymap", "tract", "patch"))

    with pytest.raises(TaskDefinitionError, match="'coadd' is a connection and a template"):

        class Twice(example_tasks.TemplatedTask):
            templates: ClassVar[dict[str, str]] = {"coadd": "deep"}


def skyspine(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(root, [str(a) for a in arguments])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_commands_show_check_and_draw(night: Path, tmp_path: Path) -> None:
    night.write_text(NIGHT + "parameters: {n: 1}\nsteps: [calibs, images]\n")
    status, shown = skyspine("pipeline", "show", night)
    assert status == 0
    assert "reads from outside: raw" in shown
    assert "steps: calibs -> images" in shown
    (tmp_path / "isr.yaml").write_text("\nbinning: 4\n")
    given = ("-C", f"isr:{tmp_path}/isr.yaml", "-c", "isr:do_flat=no", "--parameter", "n=2")
    rows = json.loads(
        skyspine(
            *("pipeline", "show", night, "--of", "isr", "--changed", "--format", "json"), *given
        )[1]
    )
    assert [(r["path"], r["value"], r["origin_kind"], r["origin"]) for r in rows] == [
        ("binning", "4", "file", f"{tmp_path}/isr.yaml:2"),
        ("do_flat", "False", "command-line", "-c isr:do_flat=no"),
    ]
    assert skyspine("pipeline", "check", night)[1].startswith("4 tasks in 3 stages fit together")
    assert skyspine("pipeline", "graph", f"{night}#isr..")[1] == (
        "raw, bias*, [flat*] -> isr -> calexp\ncalexp -> sources -> src\n"
    )
    assert skyspine("pipeline", "graph", night, "--format", "mermaid")[1].count("-->") == 11
    picture = tmp_path / "night.svg"
    assert skyspine("pipeline", "graph", night, "--format", "svg", "--output", picture)[0] == 0
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 (ours)
    for wrong, message in (
        (("--parameter", "m=2"), "no parameter 'm'"),
        (("--parameter", "m"), "NAME=VALUE"),
        (("-C", "isr.yaml"), "LABEL:FILE"),
        (("-c", "irs:binning=2"), "Did you mean 'isr'"),
    ):
        status, message_told = skyspine("pipeline", "check", night, *wrong)
        assert status != 0
        assert message in message_told


def test_pipelines_that_ship_fit_together() -> None:
    for name in pipeline_names():
        pipeline = Pipeline.from_yaml(name)
        steps = [label for s in pipeline.steps for label in pipeline.subsets[s.label]]
        assert not steps or set(steps) == {task.label for task in pipeline}
