"""The page of the formats: storage classes and formatters, as the code has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.formatters import formatter_names, get_formatter
from butler.storage_classes import get_storage_class, storage_class_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def formats() -> str:
    """Make the tables of the page."""
    lines = [
        "| storage class | Python type | default format | others | components | parts |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in storage_class_names():
        kind = get_storage_class(name)
        lines.append(
            f"| `{name}`: {kind.doc} | `{kind.python_type.removeprefix('builtins.')}` | "
            f"`{kind.default_formatter}` | {_listed(kind.others)} | "
            f"{_listed(sorted(kind.components))} | {_listed(kind.parts)} |"
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
    lines += ["", "| format | option | default | what it does |", "| --- | --- | --- | --- |"]
    for name in formatter_names():
        for option, told in get_formatter(name).options.items():
            check = _expected(told.check)
            lines.append(f"| `{name}` | `{option}` | `{told.default}` | {told.doc}; {check} |")
    return "\n".join(lines)


def policy_settings() -> str:
    """Make the table of what a policy decides."""
    from butler.policy.settings import OF_PARTS, SETTINGS, shown

    lines = ["| setting | default | what it decides |", "| --- | --- | --- |"]
    for name, setting in SETTINGS.items():
        default = "" if setting.default is None else f"`{shown(name, setting.default)}`"
        lines.append(f"| `{name}` | {default} | {setting.doc}. |")
    lines += [f"| `PART.{name}` | | {doc}. |" for name, doc in OF_PARTS.items()]
    return "\n".join(lines)


def _expected(check: Callable[[Any], Any]) -> str:
    """Ask a check what it expects."""
    try:
        check(object())
    except ValueError as error:
        return str(error)
    return "anything"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
