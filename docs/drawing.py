"""How do the tables of a family hang together? Draws them as SVG, from the metadata.

Tables stand above those that refer to them.  The drawing is laid out in layers (Sugiyama, Tagawa
and Toda 1981: longest paths, placeholders for long arrows, medians of neighbours); it needs neither
a program nor JavaScript, and its names lead to the tables on the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

__all__ = ["draw"]

LETTER = 7.0
LINE = 17.0
GAP = 26.0
BETWEEN_LAYERS = 46.0
SWEEPS = 24


@dataclass(eq=False)
class Box:
    """A table, or the place where a long arrow passes a layer."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    outside: bool = False
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    passing: float = 0.0
    above: list[Box] = field(default_factory=list)
    below: list[Box] = field(default_factory=list)

    @property
    def width(self) -> float:
        """Width [px]."""
        longest = max([len(self.name), *(len(text) for text, _ in self.lines)])
        return 2 * 10 + LETTER * longest if self.name else 6.0

    @property
    def height(self) -> float:
        """Height [px]; an arrow passes a layer straight."""
        return 8 + LINE * (1 + len(self.lines)) if self.name else self.passing


def draw(tables: Sequence[sa.Table], title: str) -> str:
    """Draw tables with what they refer to.

    Parameters
    ----------
    tables : sequence of sqlalchemy.Table
        Of one family; tables of other families that they refer to are drawn dashed.
    title : str
        Read aloud in place of the picture.

    Returns
    -------
    str
        An SVG element on one line.  Arrows that follow from others are left out.
    """
    boxes = _boxes(tables)
    parents = {name: _referred(table) for name, table in _known(tables).items()}
    edges = {
        (child, parent)
        for child, referred in parents.items()
        for parent in referred
        if not any(parent in _reach(parents, other) for other in referred - {parent})
    }
    for child, parent in sorted(edges):
        boxes[child].above.append(boxes[parent])
    for box in boxes.values():
        box.layer = _depth(box)
    for box in boxes.values():
        if box.outside:
            box.layer = min(b.layer for b in boxes.values() if box in b.above) - 1
    joined = [b for b in boxes.values() if b.above or any(b in o.above for o in boxes.values())]
    layers = _layers(joined) if joined else []
    alone = [b for b in boxes.values() if b not in joined]
    if alone:
        layers.append(alone)
        for box in alone:
            box.layer = len(layers) - 1
    _order(layers)
    _place(layers)
    return _svg(layers, title)


def _known(tables: Sequence[sa.Table]) -> dict[str, sa.Table]:
    return {t.name: t for t in tables}


def _referred(table: sa.Table) -> set[str]:
    return {c.referred_table.name for c in table.foreign_key_constraints} - {table.name}


def _reach(parents: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = parents.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


def _boxes(tables: Sequence[sa.Table]) -> dict[str, Box]:
    boxes = {}
    for table in tables:
        keys = [(c.name, "key") for c in table.primary_key.columns]
        links = [(c.name, "link") for c in table.columns if c.foreign_keys and not c.primary_key]
        rest = len(table.columns) - len(keys) - len(links)
        more = [(f"and {rest} more", "more")] if rest else []
        boxes[table.name] = Box(table.name, [*keys, *links, *more])
    for name in sorted({p for t in tables for p in _referred(t)} - set(boxes)):
        boxes[name] = Box(name, outside=True)
    return boxes


def _depth(box: Box) -> int:
    return 1 + max((_depth(parent) for parent in box.above), default=-1)


def _layers(boxes: list[Box]) -> list[list[Box]]:
    """Group boxes by layer, with placeholders wherever an arrow passes one."""
    lowest = min(box.layer for box in boxes)
    for box in boxes:
        box.layer -= lowest
    layers: list[list[Box]] = [[] for _ in range(1 + max(box.layer for box in boxes))]
    for box in sorted(boxes, key=lambda b: (b.outside, b.name)):
        layers[box.layer].append(box)
    for box in boxes:
        for n, parent in enumerate(box.above):
            upper = parent
            for layer in range(parent.layer + 1, box.layer):
                bend = Box("", layer=layer, above=[upper])
                upper.below.append(bend)
                layers[layer].append(bend)
                upper = bend
            box.above[n] = upper
            upper.below.append(box)
    return layers


def _order(layers: list[list[Box]]) -> None:
    """Order each layer by the medians of its neighbours, so that few arrows cross."""

    def crossings() -> int:
        count = 0
        for layer in layers[1:]:
            place = {id(b): n for n, b in enumerate(layers[layer[0].layer - 1])}
            ends = [(n, place[id(p)]) for n, b in enumerate(layer) for p in b.above]
            count += sum(a < c and b > d for a, b in ends for c, d in ends)
        return count

    best, fewest = [list(layer) for layer in layers], crossings()
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else layers[::-1]:
            near = layer[0].layer + (-1 if down else 1)
            if not 0 <= near < len(layers):
                continue
            place = {id(b): n for n, b in enumerate(layers[near])}
            middle = {
                id(b): sorted(place[id(o)] for o in (b.above if down else b.below)) or [n]
                for n, b in enumerate(layer)
            }
            layer.sort(key=lambda b: middle[id(b)][len(middle[id(b)]) // 2])
        if crossings() < fewest:
            best, fewest = [list(layer) for layer in layers], crossings()
    for layer, found in zip(layers, best, strict=True):
        layer[:] = found


def _place(layers: list[list[Box]]) -> None:
    """Give each box its place: layers from the top, boxes near the middle of their neighbours."""
    y = 4.0
    for layer in layers:
        x = 0.0
        for box in layer:
            box.x, box.y = x, y
            x += box.width + GAP
        for box in layer:
            box.x -= x / 2
        deepest = max(box.height for box in layer)
        for box in layer:
            box.passing = deepest
        y += deepest + BETWEEN_LAYERS
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 else layers[::-1]:
            wanted = []
            for box in layer:
                near = [*box.above, *box.below]
                centre = sum(o.x + o.width / 2 for o in near) / len(near) if near else None
                wanted.append(box.x if centre is None else centre - box.width / 2)
            left, right = list(wanted), list(wanted)
            for n in range(1, len(layer)):
                left[n] = max(left[n], left[n - 1] + layer[n - 1].width + GAP)
            for n in range(len(layer) - 2, -1, -1):
                right[n] = min(right[n], right[n + 1] - layer[n].width - GAP)
            for box, one, other in zip(layer, left, right, strict=True):
                box.x = (one + other) / 2


def _svg(layers: list[list[Box]], title: str) -> str:
    boxes = [box for layer in layers for box in layer]
    start = min(box.x for box in boxes) - 4
    width = max(box.x + box.width for box in boxes) - start + 4
    height = max(box.y + box.height for box in boxes) + 8
    font = "var(--md-code-font, monospace)"
    parts = [
        f'<svg class="tables" viewBox="{start:.0f} 0 {width:.0f} {height:.0f}" role="img" ',
        f'style="max-width:{width:.0f}px;width:100%" font-family="{font}" font-size="11.5" ',
        f'fill="currentColor"><title>{escape(title)}</title>',
    ]
    parts += [_arrow(box, upper) for box in boxes for upper in box.above]
    parts += [
        f'<path d="M{box.x + 3:.1f} {box.y:.1f}v{box.height:.1f}" fill="none" '
        'stroke="currentColor" stroke-opacity=".55"/>'
        for box in boxes
        if not box.name
    ]
    parts += [_drawn(box) for box in boxes if box.name]
    return "".join([*parts, "</svg>"])


def _arrow(box: Box, upper: Box) -> str:
    """Draw a part of an arrow that points up, to the table that is referred to."""
    x1, x2 = _end(box, box.above, upper), _end(upper, upper.below, box)
    y1, y2 = box.y, upper.y + upper.height
    tip = 7.0 if upper.name else 0.0
    middle = (y1 + y2 + tip) / 2
    line = (
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} '
        f'{x2:.1f} {y2 + tip:.1f}" fill="none" stroke="currentColor" stroke-opacity=".55"/>'
    )
    if tip:
        line += (
            f'<path d="M{x2:.1f} {y2:.1f}l-3.5 {tip}h7z" stroke="none" fill="currentColor" '
            'fill-opacity=".7"/>'
        )
    return line


def _end(box: Box, others: list[Box], other: Box) -> float:
    """Give the place on a box where the arrow to or from another ends, in the order of these."""
    across = sorted(others, key=lambda o: o.x + o.width / 2)
    return box.x + box.width * (1 + across.index(other)) / (1 + len(across))


def _drawn(box: Box) -> str:
    dash = ' stroke-dasharray="4 3"' if box.outside else ""
    middle = box.x + box.width / 2
    parts = [
        f'<a href="#{box.name}"><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" ',
        f'height="{box.height:.1f}" rx="3" fill="var(--md-code-bg-color, #f5f5f5)" ',
        f'stroke="currentColor" stroke-opacity=".6"{dash}/>',
        f'<text x="{middle:.1f}" y="{box.y + LINE:.1f}" text-anchor="middle" ',
        f'font-weight="bold">{escape(box.name)}</text></a>',
    ]
    if box.lines:
        y = box.y + LINE + 6
        parts.append(
            f'<path d="M{box.x:.1f} {y:.1f}h{box.width:.1f}" stroke="currentColor" '
            'stroke-opacity=".35"/>'
        )
    for n, (text, kind) in enumerate(box.lines, start=2):
        look = {
            "key": ' text-decoration="underline"',
            "more": ' fill-opacity=".6"',
        }.get(kind, "")
        parts.append(
            f'<text x="{box.x + 10:.1f}" y="{box.y + 3 + LINE * n:.1f}"{look}>{escape(text)}</text>'
        )
    return "".join(parts)
