"""What becomes of quanta whose process is gone?

Those that shall be tried again are reset (`registry.provenance.recording.reset`); the others fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.database import rows_of, utc_now
from registry.schema import provenance as schema

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

__all__ = ["declare_lost"]


def declare_lost(
    connection: sa.Connection,
    lost: Sequence[tuple[uuid.UUID, str, int]],
    reason: str,
    *,
    kind: str = "process-died",
    name: str = "ProcessDied",
) -> None:
    """Let running quanta fail whose process is gone.

    Parameters
    ----------
    lost : sequence of (quantum, host, process)
        A quantum that another process has begun since is left alone.
    reason : str
        One sentence.
    kind, name : str
        Kind and class of the error, as `registry.provenance.recording.Outcome` has them.
    """
    q = schema.quantum
    items = [{"q": i, "host": host, "pid": pid} for i, host, pid in lost]
    kinds = {"q": sa.Uuid, "host": sa.String, "pid": sa.BigInteger}
    given = rows_of(connection, items, kinds).c
    same = (given.q == q.c.id) & (given.host == q.c.host) & (given.pid == q.c.pid)
    connection.execute(
        sa.update(q)
        .where(q.c.state == "running", same)
        .values(
            state="failed",
            finished_at=utc_now(),
            exception_class=name,
            exception_message=reason,
            error_kind=kind,
        )
    )
