"""How does a command show rows: as a table, JSON, CSV or Parquet?"""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["format_option", "show"]

FORMATS = ("table", "json", "csv", "parquet")


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format`` to a command."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print the rows; Parquet goes to standard output as it is.",
    )(function)


def show(rows: Sequence[Mapping[str, Any]], style: str, columns: Sequence[str] = ()) -> None:
    """Print rows.

    Parameters
    ----------
    rows : sequence of mappings
        All with the same keys.
    style : str
        One of `FORMATS`.
    columns : sequence of str
        Their names, for when there are no rows.
    """
    names = list(rows[0]) if rows else list(columns)
    if style == "json":
        click.echo(json.dumps([{k: _plain(v) for k, v in r.items()} for r in rows], indent=1))
        return
    if style in ("csv", "parquet"):
        import pandas as pd

        plain = [[_plain(r[n]) for n in names] for r in rows]
        frame = pd.DataFrame(plain, columns=names, dtype=object)
        for name in names:
            kinds = {type(v) for v in frame[name] if v is not None}
            if kinds == {int}:  # whole numbers stay whole beside missing ones
                frame[name] = frame[name].astype("Int64")
            elif kinds and kinds <= {int, float}:
                frame[name] = frame[name].astype(float)
        if style == "csv":
            click.echo(frame.to_csv(index=False), nl=False)
        else:
            frame.to_parquet(sys.stdout.buffer)
        return
    cells = [[_text(r[n]) for n in names] for r in rows]
    widths = [max([len(n), *(len(c[i]) for c in cells)]) for i, n in enumerate(names)]
    right = [all(isinstance(r[n], (int, float)) or r[n] is None for r in rows) for n in names]
    for line in ([*names], ["-" * w for w in widths], *cells):
        padded = [
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())
    if not rows:
        click.echo("no rows")


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, uuid.UUID) else value


def _text(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 (nan)
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e15 and value != int(value) else f"{value:.0f}"
    return str(_plain(value))
