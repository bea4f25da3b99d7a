"""What is to be done to files when the transaction around has ended?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbone.staging import StagedFile

__all__ = ["Pending"]


@dataclass(slots=True)
class Pending:
    """What is to be done to files when the transaction around has ended."""

    staged: list[StagedFile] = field(default_factory=list)
    after: list[Callable[[], object]] = field(default_factory=list)

    def abandon(self, error: BaseException) -> None:
        """Remove the files of a transaction that failed.

        When it is not known whether it was committed (the server went away during the commit, the
        process was interrupted), a file that has its name stays: without a row the audit removes
        it, and a row without a file would be a loss.
        """
        unsure = getattr(error, "uncertain", False) or not isinstance(error, Exception)
        for file in self.staged:
            file.abandon(settled=not unsure)
