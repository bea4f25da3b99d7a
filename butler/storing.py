"""How do datasets, their files and what belongs to them get their rows together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone import files
from backbone.staging import settle
from registry import collections, datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from backbone.staging import StagedFile
    from registry.identity import DatasetRef, DatasetType

__all__ = ["record"]


def record(
    connection: sa.Connection,
    refs: Sequence[DatasetRef],
    new: Mapping[str, Sequence[files.NewFile]],
    staged: Sequence[StagedFile],
    also: Callable[[sa.Connection], None] | None,
) -> Sequence[DatasetRef]:
    """Register datasets with their files, give the files their names, and return the datasets.

    Parameters
    ----------
    new : mapping
        By the name of the endpoint, the files there.
    """
    grouped: dict[tuple[DatasetType, str], list[DatasetRef]] = {}
    for ref in refs:
        grouped.setdefault((ref.dataset_type, ref.run), []).append(ref)
    for (kind, run), members in grouped.items():
        target = collections.ensure(connection, run)
        datasets.insert_datasets(
            connection, kind, [r.data_id for r in members], target, ids=[r.id for r in members]
        )
    for where, made in new.items():
        files.record(connection, where, made)
    if also is not None:
        also(connection)
    settle(staged)
    return refs
