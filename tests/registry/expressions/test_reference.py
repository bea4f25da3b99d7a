"""Does every example of docs/reference/expressions.md do what the page says, on a real registry?"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from registry import Timespan, expressions
from registry.expressions import ExpressionError, compile_where, parse
from registry.expressions.limits import (
    MAX_DEPTH,
    MAX_NAME,
    MAX_PARENTHESES,
    MAX_PATTERN,
    MAX_TEXT,
    MAX_VALUES,
)
from registry.expressions.nodes import Comparison, Literal, Moment
from registry.timespan import FORMATS, SCALES, iso, parse_time
from tests.registry.expressions.exposures import WithRegions
from tests.registry.observatory import RAW, raw_id

if TYPE_CHECKING:
    from registry import Registry

PAGE = (Path(__file__).parents[3] / "docs/reference/expressions.md").read_text(encoding="utf-8")
BIND = {
    "ids": [1, 2],
    "name": "M31",
    "night": Timespan.parse("2022-09-20T12:00", "2022-09-21T12:00"),
}


def table(name: str) -> list[list[str]]:
    """Read the rows of a table between its two marks."""
    part = PAGE.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
    rows = [line.strip("| ").split(" | ") for line in part.strip().splitlines()[2:]]
    return [[row[0].strip("`"), *row[1:]] for row in rows]


@pytest.fixture(scope="module")
def observed(shared: Registry) -> Registry:
    """Registry with the raw frames of four exposures and two detectors."""
    shared.register_collection("Cam/raw")
    frames = [raw_id(number, detector) for number in (1, 2, 3, 4) for detector in (0, 1)]
    shared.insert_datasets(RAW, frames, "Cam/raw")
    return shared


@pytest.mark.parametrize(("text", "finds"), [(text, finds) for text, _, finds in table("examples")])
def test_examples_find_what_the_page_says(observed: Registry, text: str, finds: str) -> None:
    found = observed.query_datasets("raw", "Cam/raw", where=text, bind=BIND)
    assert sorted({ref.data_id["exposure"] for ref in found}) == [int(n) for n in finds.split(", ")]
    opposite = observed.query_datasets("raw", "Cam/raw", where=f"NOT ({text})", bind=BIND)
    assert not set(found) & set(opposite)


@pytest.mark.parametrize(("text", "sentence"), table("errors"))
def test_mistakes_are_told_as_the_page_says(observed: Registry, text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        observed.query_datasets("raw", "Cam/raw", where=text, bind=BIND)
    assert caught.value.sentence == sentence


def test_the_picture_of_an_error_is_the_real_one(observed: Registry) -> None:
    picture = PAGE.split("```text\n")[1].split("\n```")[0]
    text = picture.splitlines()[1].strip()
    with pytest.raises(ExpressionError) as caught:
        observed.query_datasets("raw", "Cam/raw", where=text)
    assert str(caught.value) == picture


@pytest.mark.parametrize("text", [row[0] for row in table("regions")])
def test_regions_are_regions(text: str) -> None:
    import lsst.sphgeom as sg

    footprint = sg.Circle(sg.UnitVector3d.X())
    for written in (f"visit OVERLAPS {text}", f"{text} OVERLAPS visit.region"):
        resolver = WithRegions()
        compile_where(written, resolver, {"footprint": footprint})
        assert isinstance(resolver.compared[0][1], sg.Region)


def test_the_python_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "expressions.md", "exec"), {})  # noqa: S102 (it is our own page)


def test_literals_of_the_page_are_parsed() -> None:
    part = PAGE.split("## Values")[1].split("## Operators")[0]
    literals = re.findall(r"`([^`]+)`", part.split("| --- | --- |")[1].split("\n\n")[0])
    for literal in literals:
        if "[" not in literal and literal not in ("IN", "dataset_id"):
            assert parse(f"x IN ({literal})").root is not None


@pytest.mark.parametrize(("text", "shown"), [row[:2] for row in table("times")])
def test_times_are_what_the_page_says_wherever_they_are_written(text: str, shown: str) -> None:
    assert iso(parse_time(text)) == shown.removesuffix("T00:00:00")
    root = parse(f"x < T'{text}'").root
    assert isinstance(root, Comparison)
    assert isinstance(root.right, Literal)
    assert root.right.value == Moment(parse_time(text))
    assert Timespan.parse(text, None).begin == parse_time(f"{shown}/tai")


def test_the_page_names_every_format_scale_and_limit() -> None:
    for word in (*FORMATS, *SCALES):
        assert f"`{word}`" in PAGE
    limits = PAGE.split("## Limits")[1].split("\n## ")[0].replace(",", "")
    for number in (MAX_TEXT // 1024, MAX_PARENTHESES, MAX_NAME, MAX_PATTERN, MAX_VALUES, MAX_DEPTH):
        assert str(number) in limits


def test_examples_in_docstrings_run() -> None:
    attempted = 0
    for module in pkgutil.iter_modules(expressions.__path__, "registry.expressions."):
        failed, tried = doctest.testmod(importlib.import_module(module.name))
        assert failed == 0, module.name
        attempted += tried
    assert attempted > 5
