"""Is each mistake told in one sentence, at its place, with what to write instead?

The mistakes, the places and the sentences are in mistakes.txt beside this file.
"""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import expressions
from registry.errors import RegistryError, UnknownName
from registry.expressions import ExpressionError, compile_where, parse
from tests.registry.expressions.exposures import WithRegions

if TYPE_CHECKING:
    from collections.abc import Sequence

BIND = {
    "ids": [1, 2],
    "none": None,
    "nan": float("nan"),
    "big": 2**63,
    "bytes": b"x",
    "naive": datetime.datetime(2020, 1, 1),  # noqa: DTZ001 (the mistake under test)
    "nul": "a\0b",
    "gap": [1, None],
    "nested": [[1]],
    "many": list(range(20_001)),
}


WORDS = (
    "exposure", "band", "5", "5.5", "'x'", "T'2020-01-01'", "(", ")", ",", "=", "==", "!=", "<",
    "IN", "GLOB", "LIKE", "IS", "NULL", "NOT", "AND", "OR", "OVERLAPS", "+", "-", "*", "/", "%",
    "1..5", ":ids", '"', "CIRCLE(", "TRUE", "exposure.timespan", "exposure.good",
)  # fmt: skip


class Bands(WithRegions):
    """Names of which one has known values."""

    def values(self, name: str) -> Sequence[str] | None:
        return ["g", "r"] if name == "band" else None


def mistakes() -> list[tuple[str, str, str]]:
    """Read the expressions, the lines of carets and the messages."""
    text = Path(__file__).with_name("mistakes.txt").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in text.strip().split("\n\n")[1:]]
    return [(wrong, carets, message) for wrong, carets, message in blocks]


@pytest.mark.parametrize(("wrong", "carets", "message"), mistakes())
def test_says_what_is_wrong_and_where(wrong: str, carets: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_where(wrong, Bands(), BIND)
    error = caught.value
    kind, _, sentence = message.partition(": ")
    assert str(error) == f"{sentence}\n  {wrong}\n  {carets}"
    assert type(error) is getattr(expressions, kind)
    assert wrong[error.start : error.end] == wrong[carets.index("^") : len(carets)]
    assert (error.line, error.column) == (1, carets.index("^") + 1)


def test_every_sentence_is_one() -> None:
    for _, carets, message in mistakes():
        assert set(carets) <= {" ", "^"}
        assert message.endswith((".", "?"))
        assert "\n" not in message


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [
        ("band == 'r'", "="),
        ('band = "r"', "'r'"),
        ("band LIKE 'raw_1%'", "GLOB 'raw?1*'"),
        ("exposure IN (20..5:2)", "5..20:2"),
        ("exposure = '5'", "5"),
        ("band = 5", "'5'"),
        ("exposure.begin > '2020-01-01'", "T'2020-01-01'"),
        ("exposure.good = 0", "FALSE"),
    ],
)
def test_suggestions_can_be_put_in_by_a_program(wrong: str, suggestion: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_where(wrong, WithRegions())
    assert caught.value.suggestion == suggestion


def test_what_was_expected_is_listed() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("exposure = 5 7")
    assert caught.value.expected == ("an arithmetic operator", "AND", "OR", "the end")


def test_carets_stand_in_the_right_line_of_many() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("exposure = 5\n  AND band ==\t'r'\nOR TRUE")
    assert (caught.value.line, caught.value.column) == (2, 12)
    assert caught.value.picture == "    AND band == 'r'\n" + " " * 13 + "^^"


def test_carets_take_wide_letters_into_account() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("band = '天文e\N{COMBINING ACUTE ACCENT}' AND band == 5")
    carets = caught.value.picture.splitlines()[1]
    assert carets == " " * (2 + len("band = '天文e' AND band ") + 2) + "^^"


def test_long_lines_are_cut_around_the_place() -> None:
    text = " OR ".join(f"exposure = {i}" for i in range(500)) + " OR band == 'r'"
    with pytest.raises(ExpressionError) as caught:
        parse(text + " OR TRUE" * 50)
    shown, carets = caught.value.picture.splitlines()
    assert len(shown) < 120
    assert shown[carets.index("^") :].startswith("== 'r'")
    assert shown.startswith("  ... ")
    assert shown.endswith(" ...")


def test_carets_do_not_run_past_the_cut() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("x" * 300 + " = 1")
    shown, carets = caught.value.picture.splitlines()
    assert len(carets) <= len(shown)


def test_control_characters_do_not_reach_the_terminal() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("band = '\x1b[31m' == 5")
    assert caught.value.picture.splitlines()[0].isprintable()


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed: str | None = parse(text).text
    except ExpressionError as error:
        parsed = error.text if error.sentence in str(error) else None
    assert parsed == text


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_sequence_of_words_is_compiled_or_refused(text: str) -> None:
    lines = 0
    try:
        compile_where(text, WithRegions(), {"ids": [1, 2]})
    except ExpressionError as error:
        lines = str(error).count("\n")
    assert lines in (0, 2)


def test_errors_have_the_parents_that_callers_catch() -> None:
    for wrong, parent in (
        ("exposre = 5", UnknownName),
        ("exposure = :id", KeyError),
        ("exposure = 'x'", TypeError),
        ("exposure ==", ValueError),
        ("exposre = 5", LookupError),
        ("exposure ==", RegistryError),
    ):
        with pytest.raises(parent):
            compile_where(wrong, WithRegions())


def test_codes_are_stable() -> None:
    codes = {
        name: getattr(expressions, name).code
        for name in expressions.__all__
        if isinstance(getattr(expressions, name), type)
        and issubclass(getattr(expressions, name), ExpressionError)
    }
    assert codes == {
        "ExpressionError": "expression",
        "ExpressionSyntaxError": "expression-syntax",
        "ExpressionTooLarge": "expression-too-large",
        "InvalidLiteral": "expression-literal",
        "MissingBind": "expression-missing-bind",
        "NoRegion": "expression-no-region",
        "TypeMismatch": "expression-type",
        "UnknownField": "expression-unknown-name",
        "UnknownValue": "expression-unknown-value",
        "UnrelatedDimension": "expression-unrelated",
    }


def test_errors_travel_between_processes() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_where("exposre = 5", WithRegions())
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.start, copy.name) == (str(caught.value), 0, "exposre")
