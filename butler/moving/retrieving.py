"""Where do the files of datasets lie, and how does somebody get them who has no Butler?

`get_uris` tells where; `retrieve` brings them into a folder, under their own names.  Who wants
records and identities too makes an export.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from backbone import fetching, files
from backbone.errors import BackboneError
from backbone.staging import StagedFile, checksum
from butler.errors import MissingComponent, MissingFile, TransferError
from butler.exchange.carrying import each_file
from butler.exchange.sources import opened
from registry.errors import did_you_mean

if TYPE_CHECKING:
    import os
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from backbone.files import Stored
    from butler.butler import Butler
    from butler.exchange.carrying import Held
    from butler.inputs import Place
    from registry.identity import DatasetRef

__all__ = ["MODES", "Retrieved", "get_uri", "get_uris", "retrieve"]

MODES = ("auto", "copy", "link", "hardlink", "symlink")
"""How files come; ``auto`` is ``copy``."""


@dataclass(slots=True)
class Retrieved:
    """What came of a retrieval.

    Parameters
    ----------
    paths : list of Path
        The files, those that were there already too.
    present : int
        How many of them were there already.
    size : int
        Of all [byte].
    without_file : list of DatasetRef
        Datasets of which no file, or not each of their files, is stored.
    """

    paths: list[Path] = field(default_factory=list)
    present: int = 0
    size: int = 0
    without_file: list[DatasetRef] = field(default_factory=list)


def get_uris(places: Iterable[Place], ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, dict[str, str]]:
    """Tell where the nearest copy of each file of datasets lies.

    Returns
    -------
    dict
        By dataset and component (empty: the whole): ``file:///...``, the URL of a server, or
        ``table:NAME/...`` for rows in the database.  Datasets without a file are left out.
    """
    left = list(dict.fromkeys(ids))
    found: dict[uuid.UUID, dict[str, str]] = {}
    for place in places:
        if not left:
            break
        root = place.root.absolute()
        for copies in place.registry.database.ask(files.all_copies, left).values():
            first = copies[0]
            found.setdefault(first.dataset_id, {})[first.component] = _uri(first, root)
        left = [key for key in left if key not in found]
    return found


def get_uri(places: Iterable[Place], ref: DatasetRef, component: str | None) -> str:
    """Tell where the file of a dataset lies, or that of a part of it.

    Raises
    ------
    MissingFile
        If none is stored.
    MissingComponent
        If it lies in several parts, and none of them is named.
    """
    parts = get_uris(places, [ref.id]).get(ref.id)
    if parts is None:
        raise MissingFile(
            f"No file of {ref} is stored: it was removed, or is in another repository. "
            "`skyspine how-made REPO` tells how to make it again."
        )
    uri = parts.get(component or "", parts.get(""))
    if uri is None:
        raise MissingComponent(
            f"{ref} lies in parts ({', '.join(sorted(parts))}); name one of them: component=.",
            name=component or "",
        )
    return uri


def _uri(copy: Stored, root: Path) -> str:
    if copy.endpoint.is_remote:
        return copy.endpoint.remote().url(copy.path)
    if copy.endpoint.in_tables:
        return f"table:{copy.path}"
    return copy.place(root).as_uri()


def retrieve(
    butler: Butler,
    refs: Sequence[DatasetRef],
    folder: str | os.PathLike[str],
    *,
    transfer: str = "auto",
    preserve_path: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Retrieved:
    """Bring the files of datasets into a folder.

    Each comes from the first of its copies that is whole; what lies in tables becomes a file.  A
    file that is there already is passed over, so that a retrieval may be repeated.

    Parameters
    ----------
    refs : sequence of DatasetRef
        Of this repository and its inputs.
    folder : path-like
        Made if it is not there.
    transfer : str
        One of `MODES`; what lies behind a URL can only be copied.
    preserve_path : bool
        Whether files keep the folders of their paths; otherwise all lie in one.
    progress : callable, optional
        Called with how many files are done, of how many.

    Returns
    -------
    Retrieved

    Raises
    ------
    TransferError
        If the mode is not known, two files would have one name, or another file has the name of
        one; nothing is brought then.
    MissingDataset
        If neither this repository nor an input has one of the datasets.
    ChangedFile, EndpointAway
        If no copy of a file is what was recorded; what came before stays.
    """
    if transfer not in MODES:
        raise TransferError(
            f"'{transfer}' is no way to retrieve files.{did_you_mean(transfer, MODES)}"
        )
    given = {ref.id: ref for ref in refs}
    target = Path(folder).absolute()
    with ExitStack() as stack:
        with opened(butler, list(given.values())) as sources:  # no transaction while files come
            each = stack.enter_context(each_file(sources, list(given.values()), target, transfer))
        named = _named(each, preserve_path=preserve_path)
        there = {name for name, held in named.items() if _is_there(target / name, held)}
        wanted = [(name, held) for name, held in named.items() if name not in there]
        far = any(held.far for _, held in wanted)
        bring = partial(_bring, target, transfer)
        fetching.each(bring, wanted, far=far, progress=progress)
    stored = {held.first.dataset_id for held in named.values()}
    return Retrieved(
        [target / name for name in named],
        len(there),
        sum(held.first.size for held in named.values()),
        [ref for key, ref in given.items() if key not in stored],
    )


def _named(each: Sequence[Held], *, preserve_path: bool) -> Mapping[str, Held]:
    """Name each file in the folder; only one of each name."""
    named: dict[str, Held] = {}
    for held in each:
        path = PurePath(held.first.path)
        if not preserve_path or path.is_absolute():
            path = PurePath(path.name)
        other = named.setdefault(str(path), held)
        if other is not held:
            advice = "keep their folders (preserve_path)" if not preserve_path else "take fewer"
            raise TransferError(
                f"{other.first.shown(other.root)} and {held.first.shown(held.root)} would both be "
                f"{path}; {advice}."
            )
    return named


def _is_there(place: Path, held: Held) -> bool:
    """Tell whether a file is there from an earlier time, and refuse another one of its name."""
    try:
        size = place.stat().st_size
    except FileNotFoundError:
        return False
    recorded = held.first
    whole = size == recorded.size and recorded.checksum in (None, checksum(place))
    if not whole:
        raise TransferError(
            f"{place} is there already, and is not the file that is recorded as "
            f"{recorded.path}; remove it, or name another folder."
        )
    return True


def _bring(target: Path, transfer: str, wanted: tuple[str, Held]) -> None:
    name, held = wanted
    staged = StagedFile(target, name)
    try:
        fetching.bring(held.copies, held.root, staged, transfer)
        staged.settle()
    except (BackboneError, OSError):
        staged.abandon(settled=False)
        raise
