"""Which values does a configuration hold?

Every field of an lsst-pex-config configuration is one leaf value with a path, however deep it
lies: they are the rows of the table ``config_value``.  Also here: the digest by which equal
configurations are stored once, and the texts that bring them back.  How values came to be is in
`workflow.configuration`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lsst.pex.config import (
    Config,
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    ConfigurableField,
    DictField,
    Field,
    ListField,
)
from lsst.pex.config.configurableActions import ConfigurableActionStructField

from registry.errors import did_you_mean
from workflow.errors import ConfigurationError, UnknownField

__all__ = [
    "Leaf",
    "LeafValue",
    "class_name",
    "digest",
    "from_leaf_values",
    "import_dotted",
    "leaf_values",
    "leaves",
    "load_text",
    "parse_value",
    "save_text",
    "value_text",
]

STRUCTURAL = frozenset({"target", "keys", "struct", "class", "names"})
"""Types of leaves that say which further fields there are."""


class LeafValue(NamedTuple):
    """One value of a configuration.

    Attributes
    ----------
    path : str
        Where it is: ``overscan.order``, ``method['median'].clip``.
    value : object
        A number, text, list or dictionary of them, or None.
    type : str
        ``int``, ``float``, ``bool``, ``str``, ``complex``, ``list[float]``, ``dict[str,int]``;
        ``name`` and ``names`` for a choice, ``target`` for the class of a sub-task, ``keys``,
        ``class`` and ``struct`` for further levels.
    """

    path: str
    value: Any
    type: str

    @property
    def text(self) -> str | None:
        """The value as it is stored; None is None."""
        return value_text(self.value)


@dataclass(frozen=True)
class Leaf:
    """A leaf value with the field that holds it."""

    path: str
    value: Any
    type: str
    owner: Config
    field: Any

    @property
    def is_structural(self) -> bool:
        """Whether it says which further fields there are."""
        return self.type in STRUCTURAL


def leaves(config: Config, prefix: str = "") -> Iterator[Leaf]:
    """Yield every leaf of a configuration, in the order in which its classes declare them.

    The entries of a choice are all there, chosen or not.
    """
    for name in config:
        field = getattr(type(config), name)
        value = getattr(config, name)
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(field, ConfigurableField):
            yield Leaf(path, _target_text(value), "target", config, field)
            yield from leaves(value.value, path)
        elif isinstance(field, ConfigChoiceField):
            if field.multi:
                names = None if value.names is None else sorted(value.names)
                yield Leaf(f"{path}.names", names, "names", config, field)
            else:
                yield Leaf(f"{path}.name", value.name, "name", config, field)
            for key, entry in value.items():
                yield from leaves(entry, f"{path}[{key!r}]")
        elif isinstance(field, ConfigDictField):
            yield Leaf(path, None if value is None else list(value), "keys", config, field)
            for key, entry in (value or {}).items():
                yield from leaves(entry, f"{path}[{key!r}]")
        elif isinstance(field, ConfigurableActionStructField):
            classes = {k: class_name(v) for k, v in value.items()}
            yield Leaf(path, classes, "struct", config, field)
            for key, entry in value.items():
                yield from leaves(entry, f"{path}.{key}")
        elif isinstance(field, ConfigField):
            if type(value) is not field.dtype:
                yield Leaf(path, class_name(value), "class", config, field)
            yield from leaves(value, path)
        else:
            yield Leaf(path, _plain(value), _type_name(field), config, field)


def leaf_values(config: Config) -> list[LeafValue]:
    """List every value of a configuration, sorted by path."""
    return sorted(LeafValue(x.path, x.value, x.type) for x in leaves(config))


def digest(config: Config) -> str:
    """Compute the SHA-256 of the class and all values, in hex.

    Equal configurations have equal digests, also when values are nan.
    """
    content = [class_name(config), *((v.path, v.type, v.text) for v in leaf_values(config))]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def class_name(config: Any) -> str:
    """Return the dotted path of a class, or of the class of an instance."""
    cls = config if isinstance(config, type) else type(config)
    return f"{cls.__module__}.{cls.__qualname__}"


def value_text(value: Any) -> str | None:
    """Write a value exactly.

    A text stays as it is, None is None, all else is a Python literal in which nan and inf may
    stand.
    """
    if value is None or isinstance(value, str):
        return value
    return repr(value)


def parse_value(text: str | None, type_: str) -> Any:
    """Read what `value_text` wrote.

    Raises
    ------
    ValueError
        If it is no literal.
    """
    if text is None or type_ in {"str", "name", "target", "class"}:
        return text
    try:
        return ast.literal_eval(_NonFinite().visit(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r} is no literal of type {type_}.") from error


def save_text(config: Config) -> str:
    """Write a configuration as the Python file that lsst-pex-config writes.

    Not-a-number and infinity within lists and dictionaries survive as well.
    """
    values = leaf_values(config)
    if any(v.type == "names" and v.value is None for v in values):
        # lsst-pex-config cannot save a multiple choice that is None.
        config = config.copy()
        for leaf in leaves(config):
            if leaf.type == "names" and leaf.value is None:
                setattr(leaf.owner, leaf.field.name, [])
    text: str = config.saveToString()
    if any(v.type[:4] in {"list", "dict", "comp"} and _has_non_finite(v.value) for v in values):
        head, check, rest = text.split("\n", 2)
        names = (
            "inf, nan = float('inf'), float('nan')\ninfj, nanj = complex(0, inf), complex(0, nan)"
        )
        text = f"{head}\n{check}\n{names}\n{rest}"
    for v in values:
        if v.type == "names" and v.value is None:
            text += f"config.{v.path}=None\n"
    return text


def load_text(text: str, config_class: type[Config] | None = None) -> Any:
    """Make a configuration from the text that `save_text` or lsst-pex-config wrote.

    The text is run as Python code: for what others wrote there is `from_leaf_values`.

    Parameters
    ----------
    text : str
        The saved configuration.
    config_class : type, optional
        Its class; the one that the text names when omitted.

    Raises
    ------
    ConfigurationError
        If the text does not name its class.
    """
    if config_class is None:
        first = re.match(r"import ([\w.]+)\nassert type\(\w+\)\s*(?:is|==)\s*([\w.]+)", text)
        if first is None:
            raise ConfigurationError("the text does not begin with its class, as saved files do")
        config_class = import_dotted(first.group(2))
    config = config_class()
    config.loadFromString(text)
    return config


def from_leaf_values(
    config_class: type[Config] | str, values: Iterable[tuple[str, Any, str]]
) -> Any:
    """Make a configuration from its values; classes that they name are imported, no code is run.

    Parameters
    ----------
    config_class : type or str
        The class or its dotted path.
    values : iterable of (path, value, type)
        As `leaf_values` lists them.

    Raises
    ------
    UnknownField
        If the class has no such field.
    """
    cls = import_dotted(config_class) if isinstance(config_class, str) else config_class
    config: Config = cls()
    wanted = {path: LeafValue(path, value, type_) for path, value, type_ in values}
    done: set[str] = set()
    while True:
        present = {leaf.path: leaf for leaf in leaves(config)}
        todo = [
            (present[path], value)
            for path, value in sorted(wanted.items())
            if path in present and path not in done
        ]
        if not todo:
            break
        first_structure = next((t for t in todo if t[0].is_structural), None)
        for leaf, value in [first_structure] if first_structure else todo:
            if value_text(leaf.value) != value.text:
                _assign(leaf, value.value)
            done.add(leaf.path)
    for path in sorted(set(wanted) - done):
        raise UnknownField(
            f"{class_name(cls)} has no such field.{did_you_mean(path, present)}", path=path
        )
    return config


def import_dotted(path: str) -> Any:
    """Import a module, or what a module holds, by its dotted path.

    Raises
    ------
    ImportError
        If there is no such module, or it does not hold that name; a suggestion is in the message.
    """
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        module_name = ".".join(parts[:n])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (
                module_name == error.name or module_name.startswith(f"{error.name}.")
            ):
                continue
            raise
        for part in parts[n:]:
            if not hasattr(found, part):
                known = [k for k in vars(found) if not k.startswith("_")]
                where = getattr(found, "__name__", module_name)
                raise ImportError(f"{where} has no '{part}'.{did_you_mean(part, known)}")
            found = getattr(found, part)
        return found
    raise ImportError(
        f"there is no module '{parts[0]}'; is its folder in the environment variable PYTHONPATH?"
    )


def _assign(leaf: Leaf, value: Any) -> None:
    """Give a field the value that a leaf of it had elsewhere."""
    name = leaf.field.name
    current = getattr(leaf.owner, name)
    if leaf.type == "target":
        target, config_class = _target_classes(value)
        current.retarget(target, config_class)
    elif leaf.type == "class":
        setattr(leaf.owner, name, import_dotted(value))
    elif leaf.type == "keys":
        setattr(
            leaf.owner, name, None if value is None else dict.fromkeys(value, leaf.field.itemtype)
        )
    elif leaf.type == "struct":
        for key in list(current.fieldNames):
            delattr(current, key)
        for key, dotted in value.items():
            setattr(current, key, import_dotted(dotted))
    else:
        setattr(leaf.owner, name, value)


def _target_text(instance: Any) -> str:
    """Name the target of a sub-task field, and its configuration class if not the target's own."""
    text = f"{instance.target.__module__}.{instance.target.__qualname__}"
    if getattr(instance.target, "ConfigClass", None) is instance.ConfigClass:
        return text
    return f"{text}[{class_name(instance.ConfigClass)}]"


def _target_classes(text: str) -> tuple[Any, Any]:
    target, _, config_class = text.rstrip("]").partition("[")
    return import_dotted(target), import_dotted(config_class) if config_class else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value


def _type_name(field: Field[Any]) -> str:
    def name(kind: Any) -> str:
        return "any" if kind is None else getattr(kind, "__name__", str(kind))

    if isinstance(field, ListField):
        return f"list[{name(field.itemtype)}]"
    if isinstance(field, DictField):
        return f"dict[{name(field.keytype)},{name(field.itemtype)}]"
    return name(field.dtype)


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_non_finite(v) for v in [*value, *value.values()])
    if isinstance(value, list):
        return any(map(_has_non_finite, value))
    if isinstance(value, complex):
        return not (math.isfinite(value.real) and math.isfinite(value.imag))
    return isinstance(value, float) and not math.isfinite(value)


class _NonFinite(ast.NodeTransformer):
    """Lets nan and inf stand in literals."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace the names by their values."""
        known: dict[str, Any] = {
            "nan": math.nan,
            "inf": math.inf,
            "nanj": complex(0, math.nan),
            "infj": complex(0, math.inf),
        }
        return ast.copy_location(ast.Constant(known[node.id]), node) if node.id in known else node
