"""The data dictionary: every table of the schema with its columns, rules and indexes, by family."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

import sqlalchemy as sa
from drawing import draw

if TYPE_CHECKING:
    from types import ModuleType

FAMILIES = (
    *("dimensions", "identity", "collections", "calibrations", "files", "provenance"),
    *("plans", "policies", "quality", "logs", "row_tables"),
)


def schema() -> str:
    """Render the families: a drawing, then each table."""
    parts = []
    for family in FAMILIES:
        module = importlib.import_module(f"registry.schema.{family}")
        question = (module.__doc__ or "").splitlines()[0]
        tables = tables_of(module)
        parts.append(f"## {family.capitalize()}\n\n{question}\n")
        parts.append(f"{draw(tables, f'Tables of the family {family}')}\n")
        for table in tables:
            parts.append(f"### `{table.name}`\n\n{table.comment}\n")
            parts.append("| column | type | key | meaning |\n| --- | --- | --- | --- |")
            parts += [_row(column) for column in table.columns]
            parts.append("")
            parts += [f"- {rule}" for rule in _rules(table)]
            parts.append("")
    return "\n".join(parts)


def tables_of(module: ModuleType) -> list[sa.Table]:
    """List the tables that a module declares, not those that it imports."""
    source = inspect.getsource(module)
    tables = dict.fromkeys(t for t in vars(module).values() if isinstance(t, sa.Table))
    return [t for t in tables if f'    "{t.name}",\n' in source]


def _row(column: sa.Column) -> str:
    keys = ["PK"] if column.primary_key else []
    keys += [f"→ [`{k.target_fullname}`](#{k.column.table.name})" for k in column.foreign_keys]
    null = "" if column.nullable and not column.primary_key else " not null"
    kind = str(column.type).partition("(")[0].lower()
    return f"| `{column.name}` | {kind}{null} | {'<br>'.join(keys)} | {column.comment} |"


def _rules(table: sa.Table) -> list[str]:
    """List what the database holds by itself, and its indexes."""
    unique = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    checks = [c for c in table.constraints if isinstance(c, sa.CheckConstraint)]
    links = [c for c in table.foreign_key_constraints if len(c.elements) > 1]
    return [
        *(
            f"refers to [`{c.referred_table.name}`](#{c.referred_table.name}) "
            f"by {_listed(c.column_keys)}"
            for c in sorted(links, key=lambda c: c.referred_table.name)
        ),
        *(f"unique: {_listed(c.columns.keys())}" for c in sorted(unique, key=_name)),
        *(f"check `{c.name}`: `{c.sqltext}`" for c in sorted(checks, key=_name)),
        *(
            f"index `{i.name}`: {_listed(i.columns.keys())}"
            for i in sorted(table.indexes, key=_name)
        ),
    ]


def _name(item: sa.Constraint | sa.Index) -> str:
    return str(item.name)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
