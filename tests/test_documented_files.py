"""Does the code take the YAML that the documentation shows, and have what it refers to?"""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from astropy.io import fits

from butler.instrument import InstrumentDefinition
from butler.skymaps import patches_of
from workflow.logs.settings import read as read_log_settings
from workflow.pipeline import Pipeline

BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = [
    (str(page.relative_to(DOCS)), text)
    for page in sorted(DOCS.rglob("*.md"))
    for text in BLOCK.findall(page.read_text("utf-8"))
]


def whole(key: str) -> list[Any]:
    """Give the blocks that are whole files: with a key at the top that such a file must have."""
    top = re.compile(rf"^{key}:", re.MULTILINE)
    found = [(page, text) for page, text in BLOCKS if top.search(text)]
    return [pytest.param(text, id=f"{page}-{n}") for n, (page, text) in enumerate(found)]


def test_every_block_is_yaml() -> None:
    assert len(BLOCKS) >= 5
    for page, text in BLOCKS:
        assert yaml.safe_load(text), page


def test_what_the_reference_describes_is_there() -> None:
    named = re.findall(
        r"^::: (\S+)$", (DOCS / "reference/python.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(named) >= 50
    for name in named:
        assert pkgutil.resolve_name(name), name


@pytest.mark.parametrize("text", whole("detectors"))
def test_cameras(text: str, tmp_path: Path) -> None:
    camera = InstrumentDefinition.from_yaml(text)
    frame = fits.PrimaryHDU()
    cards = {"DATE-OBS": "2025-03-10T22:00:00", "EXPTIME": 60.0, "INSTRUME": camera.name}
    frame.header.update({**cards, "FILTER": "V", "IMAGETYP": "Light Frame", "OBJECT": "M 1"})
    frame.writeto(tmp_path / "x.fits")
    seen = camera.observe(tmp_path / "x.fits")
    assert (seen.exposure, seen.observation_type) == (20250310220000, "science")
    assert (seen.physical_filter, seen.day_obs) == ("Johnson V", 20250310)


@pytest.mark.parametrize("text", whole("tasks"))
def test_pipelines(text: str) -> None:
    assert len(Pipeline.from_yaml(text)) > 0


@pytest.mark.parametrize("text", whole("levels"))
def test_settings_of_logging(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.yaml").write_text(text)
    assert read_log_settings(tmp_path / "log.yaml").levels


@pytest.mark.parametrize("text", whole("tracts"))
def test_skymaps(text: str) -> None:
    definition = yaml.safe_load(text)
    for tract in definition["tracts"]:
        assert len(patches_of(definition["name"], tract)) == 2
