"""Does the page of the schema hold every table, drawn to be read, and do its questions run?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry import Registry

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(DOCS))
    from dictionary import schema  # type: ignore[import-not-found]

    return str(schema())


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[sa.Table], str], str]:
    monkeypatch.syspath_prepend(str(DOCS))
    from drawing import draw  # type: ignore[import-not-found]

    return draw  # type: ignore[no-any-return]


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Give left, top, right and bottom of each table."""
    found = {}
    for link in ET.fromstring(svg).iter("a"):  # noqa: S314 (our own)
        rect = link.find("rect")
        assert rect is not None
        x, y, width, height = (float(rect.get(k, "")) for k in ("x", "y", "width", "height"))
        found[link.get("href", "").removeprefix("#")] = (x, y, x + width, y + height)
    return found


def test_every_table_has_its_section_and_is_drawn_once_in_its_family(page: str) -> None:
    sections = re.findall(r"^### `(\w+)`$", page, re.MULTILINE)
    assert sorted(sections) == sorted(metadata.tables)
    solid = re.findall(r'href="#(\w+)"><rect [^>]*stroke-opacity="\.6"/>', page)
    assert sorted(solid) == sorted(metadata.tables)
    assert all(f"`{i.name}`" in page for t in metadata.tables.values() for i in t.indexes)


def test_tables_stand_below_what_they_refer_to_and_apart(
    draw: Callable[[list[sa.Table], str], str],
) -> None:
    def table(name: str, *columns: Any) -> sa.Table:
        return sa.Table(name, meta, sa.Column("id", sa.Integer, primary_key=True), *columns)

    def link(name: str, to: str) -> sa.Column[Any]:
        return sa.Column(name, sa.ForeignKey(f"{to}.id"))

    meta = sa.MetaData()
    outside = table("elsewhere")
    family = [
        table("top", sa.Column("more", sa.Text)),
        table("middle", link("a", "top"), link("me", "middle")),
        table("other", link("a", "top"), link("e", "elsewhere")),
        table("low", link("a", "middle"), link("b", "other"), link("c", "top")),
        table("alone"),
    ]
    svg = draw(family, "a < b")
    found = boxes(svg)
    assert set(found) == {t.name for t in family} | {outside.name}
    for child, parents in {
        "middle": ("top",),
        "other": ("top", "elsewhere"),
        "low": ("middle", "other"),
    }.items():
        assert all(found[child][1] > found[parent][3] for parent in parents)
    rects = list(found.values())
    for n, (left, top, right, bottom) in enumerate(rects):
        for x1, y1, x2, y2 in rects[n + 1 :]:
            assert right < x1 or x2 < left or bottom < y1 or y2 < top
    # top <- middle, other; elsewhere <- other; middle, other <- low: and not top <- low
    assert svg.count("h7z") == 5
    assert "a &lt; b" in svg


def test_the_question_of_the_page_runs(registry: Registry) -> None:
    text = (DOCS / "reference/schema.md").read_text(encoding="utf-8")
    (question,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    with registry.read() as connection:
        assert connection.execute(sa.text(question)).all() == []
