"""How does a graph look: as Mermaid, as dot for Graphviz, or as SVG?

A box is a dataset, an arrow leads from what was read to what was made.  Datasets that no picture
needs one by one (the thirty raw frames of a bias) share a box that counts them; `merged` draws one
box for each dataset type and run.
"""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Hashable, Sequence

    from registry.identity import DatasetRef
    from registry.provenance.graphs import Graph

__all__ = ["Box", "Picture", "columns", "dot", "mermaid", "picture", "svg"]

_COLOURS = ("#4c72b0", "#dd8452", "#2e8b57", "#c44e52", "#8172b3", "#937860", "#64b5cd", "#8c8c8c")
_HIDDEN = frozenset({"instrument", "skymap"})
_CHARACTER, _LINE, _GAP_X, _GAP_Y = 6.6, 15.0, 90.0, 16.0
"""Width of a character, height of a line, and gaps between boxes [px]."""


@dataclass(frozen=True, slots=True)
class Box:
    """What is drawn as one: a dataset, or several that are alike.

    Parameters
    ----------
    lines : tuple of str
        What is written in it.
    kind : str
        Dataset type, which gives the colour.
    is_root : bool
        Whether it was asked about.
    """

    lines: tuple[str, ...]
    kind: str
    is_root: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, and arrows (from, to, task labels) between their places in the list."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int, str], ...]


def picture(graph: Graph, *, merged: bool = False) -> Picture:
    """Choose what is drawn as one box, and the arrows between the boxes.

    Parameters
    ----------
    graph : Graph
        From `registry.provenance.walk` or `graph_of_run`.
    merged : bool
        One box for each dataset type and run; otherwise one for each dataset, or for datasets of
        one type and run that were made from the same and read by the same.
    """
    sources: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    products: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    tasks: dict[tuple[uuid.UUID, uuid.UUID], str] = {}
    for edge in graph.edges():
        sources[edge.output.id].add(edge.input.id)
        products[edge.input.id].add(edge.output.id)
        tasks[edge.input.id, edge.output.id] = edge.task_label
    roots = frozenset(graph.roots)
    together: dict[Hashable, list[DatasetRef]] = defaultdict(list)
    for i, ref in graph.datasets.items():
        key: Hashable = i
        if merged:
            key = (ref.dataset_type.name, ref.run)
        elif i not in roots:
            key = (ref.dataset_type.name, ref.run, frozenset(sources[i]), frozenset(products[i]))
        together[key].append(ref)
    boxes: list[Box] = []
    place: dict[uuid.UUID, int] = {}
    for refs in together.values():
        place.update(dict.fromkeys((r.id for r in refs), len(boxes)))
        boxes.append(_box(refs, roots, merged=merged))
    labels: dict[tuple[int, int], set[str]] = defaultdict(set)
    for (source, product), task in tasks.items():
        labels[place[source], place[product]].add(task)
    arrows = [(*ends, ", ".join(sorted(told))) for ends, told in sorted(labels.items())]
    return Picture(tuple(boxes), tuple(arrows))


def _box(refs: Sequence[DatasetRef], roots: frozenset[uuid.UUID], *, merged: bool) -> Box:
    kind = refs[0].dataset_type.name
    is_root = any(r.id in roots for r in refs)
    if merged:
        return Box((f"{len(refs):,} {kind}", refs[0].run), kind, is_root)
    if len(refs) > 1:
        shared = {
            k: v
            for k, v in refs[0].data_id.items()
            if k not in _HIDDEN and all(r.data_id.get(k) == v for r in refs)
        }
        return Box((f"{len(refs):,} {kind}", *_pairs(shared)), kind, is_root)
    keys = {k: v for k, v in refs[0].data_id.items() if k not in _HIDDEN}
    return Box((kind, *_pairs(keys)), kind, is_root)


def _pairs(keys: dict[str, Any]) -> list[str]:
    return [f"{k} {v}" for k, v in keys.items()]


def mermaid(drawn: Picture) -> str:
    """Write a picture as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    for n, box in enumerate(drawn.boxes):
        text = "<br>".join(_mermaid_text(line) for line in box.lines)
        lines.append(f'  d{n}["{text}"]' + (":::asked" if box.is_root else ""))
    for source, product, task in drawn.arrows:
        lines.append(f'  d{source} -->|"{_mermaid_text(task)}"| d{product}')
    lines.append("  classDef asked stroke-width:3px")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Write what has a meaning in Mermaid or HTML by its number."""
    return "".join(c if c.isalnum() or c in " ._-/:,+()" else f"#{ord(c)};" for c in text)


def dot(drawn: Picture) -> str:
    """Write a picture for Graphviz."""
    lines = ["digraph provenance {", "  rankdir=LR; node [shape=box];"]
    for n, box in enumerate(drawn.boxes):
        text = r"\n".join(_dot_text(line) for line in box.lines)
        lines.append(f'  d{n} [label="{text}"' + (", penwidth=3];" if box.is_root else "];"))
    for source, product, task in drawn.arrows:
        lines.append(f'  d{source} -> d{product} [label="{_dot_text(task)}"];')
    return "\n".join([*lines, "}", ""])


def _dot_text(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def svg(drawn: Picture) -> str:
    """Draw a picture as SVG, oldest left; the task is shown when the pointer is on an arrow."""
    placed = columns(
        [n for n, box in enumerate(drawn.boxes) if box.is_root],
        list(range(len(drawn.boxes))),
        {(source, product) for source, product, _ in drawn.arrows if source != product},
    )
    sizes = {
        n: (max(map(len, box.lines)) * _CHARACTER + 16, len(box.lines) * _LINE + 10)
        for n, box in enumerate(drawn.boxes)
    }
    heights = [sum(sizes[n][1] + _GAP_Y for n in column) for column in placed]
    height = max(heights, default=0.0) + _GAP_Y
    corner: dict[int, tuple[float, float]] = {}
    x = _GAP_Y
    for column, tall in zip(placed, heights, strict=True):
        y = (height - tall + _GAP_Y) / 2
        wide = max(sizes[n][0] for n in column)
        for n in column:
            corner[n] = (x + (wide - sizes[n][0]) / 2, y)
            y += sizes[n][1] + _GAP_Y
        x += wide + _GAP_X
    width = max(x - _GAP_X + _GAP_Y, 2 * _GAP_Y)
    colour_of = _colours(drawn)
    body = []
    for source, product, task in drawn.arrows:
        x1, y1 = corner[source][0] + sizes[source][0], corner[source][1] + sizes[source][1] / 2
        x2, y2 = corner[product][0], corner[product][1] + sizes[product][1] / 2
        middle = (x1 + x2) / 2
        body.append(
            f'<path d="M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} '
            f'{x2:.1f},{y2:.1f}" fill="none" stroke="{colour_of(drawn.boxes[source].kind)}" '
            f'stroke-opacity="0.65" marker-end="url(#tip)"><title>{html.escape(task)}</title>'
            "</path>"
        )
    for n, box in enumerate(drawn.boxes):
        x, y = corner[n]
        wide, tall = sizes[n]
        body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="4" '
            f'fill="white" stroke="{colour_of(box.kind)}" '
            f'stroke-width="{3 if box.is_root else 1.2}"/>'
        )
        for i, line in enumerate(box.lines):
            bold = ' font-weight="bold"' if i == 0 else ""
            body.append(
                f'<text x="{x + wide / 2:.1f}" y="{y + 15 + i * _LINE:.1f}" '
                f'text-anchor="middle"{bold}>{html.escape(line)}</text>'
            )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>'
    )
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, tip, paper, *body, "</svg>", ""])


def _colours(drawn: Picture) -> Callable[[str], str]:
    kinds = sorted({box.kind for box in drawn.boxes})
    return {kind: _COLOURS[n % len(_COLOURS)] for n, kind in enumerate(kinds)}.__getitem__


def columns(
    roots: Sequence[Any], nodes: Sequence[Any], lines: set[tuple[Any, Any]]
) -> list[list[Any]]:
    """Put nodes into columns, oldest left, ordered so that few lines cross.

    A node stands left of all that was made from it, by its longest way; nodes that nothing was made
    from stand at the right, roots too.  Layers and barycentre sweeps of Sugiyama, Tagawa & Toda
    (1981), with a node's neighbours in all columns.

    Parameters
    ----------
    roots : sequence
        Nodes that begin their column.
    nodes : sequence
        All nodes.
    lines : set of (from, to)
        Without circles.
    """
    if not nodes:
        return []
    before: dict[Any, set[Any]] = {n: set() for n in nodes}
    after: dict[Any, set[Any]] = {n: set() for n in nodes}
    for source, product in lines:
        before[product].add(source)
        after[source].add(product)
    depth = dict.fromkeys(nodes, 0)
    waiting = {n: len(after[n]) for n in nodes}
    free = [n for n in nodes if not waiting[n]]
    while free:
        node = free.pop()
        for source in before[node]:
            depth[source] = max(depth[source], depth[node] + 1)
            waiting[source] -= 1
            if not waiting[source]:
                free.append(source)
    placed: list[list[Any]] = [[] for _ in range(max(depth.values()) + 1)]
    first = set(roots)
    for node in sorted(nodes, key=lambda n: n not in first):
        placed[-1 - depth[node]].append(node)
    neighbours = {n: [*before[n], *after[n]] for n in nodes}
    rank = {n: i / len(column) for column in placed for i, n in enumerate(column)}
    for _ in range(12):
        for column in [*placed, *placed[::-1]]:
            middle = {
                n: sum(rank[m] for m in neighbours[n]) / len(neighbours[n])
                if neighbours[n]
                else rank[n]
                for n in column
            }
            column.sort(key=middle.__getitem__)
            rank.update({n: i / len(column) for i, n in enumerate(column)})
    return placed
