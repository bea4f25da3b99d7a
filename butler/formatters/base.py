"""What does every formatter do alike?

A formatter knows one file format: it writes an object to a path and reads it, or a part of it,
back. The base class makes the file, removes it when writing fails, checks what was asked for and
turns failures into sentences; a subclass has `dump` and `load`. Names are given out in
`butler.formatters`, what a storage class is in `butler.storage_classes`.
"""

from __future__ import annotations

import copy
import errno
import lzma
import os
import re
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self, cast
from urllib.parse import quote, unquote

from backbone.errors import BackboneError
from backbone.hashing import HashedStream
from butler.errors import (
    ButlerError,
    CannotWrite,
    DamagedFile,
    InvalidOption,
    InvalidParameter,
    MissingFile,
    ReadFailed,
    TooLarge,
    UnknownComponent,
    UntrustedFormat,
    WriteFailed,
)
from butler.formatters.source import Source
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from butler.formatters.options import Option

__all__ = ["PROVENANCE_KEY", "Formatter", "Written", "provenance_text"]

PROVENANCE_KEY = re.compile(r"SKYS_[A-Z0-9]{1,3}")
"""Provenance keys are FITS keywords in every format: ``SKYS_ID``, ``SKYS_RUN``, ``SKYS_QID``."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
# What libraries raise when they read what is not of their format; none of it is raised here.
_FORMAT_OF_MISTAKE = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Parameters
    ----------
    size : int
        Of the file [byte].
    checksum : str
        ``sha256:`` and hex digits.
    """

    size: int
    checksum: str


class Formatter(ABC):
    """One file format.

    Instances never change: one serves all threads. A subclass sets the class attributes and
    defines `dump` and `load`; `find_provenance` too when the format has a place for it.

    Attributes
    ----------
    name : str
        What the database records for each file: the name by which it was asked for.
    extension : str
        Of the files that it writes, with the dot.
    python_types : tuple of str
        Dotted paths of what it can write.
    components : frozenset of str
        What `read` can give alone.
    parameters : frozenset of str
        What `read` can be told.
    keeps_provenance : bool
        Whether `write` puts the provenance into the file.
    runs_code : bool
        Whether reading runs code that lies in the file, so that the caller must trust it.
    options : mapping of str to Option
        What can be chosen for a write; `option` gives what was.
    chosen : mapping of str to object
        What was chosen, and is not the formatter's own choice; see `with_options`.
    """

    name: str
    extension: ClassVar[str]
    python_types: ClassVar[tuple[str, ...]]
    components: ClassVar[frozenset[str]] = frozenset()
    parameters: ClassVar[frozenset[str]] = frozenset()
    keeps_provenance: ClassVar[bool] = False
    runs_code: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Option]] = {}
    chosen: Mapping[str, Any] = {}

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """Give the formatter that writes with some options.

        Parameters
        ----------
        options : mapping of str to object
            Names are among `options`.

        Returns
        -------
        Formatter
            Another one of the same name; this one if nothing is chosen.

        Raises
        ------
        InvalidOption
            The format has no such option, or it does not take this value.
        """
        chosen = {}
        for key, value in options.items():
            if key not in self.options:
                has = did_you_mean(key, self.options) or " It has none."
                raise InvalidOption(f"The format {self.name} has no option '{key}'.{has}", name=key)
            try:
                chosen[key] = self.options[key].check(value)
            except ValueError as error:
                raise InvalidOption(
                    f"The option '{key}' of the format {self.name} takes {error}, not {value!r}.",
                    name=key,
                ) from error
        kept = {k: v for k, v in sorted(chosen.items()) if v != self.options[k].default}
        if not kept:
            return self
        made = copy.copy(self)
        made.chosen = kept
        made.check_options()
        return made

    def option(self, name: str) -> Any:
        """Give the value of an option: what was chosen, or the formatter's own choice."""
        return self.chosen.get(name, self.options[name].default)

    def check_options(self) -> None:  # noqa: B027 (most formats have nothing to check)
        """Make sure that the options that were chosen go together; by default, any do.

        Raises
        ------
        InvalidOption
            They do not.
        """

    @abstractmethod
    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write an object to a new, open file.

        Parameters
        ----------
        obj : object
            One of `python_types`.
        stream : binary file
            New and empty; it can seek, and read what was written.
        provenance : mapping of str to str
            Keys match `PROVENANCE_KEY`.

        Raises
        ------
        CannotWrite
            The format cannot express the object; the message says which part and what to do.
        """

    @abstractmethod
    def load(
        self, source: Source, component: str | None, parameters: Mapping[str, Any], *, trusted: bool
    ) -> Any:
        """Read a file, or a part of it; the names in the arguments have been checked.

        Parameters
        ----------
        source : Source
            ``source.open()`` gives a binary file to read from, also when it lies behind a URL;
            ``source.local()`` a path on this disk, for libraries that need one.
        component : str or None
            One of `components`.
        parameters : mapping
            Keys are among `parameters`; no value is None.
        trusted : bool
            Whether code that lies in the file may be run.
        """

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Find the provenance that `dump` put into the file; nothing by default."""
        with source.open():
            return {}

    def write(
        self,
        obj: Any,
        path: str | os.PathLike[str],
        provenance: Mapping[str, str] | None = None,
    ) -> Written:
        """Write an object to exactly this path, which must not exist; leave nothing on failure.

        Parameters
        ----------
        obj : object
            One of `python_types`.
        path : path-like
            The folder must exist. Nothing is flushed to the disk (fsync): that is the caller's.
        provenance : mapping of str to str, optional
            Written into the file where the format has a place for it; see `PROVENANCE_KEY`.

        Returns
        -------
        Written
            Size and checksum, which was computed on the way.

        Raises
        ------
        CannotWrite
            The format cannot express the object.
        WriteFailed
            The path exists, the disk is full, or writing is not permitted.
        """
        path = os.fspath(path)
        given = provenance or {}
        for key in given:
            if not PROVENANCE_KEY.fullmatch(key):
                raise CannotWrite(
                    f"'{key}' is not a provenance key; they are SKYS_ and up to three letters or "
                    "digits.",
                    path=path,
                    name=key,
                )
        try:
            stream = HashedStream(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            raise _write_failed(path, error) from error
        try:
            with stream:
                self.dump(obj, cast("BinaryIO", stream), given)
                return Written(*stream.size_and_checksum())
        except BaseException as error:
            with suppress(FileNotFoundError):
                Path(path).unlink()
            if isinstance(error, CannotWrite):
                error.path = path
            elif isinstance(error, RecursionError):
                raise CannotWrite(
                    f"{self.name} cannot write this {type(obj).__name__}: it holds itself, or is "
                    "nested too deeply; put a flatter object.",
                    path=path,
                ) from error
            elif isinstance(error, OSError) and error.errno is not None:
                raise _write_failed(path, error) from error
            raise

    def read(
        self,
        source: str | os.PathLike[str] | BinaryIO | Source,
        component: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        trusted: bool = False,
    ) -> Any:
        """Read an object, one component of it, or the part that the parameters select.

        Parameters
        ----------
        source : path-like, URL, binary file or Source
            The file; an open one must be able to seek.
        component : str, optional
            One of `components`.
        parameters : mapping, optional
            Keys are among `parameters`; a value of None is as if it were not given.
        trusted : bool, optional
            Whether code that lies in the file may be run.

        Returns
        -------
        object
            What was written, or its component.

        Raises
        ------
        UnknownComponent, MissingComponent
            The format has no such component; the file lacks it.
        InvalidParameter
            A parameter is unknown or does not fit the file.
        UntrustedFormat
            Reading runs code, and `trusted` is false.
        MissingFile, ReadFailed
            The file is not there; it cannot be opened, or its server does not give it.
        TooLarge
            It would not fit into the memory of this machine.
        DamagedFile
            The file is truncated, or not of this format.
        """
        source = source if isinstance(source, Source) else Source(source)
        path = source.name
        if component is not None and component not in self.components:
            raise UnknownComponent(
                f"A {self.name} file has no component '{component}'."
                f"{did_you_mean(component, self.components)}",
                path=path,
                name=component,
            )
        selected = {k: v for k, v in (parameters or {}).items() if v is not None}
        for key in selected:
            if key not in self.parameters:
                raise InvalidParameter(
                    f"A {self.name} file cannot be read with the parameter '{key}'."
                    f"{did_you_mean(key, self.parameters)}",
                    path=path,
                    name=key,
                )
        if self.runs_code and not trusted:
            raise UntrustedFormat(
                f"{path} is a {self.name} file: reading it can run code that lies in it. If you "
                "trust everyone who could write there, read it with Butler(root, trusted=True); "
                "better, put such data in a format that holds no code.",
                path=path,
            )
        with self._sentences(source):
            return self.load(source, component, selected, trusted=trusted)

    def read_provenance(self, source: str | os.PathLike[str] | BinaryIO | Source) -> dict[str, str]:
        """Read the provenance that `write` put into the file.

        Parameters
        ----------
        source : path-like, URL, binary file or Source
            The file.

        Returns
        -------
        dict of str to str
            Empty when the format has no place for it.

        Raises
        ------
        MissingFile, ReadFailed, DamagedFile
            As for `read`.
        """
        source = source if isinstance(source, Source) else Source(source)
        with self._sentences(source):
            return self.find_provenance(source)

    @contextmanager
    def _sentences(self, source: Source) -> Iterator[None]:
        """Turn what goes wrong at reading into errors that say what to do."""
        path = source.name
        try:
            yield
        except (ButlerError, BackboneError):
            raise
        except FileNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                # fsspec says of every server that does not answer that the file is not there.
                raise self._unreachable(path, cause) from error
            raise MissingFile(
                f"{path} is not there; `skyspine check REPO` tells what else is missing.", path=path
            ) from error
        except MemoryError as error:
            raise TooLarge(
                f"{path} does not fit into the memory of this machine"
                f"{f': {error}' if str(error) else ''}; read a part of it.",
                path=path,
            ) from error
        except OSError as error:
            if error.errno is not None or (source.path and Path(source.path).is_dir()):
                raise ReadFailed(
                    f"{path} cannot be read: {error.strerror or error}; "
                    "check the file and its permissions.",
                    path=path,
                ) from error
            raise self.damaged(path, error) from error
        except _FORMAT_OF_MISTAKE as error:
            raise self.damaged(path, error) from error
        except Exception as error:
            if source.path is not None:
                raise
            raise self._unreachable(path, error) from error

    def _unreachable(self, path: str, reason: BaseException) -> ReadFailed:
        return ReadFailed(
            f"{path} cannot be read: {type(reason).__name__}: {' '.join(str(reason).split())}; "
            "check that its server answers, and that you may read there.",
            path=path,
        )

    def damaged(self, path: str, reason: object) -> DamagedFile:
        """Make the error that says that a file is not what it should be.

        Parameters
        ----------
        path : str
            The file.
        reason : object
            What is wrong: a text, or the library's own error.
        """
        text = " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
        return DamagedFile(
            f"{path} is not a whole {self.name} file: {text}. "
            "Fetch it again, or read another copy of the dataset.",
            path=path,
        )

    def refuse(self, what: str, remedy: str) -> CannotWrite:
        """Make the error that says what the format cannot express, and what to do.

        Parameters
        ----------
        what : str
            A clause: ``"card SEEING is nan"``.
        remedy : str
            A clause in the imperative.
        """
        return CannotWrite(f"{self.name} cannot write this: {what}; {remedy}.")


def provenance_text(
    lines: Iterable[str], *, prefix: str = "# ", separator: str = ": "
) -> dict[str, str]:
    """Find provenance keys in the comment lines at the beginning of a text.

    Parameters
    ----------
    lines : iterable of str
        Lines of the text; reading stops at the first that is no such comment.
    prefix, separator : str, optional
        Before the key, and between key and value.
    """
    found = {}
    for line in lines:
        key, _, value = line.rstrip("\n").removeprefix(prefix).partition(separator)
        if not line.startswith(prefix) or not PROVENANCE_KEY.fullmatch(key):
            break
        found[key] = decoded(value)
    return found


def encoded(value: str) -> str:
    """Write a value in printable ASCII: other characters, and ``%``, become ``%XX`` (RFC 3986)."""
    return quote(value, safe=_PRINTABLE)


def decoded(value: str) -> str:
    """Undo `encoded`."""
    return unquote(value)


def _write_failed(path: str, error: OSError) -> WriteFailed:
    remedy = {
        errno.EEXIST: "give another path, or remove what lies there",
        errno.ENOSPC: "free some space, or write to another endpoint",
        errno.EDQUOT: "free some of your quota, or write to another endpoint",
        errno.EROFS: "write to another endpoint: this one is read only",
        errno.EACCES: "ask for permission to write there",
        errno.ENOENT: "make its folder first",
        errno.ENAMETOOLONG: "shorten the path template",
    }.get(error.errno or 0, "check the disk")
    failed = WriteFailed(
        f"{path} cannot be written: {error.strerror or error}; {remedy}.", path=path
    )
    failed.errno = error.errno
    return failed
