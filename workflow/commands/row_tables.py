"""Commands on tables of a site that hold rows of datasets: ``skyspine table``."""

from __future__ import annotations

import click

from workflow.commands.tables import format_option, show


@click.group()
def table() -> None:
    """Declare and list tables of the database that hold rows of datasets."""


@table.command()
@click.argument("repo")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Print the migration, and write nothing.")
def add(repo: str, file: str, dry_run: bool) -> None:
    """Write the migration of REPO that makes the table which the YAML FILE declares.

    \b
    doc: Sources found in exposures.
    dataset_types: [source]
    columns:
      - {name: source_id, type: int64, doc: Number of the source, indexed: true}
      - {name: flux, type: float64, unit: nJy, doc: Flux, nullable: true}

    With `component: summary` it holds that component of them; `columns: cards` are those of
    headers.
    Nothing is changed in the database; `skyspine db upgrade REPO` runs the migration.
    """  # noqa: D301 (click wants the control character)
    from butler.repository import Repository
    from butler.tables import in_tables
    from registry import Registry, site_migrations
    from registry.row_declarations import declared

    repository = Repository.open(repo)
    root = repository.root
    asked = declared(file)
    if any(use.component for use in asked.uses):
        with Registry.connect(repository.url) as registry:
            kinds = {kind.name: kind.storage_class for kind in registry.dataset_types()}
        in_tables.require_parts(asked, kinds)
    written, text = site_migrations.write(root / site_migrations.FOLDER, file, dry_run=dry_run)
    if dry_run:
        click.echo(text, nl=False)
        return
    click.echo(f"Wrote {written}.")
    click.echo(f"Look at it, then: skyspine db upgrade {repo}")


@table.command("list")
@click.argument("repo")
@format_option
def list_(repo: str, style: str) -> None:
    """List the tables of REPO, whose rows they hold, and how many."""
    from backbone import row_audit
    from butler import Butler

    with Butler(repo) as butler:
        held = butler.registry.database.ask(row_audit.held)
        tables = butler.row_tables
    rows = [
        {
            "table": name,
            "of": ", ".join(".".join(filter(None, (u.name, u.component))) for u in one.uses),
            "columns": len(one.columns),
            "datasets": held.get(name, (0, 0))[0],
            "rows": held.get(name, (0, 0))[1],
            "doc": one.doc,
        }
        for name, one in tables.items()
    ]
    show(rows, style, ("table", "of", "columns", "datasets", "rows", "doc"))


@table.command("show")
@click.argument("repo")
@click.argument("name")
@format_option
def show_(repo: str, name: str, style: str) -> None:
    """List the columns of the table NAME of REPO with their types, units and meaning."""
    from butler import Butler
    from registry.errors import did_you_mean

    with Butler(repo) as butler:
        tables = butler.row_tables
    if name not in tables:
        raise click.ClickException(
            f"There is no table '{name}' in {repo}.{did_you_mean(name, tables)}"
        )
    rows = [
        {
            "column": c.name,
            "type": f"text({c.length})" if c.length else c.type,
            "unit": c.unit,
            "nullable": c.nullable,
            "indexed": c.indexed,
            "doc": c.doc,
        }
        for c in tables[name].columns
    ]
    show(rows, style, ("column", "type", "unit", "nullable", "indexed", "doc"))
