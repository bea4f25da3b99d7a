"""What do the reporting views look like?

One picture per view, of the kind that answers its question at a glance.  The rows come from
`registry.reports`; nothing is asked here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from registry.views import View

__all__ = ["CannotDraw", "draw"]

MEANT = {
    "done": "#55a868",
    "explained": "#55a868",
    "failed": "#c44e52",
    "lost": "#c44e52",
    "gap": "#c44e52",
    "missing": "#c44e52",
    "unexplained": "#c44e52",
    "blocked": "#dd8452",
    "no work": "#8c8c8c",
}
"""Colours of what is well and what is not."""

FORMATS = (".png", ".pdf", ".svg")
SHOWN = 24
"""Bars in a picture; the rest is left out, and the title says so."""
COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#64b5cd", "#8c8c8c")


def _colour(name: str, place: int) -> str:
    return MEANT.get(name, COLOURS[place % len(COLOURS)])


class CannotDraw(WorkflowError, ValueError):
    """A report cannot be drawn."""

    code = "cannot-draw"


def draw(frame: pd.DataFrame, view: View, path: str) -> None:
    """Draw a view.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its rows, as `registry.reports.read_view` gives them.
    view : registry.views.View
        Which one it is.
    path : str
        A file that ends in .png, .pdf or .svg.

    Raises
    ------
    CannotDraw
        If there are no rows, the file has another ending, or matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise CannotDraw(f"'{path}' does not end in {', '.join(FORMATS)}.")
    if frame.empty:
        raise CannotDraw(f"The view {view.name} has no rows; there is nothing to draw.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise CannotDraw(
            "Pictures need matplotlib; install it with: pip install 'skyspine[ccd]'"
        ) from error

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _DRAWN[view.name](axes, frame)
    axes.set_title(view.question, fontsize=10, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _bars(axes: Any, table: pd.DataFrame, label: str, *, legend: bool = True) -> None:
    """Draw a row per index entry and a piece per column, side by side to the right."""
    left_out = max(len(table) - SHOWN, 0)
    table = table.head(SHOWN).iloc[::-1]
    names = [str(n) for n in table.index]
    start = [0.0] * len(table)
    for n, column in enumerate(table.columns):
        widths = [float(v) for v in table[column]]
        axes.barh(names, widths, left=start, label=str(column), color=_colour(str(column), n))
        start = [s + w for s, w in zip(start, widths, strict=True)]
    axes.set_xlabel(label + (f"   ({left_out} smaller ones are left out)" if left_out else ""))
    if legend and len(table.columns) > 1:
        _legend(axes)
    axes.set_ylim(min(len(table) - 5, 0) - 0.6, len(table) - 0.4)


def _legend(axes: Any) -> None:
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _unit(values: Any) -> tuple[float, str]:
    """Choose a unit in which the largest of some sizes is a handy number."""
    largest = max((abs(float(v)) for v in values if v is not None), default=0.0)
    units = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(((size, name) for size, name in units if largest >= size), (1.0, "byte"))


def _sizes(axes: Any, frame: pd.DataFrame, rows: list[str], pieces: str | None) -> None:
    """Draw sizes as bars, by one column or several, in pieces by another."""
    numbers = frame.assign(size_bytes=frame["size_bytes"].astype(float))
    by = numbers[rows].astype(str).agg("  ".join, axis=1)
    table = numbers.pivot_table(
        index=by, columns=numbers[pieces] if pieces else None, values="size_bytes", aggfunc="sum"
    ).fillna(0.0)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    scale, unit = _unit(table.sum(axis=1))
    _bars(axes, table / scale, f"size [{unit}]", legend=pieces is not None)


def _counts(axes: Any, frame: pd.DataFrame, rows: list[str], columns: dict[str, str]) -> None:
    table = frame[list(columns)].astype(float).rename(columns=columns)
    table.index = frame[rows].astype(str).agg("  ".join, axis=1)
    _bars(axes, table.groupby(level=0, sort=False).sum(), "number")


def _by_night(axes: Any, frame: pd.DataFrame) -> None:
    table = frame.pivot_table(
        index="day_obs", columns="dataset_type", values="n_datasets", aggfunc="sum"
    ).fillna(0)
    _bars(axes, table.sort_index(ascending=False).astype(float), "datasets")
    axes.set_ylabel("night")


def _growth(axes: Any, frame: pd.DataFrame) -> None:
    scale, unit = _unit(frame["total_bytes"])
    days = list(frame["day_begin_tai"])
    daily = [float(v) / scale for v in frame["size_bytes"]]
    axes.bar(days, daily, color=COLOURS[1], width=0.8, label="of the day")
    axes.plot(days, [float(v) / scale for v in frame["total_bytes"]], "o-", label="total")
    _dates(axes)
    axes.set_ylabel(f"size [{unit}]")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _forecast(axes: Any, frame: pd.DataFrame) -> None:
    if frame["total_bytes"].isna().any():
        raise CannotDraw("All data came in one day; there is no growth to draw a line through.")
    scale, unit = _unit(frame["total_bytes"])
    days, totals = list(frame["forecast_tai"]), [float(v) / scale for v in frame["total_bytes"]]
    axes.plot(days, totals, "o--")
    for day, total, horizon in zip(days, totals, frame["horizon_days"], strict=True):
        axes.annotate(f"{horizon} days", (day, total), xytext=(-8, 8), ha="right",
                      textcoords="offset points", fontsize=8)  # fmt: skip
    _dates(axes)
    axes.set_ylabel(f"total size [{unit}]")
    axes.set_ylim(bottom=0)


def _dates(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _spans(axes: Any, frame: pd.DataFrame, begin: str, end: str, kind: str) -> None:
    """Draw ranges of time as bars, one line per calibration; open ends reach the frame."""
    import pandas as pd
    from matplotlib.dates import date2num

    spans = frame.assign(begin=pd.to_datetime(frame[begin]), end=pd.to_datetime(frame[end]))
    times = pd.concat([spans["begin"], spans["end"]]).dropna()
    if times.empty:
        raise CannotDraw("Every calibration holds for ever; there is nothing to draw in time.")
    margin = (times.max() - times.min()) / 10 + pd.Timedelta(days=0.5)
    low, high = times.min() - margin, times.max() + margin
    keys = ["dataset_type", "detector", "physical_filter"]
    names = spans[keys].astype(object).where(spans[keys].notna(), "").astype(str)
    lines = names.agg(" ".join, axis=1).str.strip()
    order = {name: n for n, name in enumerate(sorted(set(lines), reverse=True))}
    seen: set[str] = set()
    kinds = sorted(set(spans[kind]))
    for name, row in zip(lines, spans.itertuples(), strict=True):
        what = str(getattr(row, kind))
        left = date2num(low if pd.isna(row.begin) else row.begin)
        right = date2num(high if pd.isna(row.end) else row.end)
        axes.barh(order[name], right - left, left=left, height=0.7, edgecolor="white",
                  color=_colour(what, kinds.index(what)),
                  label=None if what in seen else what)  # fmt: skip
        seen.add(what)
        if hasattr(row, "n_science_exposures"):
            axes.text((left + right) / 2, order[name], f"{row.n_science_exposures} exposures",
                      ha="center", va="center", fontsize=8, color="white")  # fmt: skip
    axes.set_yticks(list(order.values()), list(order), fontsize=max(4, min(8, 260 // len(order))))
    axes.set_xlim(date2num(low), date2num(high))
    axes.xaxis_date()
    _dates(axes)
    axes.set_xlabel("TAI")
    axes.set_ylim(min(len(order) - 8, 0) - 0.6, len(order) - 0.4)
    _legend(axes)


def _late(axes: Any, frame: pd.DataFrame) -> None:
    late = frame[frame["kind"] == "late"]
    missing = frame[frame["kind"] == "missing"].groupby("day_obs").size()
    table = late.groupby("day_obs").size().to_frame("late").join(
        missing.rename("missing"), how="outer"
    )  # fmt: skip
    _bars(axes, table.fillna(0.0).sort_index(ascending=False), "raw datasets, or exposures missing")
    axes.set_ylabel("night")


def _largest(axes: Any, frame: pd.DataFrame) -> None:
    top = frame.sort_values("rank_overall").head(SHOWN)
    keys = ["detector", "exposure", "visit"]
    told = top[keys].astype(object).where(top[keys].notna(), "").astype(str).agg(" ".join, axis=1)
    labels = top["rank_overall"].astype(str) + "  " + top["dataset_type"] + " " + told
    scale, unit = _unit(top["size_bytes"])
    table = (top["size_bytes"].astype(float) / scale).to_frame()
    table.index = labels
    _bars(axes, table, f"size [{unit}]")


def _sky(axes: Any, frame: pd.DataFrame) -> None:
    placed = frame[frame["s_ra"].notna()]
    if placed.empty:
        raise CannotDraw("No product has a position on the sky.")
    for n, (level, part) in enumerate(placed.groupby("calib_level")):
        for region in part["s_region"].dropna().unique():
            corners = [float(v) for v in region.split()[2:]]
            if region.startswith("POLYGON"):
                ra, dec = corners[::2], corners[1::2]
                axes.plot(
                    [*ra, ra[0]],
                    [*dec, dec[0]],
                    color=COLOURS[n % len(COLOURS)],
                    linewidth=0.6,
                    alpha=0.5,
                )
        axes.plot(part["s_ra"].astype(float), part["s_dec"].astype(float), "o",
                  markersize=11 - 2 * n, color=COLOURS[n % len(COLOURS)],
                  label=f"calib_level {level}: {len(part)}")  # fmt: skip
    axes.invert_xaxis()
    axes.set_xlabel("right ascension, ICRS [deg]")
    axes.set_ylabel("declination, ICRS [deg]")
    axes.ticklabel_format(useOffset=False)
    _legend(axes)


def _edges(axes: Any, frame: pd.DataFrame) -> None:
    table = frame.groupby(["task_label", "input_type"]).size().unstack(fill_value=0).astype(float)
    _bars(axes, table, "inputs read")


def _complete(axes: Any, frame: pd.DataFrame) -> None:
    table = frame[["n_datasets", "n_unexplained"]].astype(float)
    explained = (table["n_datasets"] - table["n_unexplained"]).rename("explained")
    shown = explained.to_frame().join(table["n_unexplained"].rename("unexplained"))
    shown.index = frame[["run", "dataset_type"]].agg("  ".join, axis=1)
    _bars(axes, shown, "datasets")


def _metrics(axes: Any, frame: pd.DataFrame) -> None:
    """Draw the metrics that were compared, each in units of its median; all, if none was."""
    import pandas as pd

    judged = frame[frame["verdict"].notna()] if frame["verdict"].notna().any() else frame
    name = judged["task_label"] + " " + judged["metric"]
    for n, (metric, rows) in enumerate(list(judged.groupby(name))[: len(COLOURS)]):
        value = rows["value"].astype(float)
        usual = value.median() or 1.0
        at = pd.to_datetime(rows["measured_at"])
        axes.plot(at, value / usual, "o", ms=4, color=COLOURS[n], label=f"{metric} / {usual:.4g}")
        bad = rows["verdict"].isin(["warning", "failure"])
        axes.plot(at[bad], value[bad] / usual, "o", ms=9, mfc="none", color=MEANT["failed"])
    axes.plot([], [], "o", ms=9, mfc="none", color=MEANT["failed"], label="not good enough")
    axes.set_ylabel("value / median")
    _dates(axes)
    _legend(axes)


_DRAWN: dict[str, Callable[[Any, Any], None]] = {
    "calibration_coverage": lambda a, f: _spans(
        a, f, "valid_begin_tai", "valid_end_tai", "coverage"
    ),
    "calibration_gap": lambda a, f: _spans(a, f, "gap_begin_tai", "gap_end_tai", "place"),
    "dataset_summary": lambda a, f: _sizes(a, f, ["dataset_type"], "run"),
    "growth": _growth,
    "growth_forecast": _forecast,
    "ingest_by_night": _by_night,
    "largest_dataset": _largest,
    "late_dataset": _late,
    "metric_history": _metrics,
    "obscore": _sky,
    "open_incident": lambda a, f: _counts(a, f, ["severity", "subject"], {"n_seen": "seen"}),
    "orphan": lambda a, f: _counts(a, f.assign(one=1), ["kind"], {"one": "number"}),
    "provenance_completeness": _complete,
    "provenance_edge": _edges,
    "quantum_outcome": lambda a, f: _counts(
        a,
        f.assign(ended=f["error_kind"].fillna(f["exception_class"]).fillna("no error")),
        ["task_label", "state", "ended"],
        {"n_quanta": "quanta"},
    ),
    "replica_health": lambda a, f: _sizes(a, f, ["site", "endpoint"], "state"),
    "run_summary": lambda a, f: _counts(
        a,
        f,
        ["run", "task_label"],
        {"n_done": "done", "n_no_work": "no work", "n_failed": "failed", "n_blocked": "blocked",
         "n_open": "open"},
    ),
}  # fmt: skip
