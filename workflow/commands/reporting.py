"""Commands that show what views and named questions say: report, query."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    import pandas as pd

    from registry.views import View


@click.command()
@click.argument("repo")
@click.argument("view", required=False)
@click.option("--describe", is_flag=True, help="Tell the columns of VIEW instead of its rows.")
@click.option("--plot", metavar="FILE", help="Draw VIEW into a PNG, PDF or SVG file.")
@click.option("--output", metavar="FILE", help="Write the rows to a file, in the format given.")
@format_option
def report(
    repo: str, view: str | None, describe: bool, plot: str | None, output: str | None, style: str
) -> None:
    """Read the reporting view VIEW; without it, list the views and their questions."""
    from registry import reports

    if view is None:
        if describe or plot or output:
            raise click.UsageError("Name a view; `skyspine report REPO` lists them.")
        rows = [{"view": k, "question": v} for k, v in reports.describe().items()]
        show(rows, style, ("view", "question"))
        return
    told = reports.view(view)
    if describe:
        columns = [
            {"column": c.name, "type": c.type, "unit": c.unit, "meaning": c.doc}
            for c in told.columns
        ]
        show(columns, style, ("column", "type", "unit", "meaning"))
        return
    from butler import Butler

    with Butler(repo) as butler:
        frame = butler.registry.report(view)
    if plot:
        from workflow.report_plots import draw

        draw(frame, told, plot)
        click.echo(f"Drew {plot}.")
    frame = _typed(frame, told)
    if output:
        _write(frame, output, style)
        click.echo(f"Wrote {len(frame)} rows to {output}.")
    if not plot and not output:
        _print(frame, style)


def _typed(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """Give the columns the types that the view's file declares, whatever values they hold."""
    kinds = {"integer": "Int64", "double": "float64", "timestamp": "datetime64[us]"}
    return frame.astype({c.name: kinds.get(c.type, "object") for c in view.columns})


@click.command()
@click.argument("repo", required=False)
@click.argument("name", required=False)
@click.argument("values", nargs=-1, metavar="[PARAMETER=VALUE]...")
@click.option("--sql", is_flag=True, help="Print the SQL of NAME and its parameters; run nothing.")
@format_option
def query(
    repo: str | None, name: str | None, values: tuple[str, ...], sql: bool, style: str
) -> None:
    """Answer the named question NAME; without it, list the questions and their parameters."""
    from registry import cookbook

    if repo is None or name is None:
        rows = [
            {"name": q.name, "question": q.question, "parameters": _parameters(q)}
            for q in cookbook.questions().values()
        ]
        show(rows, style, ("name", "question", "parameters"))
        return
    question = cookbook.read(name)
    if sql:
        click.echo(f"-- {question.question}")
        for p in question.parameters:
            click.echo(f"-- :{p.name} {p.type}, {p.doc}; for example {p.example}")
        click.echo(question.sql)
        return
    given = {}
    for value in values:
        parameter, equals, text = value.partition("=")
        if not equals:
            raise click.UsageError(
                f"'{value}' is not PARAMETER=VALUE; {name} takes {_parameters(question) or 'none'}."
            )
        given[parameter] = text
    from butler import Butler

    with Butler(repo) as butler, butler.registry.read() as connection:
        frame = cookbook.run(connection, name, **given)
    rows = [{str(k): v for k, v in r.items()} for r in frame.to_dict("records")]
    show(rows, style, [str(c) for c in frame.columns])


def _parameters(question: Any) -> str:
    return " ".join(f"{p.name}={p.example!r}" if " " in p.example else f"{p.name}={p.example}"
                    for p in question.parameters)  # fmt: skip


def _print(frame: pd.DataFrame, style: str) -> None:
    if style == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif style == "parquet":
        frame.to_parquet(sys.stdout.buffer)
    else:
        known = frame.astype(object).where(frame.notna(), None)
        rows = [{str(k): v for k, v in r.items()} for r in known.to_dict("records")]
        show(rows, style, [str(c) for c in frame.columns])


def _write(frame: pd.DataFrame, path: str, style: str) -> None:
    """Write a table to a file: CSV, JSON or Parquet as asked, or as the file's name ends."""
    kind = style if style != "table" else Path(path).suffix.lstrip(".").lower()
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "json":
        frame.to_json(path, orient="records", indent=1, date_format="iso", date_unit="us")
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        raise click.UsageError(
            f"'{path}' does not end in .csv, .json or .parquet; say --format csv|json|parquet."
        )
