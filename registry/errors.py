"""What can go wrong in the registry, and what to do about it.

::

    SkyspineError                       everything that the project raises on purpose
    └── RegistryError
        ├── UnknownName (LookupError)   no such dataset type, collection, instrument, ...
        │   ├── UnknownDatasetType
        │   ├── UnknownCollection
        │   ├── UnknownDataset          no dataset has this UUID
        │   ├── UnknownRevision         the schema has no such revision
        │   ├── UnknownPackage          no recorded software environment has it
        │   └── UnknownDimensionValue   a data ID names a record that is not registered
        ├── MissingDataset (LookupError)
        ├── InvalidDataId (ValueError)  keys missing, too many, or of the wrong type
        ├── Conflict (ValueError)       what exists contradicts what is asked for
        │   ├── DatasetExists           same dataset type, run and data ID
        │   ├── DatasetRemoved          likewise; it is gone, and its history stays
        │   ├── ValidityOverlap         two validity ranges of one calibration overlap
        │   ├── DefinitionConflict      a name is registered with another definition
        │   └── CollectionTypeError     it is of another type, or a chain would hold itself
        ├── InUse                       other rows still refer to what should go
        ├── LookupFailed                a lookup function of a task raised, or answers wrongly
        ├── InvalidState                a state machine has no such edge, or another process took it
        ├── ReadOnly (PermissionError)
        ├── UnstorableValue (ValueError)    a text or number that no database takes
        ├── DatabaseUnavailable (ConnectionError)
        └── WrongRevision               the database is behind or ahead of the code
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "CollectionTypeError",
    "Conflict",
    "DatabaseUnavailable",
    "DatasetExists",
    "DatasetRemoved",
    "DefinitionConflict",
    "InUse",
    "InvalidDataId",
    "InvalidState",
    "LookupFailed",
    "MissingDataset",
    "ReadOnly",
    "RegistryError",
    "SkyspineError",
    "UnknownCollection",
    "UnknownDataset",
    "UnknownDatasetType",
    "UnknownDimensionValue",
    "UnknownName",
    "UnknownPackage",
    "UnknownRevision",
    "UnstorableValue",
    "ValidityOverlap",
    "WrongRevision",
    "did_you_mean",
]


_LONGEST_NAME = 500


_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known names are near a wrong one.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What exists.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with a leading blank, or the known names when there are few, or
        ``""``.
    """
    if len(name) > _LONGEST_NAME:
        return ""
    names = sorted(set(known))
    # identities that were made in the same second look alike, and mean nothing like each other
    cutoff = 0.9 if _IDENTITY.fullmatch(name) else 0.6
    near = difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    lowered = {n.lower(): n for n in names}
    if not near and name.lower() in lowered:
        near = [lowered[name.lower()]]
    if near:
        return " Did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    if 0 < len(names) <= 12:
        return " Known: " + ", ".join(f"'{n}'" for n in names) + "."
    return ""


_LONGEST = 4_000
"""Of a message so much is shown [characters]; a longer one repeats what was given."""


def _printable(text: str) -> str:
    """Write out what no terminal takes, and leave out what nobody reads."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    if len(shown) <= _LONGEST:
        return shown
    half = _LONGEST // 2
    return f"{shown[:half]} [... {len(shown) - 2 * half:,} characters ...] {shown[-half:]}"


class SkyspineError(Exception):
    """Something that skyspine was asked for could not be done."""

    code: ClassVar[str] = "skyspine"

    def __init__(self, message: str = "") -> None:
        super().__init__(_printable(message or (type(self).__doc__ or "").strip()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors of every class pass between processes, whatever their arguments are."""
        return _restored, (type(self), self.args, self.__dict__)


class RegistryError(SkyspineError):
    """The registry could not do what was asked."""

    code = "registry"


class UnknownName(RegistryError, LookupError):
    """Nothing is registered under this name."""

    code = "unknown-name"
    kind: ClassVar[str] = "name"
    remedy: ClassVar[str] = ""

    def __init__(self, name: str, known: Iterable[str] = (), *, remedy: str = "") -> None:
        self.name = name
        message = f"There is no {self.kind} '{name}'.{did_you_mean(name, known)}"
        super().__init__(" ".join(filter(None, (message, remedy or self.remedy))))


class UnknownDatasetType(UnknownName):
    """No dataset type of this name is registered."""

    code = "unknown-dataset-type"
    kind = "dataset type"
    remedy = "`skyspine query-dataset-types REPO` lists what is registered."


class UnknownCollection(UnknownName):
    """No collection of this name is registered."""

    code = "unknown-collection"
    kind = "collection"
    remedy = "`skyspine query-collections REPO` lists what exists."


class UnknownDataset(UnknownName):
    """No dataset has this identity."""

    code = "unknown-dataset"
    kind = "dataset"


class UnknownRevision(UnknownName):
    """The schema has no revision of this number."""

    code = "unknown-revision"
    kind = "revision"


class UnknownPackage(UnknownName):
    """No recorded software environment has this package."""

    code = "unknown-package"
    kind = "package"
    remedy = "`skyspine made-with REPO python` tells which environments are recorded."


class UnknownDimensionValue(UnknownName):
    """A data ID refers to a dimension record that is not registered."""

    code = "unknown-dimension-value"
    kind = "dimension record"

    def __init__(
        self,
        element: str,
        name: str,
        known: Iterable[str] = (),
        *,
        of: str = "",
        remedy: str = "",
    ) -> None:
        self.element = element
        whose = f" of {of}" if of else ""
        RegistryError.__init__(
            self,
            f"There is no {element} '{name}'{whose}.{did_you_mean(name, known)} "
            + (
                remedy
                or f"`skyspine query-dimension-records REPO {element}` lists what is registered."
            ),
        )
        self.name = name


class MissingDataset(RegistryError, LookupError):
    """No such dataset was found in the collections searched."""

    code = "missing-dataset"

    def __init__(
        self,
        dataset_type: str,
        data_id: Mapping[str, object],
        collections: Sequence[str],
        *,
        nearest: str = "",
    ) -> None:
        self.dataset_type = dataset_type
        self.data_id = data_id
        self.collections = tuple(collections)
        keys = ", ".join(f"{k}={v!r}" for k, v in data_id.items())
        where = ", ".join(f"'{c}'" for c in collections) or "no collection"
        super().__init__(
            f"No {dataset_type} with {{{keys}}} was found; searched {where}."
            + (f" {nearest}" if nearest else "")
        )


class InvalidDataId(RegistryError, ValueError):
    """The data ID does not have the keys, or the types, that are needed here."""

    code = "invalid-data-id"


class Conflict(RegistryError, ValueError):
    """What is asked for contradicts what the registry holds."""

    code = "conflict"


class DatasetExists(Conflict):
    """A dataset of this type, run and data ID exists already."""

    code = "dataset-exists"

    def __init__(
        self, dataset_type: str, run: str, data_id: object | None = None, n: int = 1
    ) -> None:
        self.dataset_type = dataset_type
        self.run = run
        self.data_id = data_id
        what = f" with {data_id}" if data_id is not None else ""
        more = f" ({n} such data IDs)" if n > 1 else ""
        super().__init__(
            f"A {dataset_type}{what} exists already in run '{run}'{more}; "
            "put it into another run, or prune the old one first."
        )


class DatasetRemoved(Conflict):
    """A dataset of this type, run and data ID was removed, and histories still lead through it."""

    code = "dataset-removed"

    def __init__(self, dataset_type: str, run: str, data_id: object) -> None:
        self.dataset_type = dataset_type
        self.run = run
        self.data_id = data_id
        super().__init__(
            f"A {dataset_type} with {data_id} was removed from run '{run}', and its identity "
            "stays in the history of what was made from it; put the new one into another run."
        )


class ValidityOverlap(Conflict):
    """Two validity ranges of one calibration overlap."""

    code = "validity-overlap"

    def __init__(
        self,
        collection: str,
        dataset_type: str,
        pairs: Sequence[tuple[str, str]],
        *,
        overlaps: Sequence[Any] = (),
    ) -> None:
        self.collection = collection
        self.dataset_type = dataset_type
        self.pairs = list(pairs)
        self.overlaps = tuple(overlaps)
        listed = "; ".join(f"{new} overlaps {old}" for new, old in self.pairs[:5])
        more = f"; and {len(self.pairs) - 5:,} more" if len(self.pairs) > 5 else ""
        counted = f", and {len(self.pairs):,} pairs do" if len(self.pairs) > 5 else ""
        super().__init__(
            f"Validity ranges of {dataset_type} in '{collection}' may not overlap{counted}: "
            f"{listed or 'another process certified one meanwhile'}{more}. "
            "Decertify the old range first, choose another, or let the overlap be resolved: "
            "latest, earliest or split."
        )


class DefinitionConflict(Conflict):
    """The name is registered already, with another definition."""

    code = "definition-conflict"


class CollectionTypeError(Conflict):
    """The collection is of another type than this needs."""

    code = "collection-type"


class InUse(RegistryError):
    """Other rows still refer to what should be removed."""

    code = "in-use"


class InvalidState(RegistryError):
    """The row is not in a state from which this may be done."""

    code = "invalid-state"


class LookupFailed(RegistryError):
    """A lookup function of a task raised an error, or answers with what cannot be."""

    code = "lookup-failed"


class ReadOnly(RegistryError, PermissionError):
    """The repository was opened for reading only."""

    code = "read-only"


class UnstorableValue(RegistryError, ValueError):
    """No database takes this value."""

    code = "unstorable-value"


class DatabaseUnavailable(RegistryError, ConnectionError):
    """The database cannot be reached, or cannot take what it is given.

    Attributes
    ----------
    uncertain : bool
        Whether the transaction may have been committed all the same: the connection was lost while
        the commit was under way.
    """

    code = "database-unavailable"
    uncertain: bool = False


class WrongRevision(RegistryError):
    """The database has another schema revision than this code."""

    code = "wrong-revision"

    def __init__(self, url: str, current: str | None, head: str, *, ahead: bool = False) -> None:
        self.current = current
        self.head = head
        if current is None:
            message = (
                f"The database {url} holds no skyspine schema; "
                f"create it with: skyspine db create {url}"
            )
        elif ahead:
            message = (
                f"The database {url} is at revision {current}, "
                f"which this version of skyspine does not know (its newest is {head}); "
                "install the version that wrote it."
            )
        else:
            message = (
                f"The database {url} is at revision {current} "
                f"and this version of skyspine needs {head}; "
                f"bring it up with: skyspine db upgrade {url}"
            )
        super().__init__(message)


def _restored(cls: type[SkyspineError], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    """Rebuild an error in another process without calling its class."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
