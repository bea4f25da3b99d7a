"""Commands on cameras and their raw files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workflow.commands.camera_checks import check
from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from butler.camera_history import Change


@click.group()
def instrument() -> None:
    """Register, list and try cameras."""


instrument.add_command(check)


@instrument.command()
@click.argument("repo")
@click.argument("definition")
@click.option("--dry-run", is_flag=True, help="Only tell what a new version would change.")
def register(repo: str, definition: str, dry_run: bool) -> None:
    """Register the camera of the YAML file DEFINITION, or a shipped one by its name.

    A changed definition becomes a new version; what that means for what is stored is told.
    """
    from butler import Butler, cameras

    with Butler(repo, writeable=not dry_run) as butler:
        camera = cameras.read_definition(definition)
        changed = cameras.change(butler.registry, camera)
        if not dry_run:
            butler.register_instrument(camera)
    for line in _told(changed):
        click.echo(line)
    click.echo(
        f"{'Would register' if dry_run else 'Registered'} {camera.name}: "
        f"{len(camera.detector_records())} detectors, "
        f"{len(camera.physical_filter_records())} filters."
    )


def _told(changed: tuple[Sequence[Change], Sequence[str]] | None) -> list[str]:
    if changed is None:
        return []
    differences, effects = changed
    if not differences:
        return ["It is as it was; there is no new version."]
    return [f"{len(differences)} changes:", *(f"  {c}" for c in differences), *effects]


@instrument.command()
@click.argument("repo")
@click.argument("name")
@format_option
def history(repo: str, name: str, style: str) -> None:
    """List the versions of the definition of camera NAME, and what was taken in under each."""
    from butler import Butler, cameras

    with Butler(repo) as butler:
        found = cameras.history(butler.registry, name)
    rows = [
        {
            "version": v.version,
            "registered": v.registered_at,
            "by": v.registered_by,
            "digest": v.digest[:12],
            "taken_in": ", ".join(f"{n} {kind}" for kind, n in sorted(v.datasets.items())),
        }
        for v in found
    ]
    show(rows, style, ("version", "registered", "by", "digest", "taken_in"))


@instrument.command()
@click.argument("repo")
@click.argument("name")
@click.argument("old", type=int)
@click.argument("new", type=int)
@format_option
def diff(repo: str, name: str, old: int, new: int, style: str) -> None:
    """Compare versions OLD and NEW of the definition of camera NAME, key by key."""
    from butler import Butler
    from butler.camera_history import changes

    with Butler(repo) as butler:
        found = changes(butler.definition(name, old), butler.definition(name, new))
    rows = [{"key": c.key, "old": c.old, "new": c.new} for c in found]
    show(rows, style, ("key", "old", "new"))


@instrument.command("show")
@click.argument("repo")
@click.argument("name")
@click.option("--version", type=int, help="An older version; the one in force by default.")
def show_(repo: str, name: str, version: int | None) -> None:
    """Print the definition of camera NAME as YAML, as it can be registered."""
    from butler import Butler

    with Butler(repo) as butler:
        click.echo(butler.definition(name, version).to_yaml(), nl=False)


@instrument.command("list")
@click.argument("repo", required=False)
@format_option
def list_(repo: str | None, style: str) -> None:
    """List the cameras of REPO, or those that are shipped."""
    if repo is None:
        show(_shipped(), style, ("name", "instrument", "pipeline", "what"))
        return
    from butler import Butler

    with Butler(repo) as butler:
        records = butler.query_dimension_records("instrument")
    show(
        [{k: r[k] for k in ("name", "definition_version", "doc")} for r in records],
        style,
        ("name", "definition_version", "doc"),
    )


def _shipped() -> list[dict[str, str]]:
    """List the cameras that ship, each with its pipeline and what it is."""
    from pathlib import Path

    from butler.instrument import load_shipped, shipped
    from workflow.shipped import shipped_pipelines

    pipelines = {name: Path(path).stem for name, path in shipped_pipelines().items()}
    rows = []
    for name in shipped():
        camera = load_shipped(name)
        calexps = "raw" not in {kind.dataset_type for kind in camera.files.kinds}
        rows.append(
            {
                "name": name,
                "instrument": camera.name,
                "pipeline": pipelines.get(camera.name, pipelines[None] if calexps else ""),
                "what": " ".join(camera.doc.split())[:60].rpartition(" ")[0] + " ...",
            }
        )
    return rows


@click.command()
@click.argument("repo")
@click.argument("paths", nargs=-1, required=True)
@click.option("--run", help="RUN collection; INSTRUMENT/raw by default when there is one camera.")
@click.option(
    "--transfer",
    default="copy",
    show_default=True,
    type=click.Choice(["auto", "copy", "move", "link", "hardlink", "symlink", "direct"]),
    help="How files come in; auto is copy, and direct leaves them where they are.",
)
@click.option("--endpoint", default="root", help="Storage that they come to; REPO's own folder.")
@click.option(
    "--on-error",
    default="skip",
    show_default=True,
    type=click.Choice(["skip", "stop"]),
    help="At a file that cannot be taken: go on with the others, or end.",
)
def ingest_raws(
    repo: str,
    paths: tuple[str, ...],
    run: str | None,
    transfer: str,
    endpoint: str,
    on_error: str,
) -> int:
    """Take raw files, and those in folders, into REPO.

    Status 1 when one could not be taken, or the visit of one not be defined.
    """
    from butler import Butler, cameras
    from workflow.commands.progress import counting

    with Butler(repo, writeable=True) as butler:
        if run is None:
            camera = cameras.only_one(p.registry for p in butler.places)
            if camera is None and cameras.names(butler.registry):
                raise click.UsageError("Name a run with --run: there is not just one camera.")
            run = f"{camera}/raw"
        with counting("ingest") as progress:
            result = butler.ingest_raws(
                paths,
                run=run,
                transfer=transfer,
                endpoint=endpoint,
                on_error=on_error,
                progress=progress,
            )
        known = cameras.names(butler.registry)
    for path, error in result.errors:
        named = str(error).startswith(f"{path}: ")
        click.echo(str(error) if named else f"{path}: {error}", err=True)
    for refused in result.visits.refused:
        click.echo(str(refused), err=True)
    click.echo(
        f"{len(result.refs)} datasets into '{run}'; {len(result.present)} were there, "
        f"{len(result.ignored)} ignored, {len(result.errors)} refused."
    )
    if result.ignored and not (result.refs or result.present or result.errors):
        click.echo(
            f"No name is that of a file of {' or '.join(known)}, or all are to be ignored; "
            f"for example {result.ignored[0].name}.",
            err=True,
        )
    return 1 if result.errors or result.visits.refused else 0
