"""Commands on observing logs: load-exposures."""

from __future__ import annotations

import click

from workflow.commands.tables import format_option, show

SHOWN = 20
"""Problems shown as a table; the other formats show all."""


@click.command()
@click.argument("repo")
@click.argument("log")
@click.option("--mapping", help="YAML file that says what the columns mean, or a shipped one.")
@click.option("--instrument", default="", help="Camera of every row, when no column says it.")
@click.option("--map", "pairs", multiple=True, metavar="COLUMN=FIELD", help="What a column means.")
@format_option
def load_exposures(
    repo: str, log: str, mapping: str | None, instrument: str, pairs: tuple[str, ...], style: str
) -> int:
    """Load the exposures of the observing log LOG, a CSV file; status 1 when a row was refused.

    Rows that cannot be taken are listed with the cell and the reason; the others are loaded.
    """
    from butler import Butler, cameras

    columns = {}
    for pair in pairs:
        column, equals, field = pair.partition("=")
        if not equals or not column or not field:
            raise click.UsageError(f"'{pair}' is not COLUMN=FIELD, for example --map expnum=id.")
        columns[column] = field
    with Butler(repo, writeable=True) as butler:
        noon = None
        if instrument in cameras.names(butler.registry):
            noon = cameras.load(butler.registry, instrument).site.noon_ns
        loaded = butler.registry.load_exposures(
            log, mapping, instrument=instrument, columns=columns, noon_ns=noon
        )
    rows = [
        {"row": p.row, "column": p.column, "content": p.content, "reason": p.reason}
        for p in loaded.problems
    ]
    if rows or style != "table":
        show(
            rows[:SHOWN] if style == "table" else rows,
            style,
            ("row", "column", "content", "reason"),
        )
    if style == "table" and len(rows) > SHOWN:
        click.echo(f"... and {len(rows) - SHOWN} more; --format csv lists all.")
    passed = "".join(f"{n} skipped ({reason}), " for reason, n in loaded.skipped.items())
    click.echo(
        f"{loaded.n_rows} rows: {loaded.n_loaded} exposures are new, {loaded.n_present} were "
        f"there, {passed}{loaded.n_repeated} repeated, {loaded.n_refused} refused.",
        err=True,
    )
    return 1 if loaded.problems else 0
