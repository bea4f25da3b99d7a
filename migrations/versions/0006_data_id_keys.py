"""Keys of data IDs beyond the dimensions get a type, by which they are compared and sorted.

Revision: 0006, after 0005.  The types of keys that are in use are taken from their values.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MARIADB = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "data_id_key",
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="Key beyond the dimensions, e.g. target",
        ),
        sa.Column(
            "kind",
            sa.String(length=8),
            nullable=False,
            comment="Type of its values, by which they are compared and sorted: str or int",
        ),
        sa.CheckConstraint("kind IN ('str', 'int')", name=op.f("ck_data_id_key_kind")),
        sa.PrimaryKeyConstraint("name", name="pk_data_id_key"),
        comment="The keys of data IDs that have no column of their own.",
        **MARIADB,
        if_not_exists=True,
    )
    if not op.get_context().as_sql:
        declare(op.get_bind())


def downgrade() -> None:
    op.drop_table("data_id_key", if_exists=True)


def declare(connection: sa.Connection) -> None:
    """Write down the keys in use; one that has texts and integers is compared as text."""
    kinds: dict[str, str] = {}
    data_id = sa.table("data_id", sa.column("extra", sa.Text))
    written = sa.cast(data_id.c.extra, sa.Text)
    found = sa.select(written).distinct().where(data_id.c.extra.is_not(None))
    for text in connection.execute(found).scalars():
        for name, value in json.loads(text).items():
            kind = type(value).__name__
            kinds[name] = kind if kinds.get(name, kind) == kind else "str"
    keys = sa.table("data_id_key", sa.column("name"), sa.column("kind"))
    known = set(connection.execute(sa.select(keys.c.name)).scalars())
    rows = [{"name": n, "kind": k} for n, k in kinds.items() if n not in known]
    if rows:
        connection.execute(sa.insert(keys), rows)
