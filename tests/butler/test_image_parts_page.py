"""Are the pages "An image in parts" and "A class of your own in parts" true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nursery import Nursery


@pytest.mark.parametrize(("page", "commands"), [("image-in-parts", 7), ("class-in-parts", 6)])
def test_all_of_the_page_is_as_it_says(
    tmp_path: Path, nursery: Nursery, page: str, commands: int
) -> None:
    assert pages.followed(pages.HOW_TO / f"{page}.md", tmp_path, nursery) == commands
