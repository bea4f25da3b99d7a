"""Commands on dataset types."""

from __future__ import annotations

import click


@click.command()
@click.argument("repo")
@click.argument("name")
@click.argument("storage_class")
@click.argument("dimensions", nargs=-1)
@click.option("--is-calibration", is_flag=True, help="It may be certified with validity ranges.")
def register_dataset_type(
    repo: str, name: str, storage_class: str, dimensions: tuple[str, ...], is_calibration: bool
) -> None:
    """Register the dataset type NAME in REPO; the same definition may be registered again.

    STORAGE_CLASS is the kind of Python object; DIMENSIONS are the keys of its data IDs.

    \b
    skyspine register-dataset-type REPO calexp Exposure instrument visit detector
    skyspine register-dataset-type REPO bias Exposure instrument detector --is-calibration
    """  # noqa: D301 (click wants the control character)
    from butler import Butler
    from registry.errors import did_you_mean
    from registry.identity import DIMENSIONS

    keys = [key for given in dimensions for key in given.split(",") if key]
    with Butler(repo, writeable=True) as butler:
        made = butler.register_dataset_type(
            name, keys, storage_class, is_calibration=is_calibration
        )
    click.echo(
        f"Registered {made.name}: {made.storage_class} by "
        f"{', '.join(made.dimensions) or 'nothing, one in each run'}."
    )
    for key in made.dimensions:
        if key not in DIMENSIONS:
            click.echo(
                f"Note: '{key}' is no dimension, and is taken for a key of your own."
                f"{did_you_mean(key, DIMENSIONS)}",
                err=True,
            )


@click.command()
@click.argument("repo")
@click.argument("name")
def remove_dataset_type(repo: str, name: str) -> None:
    """Remove the dataset type NAME, of which no dataset may be left."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        butler.registry.remove_dataset_type(name)
    click.echo(f"Removed the dataset type '{name}'.")
