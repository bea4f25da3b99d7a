"""Commands that divide the sky into the patches on which exposures are coadded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import show

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.group()
def skymap() -> None:
    """Divide the sky into tracts and patches, the pixels of coadds."""


@skymap.command()
@click.argument("repo")
@click.argument("definition")
def register(repo: str, definition: str) -> None:
    """Register the skymap of the YAML file DEFINITION."""
    from butler import Butler
    from butler.skymaps import read

    skymap = read(definition)
    with Butler(repo, writeable=True) as butler:
        butler.register_skymap(skymap)
    _tell(skymap)


@skymap.command()
@click.argument("repo")
@click.argument("name")
@click.option("--scale", required=True, type=float, help="Size of a pixel [arcsec].")
@click.option("--patch-size", default=2000, show_default=True, help="Largest side [pixel].")
@click.option("--dry-run", is_flag=True, help="Only print the definition, as YAML.")
def cover(repo: str, name: str, scale: float, patch_size: int, dry_run: bool) -> None:
    """Register a skymap NAME that covers every exposure of REPO that has coordinates."""
    import yaml

    from butler import Butler
    from butler.skymaps import covering

    with Butler(repo, writeable=not dry_run) as butler:
        definition = covering(butler.registry, name, scale, patch_size=patch_size)
        if dry_run:
            click.echo(yaml.safe_dump(definition, sort_keys=False), nl=False)
            return
        butler.register_skymap(definition)
    _tell(definition)


def _tell(definition: Mapping[str, Any]) -> None:
    rows = [
        {
            "tract": t["id"],
            "ra": t["ra"],
            "dec": t["dec"],
            "arcsec/pixel": t["scale"],
            "size": " x ".join(map(str, t["size"])),
            "patches": " x ".join(map(str, t.get("patches", (1, 1)))),
        }
        for t in definition["tracts"]
    ]
    show(rows, "table", ("tract",))
    click.echo(f"Registered the skymap '{definition['name']}'.")
