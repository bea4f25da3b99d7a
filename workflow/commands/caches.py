"""Commands on what is kept of the files of servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from backbone.file_cache import FileCache
    from butler import Butler


@click.group()
def cache() -> None:
    """Show and empty what is kept here of the files of servers."""


@cache.command("show")
@click.argument("repo")
@format_option
def show_(repo: str, style: str) -> None:
    """Tell what is kept for REPO on this machine, and how often it was of use.

    The counts are of all processes that share the folder, since it was cleared.
    """
    from butler import Butler

    with Butler(repo) as butler:
        told = _cache(butler).info()
        folder = butler.repository.caches.folder
        objects = butler.repository.caches.objects
    row = {
        "folder": str(folder),
        "files": told.files,
        "bytes": told.bytes,
        "limit": told.limit,
        "hits": told.hits,
        "misses": told.misses,
        "bypassed": told.bypassed,
        "hit_rate": None if told.hit_rate is None else round(told.hit_rate, 3),
        "evicted": told.evicted,
        "bytes_hit": told.bytes_hit,
        "bytes_fetched": told.bytes_fetched,
    }
    if style == "table":
        rows = [{"what": name, "value": value} for name, value in row.items()]
        rows.append({"what": "objects, in each process", "value": objects})
        show(rows, style, ("what", "value"))
    else:
        show([row | {"objects_limit": objects}], style, (*row, "objects_limit"))


@cache.command()
@click.argument("repo")
def clear(repo: str) -> None:
    """Remove what is kept, except what is being read; counts begin anew."""
    from butler import Butler

    with Butler(repo) as butler:
        kept = _cache(butler)
        removed = kept.clear()
        left = kept.info().files
    in_use = f" {left} are being read and stay." if left else ""
    click.echo(f"Removed {removed.files} files of {removed.bytes} bytes.{in_use}")


def _cache(butler: Butler) -> FileCache:
    if butler.file_cache is None:
        raise click.ClickException(
            "No files of servers are kept here. To keep some, write into "
            f"{butler.root / 'skyspine.yaml'}, for example: "
            "cache: {folder: /scratch/skyspine, files: 200 GB}"
        )
    return butler.file_cache
