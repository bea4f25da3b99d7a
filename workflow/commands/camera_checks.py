"""What a definition makes of sample files, printed for the engineer who writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import show

if TYPE_CHECKING:
    from butler.instrument.checking import CheckedFile, Report

_LONG = 60
_MANY = 3
_LONG_LIST = 20


@click.command()
@click.argument("definition")
@click.option(
    "--sample",
    "samples",
    multiple=True,
    required=True,
    type=click.Path(exists=True),
    help="A file, or a folder that is searched; may be given several times.",
)
@click.option("--each", is_flag=True, help="Show every file card by card, not one of each kind.")
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(["table", "json"]),
    help="How to print what was found; json has all of it.",
)
def check(definition: str, samples: tuple[str, ...], each: bool, style: str) -> int:
    """Tell what DEFINITION, a YAML file or a shipped camera, makes of real files.

    Nothing is registered. Status 1 when a file is refused, or none is of this camera.
    """
    from butler.cameras import read_definition
    from butler.instrument.checking import check_files

    camera = read_definition(definition)
    paths = [path for sample in samples for path in _files(Path(sample))]
    report = check_files(camera, paths)
    if style == "json":
        click.echo(json.dumps(report.document(), indent=1, default=str))
    else:
        _print(report, each)
    return 0 if report.files and not report.refused else 1


def _files(sample: Path) -> list[Path]:
    if sample.is_dir():
        return sorted(path for path in sample.rglob("*") if path.is_file())
    return [sample]


def _print(report: Report, each: bool) -> None:
    kinds: set[str] = set()
    for file in report.files:
        if file.values and (each or file.kind not in kinds):
            kinds.add(file.kind)
            _print_file(file)
    if report.files:
        click.echo("How often each rule gave a value, in files:\n")
        show([r | {"example": _short(r["example"])} for r in report.rules()], "table")
        unused = report.unused_cards()
        cards = ", ".join(f"{r['card']} ({r['files']})" for r in unused[:200])
        click.echo(f"\nCards that no rule looks at, with the number of files: {cards or 'none'}\n")
        click.echo("What the files are, in files:\n")
        show(_few(report.dimension_values()), "table", ("name", "value", "files"))
    if report.refused:
        click.echo("\nRefused:")
        alike: dict[str, list[str]] = {}
        for file in report.refused:
            why = file.problem.replace(f"{file.path}: ", "").replace(str(file.path), "it")
            alike.setdefault(why, []).append(str(file.path))
        for why, paths in alike.items():
            more = f" and {len(paths) - _MANY} more" if len(paths) > _MANY else ""
            click.echo(f"  {', '.join(paths[:_MANY])}{more}: {why}")
    name = f"{report.definition.name} version {report.definition.version}"
    good = len(report.files) - len(report.refused)
    click.echo(
        f"\n{name}: {good} datasets, {len(report.refused)} refused, {len(report.ignored)} ignored."
    )
    if not report.files:
        click.echo("No file was looked at: all are to be ignored.", err=True)


def _print_file(file: CheckedFile) -> None:
    click.echo(f"{file.path}, of the kind '{file.kind}': {file.dataset or 'refused'}\n")
    rows: list[dict[str, Any]] = []
    for told in file.values:
        place = f" of HDU {told.hdu}" if told.hdu is not None else ""
        written = f" = {_short(told.content)}" if told.content is not None else ""
        value = "refused" if told.problem else _short(told.value)
        what = f"{told.source}{place}{written}" if value else f"{told.source} is absent"
        rows.append({"value": told.name, "is": value, "made of": what, "by": told.rule})
    show(rows, "table")
    for told in file.values:
        if told.problem:
            click.echo(f"  {told.name}: {told.problem}")
    click.echo("")


def _few(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what has many values, such as exposures, into one row."""
    values: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        values.setdefault(row["name"], []).append(row)
    few: list[dict[str, Any]] = []
    for name, mine in values.items():
        if len(mine) <= _LONG_LIST:
            few += mine
            continue
        text = f"{len(mine)} values, {mine[0]['value']} to {mine[-1]['value']}"
        few.append({"name": name, "value": text, "files": sum(r["files"] for r in mine)})
    return few


def _short(value: Any) -> str:
    from butler.instrument.checking import shown

    text = "" if value is None else str(shown(value))
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."
