"""What can go wrong in the Butler, and what to do about it.

::

    SkyspineError
    └── ButlerError
        ├── RepositoryError
        │   ├── RepositoryNotFound (FileNotFoundError)
        │   ├── RepositoryExists (FileExistsError)
        │   ├── UnreadableRepository (OSError)       its settings are there and cannot be read
        │   ├── CopiedRepository                     a second folder that uses the same database
        │   ├── InputNotFound (FileNotFoundError)    an input has moved, or is another one now
        │   ├── PathOutsideRepository (ValueError)   a path or template climbs out of its root
        │   └── NoRun (ValueError)                   a put without a run to put into
        ├── UnmatchedName (LookupError)              no record has the name or number given
        ├── MissingFile (FileNotFoundError)          recorded as stored, and not there
        ├── NoGoodCopy (OSError)                     none of several copies can be read
        ├── PluginError (LookupError)                a class named by a string cannot be had
        ├── InstrumentError                          see `butler.instrument.errors`
        ├── PolicyError (ValueError)                 a setting of a policy cannot be
        ├── ConvertError (ValueError)                a dataset does not survive a conversion
        ├── IngestError                              some files could not be taken in
        ├── VisitError                               some exposures do not make a visit
        │   ├── ConflictingVisit (ValueError)        they disagree, or its number is taken
        │   └── VisitInUse                           it would change, and something was made of it
        ├── ExchangeError (ValueError)               an export cannot be read, or expressed
        ├── GraphFileError (ValueError)              quanta cannot go away in a file, or come home
        ├── TransferError (ValueError)               what is asked of a transfer cannot be
        ├── StorageClassError
        │   ├── UnknownStorageClass (LookupError)
        │   ├── WrongType (TypeError)                the object is not what the dataset type stores
        │   ├── UnknownComponent (LookupError)       the storage class has no such component
        │   └── MissingComponent (LookupError)       this one dataset lacks it
        └── FormatterError
            ├── UnknownFormatter (LookupError)
            ├── InvalidOption (ValueError)           a format is to be written as it cannot be
            ├── InvalidParameter (ValueError)        a read parameter is unknown or out of range
            ├── CannotWrite (ValueError)             the format cannot express the object
            ├── WriteFailed (OSError)                the disk or its permissions refused
            ├── ReadFailed (OSError)                 likewise, at reading
            ├── DamagedFile (ValueError)             truncated, or of another format
            ├── TooLarge                             it would not fit into memory, or says so
            ├── UntrustedFormat (PermissionError)    reading would run code that lies in the file
            └── WriteOnly (NotImplementedError)      the format cannot be read back

The registry's own errors (``MissingDataset``, ``DatasetExists``, ``ReadOnly``, ...) pass through
the Butler unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import SkyspineError

if TYPE_CHECKING:
    import os

__all__ = [
    "ButlerError",
    "CannotWrite",
    "ConflictingVisit",
    "ConvertError",
    "CopiedRepository",
    "DamagedFile",
    "ExchangeError",
    "FormatterError",
    "GraphFileError",
    "IngestError",
    "InputNotFound",
    "InvalidOption",
    "InvalidParameter",
    "MissingComponent",
    "MissingFile",
    "NoGoodCopy",
    "NoRun",
    "PathOutsideRepository",
    "PluginError",
    "PolicyError",
    "ReadFailed",
    "RepositoryError",
    "RepositoryExists",
    "RepositoryNotFound",
    "StorageClassError",
    "TooLarge",
    "TransferError",
    "UnknownComponent",
    "UnknownFormatter",
    "UnknownStorageClass",
    "UnmatchedName",
    "UnreadableRepository",
    "UntrustedFormat",
    "VisitError",
    "VisitInUse",
    "WriteFailed",
    "WriteOnly",
    "WrongType",
]


class ButlerError(SkyspineError):
    """The Butler could not do what was asked.

    Parameters
    ----------
    message : str, optional
        One sentence with what to do next; the first line of the class's docstring by default.
    path : str or path-like, optional
        The file or folder that it is about.
    name : str, optional
        The name that it is about: of a storage class, formatter, component, card, ...
    """

    code = "butler"

    def __init__(
        self, message: str = "", *, path: str | os.PathLike[str] | None = None, name: str = ""
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.path = path
        self.name = name


class RepositoryError(ButlerError):
    """The repository could not be used."""

    code = "repository"


class RepositoryNotFound(RepositoryError, FileNotFoundError):
    """There is no repository here; make one with: skyspine create REPO."""

    code = "repository-not-found"


class RepositoryExists(RepositoryError, FileExistsError):
    """There is a repository here already; open it, or choose another folder."""

    code = "repository-exists"


class UnreadableRepository(RepositoryError, OSError):
    """The settings of a repository are there and cannot be read."""

    code = "unreadable-repository"


class CopiedRepository(RepositoryError):
    """A folder is a copy of a repository's, and uses the same database."""

    code = "copied-repository"


class InputNotFound(RepositoryError, FileNotFoundError):
    """An input repository is not where it was; see: skyspine repository inputs REPO."""

    code = "input-not-found"


class PathOutsideRepository(RepositoryError, ValueError):
    """A path leads out of the repository; paths are relative to its root and hold no '..'."""

    code = "path-outside-repository"


class NoRun(RepositoryError, ValueError):
    """A put needs a run; open the Butler with run='...', or give run= to put."""

    code = "no-run"


class UnmatchedName(ButlerError, LookupError):
    """No exposure, visit or detector has the name or number given."""

    code = "unmatched-name"


class VisitError(ButlerError):
    """Some exposures do not make a visit."""

    code = "visit"


class ConflictingVisit(VisitError, ValueError):
    """The exposures of a visit disagree on what it was, or its number is that of another."""

    code = "conflicting-visit"


class VisitInUse(VisitError):
    """A visit would change, and something was made of it."""

    code = "visit-in-use"


class MissingFile(ButlerError, FileNotFoundError):
    """A file that should be there is not; `skyspine check REPO` tells what else is missing."""

    code = "missing-file"


class NoGoodCopy(ButlerError, OSError):
    """None of several copies can be read; `skyspine check REPO` tells what else is missing."""

    code = "no-good-copy"


class PluginError(ButlerError, LookupError):
    """A class that is named by a string cannot be had; install the package that it is in."""

    code = "plugin"


class PolicyError(ButlerError, ValueError):
    """A policy cannot be like this."""

    code = "policy"


class ConvertError(ButlerError, ValueError):
    """A dataset cannot be converted like this; it stays as it was."""

    code = "convert"


class IngestError(ButlerError):
    """Some files could not be ingested."""

    code = "ingest"


class ExchangeError(ButlerError, ValueError):
    """An export of another registry cannot be read, or something cannot be exported."""

    code = "exchange"


class GraphFileError(ButlerError, ValueError):
    """Quanta cannot go away in a file, or come home from it."""

    code = "graph-file"


class TransferError(ButlerError, ValueError):
    """Datasets cannot be transferred from another repository like this."""

    code = "transfer"


class StorageClassError(ButlerError):
    """A storage class and an object, or a component, do not fit together."""

    code = "storage-class"


class UnknownStorageClass(StorageClassError, LookupError):
    """There is no storage class of this name."""

    code = "unknown-storage-class"


class WrongType(StorageClassError, TypeError):
    """The object is not of the type that the storage class holds."""

    code = "wrong-type"


class UnknownComponent(StorageClassError, LookupError):
    """The storage class has no such component."""

    code = "unknown-component"


class MissingComponent(StorageClassError, LookupError):
    """The dataset does not have the component."""

    code = "missing-component"


class FormatterError(ButlerError):
    """A file could not be written or read."""

    code = "formatter"


class UnknownFormatter(FormatterError, LookupError):
    """There is no formatter of this name."""

    code = "unknown-formatter"


class InvalidOption(FormatterError, ValueError):
    """The format cannot be written with this option."""

    code = "invalid-option"


class InvalidParameter(FormatterError, ValueError):
    """A parameter of the read is unknown, or its value does not fit the file."""

    code = "invalid-parameter"


class CannotWrite(FormatterError, ValueError):
    """The object holds something that the format cannot express."""

    code = "cannot-write"


class WriteFailed(FormatterError, OSError):
    """The file could not be written; nothing was left behind."""

    code = "write-failed"


class ReadFailed(FormatterError, OSError):
    """The file is there and could not be read."""

    code = "read-failed"


class DamagedFile(FormatterError, ValueError):
    """The file is truncated, or not of the format that it should be."""

    code = "damaged-file"


class TooLarge(FormatterError):
    """What the file holds, or says that it holds, does not fit into memory; read a part of it."""

    code = "too-large"


class UntrustedFormat(FormatterError, PermissionError):
    """Reading this file would run code that lies in it, and the caller did not say trusted=True."""

    code = "untrusted-format"


class WriteOnly(FormatterError, NotImplementedError):
    """The format can be written and not read back."""

    code = "write-only"
