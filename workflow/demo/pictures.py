"""What do the products look like: an image, calibrations in time, the history of a dataset?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.provenance.pictures import columns as layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from registry.identity import DatasetRef
    from registry.provenance import Edge

__all__ = ["draw_history", "draw_images", "draw_spectra", "draw_timeline"]

_COLOURS = {
    "bias": "#4c72b0",
    "dark": "#55555f",
    "flat": "#dd8452",
    "defects": "#937860",
    "calexp": "#2e8b57",
}
_SHORT = {
    "detector": "det",
    "exposure": "exp",
    "day_obs": "night",
    "physical_filter": "",
    "band": "",
}


def _new(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_images(
    images: Mapping[str, NDArray[Any]],
    target: Path,
    title: str,
    marks: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    """Draw images side by side, as they are, from the 1st to the 99.5th percentile.

    Parameters
    ----------
    images : mapping of str to array
        By name. Spectra (more than eight times as wide as high) are stretched and stand one above
        the other.
    target : Path
        PNG file.
    title : str
        Above all.
    marks : mapping of str to (x, y), optional
        Where to draw circles [pixel, counted from 0], by name of the image.
    """
    shapes = [image.shape for image in images.values()]
    spectra = all(width > 8 * height for height, width in shapes)
    columns = 1 if spectra else min(len(images), 4)
    rows = -(-len(images) // columns)
    tallest = max(height / width for height, width in shapes)
    figure = _new(
        *((11, 1.7 * rows + 0.5) if spectra else (4.2 * columns, 4.2 * tallest * rows + 0.6))
    )
    figure.suptitle(title)
    for n, (name, image) in enumerate(images.items(), 1):
        axes = figure.add_subplot(rows, columns, n)
        good = image[np.isfinite(image)]
        low, high = np.percentile(good, [1, 99.5]) if good.size else (0, 1)
        aspect = "auto" if spectra else "equal"
        axes.imshow(
            image,
            origin="lower",
            cmap="gray_r",
            vmin=low,
            vmax=high,
            aspect=aspect,
            interpolation="nearest",
        )
        for x, y in [marks[name]] if marks and name in marks else []:
            axes.plot(x, y, "o", mfc="none", mec="#c44e52", ms=6, mew=0.7)
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(target, dpi=110)


def draw_spectra(spectra: Mapping[str, NDArray[Any]], target: Path, title: str) -> None:
    """Draw spectra one above the other, as intensity over the number of the column."""
    figure = _new(11, 2.0 * len(spectra) + 0.6)
    figure.suptitle(title)
    for n, (name, values) in enumerate(spectra.items(), 1):
        axes = figure.add_subplot(len(spectra), 1, n)
        axes.plot(values, lw=0.7, color="#2e8b57")
        axes.set_title(name, fontsize=9)
        axes.set_xlim(0, len(values) - 1)
        axes.tick_params(labelsize=7)
    axes.set_xlabel("column [pixel]", fontsize=8)
    figure.savefig(target, dpi=110)


def draw_timeline(coverage: pd.DataFrame, target: Path) -> None:
    """Draw over which time each calibration holds, from the view calibration_coverage."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

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
    day = 86_400_000_000_000
    for r in rows.itertuples():
        y = keys.index((r.dataset_type, r.detector, r.physical_filter))
        begin, end = max(r.valid_begin_tai_ns, low), min(r.valid_end_tai_ns, high)
        gap = r.coverage == "gap"
        axes.barh(
            y,
            (end - begin) / day,
            left=begin / day,
            height=0.7,
            color="white" if gap else _COLOURS.get(r.dataset_type, "#8172b3"),
            edgecolor="#c44e52" if gap else "white",
            hatch="//" if gap else None,
        )
        made = r.made_from_day_obs
        if not gap and made == made and made is not None:  # noqa: PLR0124 (nan)
            axes.text(
                (begin + end) / 2 / day,
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
    places = AutoDateLocator()
    axes.xaxis.set_major_locator(places)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(places))
    axes.set_xlim(low / day, high / day)
    axes.set_xlabel("TAI")
    axes.set_title("Calibrations: valid (with the night they were made from) and gaps")
    axes.invert_yaxis()
    figure.savefig(target, dpi=110)


def draw_history(ref: DatasetRef, edges: Sequence[Edge], target: Path) -> None:
    """Draw what a dataset was made from, a column for each step, oldest left.

    Parameters
    ----------
    ref : DatasetRef
        The dataset, drawn at the right.
    edges : sequence of Edge
        Its ancestors, in any order. Raw frames are counted where they were read.
    target : Path
        PNG file.
    """
    raw: Counter[Any] = Counter()
    labels, kinds = {ref.id: _label(ref)}, {ref.id: ref.dataset_type.name}
    lines: set[tuple[Any, Any]] = set()
    for edge in edges:
        labels[edge.output.id] = _label(edge.output)
        kinds[edge.output.id] = edge.output.dataset_type.name
        if edge.input.dataset_type.name == "raw":
            raw[edge.output.id] += 1
            continue
        labels[edge.input.id] = _label(edge.input)
        kinds[edge.input.id] = edge.input.dataset_type.name
        lines.add((edge.input.id, edge.output.id))
    columns = layers([ref.id], list(labels), lines)[::-1]
    height = max(len(column) for column in columns)
    place = {
        node: (float(-depth), (i + 0.5) * height / len(column) - height / 2)
        for depth, column in enumerate(columns)
        for i, node in enumerate(column)
    }
    figure = _new(3.0 * len(columns) + 1, 0.62 * height + 1.2)
    axes = figure.add_subplot()
    for source, output in lines:
        x, y = _curve(place[source], place[output])
        axes.plot(x, y, color=_COLOURS.get(kinds[source], "#8c8c8c"), lw=0.9, alpha=0.6, zorder=1)
    for node, text in labels.items():
        counted = f"\nfrom {raw[node]} raw" if raw[node] else ""
        axes.text(
            *place[node],
            text + counted,
            ha="center",
            va="center",
            fontsize=7.5,
            zorder=2,
            bbox={"boxstyle": "round", "fc": "white", "lw": 1.1,
                  "ec": _COLOURS.get(kinds[node], "#333333")},
        )  # fmt: skip
    axes.set_xlim(-len(columns) + 0.5, 0.5)
    axes.set_ylim(-height / 2 - 0.2, height / 2 + 0.2)
    axes.axis("off")
    axes.set_title(f"What {_label(ref)} was made from".replace("\n", " "), fontsize=11)
    figure.savefig(target, dpi=110)


def _curve(
    start: tuple[float, float], end: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line that leaves and arrives horizontally."""
    t = np.linspace(0.0, 1.0, 40)
    bend = t * t * (3.0 - 2.0 * t)
    return start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * bend


def _label(ref: DatasetRef) -> str:
    """Name a dataset in two lines: its type, and its keys without what all have in common."""
    values = ", ".join(
        f"{_SHORT.get(k, k)} {v}".strip()
        for k, v in ref.data_id.items()
        if k not in ("instrument", "skymap")
    )
    return f"{ref.dataset_type.name}\n{values}"
