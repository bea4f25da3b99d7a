"""Is the page "An image in parts" true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import pages

if TYPE_CHECKING:
    from pathlib import Path


def test_all_of_the_page_is_as_it_says(tmp_path: Path) -> None:
    assert pages.followed(pages.HOW_TO / "image-in-parts.md", tmp_path) == 7
