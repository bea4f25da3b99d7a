"""Where in a YAML file does each key of a definition stand?

Reads YAML into plain values and remembers the line of every key, so that a mistake can be shown
where it is. Scalars follow the YAML 1.2 core schema: ``no``, ``on`` and ``12:30`` are texts, dates
are texts.  Repeated keys, tags and runaway aliases are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from butler.instrument.errors import DefinitionError, Problem
from registry import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Document", "KeyPath", "key_text", "read_document", "read_document_file", "text_of"]

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document to a value."""

_MAX_NODES = 200_000
_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"(?:null|Null|NULL|~)?"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]{1,4000}"), int),
    (re.compile(r"0o[0-7]{1,4000}"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]{1,4000}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(plain_yaml.Bounded, _Fastest):  # type: ignore[misc]
    """Composes nodes only; plain scalars are interpreted here, not by YAML 1.1 rules."""


_Loader.yaml_implicit_resolvers = {}


@dataclass(frozen=True, slots=True)
class Document:
    """A definition as plain values, with the place of each.

    Parameters
    ----------
    value : object
        Mappings, lists and scalars.
    source : str
        The file's name, or another name for messages.
    lines : dict
        Line, from 1, of each key path; empty when there was no text.
    """

    value: Any
    source: str
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Describe a mistake at a key."""
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        return Problem(key_text(path), message, self.lines.get(at))


def key_text(path: KeyPath) -> str:
    """Write a key path as people do, ``files[0].pattern``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def text_of(content: Any) -> str:
    """Write a content as lookups compare it: ``5`` for 5.0, ``true`` for True, no outer blanks."""
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, float) and content.is_integer() and abs(content) < 1e15:
        return str(int(content))
    return str(content).strip()


def read_document(text: str, source: str) -> Document:
    """Read YAML text.

    Parameters
    ----------
    text : str
        The definition.
    source : str
        What to call it in messages.

    Raises
    ------
    DefinitionError
        If it is not YAML that a definition may hold.
    """
    try:
        node = plain_yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise DefinitionError(
            source, [Problem("", f"is not YAML: {error.problem}", line)]
        ) from error
    except yaml.YAMLError as error:
        raise DefinitionError(source, [Problem("", f"is not YAML: {error}")]) from error
    lines: dict[KeyPath, int] = {}
    problems: list[Problem] = []
    value = None if node is None else _plain(node, (), lines, problems)
    if problems:
        raise DefinitionError(source, problems)
    return Document(value, source, lines)


def read_document_file(path: Path) -> Document:
    """Read a YAML file; its name stands in messages.

    Raises
    ------
    DefinitionError
        If it is not UTF-8 text or not YAML.
    OSError
        If it cannot be read.
    """
    try:
        text = plain_yaml.read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DefinitionError(str(path), [Problem("", f"is not UTF-8 text: {error}")]) from error
    except plain_yaml.UnreadableYaml as error:
        raise DefinitionError(str(path), [Problem("", f"is no definition: {error}")]) from error
    return read_document(text, str(path))


def _plain(node: Any, path: KeyPath, lines: dict[KeyPath, int], problems: list[Problem]) -> Any:
    if len(lines) > _MAX_NODES:
        raise DefinitionError("text", [Problem("", f"has more than {_MAX_NODES} values")])
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = text_of(_scalar(key_node, path, problems))
            at = (*path, name)
            if name in result:
                problems.append(
                    Problem(key_text(at), "stands twice; keep one", key_node.start_mark.line + 1)
                )
            result[name] = _plain(value_node, at, lines, problems)
            lines[at] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, problems) for i, item in enumerate(node.value)]
    return _scalar(node, path, problems)


def _scalar(node: Any, path: KeyPath, problems: list[Problem]) -> Any:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode):
        problems.append(Problem(key_text(path), "a key must be a text or a number", line))
        return "?"
    if node.tag != "tag:yaml.org,2002:str":
        problems.append(Problem(key_text(path), f"the tag {node.tag!r} is not allowed here", line))
        return node.value
    if not node.style:
        for pattern, convert in _SCALARS:
            if pattern.fullmatch(node.value):
                return convert(node.value)
    return node.value
