"""Which runs used a value, and in what do two runs differ?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry import provenance
from registry.errors import UnknownCollection
from registry.provenance.config_questions import ConfigDifference, config_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry import Registry

Values = dict[str, tuple[str | None, str]]


def record(
    registry: Registry, run: str, label: str, values: Values, steps: Mapping[str, list[str]] = {}
) -> None:
    """Record a task; each value has the origins given, ``default x.py:1`` when none is."""
    registry.register_collection(run)
    listed = [(p, v, k) for p, (v, k) in sorted(values.items())]
    history = [
        provenance.HistoryEntry(
            p, v, origin.partition(" ")[0], origin.partition(" ")[2], "operator"
        )
        for p, (v, _) in values.items()
        for origin in steps.get(p, ["default x.py:1"])
    ]
    with registry.begin() as connection:
        key = provenance.record_config(connection, f"a.{label.title()}Config", "", listed)
        provenance.record_task(connection, run, label, f"a.{label.title()}", key, history)


@pytest.fixture
def runs(registry: Registry) -> Registry:
    """Three runs of two tasks."""
    first: Values = {
        "background.binSize": ("256", "int"),
        "level": ("nan", "float"),
        "note": (None, "str"),
        "odd": ("1", "int"),
        "title": ("None", "str"),
    }
    set_there = {"background.binSize": ["default x.py:1", "command-line -c isr:binSize=128"]}
    second = first | {"background.binSize": ("128", "int"), "note": ("", "str")}
    second = {k: v for k, v in second.items() if k != "odd"}
    record(registry, "out/1", "isr", first)
    record(registry, "out/1", "detect", {"threshold": ("5.0", "float")})
    record(registry, "out/2", "isr", second, set_there)
    record(registry, "out/3", "detect", {"threshold": ("5", "int"), "binSize": ("256.0", "float")})
    registry.chain("out", ["out/2", "out/1"])
    return registry


def test_differences_with_who_set_them(runs: Registry) -> None:
    found = runs.provenance.config_differences("out/1", "out/2")
    origin = "default x.py:1"
    assert found == [
        ConfigDifference("detect", "(class)", "a.Detect", None, True, False, None, None),
        ConfigDifference(
            "isr", "background.binSize", "256", "128", True, True, origin,
            "command-line -c isr:binSize=128",
        ),
        ConfigDifference("isr", "note", None, "", True, True, origin, origin),
        ConfigDifference("isr", "odd", "1", None, True, False, origin, None),
    ]  # fmt: skip
    assert runs.provenance.config_differences("out/1", "out/1") == []


def test_types_differ_and_a_chain_stands_for_its_first_run_of_each_task(runs: Registry) -> None:
    found = runs.provenance.config_differences("out", "out/3")
    assert [(d.task_label, d.path, d.first, d.second) for d in found] == [
        ("detect", "binSize", None, "256.0"),
        ("detect", "threshold", "5.0", "5"),
        ("isr", "(class)", "a.Isr", None),
    ]
    assert runs.provenance.config_differences("out/2", "out") == [
        ConfigDifference("detect", "(class)", None, "a.Detect", False, True, None, None)
    ]
    with pytest.raises(UnknownCollection):
        runs.provenance.config_differences("out/1", "out/9")


def test_runs_that_used_a_value(runs: Registry) -> None:
    def used(field: str, value: str | None = None, **where: str) -> list[tuple[str, str, str]]:
        uses = runs.provenance.find_config_values(field, value, **where)
        return [(u.run, u.task_label, u.path) for u in uses]

    long = "background.binSize"
    assert used("binSize", "256") == [("out/1", "isr", long), ("out/3", "detect", "binSize")]
    assert used("binSize", "256.0") == used("binSize", "256")
    assert used(long, "256") == [("out/1", "isr", long)]
    assert used("Size", "256") == used("b_nSize") == used("%") == []
    assert used("binSize", label="isr") == [("out/1", "isr", long), ("out/2", "isr", long)]
    assert used("threshold", "5", run="out") == [("out/1", "detect", "threshold")]
    assert used("level", "nan") == [("out/1", "isr", "level"), ("out/2", "isr", "level")]
    assert used("note", "None") == [("out/1", "isr", "note")]
    assert used("note", "") == used("note", "''") == [("out/2", "isr", "note")]
    assert len(used("title", "None")) == 2
    [use] = runs.provenance.find_config_values("binSize", "128")
    assert (use.value, use.origin_kind, use.origin, use.set_by) == (
        "128",
        "command-line",
        "-c isr:binSize=128",
        "operator",
    )


def test_one_configuration_as_it_was(runs: Registry) -> None:
    with runs.read() as connection:
        found = config_of(connection, "out", "isr")
        assert found is not None
        assert found.class_name == "a.IsrConfig"
        assert found.values["background.binSize"] == ("128", "int")
        assert found.values["note"] == ("", "str")
        assert config_of(connection, "out", "coadd") is None
