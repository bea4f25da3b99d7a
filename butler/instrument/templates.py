"""Which path does a dataset's file get below the repository's root?

A template is a text with fields, ``{run}/{dataset_type}/[{day_obs}/]{exposure}_d{detector:02d}``;
what stands in square brackets is left out when a field in it is absent.  Whatever the values are,
the path stays below the root, is valid on every file system, and differs for different values:
letters that a path cannot hold are written ``%XX`` (UTF-8, as in URLs), and so is a separator
inside one text that could be mistaken for the next field.
"""

from __future__ import annotations

import hashlib
import re
import string
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any
from uuid import UUID

from butler.instrument.errors import UnsafePath
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "DEFAULT_TEMPLATE",
    "PATH_FIELDS",
    "Field",
    "Literal",
    "Optional",
    "PathTemplate",
    "decode",
    "encode",
]

PATH_FIELDS = (
    "run",
    "dataset_type",
    "component",
    "id",
    "extension",
    "file",
    "stem",
    "instrument",
    "detector",
    "detector_name",
    "raft",
    "physical_filter",
    "band",
    "exposure",
    "visit",
    "day_obs",
    "skymap",
    "tract",
    "patch",
    "healpix",
    "obs_id",
    "observation_type",
    "target_name",
    "science_program",
    "seq_num",
)
"""Fields that a template may name, besides the keys that the definition declares."""

DEFAULT_TEMPLATE = (
    "{run}/{dataset_type}/[{day_obs}/][{skymap}/{tract}/{patch}/]{dataset_type}[_{component}]"
    "[_{instrument}][_{physical_filter}][_{band}][_{exposure}][_v{visit}][_d{detector:02d}][_hpx{healpix}]"
)
"""The template of dataset types that have none of their own."""

_SAFE = frozenset((string.ascii_letters + string.digits + "._-+=@,~").encode())
_MAX_NAME = 200
_TOKEN = re.compile(r"\{([^{}\[\]:!]+)(?::([^{}\[\]]*))?\}|(\[)|(\])|([^{}\[\]]+)")
_SPEC = re.compile(r"0?\d{0,3}[dsx]?|\.\d{1,2}[fg]")


def encode(text: str, also: str = "") -> str:
    """Write a text as part of a path: unsafe letters as ``%XX``; `decode` restores it.

    Parameters
    ----------
    text : str
        Any text.
    also : str
        Further ASCII letters to write as ``%XX``.

    Raises
    ------
    UnsafePath
        If the text is empty or holds a zero byte.
    """
    if not text or "\0" in text:
        raise UnsafePath(f"{text!r} cannot be part of a path: it is empty or holds a zero byte.")
    data = text.encode("utf-8", "surrogatepass")
    keep = _SAFE - frozenset(also.encode())
    encoded = "".join(chr(b) if b in keep else f"%{b:02X}" for b in data)
    if encoded.startswith("."):  # no hidden names, no '.' and '..'
        encoded = "%2E" + encoded[1:]
    return encoded


def decode(text: str) -> str:
    """Undo `encode`."""
    data = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
    return data.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Literal:
    """A text that stands in every path."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field and its format."""

    name: str
    spec: str


@dataclass(frozen=True, slots=True)
class Optional:
    """What is left out when a field in it is absent."""

    parts: tuple[Literal | Field, ...]


class PathTemplate:
    """A path template.

    Parameters
    ----------
    text : str
        For example ``{run}/raw/{day_obs}/{exposure}_d{detector:02d}``.

    Raises
    ------
    UnsafePath
        If it is no template, or one that leads out of the repository.

    Examples
    --------
    >>> template = PathTemplate("{run}/{target}_{band}")
    >>> template.format({"run": "u/ann", "target": "ksi_Cas β", "band": "g"})
    'u/ann/ksi%5FCas%20%CE%B2_g'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = _parsed(text)
        self.fields = tuple(dict.fromkeys(f.name for f in _fields(self.parts)))
        self.required = tuple(dict.fromkeys(p.name for p in self.parts if isinstance(p, Field)))

    def check_fields(self, known: Iterable[str]) -> None:
        """Make sure that every field is one that a dataset can have.

        Raises
        ------
        UnsafePath
            With the wrong field and near names.
        """
        names = tuple(known)
        for name in self.fields:
            if name not in names:
                raise UnsafePath(
                    f"The template {self.text!r} has a field {{{name}}}.{did_you_mean(name, names)}"
                )

    def format(self, fields: Mapping[str, Any]) -> str:
        """Make the path.

        Parameters
        ----------
        fields : mapping
            Values of the fields; None counts as absent.  A ``run`` may hold ``/``.  An
            ``extension`` (``.fits``) is put at the end when the template does not name it.

        Returns
        -------
        str
            Relative, with ``/`` between its parts.

        Raises
        ------
        UnsafePath
            If a field that the template needs is absent, or the path would leave the repository.
        """
        present = {k: v for k, v in fields.items() if v is not None}
        pieces = list(self._pieces(present))
        text = "".join(_rendered(i, pieces, present) for i in range(len(pieces)))
        if "extension" in present and "extension" not in self.fields:
            text += _suffix(_value_text("extension", "", present))
        parts = [_short(part) for part in text.split("/")]
        if any(part in {"", ".", ".."} for part in parts):
            raise UnsafePath(
                f"The template {self.text!r} makes {text!r}, which is no path inside a repository."
            )
        return "/".join(parts)

    def _pieces(self, present: Mapping[str, Any]) -> Iterator[Literal | Field]:
        for part in self.parts:
            if isinstance(part, Optional):
                if all(f.name in present for f in part.parts if isinstance(f, Field)):
                    yield from part.parts
            elif isinstance(part, Field) and part.name not in present:
                raise UnsafePath(
                    f"The template {self.text!r} needs {part.name}, which this dataset has not; "
                    "put the field into square brackets, or give the dataset type a template of "
                    "its own."
                )
            else:
                yield part


def _rendered(i: int, pieces: list[Literal | Field], present: Mapping[str, Any]) -> str:
    piece = pieces[i]
    if isinstance(piece, Literal):
        return piece.text
    text = _value_text(piece.name, piece.spec, present)
    if piece.name == "run":
        if any(part in {"", ".", ".."} for part in text.split("/")):
            raise UnsafePath(
                f"The run {text!r} cannot be a folder: it begins with '/', or holds '//' or '..'."
            )
        return "/".join(encode(part) for part in text.split("/"))
    if piece.name == "extension":
        return _suffix(text)
    return encode(text, also=_ambiguous_separator(i, pieces, present))


def _suffix(text: str) -> str:
    return "".join(f".{encode(part)}" for part in text.split(".") if part)


def _ambiguous_separator(i: int, pieces: list[Literal | Field], present: Mapping[str, Any]) -> str:
    """Give the letter that could be taken for the end of this text: what the next text follows."""
    name = pieces[i].name if isinstance(pieces[i], Field) else ""  # type: ignore[union-attr]
    if not isinstance(present[name], str):
        return ""
    if any(isinstance(p, Field) and p.name == name for p in pieces[:i]):
        return ""  # it has stood before, so that the reader knows it
    separator = ""
    for piece in pieces[i + 1 :]:
        if isinstance(piece, Literal):
            if "/" in piece.text:
                return ""
            separator = separator or piece.text[0]
        elif isinstance(present[piece.name], str):
            return separator
    return ""


def _value_text(name: str, spec: str, present: Mapping[str, Any]) -> str:
    value = present[name]
    if isinstance(value, bool) or not isinstance(value, str | Integral | float | UUID):
        raise UnsafePath(
            f"{name}={value!r} cannot be part of a path: a text or an integer is expected."
        )
    try:
        return format(value, spec) if spec else str(value)
    except ValueError as error:
        raise UnsafePath(
            f"{name}={value!r} cannot be written as '{{{name}:{spec}}}': {error}."
        ) from error


def _short(part: str) -> str:
    if len(part) <= _MAX_NAME:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:20]
    return f"{part[: _MAX_NAME - 30]}%~{digest}{part[-8:] if '.' in part[-8:] else ''}"


def _fields(parts: Iterable[Literal | Field | Optional]) -> Iterator[Field]:
    for part in parts:
        if isinstance(part, Optional):
            yield from _fields(part.parts)
        elif isinstance(part, Field):
            yield part


def _parsed(text: str) -> tuple[Literal | Field | Optional, ...]:
    parts: list[Literal | Field | Optional] = []
    group: list[Literal | Field] | None = None
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnsafePath(
                f"The template {text!r} has a stray '{text[at]}' at character {at + 1}."
            )
        name, spec, opening, closing, literal = match.groups()
        if opening:
            if group is not None:
                raise UnsafePath(
                    f"The template {text!r} has a '[' inside '[ ]' at character {at + 1}."
                )
            group = []
        elif closing:
            if group is None or not any(isinstance(p, Field) for p in group):
                raise UnsafePath(
                    f"The template {text!r} has a ']' without '[' and field at character {at + 1}."
                )
            parts.append(Optional(tuple(group)))
            group = None
        else:
            (parts if group is None else group).append(_piece(text, name, spec, literal))
        at = match.end()
    if group is not None:
        raise UnsafePath(f"The template {text!r} has a '[' that is not closed.")
    _check_separated(text, list(_flat(parts)))
    literals = "".join(p.text if isinstance(p, Literal) else "x" for p in _flat(parts))
    if literals.startswith("/") or any(part in {"", ".", ".."} for part in literals.split("/")):
        raise UnsafePath(
            f"The template {text!r} leads out of the repository: write it relative, without '..'."
        )
    return tuple(parts)


def _check_separated(text: str, pieces: list[Literal | Field]) -> None:
    for i, piece in enumerate(pieces[1:]):
        before = pieces[i]
        if isinstance(piece, Field) and (
            isinstance(before, Field) or (i and before.text.isdigit())
        ):
            raise UnsafePath(
                f"The template {text!r} puts {{{piece.name}}} right behind another field: two "
                "data IDs could get "
                "one path; put a letter such as '_' between them."
            )


def _flat(parts: Iterable[Literal | Field | Optional]) -> Iterator[Literal | Field]:
    for part in parts:
        if isinstance(part, Optional):
            yield from part.parts
        else:
            yield part


def _piece(text: str, name: str | None, spec: str | None, literal: str | None) -> Literal | Field:
    if name is None:
        literal = literal or ""
        bad = sorted({c for c in literal if c != "/" and (ord(c) > 126 or ord(c) not in _SAFE)})
        if bad:
            raise UnsafePath(
                f"The template {text!r} holds {''.join(bad)!r}, which no path should hold."
            )
        return Literal(literal)
    if spec and not _SPEC.fullmatch(spec):
        raise UnsafePath(
            f"The template {text!r} formats {name} as {spec!r}; write for example {{{name}:02d}}."
        )
    return Field(name.strip(), spec or "")
