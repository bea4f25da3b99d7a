"""How is YAML read that somebody else wrote, and which of it needs no library to be written?

It is read with a loader of PyYAML that makes plain values only, and within limits: nothing nests
deeper than a stack can bear (libyaml's composer would end the process), and aliases unfold to no
more values than a memory holds.  Whatever is wrong is a `yaml.YAMLError`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import os

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "Bounded",
    "Plain",
    "UnreadableYaml",
    "compose",
    "inside",
    "load",
    "load_file",
    "read_bytes",
    "stands_bare",
]

MAX_DEPTH = 100
"""How many mappings and lists may stand inside one another."""
MAX_VALUES = 1_000_000
"""To how many values a text with aliases may unfold, or to ten times those that are written."""
MAX_BYTES = 16_000_000
"""How large a file may be that a person writes."""


_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+@-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def stands_bare(text: str) -> bool:
    """Tell whether a text is written as it stands, without quotes, and is read as this text."""
    return _BARE.fullmatch(text) is not None and text.lower() not in _WORDS


class UnreadableYaml(yaml.YAMLError):
    """A text is YAML, and cannot be taken all the same.

    Attributes
    ----------
    problem : str
        Why.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Bounded:
    """Makes a loader of PyYAML refuse what nests too deeply; to stand before it as a base class."""

    _depth = 0

    def descend_resolver(self, _node: Any, _index: Any) -> None:
        """Count a level; the composer calls this for each node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableYaml(f"more than {MAX_DEPTH} levels stand inside one another")

    def ascend_resolver(self) -> None:
        """Leave a level."""
        self._depth -= 1


class Plain(Bounded, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Makes plain values, as `yaml.safe_load` does."""


def compose(text: str | bytes, loader: Any) -> Any:
    """Read the nodes of one document.

    Parameters
    ----------
    loader : type
        A loader with `Bounded` before it.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, or beyond the limits.
    """
    reading = loader(text)
    try:
        node = reading.get_single_node()
        _require_few(text, node)
    except UnicodeEncodeError as error:
        raise UnreadableYaml("half of a surrogate pair is no character") from error
    finally:
        reading.dispose()
    return node


def load(text: str | bytes, loader: Any = Plain) -> Any:
    """Read the values of one document; see `compose`."""
    reading = loader(text)
    try:
        node = reading.get_single_node()
        if node is None:
            return None
        _require_few(text, node)
        return reading.construct_document(node)
    except UnicodeEncodeError as error:
        raise UnreadableYaml("half of a surrogate pair is no character") from error
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        # PyYAML converts numbers and times without a look at them
        raise UnreadableYaml(f"a value cannot be understood: {error!s:.200}") from error
    finally:
        reading.dispose()


def load_file(path: str | os.PathLike[str], loader: Any = Plain) -> Any:
    """Read the values of a file that a person writes.

    Raises
    ------
    OSError
        If it cannot be read.
    yaml.YAMLError
        If it is too large, not YAML, or beyond the limits.
    """
    return load(read_bytes(path), loader)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file that a person writes; errors as for `load_file`."""
    with Path(path).open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnreadableYaml(f"it has more than {MAX_BYTES:,} bytes")
    return content


def _require_few(text: str | bytes, node: Any) -> None:
    """Refuse aliases that unfold to too much, or to what they are in."""
    if not ("&" in text if isinstance(text, str) else b"&" in text):
        return
    sizes: dict[int, int] = {}
    around: set[int] = set()
    waiting = [(node, False)]
    while waiting:
        one, done = waiting.pop()
        key = id(one)
        inner = inside(one)
        if done:
            around.discard(key)
            sizes[key] = 1 + sum(sizes[id(part)] for part in inner)
            if sizes[key] > MAX_VALUES and sizes[key] > 10 * len(sizes):
                raise UnreadableYaml(f"its aliases unfold to more than {MAX_VALUES:,} values")
        elif key in around:
            raise UnreadableYaml("an alias stands inside of what it stands for")
        elif key not in sizes:
            around.add(key)
            waiting.append((one, True))
            waiting += [(part, False) for part in inner]


def inside(node: Any) -> list[Any]:
    """List the nodes in a list, or the keys and values of a mapping, one after the other."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []
