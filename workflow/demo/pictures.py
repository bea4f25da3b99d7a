"""What do the products look like: an image, calibrations in time, the history of a dataset?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from registry.identity import DatasetRef
    from registry.provenance import Edge

__all__ = ["draw_history", "draw_images", "draw_timeline"]

_COLOURS = {"bias": "#4c72b0", "dark": "#55555f", "flat": "#dd8452", "defects": "#937860"}


def _new(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_images(images: Mapping[str, NDArray[Any]], target: Path, title: str) -> None:
    """Draw images side by side, north up as they are, from the 1st to the 99.5th percentile."""
    columns = min(len(images), 4)
    rows = -(-len(images) // columns)
    figure = _new(4.2 * columns, 4.4 * rows)
    figure.suptitle(title)
    for n, (name, image) in enumerate(images.items(), 1):
        axes = figure.add_subplot(rows, columns, n)
        good = image[np.isfinite(image)]
        low, high = np.percentile(good, [1, 99.5]) if good.size else (0, 1)
        axes.imshow(image, origin="lower", cmap="gray_r", vmin=low, vmax=high)
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(target, dpi=110)


def draw_timeline(coverage: pd.DataFrame, target: Path) -> None:
    """Draw over which time each calibration holds, from the view calibration_coverage."""
    from registry.timespan import BEGINNING, END

    rows = coverage.fillna({"physical_filter": ""})
    rows = rows.sort_values(["dataset_type", "physical_filter", "detector"])
    finite = [
        t
        for column in ("valid_begin_tai_ns", "valid_end_tai_ns")
        for t in rows[column]
        if BEGINNING < t < END
    ]
    first, last = (min(finite), max(finite)) if finite else (0, 86_400_000_000_000)
    margin = max((last - first) // 4, 43_200_000_000_000)
    low, high = first - margin, last + margin
    keys = list(
        dict.fromkeys((r.dataset_type, r.detector, r.physical_filter) for r in rows.itertuples())
    )
    figure = _new(10, 1.2 + 0.28 * len(keys))
    axes = figure.add_subplot()
    hour = 3_600_000_000_000
    for r in rows.itertuples():
        y = keys.index((r.dataset_type, r.detector, r.physical_filter))
        begin, end = max(r.valid_begin_tai_ns, low), min(r.valid_end_tai_ns, high)
        gap = r.coverage == "gap"
        axes.barh(
            y,
            (end - begin) / hour,
            left=(begin - first) / hour,
            height=0.7,
            color="white" if gap else _COLOURS.get(r.dataset_type, "#8172b3"),
            edgecolor="#c44e52" if gap else "white",
            hatch="//" if gap else None,
        )
        made = r.made_from_day_obs
        if not gap and made == made and made is not None:  # noqa: PLR0124 (nan)
            axes.text(
                ((begin + end) / 2 - first) / hour,
                y,
                f"{int(made)}",
                ha="center",
                va="center",
                fontsize=7,
                color="white",
            )
    axes.set_yticks(
        range(len(keys)), [f"{t} {f} det {d}".replace("  ", " ") for t, d, f in keys], fontsize=8
    )
    axes.set_xlabel("hours since the first validity began")
    axes.set_title("Calibrations: valid (with the night they were made from) and gaps")
    axes.invert_yaxis()
    figure.savefig(target, dpi=110)


def draw_history(ref: DatasetRef, edges: Sequence[Edge], target: Path) -> None:
    """Draw what a dataset was made from, a column for each step; raw frames are counted."""
    level = {ref.id: 0}
    for edge in edges:
        if edge.output.id in level:
            level[edge.input.id] = max(level.get(edge.input.id, 0), level[edge.output.id] + 1)
    nodes: dict[Any, tuple[int, str]] = {ref.id: (0, _label(ref))}
    counted: dict[Any, int] = {}
    lines: set[tuple[Any, Any, str]] = set()
    for edge in edges:
        key: Any = edge.input.id
        if edge.input.dataset_type.name == "raw":
            key = ("raw", edge.output.id)
            counted[key] = counted.get(key, 0) + 1
            nodes[key] = (level.get(edge.output.id, 0) + 1, "")
        else:
            nodes[key] = (level.get(key, 1), _label(edge.input))
        lines.add((key, edge.output.id, edge.task_label))
    for key, n in counted.items():
        nodes[key] = (nodes[key][0], f"{n} raw")
    columns: dict[int, list[Any]] = {}
    for key, (depth, _) in nodes.items():
        columns.setdefault(depth, []).append(key)
    tallest = max(len(c) for c in columns.values())
    place = {
        key: (-depth, (i - (len(keys) - 1) / 2) * tallest / max(len(keys), 1))
        for depth, keys in columns.items()
        for i, key in enumerate(keys)
    }
    figure = _new(3.4 * len(columns) + 1, 0.55 * tallest + 2)
    axes = figure.add_subplot()
    for source, output, _ in lines:
        (x0, y0), (x1, y1) = place[source], place[output]
        axes.plot([x0, x1], [y0, y1], color="#b0b0b0", lw=0.8, zorder=1)
    for key, (_, text) in nodes.items():
        axes.text(
            *place[key],
            text,
            ha="center",
            va="center",
            fontsize=7,
            zorder=2,
            bbox={"boxstyle": "round", "fc": "#eef3fa", "ec": "#4c72b0", "lw": 0.8},
        )
    axes.set_xlim(-len(columns) + 0.4, 0.6)
    axes.set_ylim(-tallest / 2 - 0.6, tallest / 2 + 0.6)
    axes.axis("off")
    axes.set_title(f"What {_label(ref)} was made from".replace("\n", " "), fontsize=10)
    figure.savefig(target, dpi=110)


def _label(ref: DatasetRef) -> str:
    values = ", ".join(str(v) for k, v in ref.data_id.items() if k not in ("instrument", "skymap"))
    return f"{ref.dataset_type.name}\n{values}"
