"""How are dicts and lists written so that people and other programs can read them?

YAML by the C library, JSON by the standard one; neither runs code when it is read. Which values
they hold is in `butler.formatters.plain`.
"""

from __future__ import annotations

import datetime as dt
import json
from abc import abstractmethod
from math import isfinite
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import yaml

from butler.formatters.base import Formatter, encoded, provenance_text
from butler.formatters.plain import Inexpressible, plain
from registry import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from butler.formatters.source import Source

__all__ = ["JsonFormatter", "YamlFormatter"]

_PlainDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_PlainDumper):  # type: ignore[misc]
    """Writes every value where it stands: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


class _StructuredFormatter(Formatter):
    """What the two have in common."""

    python_types: ClassVar[tuple[str, ...]] = ("builtins.dict", "builtins.list")
    string_keys: ClassVar[bool]
    native: ClassVar[tuple[type, ...]] = ()

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write a dict or list; see `Formatter.dump`."""
        try:
            text = self.text(
                plain(obj, string_keys=self.string_keys, native=self.native), provenance
            )
            stream.write(text.encode())
        except Inexpressible as error:
            place = f"what lies at {error.where}" if error.where else f"the {type(obj).__name__}"
            raise self.refuse(f"{place} {error}", error.remedy) from error
        except UnicodeEncodeError as error:
            raise self.refuse(
                f"a text in it holds {error.object[error.start : error.end]!r}, half a character",
                "decode that text with the encoding that it has",
            ) from error
        except ValueError as error:
            raise self.refuse(str(error).rstrip("."), "store that value as text") from error

    @abstractmethod
    def text(self, obj: Any, provenance: Mapping[str, str]) -> str:
        """Write plain values as text."""

    @abstractmethod
    def values(self, content: bytes) -> Any:
        """Read plain values from text in UTF-8."""

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read a dict or list; see `Formatter.load`."""
        found = self.values(source.read_bytes())
        if not isinstance(found, dict | list):
            raise TypeError(
                f"it holds one value of type {type(found).__name__}, and not a mapping or a list"
            )
        return found


class YamlFormatter(_StructuredFormatter):
    """Dicts and lists as YAML 1.1, UTF-8, in the order of their keys.

    Also holds dates, bytes, and keys that are no text. Tuples come back as lists.
    """

    name = "yaml"
    extension: ClassVar[str] = ".yaml"
    keeps_provenance: ClassVar[bool] = True
    string_keys: ClassVar[bool] = False
    native: ClassVar[tuple[type, ...]] = (dt.date, dt.datetime, bytes)

    def text(self, obj: Any, provenance: Mapping[str, str]) -> str:
        """Write plain values, with the provenance as comments before them."""
        head = "".join(f"# {key}: {encoded(value)}\n" for key, value in provenance.items())
        body = _lines(obj)
        if body is None:
            body = yaml.dump(
                obj, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1_000_000
            )
        return f"{head}{body}"

    def values(self, content: bytes) -> Any:
        """Read plain values; tags that would make other objects are refused."""
        try:
            return plain_yaml.load(content)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the comments at the beginning."""
        with source.text() as stream:
            return provenance_text(stream)


def _lines(obj: Any) -> str | None:
    """Write a few numbers and words in dicts and lists as the library does, in a fifth of its time.

    Parameters
    ----------
    obj : dict or list
        Holds no dict or list twice.

    Returns
    -------
    str or None
        None for everything else.
    """
    lines: list[str] = []
    if not obj or not _written(obj, "", "", lines):
        return None
    return "".join(lines)


def _written(obj: Any, before: str, indent: str, lines: list[str]) -> bool:
    """Write a dict or list that holds something; False for what is left to the library.

    Parameters
    ----------
    before : str
        What stands before its first line.
    indent : str
        What stands before the others.
    """
    if len(obj) + len(lines) > _FEW or len(indent) > _DEEP:
        return False
    within_list = type(obj) is list
    for item in obj:
        if within_list:
            head, value = f"{before}- ", item
        else:
            if type(item) is not str or len(item) > _SIMPLE or not _is_bare(item):
                return False
            head, value = f"{before}{item}:", obj[item]
        before = indent
        kind = type(value)
        if (kind is dict or kind is list) and value:
            if within_list:
                written = _written(value, head, f"{indent}  ", lines)
            else:
                lines.append(f"{head}\n")
                inner = indent if kind is list else f"{indent}  "
                written = _written(value, inner, inner, lines)
            if not written:
                return False
        else:
            text = _scalar(value, kind)
            if text is None:
                return False
            lines.append(f"{head}{text}\n" if within_list else f"{head} {text}\n")
    return True


def _scalar(value: Any, kind: type) -> str | None:
    if kind is int:
        return str(value)
    if kind is float and isfinite(value):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if kind is str:
        return value if _is_bare(value) else None
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    return "{}" if kind is dict else "[]" if kind is list else None


def _is_bare(text: str) -> bool:
    return plain_yaml.stands_bare(text) or text in _LETTERS


_LETTERS = frozenset("yYnN")
"""Not quoted by the library, which does not read them as truth values either."""
_FEW = 100
_DEEP = 40
_SIMPLE = 100
"""Length of a key up to which it stands on one line with its value."""


class JsonFormatter(_StructuredFormatter):
    """Dicts and lists as JSON, UTF-8, in the order of their keys.

    Keys must be text. Dates become text (ISO 8601) and come back so. NaN and infinities are
    written as Python and JavaScript write them (``NaN``, ``Infinity``), which RFC 8259 leaves out.
    """

    name = "json"
    extension: ClassVar[str] = ".json"
    string_keys: ClassVar[bool] = True

    def text(self, obj: Any, provenance: Mapping[str, str]) -> str:  # noqa: ARG002
        """Write plain values; JSON has no place for provenance."""
        return json.dumps(obj, ensure_ascii=False, indent=1)

    def values(self, content: bytes) -> Any:
        """Read plain values."""
        return json.loads(content)
