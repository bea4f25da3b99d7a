"""Does a pipeline run over repositories on several databases, with its history through all?"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

from butler import Butler
from registry import Timespan
from workflow.cli import root as command
from workflow.pipeline import Pipeline
from workflow.runner import NothingToRun, run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry import DatasetRef
    from tests.databases import Databases

NIGHT = "day_obs = 20220922"
STAR = f"{NIGHT} AND exposure.target_name = 'ksi_Cas'"


class Chain(NamedTuple):
    """Raws in one repository, calibrations in the next, and the one that is written to."""

    raws: Path
    calibs: Path
    me: Path


@pytest.fixture(scope="module")
def chain(
    engines: list[Databases], tmp_path_factory: pytest.TempPathFactory, test_data: Path
) -> Iterator[Chain]:
    """A night of OHP; its calibrations were made over the raws, which are on another engine."""
    folder = tmp_path_factory.mktemp("chain")
    made = Chain(folder / "raws", folder / "calibs", folder / "me")
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(maker.migrated()) for maker in engines]
        with Butler.create(made.raws, urls[1]) as butler:
            butler.register_instrument("ohp-t152")
            butler.ingest_raws([test_data / "ohp-t152-longslit-2022"], run="OHP/raw")
        Butler.create(made.calibs, urls[2]).close()
        Butler(made.calibs, inputs=made.raws, writeable=True).close()
        ran = run_pipeline(
            made.calibs, part("combineBias,combineFlat"), inputs=["OHP/raw"], output="calibs",
            where=NIGHT,
        )  # fmt: skip
        assert ran.succeeded
        assert dict(ran.states) == {("combineBias", "done"): 1, ("combineFlat", "done"): 1}
        Butler.create(made.me, urls[0]).close()
        Butler(made.me, inputs=[made.calibs], writeable=True).close()
        yield made


def part(labels: str) -> Pipeline:
    return Pipeline.from_yaml(f"{shipped_pipeline('ohp-t152')}#{labels}")


def told(*arguments: object) -> str:
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def stored(butler: Butler, *kinds: str) -> dict[str, list[DatasetRef]]:
    return {kind: butler.registry.query_datasets(kind, "*") for kind in kinds}


def test_the_real_frame_pipeline_over_three_repositories_on_three_engines(chain: Chain) -> None:
    pipeline, asked = part("isr,stack"), ["calibs", "OHP/raw"]
    foreseen = run_pipeline(
        chain.me, pipeline, inputs=asked, output="u/me", where=NIGHT, dry_run=True
    )
    with Butler(chain.me) as butler:
        assert butler.collections.query() == []
        assert butler.registry.query_dimension_records("exposure") == []
    report = run_pipeline(chain.me, pipeline, inputs=asked, output="u/me", where=NIGHT, jobs=2)
    assert report.succeeded, report.failures
    assert {label for label, _ in report.states} == {"isr", "stack"}
    assert sum(report.states.values()) == sum(foreseen.states.values())
    with Butler(chain.me, collections="u/me") as butler, Butler(chain.raws) as raws:
        [stack, *_] = butler.query_datasets("stack")
        assert np.isfinite(butler.get(stack).data).mean() > 0.9
        edges = butler.provenance.ancestors(stack.id)
        calexp = next(e.input for e in edges if e.task_label == "stack")
        assert butler.get("flat", calexp.data_id).data.shape == butler.get(calexp).data.shape
        its_raw = butler.find_dataset("raw", calexp.data_id)
        assert its_raw is not None
        assert its_raw in raws.registry.query_datasets("raw", "OHP/raw")
        assert len(list(chain.me.rglob("raw_*"))) == 0

        steps = {
            (e.task_label, e.output.dataset_type.name, e.input.dataset_type.name): e.repository_id
            for e in edges
        }
        me, calibs = butler.registry.id, butler.inputs[0].id
        assert steps == {
            ("stack", "stack", "calexp"): me,
            ("isr", "calexp", "raw"): me,
            ("isr", "calexp", "bias"): me,
            ("isr", "calexp", "flat"): me,
            ("combineBias", "bias", "raw"): calibs,
            ("combineFlat", "flat", "raw"): calibs,
            ("combineFlat", "flat", "bias"): calibs,
        }
        assert {e.repository_id for e in butler.registry.provenance.ancestors(stack.id)} == {None}
        tainted = butler.provenance.taint(its_raw.id)
        assert stack in {d.ref for d in tainted.datasets}
        assert all(d.stored for d in tainted.datasets)
        what_the_commands_tell(chain, stack)


def what_the_commands_tell(chain: Chain, stack: DatasetRef) -> None:
    tree = told("provenance", chain.me, stack.id)
    assert f" of {chain.calibs}\n" in tree
    assert f"  of {chain.raws}\n" in tree
    edges = json.loads(told("provenance", chain.me, stack.id, "--format", "json"))
    assert {e.get("repository") for e in edges} == {None, str(chain.calibs)}
    made = told("how-made", chain.me, stack.id, "--whole")
    assert "combineFlat (workflow.ccd.combine.CombineFlatTask) in calibs/" in made
    bias = next(e["input"] for e in edges if e["input_type"] == "bias")
    assert "stack" in told("taint", chain.me, bias)
    assert told("query-datasets", chain.me, "raw", "-i", "OHP/raw", "--count").split()[-1] == "85"
    listed = told("query-collections", chain.me, "--format", "csv")
    assert "OHP/raw/rejected,RUN" in listed
    assert "superBias" not in told("query-dataset-types", chain.me)
    shown = json.loads(told("repository", "inputs", chain.me, "--format", "json"))
    assert [(r["folder"], r["state"]) for r in shown] == [(str(chain.calibs), "there")]


def test_a_second_run_takes_what_the_inputs_have_by_then(chain: Chain) -> None:
    pipeline, asked = part("isr"), ["calibs", "OHP/raw"]
    first = run_pipeline(chain.me, pipeline, inputs=asked, output="u/two", where=STAR)
    assert first.succeeded
    with Butler(chain.calibs, writeable=True) as calibs:
        [flat] = calibs.query_datasets("flat", collections="calibs/calib")
        [night] = calibs.query_dimension_records("day_obs", data_id={"day_obs": 20220922})
        span = Timespan(night["begin_tai_ns"], night["end_tai_ns"])
        calibs.decertify("calibs/calib", "flat", span)
    second = run_pipeline(chain.me, pipeline, inputs=asked, output="u/two", where=STAR)
    assert len(second.blocked) == sum(second.states.values()) > 0
    assert all("flat" in reason for _, reason in second.blocked)
    with Butler(chain.calibs, writeable=True) as calibs:
        calibs.certify("calibs/calib", [flat], span)
    again = run_pipeline(chain.me, pipeline, inputs=asked, output="u/two", where=STAR, resume=True)
    assert again.succeeded
    assert again.states == first.states


def test_nothing_in_any_of_them(chain: Chain) -> None:
    with pytest.raises(NothingToRun, match="in calibs, OHP/raw fulfils"):
        run_pipeline(
            chain.me,
            part("isr"),
            inputs=["calibs", "OHP/raw"],
            output="u/none",
            where="day_obs = 20300101",
        )
