"""What made every dataset, from what, how, with which configuration and which software?

Verbs and questions: `registry.provenance`.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, Json, LongText, SmallId, UtcDateTime, table

environment = table(
    "environment",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column(
        "digest", sa.String(64), nullable=False, unique=True, comment="SHA-256 of the content, hex"
    ),
    sa.Column("python", sa.String(64), nullable=False, comment="Version of Python"),
    sa.Column(
        "platform", sa.String(255), nullable=False, comment="Operating system and machine type"
    ),
    sa.Column(
        "code_revision", sa.String(128), comment="Revision of the code in a checkout, if it is one"
    ),
    comment="A software environment in which quanta ran.",
)

environment_package = table(
    "environment_package",
    sa.Column(
        "environment_id",
        SmallId,
        sa.ForeignKey("environment.id"),
        primary_key=True,
        comment="Environment",
    ),
    sa.Column("name", sa.String(128), primary_key=True, comment="Name of the distribution"),
    sa.Column("version", sa.String(128), nullable=False, comment="Its version"),
    comment="Packages of an environment with their versions.",
)
sa.Index("ix_environment_package_name", environment_package.c.name, environment_package.c.version)

config = table(
    "config",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column(
        "digest",
        sa.String(64),
        nullable=False,
        unique=True,
        comment="SHA-256 of class and values, hex",
    ),
    sa.Column(
        "class_name", sa.String(255), nullable=False, comment="Configuration class, dotted path"
    ),
    sa.Column("text", LongText, nullable=False, comment="The frozen configuration as it is saved"),
    comment="A frozen configuration, stored once by content.",
)

config_value = table(
    "config_value",
    sa.Column(
        "config_id", SmallId, sa.ForeignKey("config.id"), primary_key=True, comment="Configuration"
    ),
    sa.Column("path", sa.String(255), primary_key=True, comment="Dotted path of the field"),
    sa.Column("value", sa.Text, comment="Its value as a literal; NULL for None"),
    sa.Column("type", sa.String(64), nullable=False, comment="Type of the value"),
    comment="Every value of a configuration, one row each.",
)
sa.Index("ix_config_value_path", config_value.c.path)

task = table(
    "task",
    sa.Column("id", SmallId, primary_key=True, comment="Key"),
    sa.Column(
        "run_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        nullable=False,
        comment="RUN it writes to",
    ),
    sa.Column("label", sa.String(128), nullable=False, comment="Label in the pipeline"),
    sa.Column("class_name", sa.String(255), nullable=False, comment="Task class, dotted path"),
    sa.Column(
        "config_id",
        SmallId,
        sa.ForeignKey("config.id"),
        nullable=False,
        comment="Its configuration",
    ),
    sa.Column("pipeline", sa.Text, comment="Pipeline that it came from"),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it was recorded, UTC"),
    sa.UniqueConstraint("run_id", "label"),
    comment="A task with its configuration in one run.",
)

config_history = table(
    "config_history",
    sa.Column(
        "task_id", SmallId, sa.ForeignKey("task.id"), primary_key=True, comment="Task in its run"
    ),
    sa.Column("path", sa.String(255), primary_key=True, comment="Dotted path of the field"),
    sa.Column(
        "step",
        SmallId,
        primary_key=True,
        autoincrement=False,
        comment="0, 1, ...: the last one holds",
    ),
    sa.Column("value", sa.Text, comment="Value set in this step as a literal; NULL for None"),
    sa.Column(
        "origin_kind",
        sa.String(16),
        nullable=False,
        comment="default, instrument, pipeline, parameter, file or command-line",
    ),
    sa.Column("origin", sa.Text, nullable=False, comment="File and line, or the argument"),
    sa.Column("set_by", sa.String(255), comment="Account that set it"),
    sa.Column("set_at", UtcDateTime, comment="When it was set, UTC"),
    sa.CheckConstraint(
        "origin_kind IN ('default', 'instrument', 'pipeline', 'parameter', 'file', 'command-line')",
        name="origin",
    ),
    comment="Every value that a configuration field had, and who set it where.",
)

quantum = table(
    "quantum",
    sa.Column("id", sa.Uuid, primary_key=True, comment="Global identity (UUIDv7)"),
    sa.Column(
        "task_id", SmallId, sa.ForeignKey("task.id"), nullable=False, comment="Task that it runs"
    ),
    sa.Column("data_id", BigId, sa.ForeignKey("data_id.id"), nullable=False, comment="Its data ID"),
    sa.Column(
        "state",
        sa.String(16),
        nullable=False,
        comment="ready, running, done, no_work, failed, blocked or away",
    ),
    sa.Column("attempt", SmallId, nullable=False, comment="Times that it was started"),
    sa.Column(
        "environment_id", SmallId, sa.ForeignKey("environment.id"), comment="Software it ran in"
    ),
    sa.Column("started_at", UtcDateTime, comment="Begin of the last attempt, UTC"),
    sa.Column("finished_at", UtcDateTime, comment="End of the last attempt, UTC"),
    sa.Column("wall_s", sa.Double, comment="Elapsed time of the last attempt [s]"),
    sa.Column("cpu_s", sa.Double, comment="Processor time of the last attempt [s]"),
    sa.Column(
        "max_rss_bytes", sa.BigInteger, comment="Largest memory of the process so far [byte]"
    ),
    sa.Column("host", sa.String(255), comment="Host it ran on"),
    sa.Column("pid", sa.Integer, comment="Process it ran in"),
    sa.Column("exception_class", sa.String(255), comment="Class of the error, if it failed"),
    sa.Column(
        "exception_message", sa.Text, comment="Text of the error, or the reason for being blocked"
    ),
    sa.Column("metadata", Json, comment="What the task recorded about its run"),
    sa.Column(
        "error_kind",
        sa.String(32),
        comment="Kind of the error: repeatable, unprocessable-data, out-of-memory, ...",
    ),
    sa.UniqueConstraint("task_id", "data_id"),
    sa.CheckConstraint(
        "state IN ('ready', 'running', 'done', 'no_work', 'failed', 'blocked', 'away')",
        name="state",
    ),
    sa.CheckConstraint(
        "(state IN ('done', 'no_work', 'failed')) = (finished_at IS NOT NULL)", name="finished"
    ),
    sa.CheckConstraint("state <> 'failed' OR exception_class IS NOT NULL", name="failure"),
    comment="One unit of work of a task: its data ID, state, timing and outcome.",
)
sa.Index("ix_quantum_state", quantum.c.task_id, quantum.c.state)
sa.Index("ix_quantum_environment", quantum.c.environment_id)

task_variant = table(
    "task_variant",
    sa.Column(
        "task_id",
        SmallId,
        sa.ForeignKey("task.id"),
        primary_key=True,
        comment="The variant: a task of its own label, with its configuration and history",
    ),
    sa.Column(
        "of_task_id",
        SmallId,
        sa.ForeignKey("task.id"),
        nullable=False,
        comment="Task of the pipeline that some quanta run in this variant",
    ),
    sa.Column(
        "selection", LongText, nullable=False, comment="Expression that their data IDs fulfil"
    ),
    sa.CheckConstraint("task_id <> of_task_id", name="other_task"),
    comment="Configurations of a task that hold for some of its quanta, by their data IDs.",
)
# Which variants has a task?
sa.Index("ix_task_variant_of", task_variant.c.of_task_id)

quantum_variant = table(
    "quantum_variant",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum",
    ),
    sa.Column(
        "task_id",
        SmallId,
        sa.ForeignKey("task_variant.task_id"),
        nullable=False,
        comment="Variant whose configuration it has",
    ),
    comment="Quanta with a configuration of their own; all others have that of their task.",
    sqlite_with_rowid=False,
)
# Which quanta have the configuration of a variant?
sa.Index("ix_quantum_variant_task", quantum_variant.c.task_id)

quantum_metric = table(
    "quantum_metric",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum",
    ),
    sa.Column(
        "name",
        sa.String(128),
        primary_key=True,
        comment="Dotted name of the number in its metadata",
    ),
    sa.Column("value", sa.Double, nullable=False, comment="The number"),
    comment="Numbers that tasks recorded, for questions about quality.",
)
sa.Index("ix_quantum_metric_name", quantum_metric.c.name, quantum_metric.c.value)

quantum_input = table(
    "quantum_input",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum",
    ),
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="What it read",
    ),
    sa.Column(
        "connection", sa.String(128), nullable=False, comment="Name of the task's connection"
    ),
    comment="Which datasets a quantum read.",
    sqlite_with_rowid=False,
)
sa.Index("ix_quantum_input_dataset", quantum_input.c.dataset_id)

quantum_output = table(
    "quantum_output",
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="What it made",
    ),
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        nullable=False,
        comment="Quantum",
    ),
    sa.Column(
        "connection", sa.String(128), nullable=False, comment="Name of the task's connection"
    ),
    comment="Which quantum made a dataset; one at most.",
    sqlite_with_rowid=False,
)
sa.Index("ix_quantum_output_quantum", quantum_output.c.quantum_id)

repository_input = table(
    "repository_input",
    sa.Column(
        "position",
        SmallId,
        primary_key=True,
        autoincrement=False,
        comment="Place in the search, from 0",
    ),
    sa.Column(
        "repository_id",
        sa.Uuid,
        nullable=False,
        unique=True,
        comment="Identity of the input repository",
    ),
    sa.Column("url", sa.String(1024), nullable=False, comment="Where it was when it was added"),
    sa.Column("added_at", UtcDateTime, nullable=False, comment="When it was added, UTC"),
    comment="Repositories whose datasets this one reads.",
)

foreign_dataset = table(
    "foreign_dataset",
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="The dataset",
    ),
    sa.Column(
        "repository_id",
        sa.Uuid,
        nullable=False,
        comment="Identity of the repository that has its files and its history",
    ),
    sa.Column("adopted_at", UtcDateTime, nullable=False, comment="When its row came here, UTC"),
    comment="Datasets of other repositories, known here because something here refers to them.",
    sqlite_with_rowid=False,
)
sa.Index("ix_foreign_dataset_repository", foreign_dataset.c.repository_id)

removed_dataset = table(
    "removed_dataset",
    sa.Column(
        "dataset_id",
        sa.Uuid,
        sa.ForeignKey("dataset.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="The dataset",
    ),
    sa.Column("removed_at", UtcDateTime, nullable=False, comment="When it was removed, UTC"),
    sa.Column("removed_by", sa.String(255), nullable=False, comment="Account that removed it"),
    comment="Datasets that are gone, and whose rows stay for the history of what was made of them.",
    sqlite_with_rowid=False,
)
