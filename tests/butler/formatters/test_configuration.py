"""Configurations come back whole, and no code that lies in one runs without trust."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from lsst.pex.config import Config, Field

from butler.errors import DamagedFile, UntrustedFormat
from tests.butler.formatters.config_examples import (
    EveryFieldConfig,
    FitConfig,
    SplineConfig,
    SplineTask,
)
from tests.butler.formatters.contract import FormatterContract

if TYPE_CHECKING:
    from pathlib import Path

HEAD = (
    "import tests.butler.formatters.config_examples\n"
    "assert type(config) is tests.butler.formatters.config_examples.FitConfig, 'x'\n"
)


class TestConfig(FormatterContract):
    name = "config"
    storage_class = "Config"
    truncations = (0.0, 0.05)
    garbage = (
        b"",
        b"Dear diary,\n",
        b"\xff\xfe",
        b"config.x = 1\n",
        HEAD.encode() + b"config.order = 99\n",
    )

    def example(self) -> EveryFieldConfig:
        config = EveryFieldConfig()
        config.threshold = -math.inf
        config.method = "median"
        config.labels = ["it's", "", "天文"]
        config.gains = {"C00": 1.5, "C01": 2.5}
        config.nested.order = 7
        config.either.name = "spline"
        config.either["spline"].knots = [1.0, math.nan, -math.inf]
        config.several["first"] = FitConfig()
        config.several["first"].order = 3
        config.task.retarget(target=SplineTask, ConfigClass=SplineConfig)
        config.task.knots = [4.5]
        return config

    def assert_same(self, got: Any, put: Any) -> None:
        assert type(got) is type(put)
        assert got.saveToString() == put.saveToString()
        assert got.task.target is put.task.target

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [(EveryFieldConfig, "put an instance"), ({"a": 1}, "StructuredDataDict")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        class Local(Config):
            x = Field[int](doc="x", default=1)

        return [(Local(), "top level of an installed module")]

    def test_trusted_and_interpreted_readings_agree(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        self.assert_same(self.formatter.read(path, trusted=True), self.formatter.read(path))

    @pytest.mark.parametrize(
        "statement",
        [
            "import os; os.mkdir({mark!r})",
            "open({mark!r}, 'w')",
            "config.order = open({mark!r}, 'w').write('x')",
            "config.label = __import__('os').system('touch {mark}')",
            "config.order: int = 3",
            "config.label = f'{{open({mark!r}, chr(119))}}'",
            "[open({mark!r}, 'w') for x in (1,)]",
            "def f(): pass",
            "config.__class__ = 3",
            "config._storage['order'] = 3",
            "config.saveToString.x = 3",
            "other.order = 3",
            "config.label = os.mkdir({mark!r})",
        ],
    )
    def test_code_is_not_run_without_trust(
        self, path: Path, tmp_path: Path, statement: str
    ) -> None:
        mark = tmp_path / "mark"
        path.write_text(HEAD + statement.format(mark=str(mark)) + "\n")
        with pytest.raises((UntrustedFormat, DamagedFile)) as raised:
            self.formatter.read(path)
        assert str(path) in str(raised.value)
        assert not mark.exists()

    @pytest.mark.parametrize(
        "statement",
        [
            "config.task.retarget(target=os.system, ConfigClass={here}.FitConfig)",
            "config.task.retarget(target={here}.FitConfig, ConfigClass={here}.FitConfig)",
            "config.task.retarget(target={here}.FitTask, ConfigClass=subprocess.Popen)",
            "config.task.target.ConfigClass = 3",
            "config.several['x'] = subprocess.Popen()",
        ],
    )
    def test_only_configurations_are_made(self, path: Path, statement: str) -> None:
        here = "tests.butler.formatters.config_examples"
        path.write_text(
            HEAD.replace("FitConfig", "EveryFieldConfig") + statement.format(here=here) + "\n"
        )
        with pytest.raises((UntrustedFormat, DamagedFile)):
            self.formatter.read(path)

    def test_a_class_that_is_no_configuration_is_not_made(self, path: Path) -> None:
        path.write_text("assert type(config) is subprocess.Popen, 'x'\n")
        with pytest.raises(DamagedFile, match="not a configuration class"):
            self.formatter.read(path)
        path.write_text("assert type(config) is observatory_of_nowhere.Config, 'x'\n")
        with pytest.raises(DamagedFile, match="Install the package"):
            self.formatter.read(path)

    def test_trusted_code_runs(self, path: Path) -> None:
        path.write_text(HEAD + "for n in (1, 2, 3):\n    config.order = n\n")
        with pytest.raises(UntrustedFormat, match="line 3"):
            self.formatter.read(path)
        assert self.formatter.read(path, trusted=True).order == 3
        path.write_text(HEAD + "raise KeyError('mine')\n")
        with pytest.raises(DamagedFile, match="KeyError: 'mine'"):
            self.formatter.read(path, trusted=True)
