"""Is the page "Catalogues in tables" true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from butler import Butler
from tests import pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nursery import Nursery

PAGE = pages.HOW_TO / "catalogues-in-tables.md"


def test_all_of_the_page_is_as_it_says(tmp_path: Path, nursery: Nursery) -> None:
    assert pages.followed(PAGE, tmp_path, nursery) == 9
    [question] = [text for kind, _, text in pages.blocks(PAGE) if kind == "sql"]
    with Butler(tmp_path / "repo") as butler, butler.registry.read() as connection:
        found = connection.execute(sa.text(question)).all()
        assert found == [("u/me", None, 1, 120.0)]
