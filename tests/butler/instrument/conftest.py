"""Shipped definitions, and raw frames to edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from butler.instrument import InstrumentDefinition, load_shipped

EditedFrame = Callable[..., Path]


@pytest.fixture(scope="session")
def ohp() -> InstrumentDefinition:
    """The definition of OHP-T152."""
    return load_shipped("ohp-t152")


@pytest.fixture
def edited(test_data: Path, tmp_path: Path) -> EditedFrame:
    """Copies a real frame with cards changed, or removed (None)."""

    def edit(frame: str, name: str = "", /, **cards: Any) -> Path:
        source = test_data / frame
        with fits.open(source) as hdus:
            for card, value in cards.items():
                if value is None:
                    del hdus[0].header[card]
                else:
                    hdus[0].header[card] = value
            path = tmp_path / (name or source.name.removesuffix(".gz"))
            hdus.writeto(path, overwrite=True)
        return path

    return edit
