"""Is what is measured compared with what is good enough, once, and does somebody hear of it?

Six frames have the values 101, 201, ... 601 (`faults.fill`).
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner

from backbone.liveness import is_gone
from butler import Butler
from registry import provenance
from registry.errors import Conflict, InvalidState
from registry.quality import BadThreshold, Bounds, Scope, watches
from registry.quality.thresholds import read_rules
from registry.schema import quality as schema
from tests import pages
from tests.workflow import faults, metric_tasks
from workflow import environment
from workflow.cli import root as command
from workflow.pipeline import Pipeline
from workflow.quality import Look, look, watch
from workflow.runner import run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.nursery import Nursery

PIPELINE = Pipeline.from_yaml(metric_tasks.PIPELINE)
LIMITS = Bounds(warn_above=350.0, fail_above=450.0)


@pytest.fixture
def butler(tmp_path: Path, database_url: str) -> Iterator[Butler]:
    """Repository with six small frames of two nights."""
    with Butler.create(tmp_path / "repo", database_url) as made:
        faults.fill(made)
        yield made


def looked(butler: Butler, where: str = "") -> Look:
    return look(butler.root, PIPELINE, inputs=[faults.INPUT], output="qc", where=where)


def found_by(judgement: Any) -> tuple[int, int, int]:
    return judgement.n_checked, judgement.n_failures, judgement.n_warnings


def incidents(butler: Butler, *, closed: bool = False) -> list[tuple[str, str, str, int]]:
    listed = butler.registry.quality.incidents(closed=closed)
    return [(i.subject, i.severity, i.state, i.n_seen) for i in listed]


def test_what_appears_is_measured_once_and_what_is_bad_is_an_incident(butler: Butler) -> None:
    quality = butler.registry.quality
    assert quality.set("measure", "value", LIMITS, reason="the fit is not linear above")
    first = looked(butler, "exposure < 5")
    assert (first.n_new, found_by(first.judgement), first.is_well) == (4, (4, 0, 1), True)
    assert incidents(butler) == [("measure/value/DemoCam/1", "warning", "open", 1)]

    second = looked(butler)
    assert (second.n_new, found_by(second.judgement), second.is_well) == (2, (2, 2, 0), False)
    assert incidents(butler) == [("measure/value/DemoCam/1", "failure", "open", 3)]
    assert second.judgement.incidents == tuple(i.id for i in quality.incidents())

    third = looked(butler)
    assert (third.n_new, found_by(third.judgement), third.is_well) == (0, (0, 0, 0), True)
    [shown] = butler.registry.report("open_incident").to_dict("records")
    assert [shown[k] for k in ("n_seen", "n_values", "min_value", "max_value")] == [3, 3, 401, 601]

    history = butler.registry.report("metric_history").query("metric == 'value'")
    by_exposure = history.sort_values("exposure")
    assert list(by_exposure["value"]) == [101, 201, 301, 401, 501, 601]
    assert list(by_exposure["verdict"]) == [*["passed"] * 3, "warning", "failure", "failure"]
    assert set(history["day_obs"]) == {20250310, 20250311}
    assert set(history["fail_above"]) == {450.0}


def test_nothing_is_there_yet(butler: Butler) -> None:
    found = looked(butler, "exposure > 100")
    assert (found.report, found.n_new, found_by(found.judgement)) == (None, 0, (0, 0, 0))
    assert looked(butler).n_new == 6


def test_the_threshold_with_most_keys_holds(butler: Butler) -> None:
    quality = butler.registry.quality
    looked(butler)
    quality.set("measure", "value", LIMITS)
    quality.set("measure", "value", Bounds(fail_above=0), scope=Scope(detector=2))
    quality.set("measure", "other", Bounds(fail_above=0))
    assert found_by(quality.check("qc")) == (6, 2, 1)
    wider = Scope(instrument="DemoCam", detector=1)
    quality.set("measure", "value", Bounds(fail_above=550), scope=wider)
    assert found_by(quality.check("qc")) == (6, 1, 0)
    assert found_by(quality.check("qc")) == (0, 0, 0)


def test_another_threshold_compares_anew_and_the_old_one_is_kept(butler: Butler) -> None:
    quality = butler.registry.quality
    looked(butler)
    quality.set("measure", "value", LIMITS)
    quality.check("qc")
    assert not quality.set("measure", "value", LIMITS)
    assert quality.set("measure", "value", Bounds(fail_below=150), reason="clouds")
    assert found_by(quality.check("qc")) == (6, 1, 0)
    assert incidents(butler) == [("measure/value/DemoCam/1", "failure", "open", 4)]
    old, new = quality.thresholds(history=True)
    assert (old.bounds, old.ended_by == new.set_by, new.ended_at) == (LIMITS, True, None)
    assert [t.reason for t in quality.thresholds()] == ["clouds"]
    quality.unset("measure", "value")
    assert quality.thresholds() == []
    with pytest.raises(BadThreshold, match="no threshold in force for 'measure value'"):
        quality.unset("measure", "value")


def test_an_incident_is_taken_up_and_closed(butler: Butler) -> None:
    quality = butler.registry.quality
    quality.set("measure", "value", LIMITS)
    looked(butler, "exposure < 5")
    [one] = quality.incidents()
    assert quality.acknowledge([one.id], "looking at the lamp") == 1
    assert quality.acknowledge([one.id]) == 0
    assert incidents(butler) == [(one.subject, "warning", "acknowledged", 1)]
    looked(butler, "exposure < 6")
    assert incidents(butler) == [(one.subject, "failure", "open", 2)], "it has become worse"
    quality.acknowledge([one.id])
    looked(butler)
    assert incidents(butler) == [(one.subject, "failure", "acknowledged", 3)], "more of the same"
    assert quality.close([one.id], "lamp replaced") == 1
    assert quality.close([one.id]) == 0
    with pytest.raises(InvalidState, match="is closed"):
        quality.acknowledge([one.id])
    assert (incidents(butler), len(incidents(butler, closed=True))) == ([], 1)
    quality.set("measure", "value", Bounds(fail_above=550))
    quality.check("qc")
    assert incidents(butler) == [(one.subject, "failure", "open", 1)]
    [_, again] = sorted(quality.incidents(closed=True), key=lambda i: i.opened_at)
    assert again.id != one.id


def test_those_who_check_at_once_find_it_once(butler: Butler) -> None:
    quality = butler.registry.quality
    looked(butler)
    quality.set("measure", "value", LIMITS)
    with ThreadPoolExecutor(4) as pool:
        every = list(pool.map(quality.check, ["qc"] * 4))
    assert sorted(map(found_by, every)) == [(0, 0, 0)] * 3 + [(6, 2, 1)]
    assert incidents(butler) == [("measure/value/DemoCam/1", "failure", "open", 3)]


def test_the_database_holds_one_threshold_and_one_incident_of_a_subject(butler: Butler) -> None:
    quality = butler.registry.quality
    looked(butler)
    quality.set("measure", "value", LIMITS)
    quality.check("qc")
    for table, changed in (
        (schema.quality_threshold, {"id": 1000}),
        (schema.incident, {"id": butler.registry.id}),
    ):
        columns = [c for c in table.c if c.name not in changed]
        values = [sa.literal(v, table.c[k].type) for k, v in changed.items()]
        copied = sa.insert(table).from_select(
            [*(c.name for c in columns), *changed], sa.select(*columns, *values)
        )
        with pytest.raises(Conflict), butler.registry.database.begin() as connection:
            connection.execute(copied)


def test_a_run_is_removed_with_its_checks(butler: Butler) -> None:
    quality = butler.registry.quality
    quality.set("measure", "value", LIMITS)
    found = looked(butler)
    assert found.report is not None
    butler.remove_runs(found.report.run)
    with butler.registry.read() as connection:
        n = connection.execute(sa.select(sa.func.count()).select_from(schema.quality_check))
        assert n.scalar_one() == 0
    assert incidents(butler) == [("measure/value/DemoCam/1", "failure", "open", 3)]


def test_one_process_watches_an_output(butler: Butler) -> None:
    transact = butler.registry.database.transact
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    transact(watches.begin, "qc", os.getppid(), 5.0, is_gone)
    with pytest.raises(InvalidState, match=f"watched already, .* on {platform.node()}"):
        looked(butler)
    transact(watches.end, "qc", os.getppid())
    transact(watches.begin, "qc", dead.pid, 5.0, is_gone)
    assert looked(butler).n_new == 6, "who has died watches no longer"


def test_what_a_dead_process_left_is_run_and_what_another_machine_runs_is_not(
    butler: Butler,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    run_pipeline(butler.root, PIPELINE, inputs=[faults.INPUT], output="qc", plan_only=True)
    [run] = [c.children[0] for c in butler.registry.collections("qc")]
    with butler.registry.begin() as connection:
        planned = [q["id"] for q in provenance.quanta_of_run(connection, run)]
        software = provenance.record_environment(connection, *environment.current())
        for quantum, host in zip(planned, (platform.node(), "elsewhere"), strict=False):
            provenance.start(connection, quantum, software, host, dead.pid)
    assert looked(butler).n_new == 5
    with butler.registry.read() as connection:
        [left] = provenance.quanta_of_run(connection, run, states=("running",))
    assert (left["id"], left["host"]) == (planned[1], "elsewhere")


def test_looking_again_and_again(butler: Butler) -> None:
    butler.registry.quality.set("measure", "value", LIMITS)
    told: list[Look] = []

    def more(found: Look) -> None:
        told.append(found)
        if len(told) == 1:
            keys = {**faults.KEYS, "detector": 2, "exposure": 1}
            butler.put({"exposure": 1, "value": 800.0}, "frame", keys, run=faults.INPUT)

    watch(
        butler.root,
        PIPELINE,
        output="qc",
        every=0.01,
        told=more,
        looks=3,
        inputs=[faults.INPUT],
    )
    assert [(t.n_new, t.judgement.n_failures) for t in told] == [(6, 2), (1, 1)]
    assert sorted(incidents(butler)) == [
        ("measure/value/DemoCam/1", "failure", "open", 3),
        ("measure/value/DemoCam/2", "failure", "open", 1),
    ]


def test_a_watch_ends_when_it_is_told_to(butler: Butler, tmp_path: Path) -> None:
    (tmp_path / "measure.yaml").write_text(metric_tasks.PIPELINE)
    words = (
        "qc",
        "watch",
        str(butler.root),
        "-p",
        str(tmp_path / "measure.yaml"),
        "-i",
        faults.INPUT,
    )
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from workflow.cli import main; main()",
            *words,
            "-o",
            "qc",
            "--every",
            "600",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("0 values compared"):
                break
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert looked(butler).n_new == 0, "it gave the watch back"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a mapping with one entry, 'thresholds'"),
        ("thresholds: {}", "has to be a list"),
        ("thresholds: [{task: a}]", "Threshold 1: 'metric' is missing"),
        ("thresholds: [{task: a, metric: m}]", "needs a bound"),
        ("thresholds: [{task: a, metric: m, warm: [1, 2]}]", "no 'warm'. Did you mean 'warn'"),
        ("thresholds: [{task: a, metric: m, warn: 3}]", r"has to be \[lowest, highest\]"),
        ("thresholds: [{task: a, metric: m, warn: [3, 2]}]", "nothing would pass"),
        ("thresholds: [{task: a, metric: m, warn: [.nan, 2]}]", "leave a bound out"),
        ("thresholds: [{task: a, metric: m, fail: [x, 2]}]", "a bound is a number"),
        (
            "thresholds: [{task: a, metric: m, fail: [1, 2], for: {ccd: 3}}]",
            "not for a 'ccd'",
        ),
    ],
)
def test_mistakes_in_a_file(text: str, said: str) -> None:
    with pytest.raises(BadThreshold, match=said):
        read_rules(yaml.safe_load(text))


def test_mistakes_that_the_repository_knows(butler: Butler) -> None:
    rule = {"task": "a", "metric": "m", "fail": [1, 2]}
    load = butler.registry.quality.load
    with pytest.raises(BadThreshold, match="no camera 'DemoCm' here. Did you mean 'DemoCam'"):
        load({"thresholds": [{**rule, "for": {"instrument": "DemoCm"}}]})
    with pytest.raises(BadThreshold, match="'a m' has two thresholds"):
        load({"thresholds": [rule, rule]})


def test_a_file_is_read_and_written(butler: Butler, tmp_path: Path) -> None:
    text = (
        "thresholds:\n- task: measure\n  metric: value\n  for:\n    detector: 1\n"
        "  warn:\n  - null\n  - 350.0\n  fail:\n  - 50.0\n  - 450.0\n  reason: the fit\n"
    )
    file = tmp_path / "thresholds.yaml"
    file.write_text(text)
    run = CliRunner().invoke
    repo = str(butler.root)
    assert (
        "1 thresholds would be set"
        in run(command, ["qc", "load", repo, str(file), "--dry-run"]).output
    )
    assert run(command, ["qc", "thresholds", repo, "--yaml"]).output == "thresholds: []\n"
    assert "1 thresholds set, 0 ended." in run(command, ["qc", "load", repo, str(file)]).output
    assert run(command, ["qc", "thresholds", repo, "--yaml"]).output == text
    file.write_text("thresholds: []\n")
    assert "0 thresholds set, 1 ended." in run(command, ["qc", "load", repo, str(file)]).output


def test_the_bright_sky_of_a_real_night_is_found(
    tmp_path: Path, database_url: str, test_data: Path
) -> None:
    """Of five exposures of IC 310 the first was taken in twilight; its sky is 30 adu brighter."""
    with Butler.create(tmp_path / "repo", database_url) as butler:
        butler.register_instrument("tircam2")
        butler.ingest_raws([test_data / "dot-tircam2-ic310-2022"], run="raw")
        pipeline = Pipeline.from_yaml(shipped_pipeline("frame-quality"))
        science = "exposure.observation_type = 'science'"
        first = look(butler.root, pipeline, inputs=["raw"], output="qc", where=science)
        assert first.n_new == 5
        levels = butler.registry.report("metric_history").query("metric == 'level'")
        usual = float(np.median(levels["value"]))
        butler.registry.quality.set("frameQuality", "level", Bounds(fail_above=usual + 20))
        assert found_by(butler.registry.quality.check("qc")) == (5, 1, 0)
        judged = butler.registry.report("metric_history").query("verdict == 'failure'")
        assert list(judged["exposure"]) == [min(levels["exposure"])]


def test_all_of_the_page_is_as_it_says(tmp_path: Path, nursery: Nursery) -> None:
    assert pages.followed(pages.HOW_TO / "watch-the-quality.md", tmp_path, nursery) == 12
    assert (tmp_path / "history.png").stat().st_size > 10_000
