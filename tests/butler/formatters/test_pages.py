"""Do the pages about formats say what the code does, and does the formatter that they show work?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from butler import Butler
from butler.errors import StorageClassError, UnknownFormatter
from butler.formatters import formatter_names, get_formatter
from butler.storage_classes import get_storage_class, storage_class_names

CHECKOUT = Path(__file__).parents[3]
DOCS = CHECKOUT / "docs"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(DOCS))
    from formats import formats  # type: ignore[import-not-found]

    return str(formats())


def test_every_format_and_storage_class_has_its_row(page: str) -> None:
    rows: dict[str, str] = {}
    for name, told in re.findall(r"^\| `([\w-]+)`(.*)$", page, re.MULTILINE):
        rows[name] = rows.get(name, "") + told  # a format has a row, and one for each option
    assert set(rows) == {*storage_class_names(), *formatter_names()}
    for name in storage_class_names():
        kind = get_storage_class(name)
        named = {*kind.components, *kind.others, kind.default_formatter}
        assert all(f"`{one}`" in rows[name] for one in named)
    for name in formatter_names():
        one = get_formatter(name)
        words = (*one.parameters, one.extension, *one.options)
        assert all(f"`{word}`" in rows[name] for word in words)
    assert "<!-- formats -->" in (DOCS / "reference/formats.md").read_text("utf-8")


@pytest.mark.parametrize("name", storage_class_names())
def test_other_formats_hold_the_type_and_give_the_components(name: str) -> None:
    kind = get_storage_class(name)
    for other in kind.others:
        formatter = get_formatter(other)
        assert kind.python_type in formatter.python_types
        assert kind.formatter(other) is formatter
        if kind.python_type not in {"builtins.dict", "builtins.list"}:
            apart = {part for part, told in kind.parts.items() if told.apart}
            assert set(kind.components) - apart <= formatter.components


def test_a_format_is_chosen_for_a_put_and_found_again(tmp_path: Path) -> None:
    with Butler.create(tmp_path / "repo") as butler:
        butler.register_dataset_type("settings", (), "StructuredDataDict")
        ref = butler.put({"a": 1}, "settings", run="as-json", format="json")
        assert butler.get(ref) == {"a": 1}
        assert [path.suffix for path in butler.root.rglob("settings_*")] == [".json"]
        with pytest.raises(StorageClassError, match="use yaml or json"):
            butler.put({"a": 1}, "settings", run="x", format="parquet")
        with pytest.raises(UnknownFormatter, match="Did you mean 'json'"):
            butler.put({"a": 1}, "settings", run="x", format="jason")
        assert len(list(butler.root.rglob("settings_*"))) == 1


def test_the_formatter_of_the_page_is_found_in_an_installed_package(tmp_path: Path) -> None:
    files = dict(BLOCK.findall((DOCS / "how-to/add-a-formatter.md").read_text("utf-8")))
    site = tmp_path / "site"
    info = site / "our_spectra-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "spectra.py").write_text(files["spectra.py"])
    project = tomllib.loads(files["pyproject.toml"])["project"]
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {place}" for name, place in points.items())
            for group, points in project["entry-points"].items()
        )
    )
    program = tmp_path / "try_it.py"
    program.write_text(files["try_it.py"])
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{CHECKOUT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == files["it prints"]
