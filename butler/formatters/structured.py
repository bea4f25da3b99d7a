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
    """Write a dict of a few numbers and words as the library does, in a fifth of its time.

    Returns
    -------
    str or None
        None for everything else.
    """
    if type(obj) is not dict or not 0 < len(obj) <= _FEW:
        return None
    lines = []
    for key, value in obj.items():
        if type(key) is not str or len(key) > _SIMPLE or not plain_yaml.stands_bare(key):
            return None
        kind = type(value)
        if kind is int:
            text = str(value)
        elif kind is float and isfinite(value):
            text = repr(value)
            if "e" in text and "." not in text:
                text = text.replace("e", ".0e")
        elif kind is str and plain_yaml.stands_bare(value):
            text = value
        elif kind is bool:
            text = "true" if value else "false"
        elif value is None:
            text = "null"
        else:
            return None
        lines.append(f"{key}: {text}\n")
    return "".join(lines)


_FEW = 100
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
