"""How do ranks work together as threads of one process?

For tests and notebooks: nothing is started and nothing leaves the process, but messages are encoded
and copied as everywhere, so that what works here works on the other back ends. A thread cannot be
killed: one that is computing while another fails ends at its next message.
"""

from __future__ import annotations

import contextvars
import platform
import threading
from typing import TYPE_CHECKING, Any

from workflow.multicore.grants import Grant, granted, use
from workflow.multinode.communicator import Communicator
from workflow.multinode.endpoint import MailboxEndpoint
from workflow.multinode.outcomes import Outcome, concluded, perform

if TYPE_CHECKING:
    from workflow.multinode.messages import Message
    from workflow.multinode.outcomes import Job

__all__ = ["ThreadCommunicator", "run"]

_GRACE = 10.0
"""How long threads that compute are waited for when the job has failed [s]."""


class ThreadCommunicator(MailboxEndpoint, Communicator):
    """A rank that is a thread."""

    group: list[ThreadCommunicator]

    def _post(self, dest: int, tag: int, message: Message) -> None:
        self.group[dest]._arrived(self.rank, tag, message.copied())  # noqa: SLF001 (of its kind)


def run(job: Job, ranks: int) -> list[Any]:
    """Run a job on so many threads."""
    group = [ThreadCommunicator(r, [platform.node()] * ranks, job.timeout) for r in range(ranks)]
    for comm in group:
        comm.group = group
    ended: list[tuple[int, Outcome]] = []

    def work(comm: ThreadCommunicator) -> None:
        with use(Grant(job.cores, granted().memory_per_core)):
            outcome = perform(job, comm)
        ended.append((comm.rank, outcome))
        if outcome.error is not None:
            for other in group:
                other.mailbox.fail(outcome.error)

    threads = [
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(work, comm),
            name=f"rank {comm.rank}",
            daemon=True,
        )
        for comm in group
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive() and not any(o.error for _, o in ended):
            thread.join(0.05)
        thread.join(_GRACE)
    if any(outcome.error for _, outcome in ended):
        return concluded([outcome for _, outcome in ended])  # in the order in which they ended
    return concluded([outcome for _, outcome in sorted(ended, key=lambda item: item[0])])
