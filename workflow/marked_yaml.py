"""On which line of a YAML file does each value stand?

`load` reads YAML data (no tags that make objects) into mappings and lists that know their lines,
so that errors and the history of configuration can name them.  Plain scalars follow the core
schema of YAML 1.2: ``on``, ``12:30:00`` and ``2022-09-20`` are texts, ``1e-3`` is a number.
Pipelines are read in `workflow.pipeline`, overrides in `workflow.configuration`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from registry import plain_yaml
from workflow.errors import PipelineError

__all__ = ["MarkedList", "MarkedMap", "load", "scalar"]

_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
    ".inf": float("inf"),
    "+.inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


class _Loader(plain_yaml.Bounded, yaml.BaseLoader):
    """Composes nodes only; what they mean is said below."""


class MarkedMap(dict[str, Any]):
    """A mapping that knows where its keys stand.

    Attributes
    ----------
    line : int
        Where it begins, counted from 1.
    lines : dict
        Key to the line on which it stands.
    starts : dict
        Key to the line on which its value begins; a block of text begins below its ``|``.
    """

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.starts: dict[str, int] = {}


class MarkedList(list[Any]):
    """A list that knows where its items stand.

    Attributes
    ----------
    line : int
        Where it begins, counted from 1.
    lines : list of int
        The line of each item.
    """

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def load(text: str, file: str = "") -> Any:
    """Read one YAML document.

    Parameters
    ----------
    text : str
        The document.
    file : str
        What errors call it.

    Raises
    ------
    PipelineError
        If it is not YAML, or a key is given twice.
    """
    try:
        node = plain_yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise PipelineError(f"this is not YAML: {what}.", file=file, line=line) from error
    except yaml.YAMLError as error:
        raise PipelineError(f"this is not YAML: {error}", file=file) from error
    return None if node is None else _value(node, file)


def scalar(text: str) -> Any:
    """Read a plain scalar by the core schema of YAML 1.2."""
    lowered = text.lower()
    if lowered in _SPECIAL:
        return _SPECIAL[lowered]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _value(node: yaml.Node, file: str) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return scalar(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        items = MarkedList(line)
        for item in node.value:
            items.append(_value(item, file))
            items.lines.append(item.start_mark.line + 1)
        return items
    result = MarkedMap(line)
    merged: list[Any] = []
    for key_node, value_node in node.value:
        where = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise PipelineError("a key must be a name.", file=file, line=where)
        key, value = key_node.value, _value(value_node, file)
        if key == "<<" and key_node.style is None:
            merged += value if isinstance(value, list) else [value]
        elif key in result:
            raise PipelineError(
                f"'{key}' is given twice, on lines {result.lines[key]} and {where}; "
                "the second would hide the first.",
                file=file,
                line=where,
            )
        else:
            result[key] = value
            result.lines[key] = where
            block = isinstance(value_node, yaml.ScalarNode) and value_node.style in {"|", ">"}
            result.starts[key] = value_node.start_mark.line + (2 if block else 1)
    for other in merged:
        if not isinstance(other, MarkedMap):
            raise PipelineError("`<<` takes a mapping.", file=file, line=line)
        for key in other.keys() - result.keys():
            result[key] = other[key]
            result.lines[key] = other.lines[key]
            result.starts[key] = other.starts[key]
    return result
