"""Do file, environment and command line say from where on each component logs, and what if not?"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from workflow import logs
from workflow.logs.errors import LogSettingsError
from workflow.logs.settings import BrokerSettings, DatabaseSettings, FileSettings, read

WHOLE = """\
levels:
  skyspine.isr: debug
  root: error
console: {level: info, style: json}
files:
  - path: $FOLDER/a.jsonl
  - {path: /b.txt, style: text, level: error, max_bytes: 10, keep: 0, capacity: 5}
database: {level: verbose, capacity: 7}
rabbitmq: {url: "amqp://h/", exchange: x}
"""
OFF = "console: false\ndatabase: false\n"
SCHEMA = Draft202012Validator(
    json.loads(
        (Path(__file__).parents[3] / "docs/reference/log-settings.schema.json").read_text("utf-8")
    )
)


def written(folder: Path, text: str) -> Path:
    path = folder / "log.yaml"
    path.write_text(text)
    return path


def effective(name: str) -> int:
    return logging.getLogger(name).getEffectiveLevel()


def test_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", "/some")
    found = read(written(tmp_path, WHOLE))
    assert found.levels == {"root": 40, "skyspine": 20, "skyspine.isr": 10}
    assert (found.console, found.console_style) == (20, "json")
    assert found.files == (
        FileSettings("/some/a.jsonl"),
        FileSettings("/b.txt", "text", 40, 10, 0, 5),
    )
    assert found.database == DatabaseSettings("", 15, 7)
    assert found.broker == BrokerSettings("amqp://h/", "x")
    off = read(written(tmp_path, OFF))
    assert (off.console, off.database, off.broker, off.files) == (None, None, None, ())
    assert read(written(tmp_path, "")).levels == {"root": 30, "skyspine": 20}


MISTAKES = [
    ("levels:\n  a: info\n  b: debg\n", 3, "'debg' is no level. Did you mean 'debug'?"),
    ("level: info\n", 1, "has no key 'level'. Did you mean 'levels'?"),
    ("levels: info\n", 1, "`levels` is a mapping of component to level."),
    ("console: {levl: info}\n", 1, "`console` has no key 'levl'. Did you mean 'level'?"),
    ("console: yes please\n", 1, "`console` is a mapping of keys to values, not 'yes please'"),
    ("files: {path: x}\n", 1, "`files` is a list; begin each with `- path: ...`."),
    ("files:\n  - style: json\n", 2, "`path` is missing, as in `path: logs/skyspine.jsonl`."),
    ("files:\n  - path: x\n    style: xml\n", 3, "'xml' is no style. Known: 'json', 'text'."),
    ("files:\n  - path: x\n    keep: -1\n", 3, "`keep` is a whole number from 0 on, not -1."),
    ("database: {capacity: true}\n", 1, "`capacity` is a whole number from 1 on, not True."),
    ("rabbitmq: {exchange: x}\n", 1, "`url` is missing, as in `url: amqp://user:password@"),
    ("rabbitmq:\n  url: 7\n", 2, "`url` is a text, not 7."),
]
NO_YAML = [
    ("levels: {a: info, a: debug}\n", 1, "'a' is given twice"),
    ("levels: [\n", 2, "this is not YAML"),
]


@pytest.mark.parametrize(("text", "line", "told"), MISTAKES + NO_YAML)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(LogSettingsError, match=re.escape(told)) as caught:
        read(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("text", [WHOLE, OFF, "", "levels: {a: WARN}\nfiles:\nconsole:\n"])
def test_the_published_schema_takes_what_is_read(tmp_path: Path, text: str) -> None:
    read(written(tmp_path, text))
    SCHEMA.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", [text for text, _, _ in MISTAKES])
def test_the_published_schema_refuses_what_is_refused(text: str) -> None:
    assert not SCHEMA.is_valid(yaml.safe_load(text))


def test_the_published_schema_has_the_defaults_of_the_code() -> None:
    parts = SCHEMA.schema["properties"]
    sinks: list[tuple[Any, Any]] = [(FileSettings("x"), parts["files"]["items"])]
    sinks += [(DatabaseSettings(), parts["database"]["oneOf"][-1])]
    sinks += [(BrokerSettings("x"), parts["rabbitmq"]["oneOf"][-1])]
    for sink, told in sinks:
        known = dataclasses.asdict(sink)
        assert set(told["properties"]) == set(known)
        for name, key in told["properties"].items():
            assert key.get("default", known[name]) == known[name]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogSettingsError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "levels: {skyspine: error, skyspine.a: error, skyspine.b: error}\n")
    monkeypatch.setenv("SKYSPINE_LOG_CONFIG", str(path))
    monkeypatch.setenv("SKYSPINE_LOG", "skyspine.a=info, skyspine.b=info")
    logs.configure(logs.settings_from(None, ["skyspine.b=debug", "other=trace"]))
    names = ("skyspine.x", "skyspine.a.sub", "skyspine.b", "other", "unknown")
    assert [effective(name) for name in names] == [40, 20, 10, 5, 30]
    logs.close()
    assert {effective(name) for name in names} == {30}
    monkeypatch.setenv("SKYSPINE_LOG", "loud")
    with pytest.raises(LogSettingsError, match="SKYSPINE_LOG: 'loud' is no level"):
        logs.settings_from()
    monkeypatch.setenv("SKYSPINE_LOG", "=info")
    with pytest.raises(LogSettingsError, match="names no component"):
        logs.settings_from()


def test_levels_change_while_it_runs_and_a_mistake_changes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "levels: {skyspine.isr: error, skyspine.old: debug}\n")
    logs.configure(logs.settings_from(str(path), ["skyspine.fixed=debug"], environment=False))
    assert not logs.look()
    path.write_text("levels: {skyspine.isr: debug, skyspine.fixed: error}\n# changed\n")
    assert logs.look()
    names = ("skyspine.isr", "skyspine.old", "skyspine.fixed")
    assert [effective(name) for name in names] == [10, 20, 10]
    path.write_text("levels: {skyspine.isr: loudly}\n")
    assert not logs.look()
    assert effective("skyspine.isr") == 10
    told = capsys.readouterr().err
    assert f"The levels stay as they are: {path}:1: 'loudly' is no level" in told
    path.unlink()
    assert not logs.look()
    assert effective("skyspine.isr") == 10


def test_the_watching_thread_takes_levels_over(tmp_path: Path) -> None:
    path = written(tmp_path, "levels: {skyspine.isr: error}\n")
    logs.configure(logs.settings_from(str(path), environment=False))
    changed = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert "are in force" in record.getMessage()
            changed.set()

    told = Told()
    logging.getLogger("skyspine.logs").addHandler(told)
    path.write_text("levels: {skyspine.isr: debug}\n# later\n")
    assert changed.wait(60)
    logging.getLogger("skyspine.logs").removeHandler(told)
    assert effective("skyspine.isr") == logging.DEBUG


def test_the_console_shows_text_or_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for style in ("text", "json"):
        path = written(tmp_path, f"console: {{level: info, style: {style}}}\n")
        logs.configure(logs.settings_from(str(path), environment=False))
        with logs.bound(exposure=3, instrument="Cam"):
            logging.getLogger("skyspine.isr").info("%s done", "all")
            logging.getLogger("skyspine.isr").debug("hidden")
            logging.getLogger("skyspine").warning("told", extra={"told_otherwise": True})
    text, document = capsys.readouterr().err.splitlines()
    assert text.endswith("INFO     skyspine.isr: all done [instrument=Cam exposure=3]")
    found = json.loads(document)
    assert found["context"] == {"exposure": 3, "instrument": "Cam"}
    assert (found["level"], found["logger"], found["message"]) == (
        "INFO",
        "skyspine.isr",
        "all done",
    )
