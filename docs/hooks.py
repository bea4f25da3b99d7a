"""Pages that are made from the code: data dictionary, views, commands, keys of a camera."""

from __future__ import annotations

from typing import Any

import click
from dictionary import schema
from formats import formats, policy_settings


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the placeholders of generated parts."""
    for name, make in PARTS.items():
        if name in markdown:
            markdown = markdown.replace(name, make())
    return markdown


def views() -> str:
    """List the reporting views with their questions, columns and SQL."""
    from registry import deploy, reports

    parts = []
    for name in deploy.view_names():
        told = reports.view(name)
        parts.append(f"## `{name}`\n\n{told.question}\n")
        parts += [f"{note}\n" for note in told.notes]
        if told.columns:
            parts.append("| column | type | unit | meaning |\n| --- | --- | --- | --- |")
            parts += [f"| `{c.name}` | {c.type} | {c.unit} | {c.doc} |" for c in told.columns]
        sql = deploy.view_sql(name, "postgresql").splitlines()
        body = "\n".join(line for line in sql if not line.startswith("--"))
        parts.append(f'\n??? note "SQL"\n\n    ```sql\n{_indented(body)}\n    ```\n')
    return "\n".join(parts)


def cookbook() -> str:
    """List the named questions with their parameters, SQL, and answers on the demo repository."""
    import csv
    from pathlib import Path

    from registry.cookbook import questions

    answers = Path(__file__).parent.parent / "tests" / "sql" / "answers"
    parts = []
    for q in questions().values():
        parts.append(f"## {q.question}\n\n`{q.name}`, asked by {q.asked_by}; reads {q.reads}.\n")
        given = " ".join(f"{p.name}='{p.example}'" for p in q.parameters)
        if q.parameters:
            parts.append("| parameter | type | meaning |\n| --- | --- | --- |")
            parts += [f"| `{p.name}` | {p.type} | {p.doc} |" for p in q.parameters]
        parts.append(f"\n```sql\n{q.sql}\n```\n")
        parts.append(f"```console\n$ skyspine query REPO {q.name} {given}".rstrip() + "\n```\n")
        with (answers / f"{q.name}.csv").open(encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        parts.append(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
        parts += [f"| {' | '.join(row)} |" for row in rows[:SHOWN]]
        if len(rows) > SHOWN:
            parts.append(f"\n... and {len(rows) - SHOWN} more rows.")
        parts.append("")
    return "\n".join(parts)


SHOWN = 8


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


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
    "<!-- cookbook -->": cookbook,
    "<!-- commands -->": commands,
    "<!-- camera keys -->": camera_keys,
    "<!-- states -->": states,
    "<!-- formats -->": formats,
    "<!-- policy settings -->": policy_settings,
}
