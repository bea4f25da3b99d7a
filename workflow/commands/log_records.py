"""Commands on what programs and tasks logged: log, prune-log."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import show

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping

COLUMNS = ("time", "level", "logger", "label", "data", "message")
FORMATS = ("text", "jsonl", "table", "json", "csv", "parquet")
SHOWN = 10_000
"""Records shown without --limit."""


@click.command()
@click.argument("repo")
@click.option("--run", help="Only quanta of this RUN, or of a chain's runs.")
@click.option("--label", help="Only quanta of this task.")
@click.option("--quantum", "quanta", multiple=True, type=click.UUID, help="Only this quantum.")
@click.option("--where", default="", help="Expression on the data that a record is about.")
@click.option("--level", default="", help="This level and above.")
@click.option("--logger", default="", help="This component, and those below it.")
@click.option("--since", help="From a time (UTC) on, or from so long ago: 2026-11-27T20:00, 2h.")
@click.option("--until", help="Before a time (UTC), or before so long ago.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=SHOWN,
    show_default=True,
    help="The last so many.",
)
@click.option("--follow", is_flag=True, help="Go on with new ones as they come; text or jsonl.")
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Lines for people, JSON lines with everything, or a listing.",
)
def log(
    repo: str,
    run: str | None,
    label: str | None,
    quanta: tuple[uuid.UUID, ...],
    where: str,
    level: str,
    logger: str,
    since: str | None,
    until: str | None,
    limit: int,
    follow: bool,
    style: str,
) -> None:
    """Read what tasks logged while their quanta were executed, oldest first."""
    from butler import Butler
    from workflow.logs.levels import level_named

    if follow and (until or style not in ("text", "jsonl")):
        raise click.UsageError("--follow goes with --format text or jsonl, and without --until.")
    asked: dict[str, Any] = {
        "run": run,
        "label": label,
        "quanta": quanta,
        "where": where,
        "level": level_named(level, file="--level") if level else 0,
        "logger": logger,
    }
    began = _time(since) if since else None
    with Butler(repo, writeable=False) as butler:
        logs = butler.registry.logs
        if follow:
            now = dt.datetime.now(dt.UTC)
            try:
                _stream(logs.follow(since=began or now, **asked), style)
            except KeyboardInterrupt:
                return
        end = _time(until) if until else None
        rows = logs.records(since=began, until=end, limit=limit, **asked)
        if style in ("text", "jsonl"):
            _stream(rows, style)
        else:
            cells = [_cells(r) for r in rows]
            if style == "table":
                cells = [{c: r[c] for c in COLUMNS} for r in cells]
            show(cells, style, COLUMNS)
        if len(rows) == limit:
            click.echo(f"Only the last {limit:,} are shown; --limit shows more.", err=True)
        elif not rows:
            click.echo(_why_none(butler, asked), err=True)
        if rows:
            _tell_drops(logs.drops(rows[0]["logged_at"] - dt.timedelta(days=1)))


def _why_none(butler: Any, asked: Mapping[str, Any]) -> str:
    """Say what could be meant when nothing was found."""
    from registry.errors import did_you_mean

    if asked["label"]:
        labels = butler.registry.logs.labels(asked["run"])
        if asked["label"] not in labels:
            of = f"'{asked['run']}' has" if asked["run"] else "There is"
            return f"{of} no task '{asked['label']}'.{did_you_mean(asked['label'], labels)}"
    return (
        "No record was found. Quanta log from level info on, unless "
        "`skyspine --log-level debug run ...` says otherwise."
    )


def _tell_drops(dropped: Iterable[Mapping[str, Any]]) -> None:
    for d in dropped:
        click.echo(
            f"{d['n_dropped']:,} records of {d['program']} ({d['host']}, process {d['pid']}) were "
            "dropped: they came faster than the database took them.",
            err=True,
        )


def _stream(rows: Iterable[Mapping[str, Any]], style: str) -> None:
    from registry.logs import LogEntry, LogProcess
    from workflow.logs.entries import as_json, as_text

    for row in rows:
        context = {
            **(row["context"] or {}),
            **{k: row[k] for k in ("run", "label") if row[k] is not None},
        }
        entry = LogEntry(
            row["number"],
            row["logged_at"],
            row["level"],
            row["logger"],
            row["message"],
            row["place"],
            row["thread"],
            row["exception"],
            row["quantum_id"],
            context,
        )
        if style == "text":
            click.echo(as_text(entry))
        else:
            process = LogProcess(row["identity"], row["host"], row["pid"], "", "", row["logged_at"])
            click.echo(as_json(process, entry))


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    from workflow.logs.entries import shown
    from workflow.logs.levels import name_of

    context = row["context"] or {}
    data = shown({k: v for k, v in context.items() if k not in ("run", "label")})
    return {
        "time": row["logged_at"],
        "level": name_of(row["level"]),
        "logger": row["logger"],
        "label": row["label"] or context.get("label"),
        "data": data,
        "message": row["message"],
        "run": row["run"] or context.get("run"),
        "quantum": row["quantum_id"],
        "exception": row["exception"],
    }


@click.command()
@click.argument("repo")
@click.option(
    "--before", required=True, help="Older than this time (UTC), or than so long: 2026-06-01, 90d."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
def prune_log(repo: str, before: str, dry_run: bool) -> None:
    """Delete the log records that are older than a time."""
    from butler import Butler

    edge = _time(before)
    with Butler(repo, writeable=not dry_run) as butler:
        logs = butler.registry.logs
        n = logs.count_before(edge) if dry_run else logs.prune(edge)
    verb = "would be deleted" if dry_run else "deleted"
    click.echo(f"{n:,} records from before {edge.isoformat(timespec='seconds')} {verb}.")


def _time(text: str) -> dt.datetime:
    """Read a UTC time, or a length of time before now."""
    from registry.durations import parse_duration

    try:
        ago = parse_duration(text)
        return dt.datetime.now(dt.UTC) - dt.timedelta(microseconds=ago // 1000)
    except (ValueError, OverflowError):
        pass
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"'{text}' is no time: write 2026-11-27 or 2026-11-27T20:00 (UTC), or so long ago: "
            "90s, 30min, 2h, 10d."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
