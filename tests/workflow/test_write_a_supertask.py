"""Is the page "Write your first SuperTask" true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from butler import Butler
from registry.schema import provenance as schema
from tests import pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nursery import Nursery


def test_all_of_the_page_is_as_it_says(tmp_path: Path, nursery: Nursery) -> None:
    assert pages.followed(pages.HOW_TO / "write-a-supertask.md", tmp_path, nursery) == 14
    q = schema.quantum.c
    with Butler(tmp_path / "repo") as butler, butler.registry.read() as connection:
        found = connection.execute(sa.select(q.error_kind, q.metadata).where(q.state == "failed"))
        kinds = {kind: (metadata or {}).get("error") for kind, metadata in found}
        assert kinds == {"repeatable": None, "unprocessable-data": {"highest": 60.0}}
        [night] = butler.query_datasets("night_level", collections="levels")
        assert butler.get(night) == {"mean": 45.0}
