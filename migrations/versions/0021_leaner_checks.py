"""Datasets are tagged and purged with fewer checks, which say as much as before, or more.

Revision: 0021, after 0020.  What refers to a dataset, a file or a quantum refuses its removal by ON
DELETE RESTRICT, which PostgreSQL asks once instead of twice.  A tag refers to its dataset by data
ID, type and identity at once.  SQLite computes the text of a data ID in half of the time.  No
table is rewritten.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

REFERRING = {
    "dataset": (
        "calibration",
        "calibration_fact",
        "file",
        "foreign_dataset",
        "quantum_input",
        "quantum_output",
        "removed_dataset",
    ),
    "file": ("file_rows", "replica"),
    "quantum": (
        "given_quantum",
        "planned_input",
        "planned_output",
        "quantum_block",
        "quantum_input",
        "quantum_metric",
        "quantum_output",
    ),
}
TAG = (
    "fk_tagged_data_id_dataset_type_id_dataset_id",
    "data_id, dataset_type_id, dataset_id",
    "dataset (data_id, dataset_type_id, id)",
)
TAG_BEFORE = (
    ("fk_tagged_data_id", "data_id", "data_id (id)"),
    ("fk_tagged_dataset_id", "dataset_id", "dataset (id)"),
    ("fk_tagged_dataset_type_id", "dataset_type_id", "dataset_type (id)"),
)
PARTS = (
    ("i", "instrument"),
    ("d", "detector"),
    ("f", "physical_filter"),
    ("b", "band"),
    ("x", "exposure"),
    ("v", "visit"),
    ("n", "day_obs"),
    ("s", "skymap"),
    ("t", "tract"),
    ("p", "patch"),
    ("h", "healpix"),
)
JOINED = " || ".join(
    [f"coalesce('{letter}' || CAST({c} AS TEXT) || '|', '')" for letter, c in PARTS]
    + ["coalesce(CAST(extra AS TEXT), '')"]
)
PRINTED = (
    f"printf('{'%s' * (len(PARTS) + 1)}', "
    + ", ".join(f"'{letter}' || {c} || '|'" for letter, c in PARTS)
    + ", extra)"
)
RESTRICT = " ON DELETE RESTRICT"


def upgrade() -> None:
    _index("uq_dataset_data_id", ["data_id", "dataset_type_id", "id"], "ix_dataset_data_id")
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        op.execute("PRAGMA writable_schema = ON")
        _rewrite("data_id", JOINED, PRINTED)
        _rewrite("tagged", _written(*TAG_BEFORE), _written(TAG, end=RESTRICT))
        for table, column, parent in _referring():
            plain = _reference(column, f"{parent} (id)")
            _rewrite(table, plain, plain + RESTRICT)
        op.execute("PRAGMA writable_schema = RESET")
        return
    _replace_in_tags(TAG_BEFORE, (TAG,), RESTRICT)
    if dialect == "postgresql":  # for MariaDB, it is the same
        _replace_references(RESTRICT)


def downgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        op.execute("PRAGMA writable_schema = ON")
        _rewrite("data_id", PRINTED, JOINED)
        _rewrite("tagged", _written(TAG, end=RESTRICT), _written(*TAG_BEFORE))
        for table, column, parent in _referring():
            plain = _reference(column, f"{parent} (id)")
            _rewrite(table, plain + RESTRICT, plain)
        op.execute("PRAGMA writable_schema = RESET")
    else:
        _replace_in_tags((TAG,), TAG_BEFORE)
        if dialect == "postgresql":
            _replace_references()
    _index("ix_dataset_data_id", ["data_id", "dataset_type_id"], "uq_dataset_data_id")


def _index(name: str, columns: list[str], instead_of: str) -> None:
    """Make an index of datasets, and only then drop the one that MariaDB may need until then."""
    op.create_index(name, "dataset", columns, unique=name.startswith("uq"), if_not_exists=True)
    op.drop_index(instead_of, "dataset", if_exists=True)


def _referring() -> list[tuple[str, str, str]]:
    return [(t, f"{parent}_id", parent) for parent, tables in REFERRING.items() for t in tables]


def _reference(columns: str, parent: str) -> str:
    return f"FOREIGN KEY({columns}) REFERENCES {parent}"


def _written(*keys: tuple[str, str, str], end: str = "") -> str:
    return ", \n\t".join(
        f"CONSTRAINT {name} {_reference(columns, parent)}{end}" for name, columns, parent in keys
    )


def _rewrite(table: str, before: str, after: str) -> None:
    """Change what a table of SQLite checks or computes; what it holds stays as it is."""
    op.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :old, :new) "
            "WHERE type = 'table' AND name = :named"
        ).bindparams(old=before, new=after, named=table)
    )


def _replace_in_tags(
    before: tuple[tuple[str, str, str], ...], after: tuple[tuple[str, str, str], ...], end: str = ""
) -> None:
    mariadb = op.get_context().dialect.name != "postgresql"
    for name, _, _ in before:
        kind = "FOREIGN KEY" if mariadb else "CONSTRAINT"
        op.execute(f"ALTER TABLE tagged DROP {kind} IF EXISTS {name}")
        if mariadb:  # the index that it has made for it outlives it
            op.execute(f"DROP INDEX IF EXISTS {name} ON tagged")
    for name, columns, parent in after:
        op.execute(f"ALTER TABLE tagged ADD CONSTRAINT {name} {_reference(columns, parent)}{end}")


def _replace_references(end: str = "") -> None:
    for table, column, parent in _referring():
        name = f"fk_{table}_{column}"
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, "
            f"ADD CONSTRAINT {name} {_reference(column, f'{parent} (id)')}{end}"
        )
