"""Which other repositories does a Butler read, and where are they now?

A repository records its inputs; each is opened for reading only, when it is needed first, and its
own inputs after it.  How one question is asked of all of them is `butler.asking.searching`; how
datasets of an input become known in the repository itself, `butler.adopting`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from butler.errors import InputNotFound, RepositoryNotFound
from butler.repository import Repository
from registry import repositories
from registry.errors import MissingDataset, SkyspineError, UnknownDatasetType
from registry.registry import Registry

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DatasetRef
    from registry.repositories import Input

__all__ = [
    "Place",
    "given_folders",
    "in_none",
    "open_inputs",
    "record_inputs",
    "recorded",
    "relocate",
    "remove",
    "state_of",
]


@dataclass(frozen=True, slots=True)
class Place:
    """A repository that is searched: its folder, and its registry.

    Parameters
    ----------
    id : uuid.UUID
        Identity of the repository.
    root : Path
        Its folder.
    registry : Registry
        Of an input, open for reading only.
    """

    id: uuid.UUID
    root: Path
    registry: Registry

    def find(
        self, name: str, data_id: Mapping[str, Any], searched: Sequence[str], *, at: int | None
    ) -> DatasetRef | None:
        """Find a dataset by a name of its type, which this repository may not know."""
        try:
            return self.registry.find_dataset(name, data_id, searched, at=at)
        except UnknownDatasetType:
            return None

    @classmethod
    def at(cls, root: str | os.PathLike[str]) -> Place:
        """Open a repository for reading only."""
        found = Repository.open(root)
        registry = Registry.connect(found.url, writeable=False)
        try:
            return cls(registry.id, found.root, registry)
        except BaseException:
            registry.close()
            raise


def given_folders(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Path]:
    """Read the argument ``inputs``: one folder, or several."""
    if isinstance(inputs, (str, os.PathLike)):
        inputs = [inputs]
    return [Repository.open(folder).root for folder in inputs]


def recorded(registry: Registry) -> list[Input]:
    """List the inputs that a repository has recorded, in the order of the search."""
    with registry.read() as connection:
        return repositories.inputs(connection)


def open_inputs(own: Place, given: Sequence[Path] = ()) -> list[Place]:
    """Open the inputs of a repository, and theirs, each once.

    Parameters
    ----------
    own : Place
        Whose inputs are meant.
    given : sequence of Path
        Further folders, which are searched after those that are recorded.

    Raises
    ------
    InputNotFound
        If one has moved, or another repository is in its place.
    """
    opened: dict[uuid.UUID, Place] = {own.id: own}
    try:
        _open_below(own, own.root, opened)
        for folder in given:
            _enter(Place.at(folder), own.root, opened)
    except BaseException:
        for place in list(opened.values())[1:]:
            place.registry.close()
        raise
    return list(opened.values())[1:]


def _open_below(place: Place, asking: Path, opened: dict[uuid.UUID, Place]) -> None:
    for row in recorded(place.registry):
        if row.repository_id not in opened:
            _enter(_found(row, place.root), asking, opened)


def _enter(place: Place, asking: Path, opened: dict[uuid.UUID, Place]) -> None:
    if place.id in opened:
        place.registry.close()
        return
    opened[place.id] = place
    _open_below(place, asking, opened)


def _found(row: Input, of: Path) -> Place:
    """Open a recorded input, and see that it is the one that was recorded."""
    remedy = (
        f"If it has moved, say where it is: skyspine repository inputs {of} --relocate FOLDER. "
        f"To search without it: skyspine repository inputs {of} --remove {row.repository_id}"
    )
    try:
        place = Place.at(row.url)
    except RepositoryNotFound as error:
        raise InputNotFound(
            f"The input repository {row.repository_id} is not in {row.url} any more. {remedy}",
            path=row.url,
        ) from error
    if place.id != row.repository_id:
        place.registry.close()
        raise InputNotFound(
            f"In {row.url} is another repository now: {place.id}, and not the input "
            f"{row.repository_id} of {of}. {remedy}",
            path=row.url,
        )
    return place


def in_none(ref: DatasetRef) -> MissingDataset:
    """Say that neither a repository nor an input of it has a dataset."""
    return MissingDataset(
        ref.dataset_type.name,
        ref.data_id,
        [ref.run],
        nearest=f"Neither the repository nor an input of it has the dataset {ref.id}.",
    )


def record_inputs(registry: Registry, folders: Iterable[Path]) -> None:
    """Record inputs after those that are recorded; of one that is, where it is now.

    Raises
    ------
    Conflict
        If one is the repository itself.
    """
    found = [(_identity(folder), str(folder)) for folder in folders]
    if not found:
        return
    with registry.begin() as connection:
        for repository_id, folder in found:
            repositories.add_input(connection, repository_id, folder)


def _identity(folder: Path) -> uuid.UUID:
    place = Place.at(folder)
    place.registry.close()
    return place.id


def state_of(row: Input) -> str:
    """Tell in a few words whether a recorded input is where it was; ``there`` when it is."""
    try:
        found = _identity(Path(row.url))
    except RepositoryNotFound:
        return "gone: no repository is there"
    except SkyspineError as error:
        return f"{error.code}: {error}"
    return "there" if found == row.repository_id else f"another repository now: {found}"


def relocate(registry: Registry, folder: str | os.PathLike[str]) -> Input:
    """Record where an input is now; which one, its own identity says.

    Raises
    ------
    UnknownInput
        If the repository in the folder is none of the inputs.
    """
    (root,) = given_folders(folder)
    found = _identity(root)
    with registry.begin() as connection:
        known = {row.repository_id: row for row in repositories.inputs(connection)}
        if found not in known:
            raise repositories.UnknownInput(
                str(found),
                map(str, known),
                remedy=f"That is the repository in {root}; --add makes it an input.",
            )
        repositories.add_input(connection, found, str(root))
    return known[found]


def remove(registry: Registry, repository_id: uuid.UUID) -> None:
    """Search an input no longer; see `registry.repositories.remove_input`."""
    registry.database.transact(repositories.remove_input, repository_id)
