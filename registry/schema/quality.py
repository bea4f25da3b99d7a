"""What is good enough, what was not, and who looks after it?

Verbs and questions: `registry.quality`.  A threshold is never changed: a new one takes its
place, and the old one stays for the values that were judged by it.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.dimensions import LABEL, NAME
from registry.schema.types import SmallId, UtcDateTime, table

quality_threshold = table(
    "quality_threshold",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column("task_label", NAME, nullable=False, comment="Label of the task that measures it"),
    sa.Column(
        "metric", sa.String(128), nullable=False, comment="Dotted name, as in quantum_metric"
    ),
    sa.Column("instrument", NAME, comment="Only for this camera; NULL for any"),
    sa.Column("physical_filter", NAME, comment="Only for this filter; NULL for any"),
    sa.Column("detector", sa.Integer, comment="Only for this detector; NULL for any"),
    sa.Column(
        "scope",
        sa.String(320),
        nullable=False,
        comment="The three as one text",
    ),
    sa.Column("n_keys", SmallId, nullable=False, comment="How many of the three it names"),
    sa.Column("fail_below", sa.Double, comment="A smaller value is a failure"),
    sa.Column("warn_below", sa.Double, comment="A smaller value deserves a look"),
    sa.Column("warn_above", sa.Double, comment="A larger value deserves a look"),
    sa.Column("fail_above", sa.Double, comment="A larger value is a failure"),
    sa.Column("reason", sa.Text, comment="Why it is so"),
    sa.Column("set_at", UtcDateTime, nullable=False, comment="When it was set, UTC"),
    sa.Column("set_by", LABEL, nullable=False, comment="Account that set it"),
    sa.Column("ended_at", UtcDateTime, comment="When it was replaced or taken back, UTC"),
    sa.Column("ended_by", LABEL, comment="Account that did so"),
    sa.Column("in_force", SmallId, comment="1, or NULL when it was replaced or taken back"),
    sa.UniqueConstraint("task_label", "metric", "scope", "in_force", name="uq_quality_threshold"),
    sa.CheckConstraint("n_keys BETWEEN 0 AND 3", name="keys"),
    sa.CheckConstraint(
        "(in_force IS NOT NULL AND in_force = 1 AND ended_at IS NULL)"
        " OR (in_force IS NULL AND ended_at IS NOT NULL)",
        name="in_force",
    ),
    sa.CheckConstraint(
        "COALESCE(fail_below, warn_below, warn_above, fail_above) IS NOT NULL", name="bounds"
    ),
    comment="Bounds of what tasks measure, with all that ever held.",
)

incident = table(
    "incident",
    sa.Column("id", sa.Uuid, primary_key=True, comment="Global identity (UUIDv7)"),
    sa.Column("kind", sa.String(16), nullable=False, comment="What raised it: quality"),
    sa.Column(
        "subject",
        sa.String(512),
        nullable=False,
        comment="What it is about: task, metric, detector",
    ),
    sa.Column("severity", sa.String(16), nullable=False, comment="warning or failure"),
    sa.Column("state", sa.String(16), nullable=False, comment="open, acknowledged or closed"),
    sa.Column("n_seen", SmallId, nullable=False, comment="How often it was found"),
    sa.Column("opened_at", UtcDateTime, nullable=False, comment="When it was found first, UTC"),
    sa.Column("last_seen_at", UtcDateTime, nullable=False, comment="When it was found last, UTC"),
    sa.Column("acknowledged_at", UtcDateTime, comment="When somebody took it up, UTC"),
    sa.Column("acknowledged_by", LABEL, comment="Who did"),
    sa.Column("closed_at", UtcDateTime, comment="When it was closed, UTC"),
    sa.Column("closed_by", LABEL, comment="Who closed it"),
    sa.Column("note", sa.Text, comment="What they said, the last thing last"),
    sa.Column("live", SmallId, comment="1, or NULL when it is closed"),
    sa.UniqueConstraint("subject", "kind", "live", name="uq_incident_subject"),
    sa.CheckConstraint("kind IN ('quality')", name="kind"),
    sa.CheckConstraint("severity IN ('warning', 'failure')", name="severity"),
    sa.CheckConstraint("state IN ('open', 'acknowledged', 'closed')", name="state"),
    sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed"),
    sa.CheckConstraint(
        "(state = 'closed' AND live IS NULL)"
        " OR (state <> 'closed' AND live IS NOT NULL AND live = 1)",
        name="live",
    ),
    sa.CheckConstraint("n_seen >= 1", name="seen"),
    comment="What somebody has to look after: of one subject, one that is not closed.",
)
sa.Index("ix_incident_state", incident.c.state, incident.c.opened_at)

quality_check = table(
    "quality_check",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum that measured",
    ),
    sa.Column(
        "threshold_id",
        SmallId,
        sa.ForeignKey("quality_threshold.id"),
        primary_key=True,
        comment="What it was compared with",
    ),
    sa.Column("value", sa.Double, nullable=False, comment="The number"),
    sa.Column("verdict", sa.String(16), nullable=False, comment="passed, warning or failure"),
    sa.Column("checked_at", UtcDateTime, nullable=False, comment="When it was compared, UTC"),
    sa.Column("incident_id", sa.Uuid, sa.ForeignKey("incident.id"), comment="What it led to"),
    sa.CheckConstraint("verdict IN ('passed', 'warning', 'failure')", name="verdict"),
    sa.CheckConstraint("verdict <> 'passed' OR incident_id IS NULL", name="incident"),
    comment="Which values were compared with which thresholds, and how they did.",
    sqlite_with_rowid=False,
)
sa.Index(
    "ix_quality_check_incident",
    quality_check.c.incident_id,
    postgresql_where=quality_check.c.incident_id.is_not(None),
    sqlite_where=quality_check.c.incident_id.is_not(None),
)
sa.Index("ix_quality_check_threshold", quality_check.c.threshold_id)

quality_watch = table(
    "quality_watch",
    sa.Column(
        "output",
        sa.String(255),
        primary_key=True,
        comment="CHAINED collection that metric tasks write to",
    ),
    sa.Column("host", sa.String(255), nullable=False, comment="Machine that watches"),
    sa.Column("pid", sa.Integer, nullable=False, comment="Process that watches"),
    sa.Column("watched_by", LABEL, nullable=False, comment="Its account"),
    sa.Column("since", UtcDateTime, nullable=False, comment="When it began, UTC"),
    sa.Column("seen_at", UtcDateTime, nullable=False, comment="When it last looked, UTC"),
    sa.Column("every_s", sa.Double, nullable=False, comment="How often it looks [s]; 0: once"),
    comment="Who watches which output: one process at a time.",
)
