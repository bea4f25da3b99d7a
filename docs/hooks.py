"""Pages that are made from the code: data dictionary, views, commands, keys of a camera."""

from __future__ import annotations

from typing import Any

import click

FAMILIES = ("dimensions", "identity", "collections", "calibrations", "files", "provenance")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the placeholders of generated parts."""
    for name, make in PARTS.items():
        if name in markdown:
            markdown = markdown.replace(name, make())
    return markdown


def schema() -> str:
    """Render every table with the comments of its columns."""
    import importlib

    import sqlalchemy as sa

    parts = []
    for family in FAMILIES:
        module = importlib.import_module(f"registry.schema.{family}")
        parts.append(f"## {family.capitalize()}\n\n{(module.__doc__ or '').splitlines()[0]}\n")
        tables = [t for t in vars(module).values() if isinstance(t, sa.Table)]
        for table in dict.fromkeys(tables):
            if f"registry.schema.{family}" != _home(table.name):
                continue
            parts.append(f"### `{table.name}`\n\n{table.comment}\n")
            parts.append("| column | type | key | meaning |\n| --- | --- | --- | --- |")
            for c in table.columns:
                keys = ["PK"] if c.primary_key else []
                keys += [f"→ `{k.target_fullname}`" for k in c.foreign_keys]
                null = "" if c.nullable and not c.primary_key else " not null"
                kind = str(c.type).partition("(")[0].lower()
                parts.append(f"| `{c.name}` | {kind}{null} | {' '.join(keys)} | {c.comment} |")
            parts.append("")
    return "\n".join(parts)


def _home(table: str) -> str:
    import importlib

    for family in FAMILIES:
        module = importlib.import_module(f"registry.schema.{family}")
        source = module.__spec__.origin if module.__spec__ else None
        if source and f'    "{table}",\n' in open(source, encoding="utf-8").read():  # noqa: PTH123, SIM115
            return module.__name__
    return ""


def views() -> str:
    """List the reporting views with their questions and SQL."""
    from registry import deploy

    return "\n".join(
        f"## `{name}`\n\n```sql\n{deploy.view_sql(name, 'sqlite')}```\n"
        for name in deploy.view_names()
    )


def commands() -> str:
    """Render the help of every command."""
    from workflow.cli import root

    parts = []

    def tell(command: click.Command, path: str, parent: click.Context | None) -> None:
        context = click.Context(command, info_name=path.rsplit(maxsplit=1)[-1], parent=parent)
        parts.append(f"## `{path}`\n\n```text\n{command.get_help(context)}\n```\n")
        if isinstance(command, click.Group) and command is not root:
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None:
                    tell(child, f"{path} {name}", context)

    top = click.Context(root, info_name="skyspine")
    for name in root.list_commands(top):
        command = root.get_command(top, name)
        if command is not None:
            tell(command, f"skyspine {name}", top)
    return "\n".join(parts)


def camera_keys() -> str:
    """Render the keys of an instrument definition."""
    from butler.instrument.schema import reference

    return reference()


def states() -> str:
    """Draw the state machine of a quantum."""
    from registry.provenance import STATES, TRANSITIONS

    lines = ["| state | meaning | verbs that leave it |", "| --- | --- | --- |"]
    for state, meaning in STATES.items():
        out = sorted(f"{verb} → {to}" for origin, verb, to in TRANSITIONS if origin == state)
        lines.append(f"| {state} | {meaning} | {', '.join(out)} |")
    return "\n".join(lines)


PARTS = {
    "<!-- schema -->": schema,
    "<!-- views -->": views,
    "<!-- commands -->": commands,
    "<!-- camera keys -->": camera_keys,
    "<!-- states -->": states,
}
