"""Commands on calibrations: over which time they hold, which one is taken, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import FORMATS, format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from registry.calibrations import Explanation, Overlap

RESOLUTIONS = ("latest", "earliest", "split")
resolve_option = click.option(
    "--resolve",
    type=click.Choice(RESOLUTIONS),
    help="Cut ranges that overlap instead of refusing them: of those that hold at a moment, the "
    "one made latest or earliest, or (split) the one whose middle is nearest.",
)
collections_option = click.option(
    "--collections", "-i", default="*", show_default=True, help="Comma separated; globs."
)


def _span_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, what in (("--end", "until (excluded)"), ("--begin", "from")):
        text = f"Valid {what}; UTC, or .../tai. Without limit by default."
        function = click.option(name, help=text)(function)
    return function


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE texts."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=VALUE, not '{text}'.")
        pairs[name] = value
    return pairs


def _typed(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@click.command()
@click.argument("repo")
@click.argument("collection")
@click.argument("dataset_type")
@click.option("--collections", "-i", required=True, help="Where the datasets are, comma separated.")
@click.option("--where", default="", help="Only datasets that fulfil this expression.")
@_span_options
@resolve_option
@click.option(
    "--fact",
    "facts",
    multiple=True,
    metavar="NAME=VALUE",
    help="A fact of these calibrations that policies compare, such as temperature=-100.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be certified.")
def certify(
    repo: str,
    collection: str,
    dataset_type: str,
    collections: str,
    where: str,
    begin: str | None,
    end: str | None,
    resolve: str | None,
    facts: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Declare that datasets of DATASET_TYPE hold over a range of time, in COLLECTION."""
    from butler import Butler
    from registry import Timespan

    span = Timespan.parse(begin, end)
    known = {k: _typed(v) for k, v in _pairs(facts, "--fact").items()}
    with Butler(repo, writeable=not dry_run) as butler:
        refs = butler.query_datasets(dataset_type, collections=_split(collections), where=where)
        if not refs:
            raise click.ClickException(f"No {dataset_type} was found in {collections}.")
        if not dry_run:
            with butler.transaction():
                butler.registry.certify(collection, refs, span, resolve=resolve)
                butler.registry.record_calibration_facts({r.id: known for r in refs})
    verb = "Would certify" if dry_run else "Certified"
    click.echo(f"{verb} {len(refs)} {dataset_type} in '{collection}' over {span}.")


@click.command()
@click.argument("repo")
@click.argument("collection")
@click.argument("dataset_type")
@_span_options
@click.option(
    "--key", "keys", multiple=True, metavar="NAME=VALUE", help="Only what holds for this data ID."
)
def decertify(
    repo: str,
    collection: str,
    dataset_type: str,
    begin: str | None,
    end: str | None,
    keys: tuple[str, ...],
) -> None:
    """Declare that calibrations of DATASET_TYPE do not hold over a range of time, in COLLECTION.

    What sticks out of the range stays valid.
    """
    from butler import Butler
    from registry import Timespan

    span = Timespan.parse(begin, end)
    data_id = {k: _typed(v) for k, v in _pairs(keys, "--key").items()}
    with Butler(repo, writeable=True) as butler:
        n = butler.decertify(collection, dataset_type, span, [data_id] if data_id else None)
    click.echo(f"Cut or removed {n} ranges of {dataset_type} in '{collection}' over {span}.")


@click.command()
@click.argument("repo")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--collection", required=True, help="CALIBRATION collection to certify into.")
@click.option("--instrument", required=True, help="The camera that the file is about.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="[TABLE.]KEY=COLUMN",
    help="Column of a key of the data ID, for example detector=ccdNum or dark.exptime=expTime; "
    "detector and physical_filter are found by themselves.",
)
@click.option("--type", "types", multiple=True, help="Only this table; may be repeated.")
@click.option(
    "--scale",
    default="utc",
    show_default=True,
    help="Of the times in the file: utc, tai, tt, tdb, or a time zone such as America/Chicago.",
)
@resolve_option
@click.option("--register", is_flag=True, help="Register the camera, detectors and filters.")
@click.option("--prefix", default="", help="Put before the names of the dataset types.")
@click.option("--dry-run", is_flag=True, help="Change nothing; only say what would be done.")
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    help="List every pair of ranges that overlap, when the load is refused for them.",
)
def import_calibrations(
    repo: str,
    file: str,
    collection: str,
    instrument: str,
    keys: tuple[str, ...],
    types: tuple[str, ...],
    scale: str,
    resolve: str | None,
    register: bool,
    prefix: str,
    dry_run: bool,
    style: str | None,
) -> int:
    """Certify what an auxiliary calibration registry of an older stack (SQLite) says.

    FILE has a table for each type of calibration, with the columns validStart and validEnd.
    """
    from butler import Butler
    from registry.calibrations import read_registry
    from registry.errors import ValidityOverlap

    rows = read_registry(
        file, instrument, keys=_pairs(keys, "--key"), types=types or None, scale=scale
    )
    options: dict[str, Any] = {"resolve": resolve, "register": register, "prefix": prefix}
    with Butler(repo, writeable=True) as butler:
        try:
            done = butler.registry.import_calibrations(collection, rows, **options, dry_run=dry_run)
        except ValidityOverlap as error:
            if style is not None:
                show([_overlap(o) for o in error.overlaps], style)
            click.echo(f"skyspine: {error}", err=True)
            click.echo("--resolve loads it; --format csv lists every pair.", err=True)
            return 1
    counted = ", ".join(f"{n:,} {name}" for name, n in sorted(done.rows.items()))
    new = ", ".join(f"{n} {name}" for name, n in done.registered.items())
    would = "would be " if dry_run else ""
    if new:
        click.echo(f"{new} {would}registered.")
    click.echo(
        f"{counted}: {done.n_datasets:,} datasets {would}new, {done.n_ranges:,} ranges "
        f"{'would be ' if dry_run else ''}certified in '{collection}'."
    )
    return 0


def _overlap(overlap: Overlap) -> dict[str, Any]:
    from registry.timespan import iso

    row: dict[str, Any] = {"type": overlap.new.dataset_type.name, **overlap.new.data_id}
    row.setdefault("physical_filter", None)
    for name, ref, span in (
        ("new", overlap.new, overlap.new_span),
        ("old", overlap.old, overlap.old_span),
    ):
        begin, end = span.bounds
        row |= {f"{name}_run": ref.run, f"{name}_begin": iso(begin), f"{name}_end": iso(end)}
    return row


@click.command()
@click.argument("repo")
@click.argument("dataset_type", required=False)
@click.option(
    "--selection",
    type=click.Choice(["valid", "nearest-earlier", "nearest"]),
    help="What may be taken when nothing is valid: nothing, the last before, the nearest.",
)
@click.option("--within", metavar="TIME", help="How far that may be at most, for example 10d.")
@click.option(
    "--match",
    multiple=True,
    metavar="NAME[=TOLERANCE]",
    help="A fact of the exposure that both must have in common, or within a tolerance.",
)
@click.option("--remove", is_flag=True, help="Return to plain validity.")
@format_option
def calibration_policy(
    repo: str,
    dataset_type: str | None,
    selection: str | None,
    within: str | None,
    match: tuple[str, ...],
    remove: bool,
    style: str,
) -> None:
    """Show the policies of calibration types, or set that of DATASET_TYPE."""
    from butler import Butler
    from registry.durations import lasting, parse_duration

    changing = bool(selection or within or match)
    if (changing or remove) and dataset_type is None:
        raise click.UsageError("Name the dataset type whose policy is to change.")
    if changing and remove:
        raise click.UsageError("Either set a policy or --remove it.")
    with Butler(repo, writeable=changing or remove) as butler:
        registry = butler.registry
        if remove and dataset_type:
            had = registry.remove_calibration_policy(dataset_type)
            click.echo(
                f"The policy of {dataset_type} is removed." if had else f"{dataset_type} has none."
            )
            return
        if changing and dataset_type:
            registry.set_calibration_policy(
                dataset_type,
                selection or "valid",
                limit_ns=parse_duration(within) if within else None,
                match=_tolerances(match),
            )
        policies = registry.calibration_policies()
    if dataset_type:
        policies = {k: v for k, v in policies.items() if k == dataset_type}
    rows = [
        {
            "type": name,
            "selection": policy.selection,
            "within": None if policy.limit_ns is None else lasting(policy.limit_ns),
            "match": ", ".join(k if t is None else f"{k}={t:g}" for k, t in policy.match.items()),
        }
        for name, policy in policies.items()
    ]
    show(rows, style, ("type", "selection", "within", "match"))


def _tolerances(match: Sequence[str]) -> Mapping[str, float | None]:
    tolerances: dict[str, float | None] = {}
    for text in match:
        name, equals, value = text.partition("=")
        try:
            tolerances[name] = float(value) if equals else None
        except ValueError as error:
            raise click.UsageError(f"--match {text}: '{value}' is no number.") from error
    return tolerances


@click.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.option("--instrument", help="Camera; not needed when there is only one.")
@click.option("--exposure", type=int, help="Exposure that it is for; tells the time and the facts.")
@click.option("--detector", type=int, help="Detector that it is for.")
@click.option(
    "--key", "keys", multiple=True, metavar="NAME=VALUE", help="Another key of the data ID."
)
@click.option("--at", help="Time of the observation, UTC or .../tai; the exposure's by default.")
@collections_option
@click.option("--limit", type=int, default=20, show_default=True, help="Show so many candidates.")
@format_option
def why_calibration(
    repo: str,
    dataset_type: str,
    instrument: str | None,
    exposure: int | None,
    detector: int | None,
    keys: tuple[str, ...],
    at: str | None,
    collections: str,
    limit: int,
    style: str,
) -> None:
    """Say which calibration of DATASET_TYPE is taken, and why each other one is not."""
    from butler import Butler
    from butler.cameras import only_one
    from registry.timespan import parse_time

    with Butler(repo) as butler:
        named = {
            "instrument": instrument or only_one(p.registry for p in butler.places),
            "exposure": exposure,
            "detector": detector,
            **{k: _typed(v) for k, v in _pairs(keys, "--key").items()},
        }
        data_id = {k: v for k, v in named.items() if v is not None}
        if "instrument" not in data_id:
            raise click.UsageError("There are several cameras, or none: say which, --instrument.")
        moment = parse_time(at) if at else _begin_of(butler, data_id)
        told = butler.registry.explain_calibration(
            dataset_type, data_id, moment, _split(collections)
        )
    _tell(told, limit, style)


def _begin_of(butler: Any, data_id: Mapping[str, Any]) -> int:
    if "exposure" not in data_id:
        raise click.UsageError("Give --exposure, or the time --at which it is looked up.")
    asked = {k: data_id[k] for k in ("instrument", "exposure")}
    records = butler.query_dimension_records("exposure", data_id=asked)
    if not records:
        raise click.ClickException(
            f"There is no exposure {data_id['exposure']} of {data_id['instrument']}; "
            "`skyspine query-dimension-records REPO exposure` lists what is registered."
        )
    return int(records[0]["begin_tai_ns"])


def _tell(told: Explanation, limit: int, style: str) -> None:
    from registry.timespan import iso

    if style == "table":
        click.echo(f"{told}\n")
    rows = [
        {
            "taken": "yes" if c.chosen else "",
            "collection": c.collection,
            "run": c.ref.run,
            **{k: v for k, v in c.ref.data_id.items() if k not in told.key},
            "begin": iso(c.validity.bounds[0]),
            "end": iso(c.validity.bounds[1]),
            **c.facts,
            "reason": c.reason,
        }
        for c in told.candidates[:limit]
    ]
    names = dict.fromkeys(k for row in rows for k in row)
    ordered = [k for k in names if k != "reason"] + ["reason"]
    show([{k: row.get(k) for k in ordered} for row in rows], style, ("collection", "reason"))
    if len(told.candidates) > limit:
        click.echo(f"and {len(told.candidates) - limit} more; see --limit", err=True)
