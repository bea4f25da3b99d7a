"""Which datasets will quanta read and make, and why can some of them not run?

Verbs and questions: `registry.plans`.  A predicted dataset has the identity here that its row in
`dataset` will have when it is made; until then nothing that looks for datasets sees it.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.dimensions import NAME
from registry.schema.types import BigId, Json, LongText, SmallId, UtcDateTime, table

CAUSES = (
    "too_few",
    "too_many",
    "no_output",
    "no_prerequisite",
    "not_made",
    "not_found",
    "refused",
)
"""Why a quantum is blocked; `registry.plans.reasons` has a sentence for each."""

CONNECTION = "Name of the task's connection"

task_connection = table(
    "task_connection",
    sa.Column("task_id", SmallId, sa.ForeignKey("task.id"), primary_key=True, comment="Task"),
    sa.Column("name", NAME, primary_key=True, comment=CONNECTION),
    sa.Column("kind", sa.String(16), nullable=False, comment="input, prerequisite or output"),
    sa.Column("dataset_type", NAME, nullable=False, comment="Name of the dataset type"),
    sa.Column("is_multiple", sa.Boolean, nullable=False, comment="Whether a quantum has a list"),
    sa.Column("minimum", SmallId, nullable=False, comment="How many a quantum needs"),
    sa.CheckConstraint("kind IN ('input', 'prerequisite', 'output')", name="kind"),
    comment="What a task of a run reads and writes.",
)

planned_output = table(
    "planned_output",
    sa.Column("dataset_id", sa.Uuid, primary_key=True, comment="Identity of the dataset when made"),
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        nullable=False,
        comment="Quantum that will make it",
    ),
    sa.Column("connection", NAME, nullable=False, comment=CONNECTION),
    sa.Column("data_id", BigId, sa.ForeignKey("data_id.id"), nullable=False, comment="Its data ID"),
    comment="Datasets that quanta are to make.",
    sqlite_with_rowid=False,
)
sa.Index("ix_planned_output_quantum", planned_output.c.quantum_id)

planned_input = table(
    "planned_input",
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
        primary_key=True,
        comment="Dataset that it will read: one that exists, or one of planned_output",
    ),
    sa.Column("connection", NAME, primary_key=True, comment=CONNECTION),
    comment="Datasets that quanta are to read.",
    sqlite_with_rowid=False,
)
sa.Index("ix_planned_input_dataset", planned_input.c.dataset_id)

reused_dataset = table(
    "reused_dataset",
    sa.Column(
        "task_id",
        SmallId,
        sa.ForeignKey("task.id"),
        primary_key=True,
        comment="Task that need not make it",
    ),
    sa.Column("connection", NAME, primary_key=True, comment=CONNECTION),
    sa.Column("dataset_id", sa.Uuid, primary_key=True, comment="The dataset, of an earlier run"),
    comment="Datasets of earlier runs that a run takes instead of making them again.",
    sqlite_with_rowid=False,
)

quantum_block = table(
    "quantum_block",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum",
    ),
    sa.Column(
        "cause",
        sa.String(16),
        nullable=False,
        comment="Kind of reason: too_few, too_many, no_output, no_prerequisite, ...",
    ),
    sa.Column("connection", NAME, nullable=False, comment="Connection that it lies at, or empty"),
    sa.Column("n_found", SmallId, comment="Datasets that there are for it"),
    sa.Column("at_tai_ns", sa.BigInteger, comment="Time of observation, TAI ns since 1970"),
    sa.Column(
        "before_tai_ns",
        sa.BigInteger,
        comment="End of the last calibration that ended before, TAI ns since 1970",
    ),
    sa.Column(
        "after_tai_ns",
        sa.BigInteger,
        comment="Begin of the first calibration that begins after, TAI ns since 1970",
    ),
    sa.Column("text", sa.Text, comment="What the task said, when it refused"),
    sa.CheckConstraint(
        f"cause IN ({', '.join(map(repr, CAUSES))})",
        name="cause",
    ),
    comment="Why a quantum is blocked, as facts.",
)

graph_file = table(
    "graph_file",
    sa.Column("id", sa.Uuid, primary_key=True, comment="Identity (UUIDv7), the same in the file"),
    sa.Column(
        "run_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        nullable=False,
        comment="RUN whose quanta it holds",
    ),
    sa.Column(
        "repository_id",
        sa.Uuid,
        nullable=False,
        comment="Repository that they were taken from, and come home to",
    ),
    sa.Column("path", sa.String(1024), nullable=False, comment="Where the file was written"),
    sa.Column(
        "root", sa.String(1024), nullable=False, comment="Folder that outputs are written below"
    ),
    sa.Column(
        "piece",
        SmallId,
        nullable=False,
        comment="Its place among those that were written together, from 1",
    ),
    sa.Column("exported_at", UtcDateTime, nullable=False, comment="When it was written, UTC"),
    sa.Column("exported_by", sa.String(255), nullable=False, comment="Account that wrote it"),
    comment="Files with a part of the quanta of a run, which are executed away from this database.",
)
sa.Index("ix_graph_file_run", graph_file.c.run_id)

given_quantum = table(
    "given_quantum",
    sa.Column(
        "quantum_id",
        sa.Uuid,
        sa.ForeignKey("quantum.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Quantum",
    ),
    sa.Column(
        "graph_id",
        sa.Uuid,
        sa.ForeignKey("graph_file.id"),
        nullable=False,
        comment="File that it was given to last",
    ),
    sa.Column(
        "state",
        sa.String(16),
        nullable=False,
        comment="away: to be executed there; leaving: on its way home (in the file only); home",
    ),
    sa.CheckConstraint("state IN ('away', 'leaving', 'home')", name="state"),
    comment="Quanta that were given to a file.",
    sqlite_with_rowid=False,
)
# What of this file has not come home yet?
sa.Index("ix_given_quantum_graph", given_quantum.c.graph_id, given_quantum.c.state)

planned_run = table(
    "planned_run",
    sa.Column(
        "run_id",
        SmallId,
        sa.ForeignKey("collection.id"),
        primary_key=True,
        comment="RUN collection",
    ),
    sa.Column("output", sa.String(255), nullable=False, comment="CHAINED collection that has it"),
    sa.Column("inputs", Json, nullable=False, comment="Collections that are searched, in order"),
    sa.Column("selection", sa.Text, nullable=False, comment="Expression that the inputs fulfil"),
    sa.Column(
        "pipeline", LongText, nullable=False, comment="The tasks as they were resolved, as JSON"
    ),
    sa.Column("n_stages", SmallId, nullable=False, comment="Stages: each certifies for the next"),
    sa.Column(
        "n_stages_done", SmallId, nullable=False, comment="Stages whose calibrations are certified"
    ),
    sa.Column("planned_at", UtcDateTime, nullable=False, comment="When it was planned last, UTC"),
    sa.Column("planned_by", sa.String(255), nullable=False, comment="Account that planned it"),
    sa.CheckConstraint("n_stages_done BETWEEN 0 AND n_stages", name="stages"),
    comment="With what a run was planned, so that any engine can execute it.",
)

task_need = table(
    "task_need",
    sa.Column("task_id", SmallId, sa.ForeignKey("task.id"), primary_key=True, comment="Task"),
    sa.Column("ranks", SmallId, nullable=False, comment="Ranks that a quantum can make use of"),
    sa.Column("cores", SmallId, nullable=False, comment="Cores of each rank"),
    sa.Column(
        "memory_per_core_mib",
        SmallId,
        nullable=False,
        comment="What it may use for each core [MiB]; 0: nobody said",
    ),
    sa.Column(
        "walltime_guess_s",
        sa.Double,
        nullable=False,
        comment="How long a usual quantum takes [s]; 0: nobody said",
    ),
    sa.Column(
        "timeout_s",
        sa.Double,
        nullable=False,
        comment="After how long it is given up [s]; 0: never",
    ),
    sa.CheckConstraint("ranks >= 1 AND cores >= 1", name="cores"),
    sa.CheckConstraint(
        "memory_per_core_mib >= 0 AND walltime_guess_s >= 0 AND timeout_s >= 0", name="limits"
    ),
    comment="What one quantum of a task of a run needs of the machine.",
)
