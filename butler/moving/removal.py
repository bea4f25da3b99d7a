"""How do datasets and runs go, with their files?

The rows go in one transaction, which lists the files as trash; the files go when it is committed.
What a killed process has left in the trash is removed by `empty_trash`, or by ``skyspine check
--repair``.  What goes and what stays is `registry.removing`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone import files, trash, withdrawing
from backbone.replacing import out_of_reach
from registry import removing

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    import sqlalchemy as sa

    from butler.butler import Butler
    from registry.identity import DatasetRef

__all__ = ["empty_afterwards", "empty_trash", "prune", "remove_runs", "why_unreadable", "withdraw"]

_log = logging.getLogger("skyspine.butler")
_STILL_OPEN = "a transaction of the registry is open; begin it by Butler.transaction instead."


def prune(butler: Butler, ids: Sequence[uuid.UUID], *, purge: bool) -> None:
    """Remove the files of datasets, and with ``purge`` the datasets; see `Butler.prune`."""
    batch = butler.registry.database.transact(_discard, ids, purge=purge)
    empty_afterwards(butler, batch)


def _discard(connection: sa.Connection, ids: Sequence[uuid.UUID], *, purge: bool) -> uuid.UUID:
    batch = files.discard(connection, ids)
    if purge:
        removing.remove_datasets(connection, ids)
    return batch


def withdraw(butler: Butler, ids: Sequence[uuid.UUID], name: str) -> tuple[int, int]:
    """Remove copies at an endpoint; see `Butler.withdraw`."""
    with butler.registry.read() as connection:
        seen = withdrawing.look(connection, butler.root, ids, name)
    if seen.bad:
        copy, problem = seen.bad[0]
        more = f", nor can {len(seen.bad) - 1} more" if len(seen.bad) > 1 else ""
        _log.warning(
            "A copy cannot be relied on%s: %s %s. What is wrong is marked by "
            "skyspine check --repair.",
            more,
            copy.shown(butler.root),
            problem,
        )
    batch, removed, kept = butler.registry.database.transact(withdrawing.withdraw, ids, name, seen)
    empty_afterwards(butler, batch)
    return removed, kept


def remove_runs(butler: Butler, names: Sequence[str], *, dry_run: bool) -> removing.Removal:
    """Remove runs with all that is in them; see `Butler.remove_runs`."""
    if dry_run:
        with butler.registry.read() as connection:
            ids = removing.runs_content(connection, names)
            return removing.dependents(connection, ids, names)
    told, batch = butler.registry.database.transact(_remove_runs, names)
    empty_afterwards(butler, batch)
    return told


def _remove_runs(
    connection: sa.Connection, names: Sequence[str]
) -> tuple[removing.Removal, uuid.UUID]:
    ids = removing.runs_content(connection, names)
    told = removing.dependents(connection, ids, names)
    batch = files.discard(connection, ids)
    removing.remove_runs(connection, names)
    return told, batch


def empty_afterwards(
    butler: Butler, batch: uuid.UUID | None = None, *, older_than: float | None = None
) -> None:
    """Do `empty_trash` when the transaction around is committed; at once when there is none.

    In one that the registry has begun, and the Butler knows nothing of, the files stay listed.
    """

    def empty() -> None:
        if butler.registry.database.in_transaction:
            _log.warning("Files stay in the trash until skyspine check --repair: %s", _STILL_OPEN)
        else:
            empty_trash(butler, batch, older_than=older_than)

    butler.after_commit(empty)


def empty_trash(
    butler: Butler, batch: uuid.UUID | None = None, *, older_than: float | None = None
) -> int:
    """Remove files from storage whose datasets are gone, as far as that was not done at once.

    Parameters
    ----------
    batch : uuid.UUID, optional
        Only what was removed together.
    older_than : float, optional
        Only what was removed so long ago [s].

    Returns
    -------
    int
        How many files there were; those at an endpoint that is away stay listed.

    Raises
    ------
    InTransaction
        Within a transaction, which may be undone.
    """
    with butler.registry.read() as connection:
        found = trash.listed(connection, batch)
    if older_than is not None:
        found = [item for item in found if item.age >= older_than]
    emptied = trash.empty(butler.registry.database, butler.root, found)
    for why in emptied.away:
        _log.warning("Files stay in the trash until skyspine check --repair: %s", why)
    return emptied.n_files


def why_unreadable(butler: Butler, ref: DatasetRef) -> str:
    """Say why a dataset that is known cannot be read."""
    with butler.registry.read() as connection:
        gone = removing.removed(connection, [ref.id]).get(ref.id)
        away = out_of_reach(connection, [ref.id])
    if gone is not None:
        return f"It was removed on {gone[0]:%Y-%m-%d %H:%M} UTC by {gone[1]}."
    if away:
        names = sorted(set(away.values()))
        return (
            f"It has a copy at {' and '.join(map(repr, names))}, which is offline; it can be read "
            f"again after: skyspine endpoint online REPO {names[0]}"
        )
    return (
        "It is registered, but no copy of it can be read: it was never stored, was unstored, or "
        "all of its copies are lost."
    )
