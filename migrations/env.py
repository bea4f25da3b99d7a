"""Runs the revisions: on a connection from `registry.deploy`, or as SQL text when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import context

from registry.deploy import is_ours
from registry.schema import metadata

if TYPE_CHECKING:
    import sqlalchemy as sa


def run(connection: sa.Connection | None) -> None:
    """Configure the context and run what was asked for."""
    options: dict[str, Any] = {
        "target_metadata": metadata,
        "include_object": is_ours,
        "compare_type": True,
        "transaction_per_migration": True,
        "version_table": context.config.attributes.get("version_table", "alembic_version"),
    }
    if connection is None:
        context.configure(
            dialect_name=context.config.attributes["dialect_name"],
            # with literals there is no parameter whose mark would need each % doubled
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},
            output_buffer=context.config.attributes["output"],
            **options,
        )
    else:
        context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes.get("connection"))
