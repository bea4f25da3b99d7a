"""What do the commands about histories print, and what do they say of bad input?"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from butler import Butler
from registry import Timespan
from registry.identity import uuid7
from registry.timespan import BEGINNING, END
from tests.registry.provenance_graphs import Task, make, nodes
from workflow.cli import root

if TYPE_CHECKING:
    from pathlib import Path

    from registry import DatasetRef


class Repository(NamedTuple):
    """A repository in which raw frames became a bias in two runs, and calexps of both."""

    path: str
    raw: list[DatasetRef]
    first: list[DatasetRef]
    second: list[DatasetRef]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    path = tmp_path_factory.mktemp("history") / "repo"
    with Butler.create(path) as butler:
        registry = butler.registry
        raw = nodes(registry, 2, "raw")
        made = []
        for run, clip, version in (("out/1", "3.0", "2.0"), ("out/2", "5.0", "2.1")):
            bias, calexp = nodes(registry, 2, run)
            task = Task(run, "combine", {"clip": clip}, {"numpy": version})
            make(registry, task, [(raw, [bias], "done")])
            make(registry, task._replace(label="isr"), [([raw[0], bias], [calexp], "done")])
            made.append([bias, calexp])
        make(registry, Task("out/2", "later"), [([made[1][1]], [], "ready")])
        registry.chain("out", ["out/2", "out/1"])
        registry.register_collection("calib", "CALIBRATION")
        registry.certify("calib", [made[0][0]], Timespan(BEGINNING, END))
    return Repository(str(path), raw, *made)


def told(*arguments: object) -> str:
    done = CliRunner().invoke(root, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: object) -> str:
    done = CliRunner().invoke(root, [str(a) for a in arguments])
    assert done.exit_code != 0
    return f"{done.output} {done.exception}"


def test_history_as_tree_and_as_steps(repository: Repository) -> None:
    path, raw, (bias, calexp), _ = repository
    up = told("provenance", path, calexp.id).splitlines()
    shown = [(len(line) - len(line.lstrip()), line.split("} ")[1].split()[0]) for line in up]
    assert shown == [
        (0, str(calexp.id)),
        (2, str(raw[0].id)),
        (2, str(bias.id)),
        (4, str(raw[0].id)),
        (4, str(raw[1].id)),
    ]
    assert up[2].endswith("<- combine in out/1")
    one = told("provenance", path, "node", "-i", "out/1", "--where", "healpix = 1", "--depth", 1)
    assert len(one.splitlines()) == 3
    down = json.loads(told("provenance", path, raw[1].id, "--down", "--format", "json"))
    assert [(e["input"], e["output"]) for e in down][:2] == sorted(
        (str(raw[1].id), str(refs[0].id)) for refs in (repository.first, repository.second)
    )
    assert {(e["input"], e["output"]) for e in down[2:]} == {
        (str(refs[0].id), str(refs[1].id)) for refs in (repository.first, repository.second)
    }


def test_run_in_numbers(repository: Repository) -> None:
    assert told("provenance", repository.path, "--run", "out") == (
        "out/1\n"
        "  combine: 1 done; 2 node -> 1 node\n"
        "  isr: 1 done; 2 node -> 1 node\n"
        "out/2\n"
        "  combine: 1 done; 2 node -> 1 node\n"
        "  isr: 1 done; 2 node -> 1 node\n"
        "  later: 1 ready; 1 node -> nothing\n"
    )
    steps = json.loads(told("provenance", repository.path, "--run", "out/1", "--format", "json"))
    assert len(steps) == 4
    assert told("provenance", repository.path, "--run", "raw") == "no quantum\n"


def test_formats_are_printed_and_written(repository: Repository, tmp_path: Path) -> None:
    path, _, (_, calexp), _ = repository
    ask = ("provenance", path, calexp.id, "--format")
    assert len(json.loads(told(*ask, "prov"))["activity"]) == 2
    assert len(told(*ask, "openlineage").splitlines()) == 4
    assert told(*ask, "mermaid").startswith("flowchart LR\n")
    assert told(*ask, "dot", "--merge").count("->") == 2
    picture = tmp_path / "history.svg"
    assert told(*ask, "svg", "--output", picture) == ""
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 (ours)
    assert "<VOTABLE" in told(*ask, "ivoa")
    listed = told(*ask, "ivoa", "--output", tmp_path / "tables").split()
    assert str(tmp_path / "tables" / "Used.csv") in listed
    with (tmp_path / "tables" / "Used.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 4


def test_taint_differences_and_software(repository: Repository) -> None:
    path, raw, (bias1, calexp1), (bias2, calexp2) = repository
    rows = json.loads(told("taint", path, raw[1].id, "--format", "json"))
    assert {(r["steps"], r["id"]) for r in rows[:-1]} == {
        (0, str(raw[1].id)),
        *((1, str(r.id)) for r in (bias1, bias2)),
        *((2, str(r.id)) for r in (calexp1, calexp2)),
    }
    assert {r["id"] for r in rows if r["certified"]} == {str(bias1.id)}
    assert (rows[-1]["what"], rows[-1]["state"], rows[-1]["task"]) == ("quantum", "ready", "later")
    assert told("taint", path, raw[1].id).endswith(
        "Withdrawn: 1; made from it: 4 (2 in out/1; 2 in out/2); certified or tagged: 1; "
        "quanta that wait: 1.\n"
    )
    differ = json.loads(told("compare-histories", path, calexp1.id, calexp2.id, "--format", "json"))
    assert [tuple(d.values()) for d in differ] == [
        (
            "input",
            "node",
            repr(bias1.data_id),
            f"out/1 {bias1.id}",
            f"out/2 {bias2.id}",
        ),
        ("configuration", "combine, isr", "clip", "3.0", "5.0"),
        ("package", "combine, isr", "numpy", "2.0", "2.1"),
    ]
    made = json.loads(told("made-with", path, "numpy<2.1", "--format", "json"))
    assert [(m["version"], m["task_label"], m["n_datasets"]) for m in made] == [
        ("2.0", "combine", 1),
        ("2.0", "isr", 1),
    ]
    listed = json.loads(told("made-with", path, "numpy<2.1", "--datasets", "--format", "json"))
    assert {m["id"] for m in listed} == {str(bias1.id), str(calexp1.id)}


def test_bad_input_is_answered(repository: Repository) -> None:
    path, raw, *_ = repository
    unknown = uuid7()
    assert "either a DATASET or a --run" in refused("provenance", path)
    assert "either a DATASET or a --run" in refused("provenance", path, raw[0].id, "--run", "raw")
    assert f"no dataset {unknown}" in refused("provenance", path, unknown)
    assert f"no dataset {unknown}" in refused("compare-histories", path, raw[0].id, unknown)
    assert "'calexp' is not a valid UUID" in refused("compare-histories", path, "calexp", unknown)
    assert "'node'" in refused("taint", path, "nodes")
    assert "Did you mean 'numpy'" in refused("made-with", path, "nunpy")
    assert "is not in the range x>=1" in refused("provenance", path, raw[0].id, "--depth", 0)
    assert "'out'" in refused("provenance", path, "--run", "oit")


def test_configurations_of_two_runs(repository: Repository) -> None:
    path = repository.path
    rows = json.loads(told("config-diff", path, "out/1", "out/2", "--format", "json"))
    assert [(r["task_label"], r["path"], r["first"], r["second"]) for r in rows] == [
        ("combine", "clip", "3.0", "5.0"),
        ("isr", "clip", "3.0", "5.0"),
        ("later", "(class)", None, "a.Task"),
    ]
    table = told("config-diff", path, "out/1", "out/2", "--task", "later")
    assert "(absent)" in table
    assert "clip" not in table
    assert told("config-diff", path, "out/1", "out/1") == "The configurations are equal.\n"
    assert "out/9" in refused("config-diff", path, "out/1", "out/9")
    assert "Did you mean 'isr'" in refused("config-diff", path, "out/1", "out/2", "--task", "irs")


def test_runs_that_used_a_value(repository: Repository) -> None:
    path = repository.path
    rows = json.loads(told("config-find", path, "clip=3", "--format", "json"))
    assert [(r["run"], r["task_label"]) for r in rows] == [("out/1", "combine"), ("out/1", "isr")]
    assert "out/2" not in told("config-find", path, "isr:clip", "--run", "out/1")
    assert "no rows" in told("config-find", path, "clip=7")
    assert "Did you mean 'clip'" in refused("config-find", path, "clipp=3")
    assert "as in binSize=256" in refused("config-find", path, "=3")
