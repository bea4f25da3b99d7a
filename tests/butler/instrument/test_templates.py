"""Paths stay inside, are valid, and differ for different data IDs, whatever the values are."""

from __future__ import annotations

import posixpath
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from butler.instrument.errors import UnsafePath
from butler.instrument.templates import DEFAULT_TEMPLATE, PATH_FIELDS, PathTemplate, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=()), min_size=1)
NASTY = st.one_of(TEXTS, st.text("_-/.% \"'éβ\\~", min_size=1))


@given(NASTY)
def test_any_text_becomes_a_safe_name_and_comes_back(text: str) -> None:
    name = encode(text)
    assert decode(name) == text
    assert name.isascii()
    assert not set(name) & set("/\\\"' \0*?<>|:")
    assert name not in {".", ".."}
    assert not name.startswith(".")


VALUES = st.fixed_dictionaries({"target": NASTY, "band": NASTY, "detector": st.integers(0, 99)})


@given(VALUES, VALUES)
def test_different_values_get_different_paths(
    one: dict[str, object], two: dict[str, object]
) -> None:
    template = PathTemplate("{run}/{target}_{detector:02d}_{band}_x{exposure}")
    assume(one != two)
    paths = {template.format({"run": "r", "exposure": 1, **fields}) for fields in (one, two)}
    assert len(paths) == 2


@given(NASTY, NASTY)
def test_paths_stay_below_the_root(dataset_type: str, band: str) -> None:
    path = PathTemplate(DEFAULT_TEMPLATE).format(
        {"run": "u/ann", "dataset_type": dataset_type, "band": band, "extension": ".fits.gz"}
    )
    assert posixpath.normpath(path) == path
    assert path.startswith("u/ann/")
    assert path.endswith(".fits.gz")
    assert all(0 < len(part) < 256 for part in path.split("/"))


def test_the_result_can_be_written_to_disk(tmp_path: Path) -> None:
    template = PathTemplate("{run}/{target}/{band}")
    for target in ("ksi Cas", "O\"Neill's", "a/b", "Ångström β", "..", ".hidden", "x" * 400):
        path = tmp_path / template.format({"run": "r", "target": target, "band": "g"})
        path.parent.mkdir(parents=True)
        path.write_text(target)
    assert len(list(tmp_path.glob("r/*/g"))) == 7


def test_long_names_are_cut_and_still_differ() -> None:
    template = PathTemplate("{run}/{target}")
    names = {template.format({"run": "r", "target": "é" * 300 + c}) for c in "abc"}
    assert len(names) == 3
    assert all(len(n) < 210 for n in names)


def test_optional_parts_vanish_with_their_fields() -> None:
    template = PathTemplate("{run}/[{day_obs}/]{dataset_type}[_{band}][_d{detector:02d}]")
    assert template.format({"run": "a", "dataset_type": "bias"}) == "a/bias"
    fields = {"run": "a", "dataset_type": "bias", "detector": 3, "day_obs": 20220920, "band": None}
    assert template.format(fields) == "a/20220920/bias_d03"
    assert template.required == ("run", "dataset_type")


def test_values_of_other_types() -> None:
    template = PathTemplate("{run}/{id}/{detector:03d}")
    identity = uuid.UUID(int=7)
    wanted = f"r/{identity}/005"
    assert template.format({"run": "r", "id": identity, "detector": np.int64(5)}) == wanted
    for bad in (True, b"x", object(), [1]):
        with pytest.raises(UnsafePath, match="cannot be part of a path"):
            template.format({"run": "r", "id": bad, "detector": 1})
    with pytest.raises(UnsafePath, match="cannot be written as"):
        template.format({"run": "r", "id": "x", "detector": "five"})


@pytest.mark.parametrize(
    "text",
    [
        "/etc/{run}",
        "../{run}",
        "{run}/../{band}",
        "{run}/./{band}",
        "{run}//{band}",
        "{run}/",
        "{run}/{band",
        "{run}]",
        "{run}/[x]",
        "{run}/[[{band}]]",
        "{run}/[{band}",
        "{run:%Y}",
        "{run}/a b",
        "{run}/ä",
        "{run}/{band}{detector}",
        "{run}/{band}0{detector}",
        "{run!r}",
        "",
    ],
)
def test_templates_that_could_do_harm_are_refused(text: str) -> None:
    with pytest.raises(UnsafePath, match="template"):
        PathTemplate(text)


@pytest.mark.parametrize("run", ["../x", "/x", "a//b", "a/../b", "", ".", "a/"])
def test_runs_that_climb_out_are_refused(run: str) -> None:
    with pytest.raises(UnsafePath, match=r"run|cannot be part"):
        PathTemplate("{run}/{band}").format({"run": run, "band": "g"})


@pytest.mark.parametrize("band", ["", "a\0b"])
def test_empty_texts_and_zero_bytes_are_refused(band: str) -> None:
    with pytest.raises(UnsafePath, match="empty or holds a zero byte"):
        PathTemplate("{run}/{band}").format({"run": "r", "band": band})


def test_a_missing_field_and_an_unknown_one_are_named() -> None:
    template = PathTemplate("{run}/{bnad}")
    with pytest.raises(UnsafePath, match=r"\{bnad\}.*Did you mean 'band'"):
        template.check_fields(PATH_FIELDS)
    with pytest.raises(UnsafePath, match="needs bnad, which this dataset has not"):
        template.format({"run": "r"})
