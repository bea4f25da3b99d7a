"""Texts, figures and pickles."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from butler.errors import UntrustedFormat, WriteOnly
from tests.butler.formatters.contract import FormatterContract


class TestText(FormatterContract):
    name = "text"
    storage_class = "Text"
    truncations = ()
    garbage = (b"\xff\xfe\xfd",)

    def example(self) -> str:
        return "Jürgen:\tlines end\r\nin many\rways\n天文 🔭\x00\u2028 "

    def assert_same(self, got: Any, put: Any) -> None:
        assert got == put

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(b"x", "content.decode()"), (PurePath("a.txt"), "path.read_text()"), ([1], "List")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [("\ud800", "half a character")]


class TestPng(FormatterContract):
    name = "png"
    storage_class = "Figure"
    readable = False

    def example(self) -> Figure:
        figure = Figure(figsize=(2, 1), dpi=100)
        figure.subplots().plot([1, 2, 3])
        return figure

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(self.example().axes[0], "axes.figure"), (np.zeros((2, 2)), "Figure")]

    def test_it_is_a_picture_and_no_figure(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        with Image.open(path) as picture:
            assert picture.size == (200, 100)
        with pytest.raises(WriteOnly, match="open the file itself"):
            self.read(path)


class Tripwire:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestPickle(FormatterContract):
    name = "pickle"
    storage_class = "Pickle"
    trusted = True
    truncations = (0.0, 0.5, 0.99)

    def example(self) -> Any:
        return {"fraction": Fraction(1, 3), "array": np.arange(5), "tuple": (1, {2, 3})}

    def assert_same(self, got: Any, put: Any) -> None:
        assert np.array_equal(got["array"], put["array"])
        assert [got[key] == put[key] for key in ("fraction", "tuple")] == [True, True]

    def wrong_types(self) -> list[tuple[Any, str]]:
        return []

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            (lambda: 1, "lambda"),
            ({"lock": threading.Lock()}, "lock"),
            ((value for value in "ab"), "generator"),
        ]

    def test_it_is_not_opened_without_trust(self, path: Path, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        self.formatter.write(Tripwire(mark), path)
        with pytest.raises(UntrustedFormat, match="trusted=True"):
            self.formatter.read(path)
        assert not mark.exists()
        self.formatter.read(path, trusted=True)
        assert mark.exists()
