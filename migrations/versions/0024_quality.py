"""What is good enough is rows, and so is what was not: thresholds, checks, incidents.

Revision: 0024, after 0023.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from registry.deploy import create_view, drop_view

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS = {
    "mariadb_engine": "InnoDB",
    "mariadb_default_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    op.create_table(
        "quality_threshold",
        sa.Column("id", sa.Integer(), nullable=False, comment="Key"),
        sa.Column(
            "task_label",
            sa.String(length=128),
            nullable=False,
            comment="Label of the task that measures it",
        ),
        sa.Column(
            "metric",
            sa.String(length=128),
            nullable=False,
            comment="Dotted name, as in quantum_metric",
        ),
        sa.Column(
            "instrument", sa.String(length=128), comment="Only for this camera; NULL for any"
        ),
        sa.Column(
            "physical_filter", sa.String(length=128), comment="Only for this filter; NULL for any"
        ),
        sa.Column("detector", sa.Integer(), comment="Only for this detector; NULL for any"),
        sa.Column(
            "scope",
            sa.String(length=320),
            nullable=False,
            comment="The three as one text",
        ),
        sa.Column("n_keys", sa.Integer(), nullable=False, comment="How many of the three it names"),
        sa.Column("fail_below", sa.Double(), comment="A smaller value is a failure"),
        sa.Column("warn_below", sa.Double(), comment="A smaller value deserves a look"),
        sa.Column("warn_above", sa.Double(), comment="A larger value deserves a look"),
        sa.Column("fail_above", sa.Double(), comment="A larger value is a failure"),
        sa.Column("reason", sa.Text(), comment="Why it is so"),
        sa.Column("set_at", UTC, nullable=False, comment="When it was set, UTC"),
        sa.Column("set_by", sa.String(length=255), nullable=False, comment="Account that set it"),
        sa.Column("ended_at", UTC, comment="When it was replaced or taken back, UTC"),
        sa.Column("ended_by", sa.String(length=255), comment="Account that did so"),
        sa.Column(
            "in_force", sa.Integer(), comment="1, or NULL when it was replaced or taken back"
        ),
        sa.UniqueConstraint(
            "task_label", "metric", "scope", "in_force", name="uq_quality_threshold"
        ),
        sa.CheckConstraint("n_keys BETWEEN 0 AND 3", name=op.f("ck_quality_threshold_keys")),
        sa.CheckConstraint(
            "(in_force IS NOT NULL AND in_force = 1 AND ended_at IS NULL)"
            " OR (in_force IS NULL AND ended_at IS NOT NULL)",
            name=op.f("ck_quality_threshold_in_force"),
        ),
        sa.CheckConstraint(
            "COALESCE(fail_below, warn_below, warn_above, fail_above) IS NOT NULL",
            name=op.f("ck_quality_threshold_bounds"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_quality_threshold"),
        comment="Bounds of what tasks measure, with all that ever held.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Global identity (UUIDv7)"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="What raised it: quality"),
        sa.Column(
            "subject",
            sa.String(length=512),
            nullable=False,
            comment="What it is about: task, metric, detector",
        ),
        sa.Column("severity", sa.String(length=16), nullable=False, comment="warning or failure"),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="open, acknowledged or closed"
        ),
        sa.Column("n_seen", sa.Integer(), nullable=False, comment="How often it was found"),
        sa.Column("opened_at", UTC, nullable=False, comment="When it was found first, UTC"),
        sa.Column("last_seen_at", UTC, nullable=False, comment="When it was found last, UTC"),
        sa.Column("acknowledged_at", UTC, comment="When somebody took it up, UTC"),
        sa.Column("acknowledged_by", sa.String(length=255), comment="Who did"),
        sa.Column("closed_at", UTC, comment="When it was closed, UTC"),
        sa.Column("closed_by", sa.String(length=255), comment="Who closed it"),
        sa.Column("note", sa.Text(), comment="What they said, the last thing last"),
        sa.Column("live", sa.Integer(), comment="1, or NULL when it is closed"),
        sa.UniqueConstraint("subject", "kind", "live", name="uq_incident_subject"),
        sa.CheckConstraint("kind IN ('quality')", name=op.f("ck_incident_kind")),
        sa.CheckConstraint("severity IN ('warning', 'failure')", name=op.f("ck_incident_severity")),
        sa.CheckConstraint(
            "state IN ('open', 'acknowledged', 'closed')", name=op.f("ck_incident_state")
        ),
        sa.CheckConstraint(
            "(state = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_incident_closed")
        ),
        sa.CheckConstraint(
            "(state = 'closed' AND live IS NULL)"
            " OR (state <> 'closed' AND live IS NOT NULL AND live = 1)",
            name=op.f("ck_incident_live"),
        ),
        sa.CheckConstraint("n_seen >= 1", name=op.f("ck_incident_seen")),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
        comment="What somebody has to look after: of one subject, one that is not closed.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "quality_check",
        sa.Column(
            "quantum_id",
            sa.Uuid(),
            sa.ForeignKey("quantum.id", name="fk_quality_check_quantum_id", ondelete="RESTRICT"),
            nullable=False,
            comment="Quantum that measured",
        ),
        sa.Column(
            "threshold_id",
            sa.Integer(),
            sa.ForeignKey("quality_threshold.id", name="fk_quality_check_threshold_id"),
            nullable=False,
            comment="What it was compared with",
        ),
        sa.Column("value", sa.Double(), nullable=False, comment="The number"),
        sa.Column(
            "verdict", sa.String(length=16), nullable=False, comment="passed, warning or failure"
        ),
        sa.Column("checked_at", UTC, nullable=False, comment="When it was compared, UTC"),
        sa.Column(
            "incident_id",
            sa.Uuid(),
            sa.ForeignKey("incident.id", name="fk_quality_check_incident_id"),
            comment="What it led to",
        ),
        sa.CheckConstraint(
            "verdict IN ('passed', 'warning', 'failure')", name=op.f("ck_quality_check_verdict")
        ),
        sa.CheckConstraint(
            "verdict <> 'passed' OR incident_id IS NULL", name=op.f("ck_quality_check_incident")
        ),
        sa.PrimaryKeyConstraint("quantum_id", "threshold_id", name="pk_quality_check"),
        comment="Which values were compared with which thresholds, and how they did.",
        sqlite_with_rowid=False,
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "quality_watch",
        sa.Column(
            "output",
            sa.String(length=255),
            nullable=False,
            comment="CHAINED collection that metric tasks write to",
        ),
        sa.Column("host", sa.String(length=255), nullable=False, comment="Machine that watches"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process that watches"),
        sa.Column("watched_by", sa.String(length=255), nullable=False, comment="Its account"),
        sa.Column("since", UTC, nullable=False, comment="When it began, UTC"),
        sa.Column("seen_at", UTC, nullable=False, comment="When it last looked, UTC"),
        sa.Column(
            "every_s", sa.Double(), nullable=False, comment="How often it looks [s]; 0: once"
        ),
        sa.PrimaryKeyConstraint("output", name="pk_quality_watch"),
        comment="Who watches which output: one process at a time.",
        **OPTIONS,
        if_not_exists=True,
    )
    op.create_index("ix_incident_state", "incident", ["state", "opened_at"], if_not_exists=True)
    op.create_index(
        "ix_quality_check_incident",
        "quality_check",
        ["incident_id"],
        postgresql_where=sa.text("incident_id IS NOT NULL"),
        sqlite_where=sa.text("incident_id IS NOT NULL"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_quality_check_threshold", "quality_check", ["threshold_id"], if_not_exists=True
    )
    create_view("open_incident")
    create_view("metric_history")


def downgrade() -> None:
    drop_view("metric_history")
    drop_view("open_incident")
    for name in ("quality_watch", "quality_check", "incident", "quality_threshold"):
        op.drop_table(name, if_exists=True)
