"""Readers and operators are roles with rights of their own; patches are found by an index.

Revision: 0007, after 0006.  Where the deploying account may not make roles, the schema is as good
without them, and `skyspine db roles` prints what an administrator has to run.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from registry.database import roles

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    here = sa.text("skymap IS NOT NULL")
    op.create_index(
        "ix_data_id_sky",
        "data_id",
        ["skymap", "tract", "patch", "band"],
        postgresql_where=here,
        sqlite_where=here,
        if_not_exists=True,
    )
    if on_mariadb():
        op.drop_index("ix_data_id_tract", "data_id", if_exists=True)
    if op.get_context().as_sql:
        for statement in roles.statements(op.get_context().dialect.name, ""):
            if op.get_context().dialect.name == "postgresql":
                op.execute(sa.text(statement.replace(":", r"\:")))
        return
    roles.create(op.get_bind())


def downgrade() -> None:
    roles.drop(op.get_bind())
    if (
        on_mariadb()
    ):  # whose foreign keys need an index, and took the one of this revision for theirs
        sky = ["skymap", "tract", "patch"]
        op.create_index("ix_data_id_tract", "data_id", sky, if_not_exists=True)
    op.drop_index("ix_data_id_sky", "data_id", if_exists=True)


def on_mariadb() -> bool:
    return op.get_context().dialect.name in ("mysql", "mariadb")
