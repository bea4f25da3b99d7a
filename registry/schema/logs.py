"""What did programs and tasks tell while they ran, and about which quantum and data?

Verbs and questions: `registry.logs`.  Rows are written in batches and never changed; the oldest go
first.  They refer to quanta and data IDs by value: a log outlives what it tells of, and a batch is
never refused for what one record names.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, Json, UtcDateTime, table

log_process = table(
    "log_process",
    sa.Column("id", BigId, primary_key=True, comment="Key"),
    sa.Column(
        "identity",
        sa.Uuid,
        nullable=False,
        unique=True,
        comment="Global identity of the process (UUIDv7)",
    ),
    sa.Column("host", sa.String(255), nullable=False, comment="Host it ran on"),
    sa.Column("pid", sa.Integer, nullable=False, comment="Its number there"),
    sa.Column("program", sa.String(255), nullable=False, comment="What it was started as"),
    sa.Column("account", sa.String(255), nullable=False, comment="Account that it ran under"),
    sa.Column("started_at", UtcDateTime, nullable=False, comment="When it began to log, UTC"),
    sa.Column(
        "n_dropped",
        sa.BigInteger,
        nullable=False,
        comment="Records that it had to drop so far, because they came faster than they went",
    ),
    sa.CheckConstraint("n_dropped >= 0", name="dropped"),
    comment="A process that wrote log records.",
)
sa.Index("ix_log_process_started", log_process.c.started_at)

log_record = table(
    "log_record",
    sa.Column(
        "process_id",
        BigId,
        sa.ForeignKey("log_process.id"),
        primary_key=True,
        autoincrement=False,
        comment="Process that wrote it",
    ),
    sa.Column(
        "number",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="Its place among the records of the process, from 1; a gap is what was dropped",
    ),
    sa.Column("logged_at", UtcDateTime, nullable=False, comment="When it was written, UTC"),
    sa.Column(
        "level",
        sa.SmallInteger,
        nullable=False,
        comment="5 trace, 10 debug, 15 verbose, 20 info, 30 warning, 40 error, 50 critical",
    ),
    sa.Column("logger", sa.String(255), nullable=False, comment="Dotted name of the component"),
    sa.Column("message", sa.Text, nullable=False, comment="The text; a very long one is cut"),
    sa.Column("exception", sa.Text, comment="Traceback, if one came with it"),
    sa.Column("place", sa.String(255), nullable=False, comment="file:line function"),
    sa.Column("thread", sa.String(128), nullable=False, comment="Name of the thread"),
    sa.Column("quantum_id", sa.Uuid, comment="Quantum that was being executed (quantum.id)"),
    sa.Column("data_id", BigId, comment="Data that it is about (data_id.id)"),
    sa.Column("context", Json, comment="What was bound: instrument, exposure, run, label, ..."),
    comment="A log record.",
    sqlite_with_rowid=False,
)
# What was logged last, between two times, and what is old enough to go?
sa.Index("ix_log_record_time", log_record.c.logged_at)
# What did this quantum, or did those of this run, tell?
sa.Index(
    "ix_log_record_quantum",
    log_record.c.quantum_id,
    log_record.c.logged_at,
    postgresql_where=log_record.c.quantum_id.is_not(None),
    sqlite_where=log_record.c.quantum_id.is_not(None),
)
# What was told about this exposure, detector or patch?
sa.Index(
    "ix_log_record_data_id",
    log_record.c.data_id,
    log_record.c.logged_at,
    postgresql_where=log_record.c.data_id.is_not(None),
    sqlite_where=log_record.c.data_id.is_not(None),
)
