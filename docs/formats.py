"""The page of the formats: storage classes and formatters, as the code has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from butler.formatters import formatter_names, get_formatter
from butler.storage_classes import get_storage_class, storage_class_names

if TYPE_CHECKING:
    from collections.abc import Iterable


def formats() -> str:
    """Make the two tables of the page."""
    lines = [
        "| storage class | Python type | default format | others | components |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in storage_class_names():
        kind = get_storage_class(name)
        lines.append(
            f"| `{name}`: {kind.doc} | `{kind.python_type.removeprefix('builtins.')}` | "
            f"`{kind.default_formatter}` | {_listed(kind.others)} | "
            f"{_listed(sorted(kind.components))} |"
        )
    lines += [
        "",
        "| format | file | writes | parameters of a read | provenance in the file | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in formatter_names():
        one = get_formatter(name)
        types = [kind.removeprefix("builtins.") for kind in one.python_types]
        lines.append(
            f"| `{name}` | `{one.extension}` | {_listed(types)} | "
            f"{_listed(sorted(one.parameters))} | {'yes' if one.keeps_provenance else ''} | "
            f"{(one.__doc__ or '').split('. ')[0].splitlines()[0].rstrip('.')}. |"
        )
    return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
