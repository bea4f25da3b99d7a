"""Do the errors of all packages reach another process, and the person who reads them, whole?"""

from __future__ import annotations

import importlib.util
import inspect
import multiprocessing
import pickle
import pkgutil
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from butler.instrument.errors import Problem
from registry.errors import MissingDataset, SkyspineError, did_you_mean

PACKAGES = ("registry", "backbone", "butler", "workflow")
EXAMPLES = {
    "Mapping": {"detector": 3, "exposure": 20220920},
    "Sequence[tuple": [("the new", "the old")],
    "Sequence[Problem]": [Problem("files[0]", "no pattern", 4)],
    "Sequence": ["biases", "flats"],
    "Iterable": ["biais", "flat"],
    "bool": True,
    "int": 7,
    "float": 2.5,
    "str": "bias",
    "object": ("of", "any kind", 3),
}


@pytest.fixture(scope="module")
def errors() -> list[type[SkyspineError]]:
    """Every error class that a module of the packages defines."""
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            spec = importlib.util.find_spec(module.name)
            source = Path(spec.origin).read_text() if spec and spec.origin else ""
            if re.search(r"^class \w+\(.*(Error|Exists|Found)\b.*\):$", source, re.MULTILINE):
                importlib.import_module(module.name)
    found: set[type[SkyspineError]] = set()
    waiting: list[type[SkyspineError]] = [SkyspineError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.partition(".")[0] in PACKAGES:
            found.add(kind)
        waiting += kind.__subclasses__()
    assert len(found) > 60
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def example(kind: type[SkyspineError]) -> SkyspineError:
    """Make an error with a value for every parameter of its class, by the parameter's type."""
    by_place: list[Any] = []
    by_name: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        text = str(parameter.annotation)
        value = next((v for part, v in EXAMPLES.items() if part in text), None)
        if parameter.kind is parameter.KEYWORD_ONLY:
            by_name[name] = value
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            by_place.append(value)
    return kind(*by_place, **by_name)


def sent_back(error: SkyspineError) -> None:
    raise error


def test_every_error_survives_the_way_to_another_process(
    errors: list[type[SkyspineError]],
) -> None:
    for kind in errors:
        error = example(kind)
        error.add_note("seen at night")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert str(again) == str(error) != ""
        assert again.code == error.code
        assert again.args == error.args
        kept = {name: str(value) for name, value in vars(again).items()}
        assert kept == {name: str(value) for name, value in vars(error).items()}


def test_an_error_with_arguments_of_its_own_comes_out_of_a_worker() -> None:
    sent = MissingDataset("bias", {"detector": 3}, ["calib"], nearest="None is.")
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(MissingDataset) as caught,
    ):
        pool.submit(sent_back, sent).result()
    assert str(caught.value) == str(sent)
    assert caught.value.data_id == {"detector": 3}


def test_each_error_has_a_code_of_its_own(errors: list[type[SkyspineError]]) -> None:
    codes: dict[str, list[str]] = {}
    for kind in errors:
        codes.setdefault(kind.code, []).append(f"{kind.__module__}.{kind.__name__}")
    assert {code: kinds for code, kinds in codes.items() if len(kinds) > 1} == {}


def test_each_error_has_a_line_in_the_tree_of_its_module(
    errors: list[type[SkyspineError]],
) -> None:
    for kind in errors:
        module = importlib.import_module(kind.__module__)
        if module.__name__.endswith(".errors"):
            lines = [ln.strip(" │├└─").split(" ")[0] for ln in (module.__doc__ or "").splitlines()]
            assert lines.count(kind.__name__) == 1, kind
            assert kind.__name__ in module.__all__


def test_identities_of_one_second_are_not_taken_for_each_other() -> None:
    known = "01a22298-d487-7264-905e-9e8a5e972062"
    assert did_you_mean("01a22298-d48c-7561-9e47-d5e3206196e8", [known]) == f" Known: '{known}'."
    assert did_you_mean(f"{known[:-1]}3", [known]) == f" Did you mean '{known}'?"
