"""What can a policy decide, and is a value one that can be?

Every setting has a line for the reference page and a check.  It is checked against the repository
(its endpoints, cameras, dataset types) when it is made, so that no put fails for it later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backbone import endpoints
from butler.errors import PolicyError
from butler.formatters import get_formatter
from butler.instrument.errors import UnsafePath
from butler.instrument.templates import PathTemplate
from butler.policy.policies import SITE, Scope, site
from butler.storage_classes import get_storage_class
from registry.errors import did_you_mean
from registry.identity import DIMENSIONS
from registry.schema import files
from registry.schema.dimensions import instrument
from registry.schema.identity import data_id_key, dataset_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "OF_PARTS",
    "SETTINGS",
    "Setting",
    "check_scope",
    "checked",
    "from_texts",
    "is_setting",
    "shown",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that a policy decides.

    Parameters
    ----------
    default : object
        What holds where nothing is set; None: it depends on the dataset type.
    check : callable
        Takes a connection, a scope and a value; gives the value as it is kept.
    doc : str
        What it decides.
    """

    default: Any
    check: Callable[[sa.Connection, Scope, Any], Any]
    doc: str


def checked(connection: sa.Connection, scope: Scope, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make sure that settings can be, in the repository as it is.

    Parameters
    ----------
    settings : mapping of str to object
        As a person writes them; None takes one back.

    Returns
    -------
    dict
        As they are kept.

    Raises
    ------
    PolicyError, UnknownFormatter, InvalidOption, StorageClassError, UnknownEndpoint, UnsafePath
        The first that cannot be, with what could.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if not is_setting(name):
            raise PolicyError(
                f"A policy has no setting '{name}'.{did_you_mean(name, SETTINGS)}", name=name
            )
        if value is None:
            found[name] = None
        elif name in SETTINGS:
            found[name] = SETTINGS[name].check(connection, scope, value)
        else:
            found[name] = _of_part(connection, scope, name, value)
    return found


def is_setting(name: str) -> bool:
    """Tell whether a policy may decide something of this name; a part's has that before it."""
    part, dot, setting = name.partition(".")
    return name in SETTINGS or bool(dot and part and setting in OF_PARTS)


def _of_part(connection: sa.Connection, scope: Scope, name: str, value: Any) -> Any:
    """Check a setting of a part, such as ``mask.format``."""
    part, _, setting = name.partition(".")
    storage_class = scope.storage_class or _storage_class_of(connection, scope.dataset_type)
    if not storage_class:
        raise PolicyError(
            f"'{name}' is about a part of a dataset; say of which storage class, or of which "
            "dataset type that is registered.",
            name=name,
        )
    parts = get_storage_class(storage_class).parts
    if part not in parts:
        known = did_you_mean(part, parts) or " It has none."
        raise PolicyError(
            f"Storage class {storage_class} has no part '{part}' to be stored apart.{known}",
            name=name,
        )
    if setting == "format":
        return _format(connection, Scope(storage_class=parts[part].storage_class), value)
    if value == endpoints.TABLES and not parts[part].rows:
        raise PolicyError(f"The part '{part}' lies in files alone, and in no table.", name=name)
    return _endpoint(connection, scope, value)


def check_scope(connection: sa.Connection, scope: Scope) -> None:
    """Make sure that a scope names what there is.

    A dataset type may come later: settings say how its first dataset is to be stored.

    Raises
    ------
    PolicyError, UnknownStorageClass
        It does not, or says one thing twice.
    """
    if scope.dataset_type and scope.storage_class:
        raise PolicyError(
            f"The dataset type {scope.dataset_type} has one storage class; name one of the two.",
            name=scope.dataset_type,
        )
    if scope.storage_class:
        get_storage_class(scope.storage_class)
    for word, name, column, remedy in (
        ("camera", scope.instrument, instrument.c.name, "skyspine instrument register REPO FILE"),
        ("site", scope.site, files.site.c.name, f"processes say by {SITE} where they are"),
    ):
        if not name or name == site():
            continue
        known = list(connection.execute(sa.select(column)).scalars())
        if name not in known:
            raise PolicyError(
                f"There is no {word} '{name}'.{did_you_mean(name, known)} ({remedy})", name=name
            )


def _format(connection: sa.Connection, scope: Scope, value: Any) -> dict[str, Any]:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise PolicyError(
            f"A format is a name, or a mapping of its name and its options, not {value!r}.",
            name="format",
        )
    options = {str(k): v for k, v in given.items() if k != "name"}
    storage_class = scope.storage_class or _storage_class_of(connection, scope.dataset_type)
    if storage_class:
        writer = get_storage_class(storage_class).formatter(given["name"])
    elif scope.dataset_type:
        writer = get_formatter(given["name"])
    else:
        get_formatter(given["name"])
        raise PolicyError(
            f"No format holds everything; say of which storage class or dataset type "
            f"{given['name']} shall be the format.",
            name="format",
        )
    writer = writer.with_options(options)
    return {"name": writer.name, **writer.chosen}


def _storage_class_of(connection: sa.Connection, name: str) -> str:
    asked = sa.select(dataset_type.c.storage_class).where(dataset_type.c.name == name)
    return connection.execute(asked).scalar() or ""


def _endpoint(connection: sa.Connection, _scope: Scope, value: Any) -> str:
    if value == endpoints.TABLES:  # known to the database from the first row on
        return endpoints.TABLES
    found = endpoints.named(connection, str(value))
    if not found.owned:
        raise PolicyError(
            f"The endpoint '{found.name}' is only read by this repository; nothing can be stored "
            "there.",
            name=found.name,
        )
    return found.name


def _path(connection: sa.Connection, scope: Scope, value: Any) -> str:
    template = PathTemplate(str(value))
    extra = connection.execute(sa.select(data_id_key.c.name)).scalars()
    template.check_fields(["run", "dataset_type", *DIMENSIONS, *extra])
    asked = sa.select(dataset_type.c.dimensions).where(dataset_type.c.name == scope.dataset_type)
    keys = connection.execute(asked).scalar()
    if keys is not None:
        has = {"run", "dataset_type", *keys.split(",")}
        lacking = [name for name in template.required if name not in has]
        if lacking:
            raise UnsafePath(
                f"The template {template.text!r} needs {lacking[0]}, which {scope.dataset_type} "
                f"has not: its keys are {keys.replace(',', ', ') or 'none'}. Put the field into "
                "square brackets, or leave it out."
            )
    return template.text


_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def _switch(name: str) -> Callable[[sa.Connection, Scope, Any], bool]:
    def check(_connection: sa.Connection, _scope: Scope, value: Any) -> bool:
        found = _WORDS.get(str(value).lower())
        if found is None:
            raise PolicyError(f"'{name}' is yes or no, not {value!r}.", name=name)
        return found

    return check


def _create(connection: sa.Connection, scope: Scope, value: Any) -> bool:
    if scope.storage_class or scope.instrument:
        raise PolicyError(
            "Whether a dataset type may be created is asked before there is one: set 'create' for "
            "the site, the repository, or the name of the dataset type.",
            name="create",
        )
    return _switch("create")(connection, scope, value)


SETTINGS = {
    "format": Setting(
        None,
        _format,
        "The format, with its options: a name of the page Formats; what the storage class says",
    ),
    "endpoint": Setting(
        endpoints.ROOT, _endpoint, "The storage, as `skyspine endpoint list` names it"
    ),
    "path": Setting(
        None,
        _path,
        "A template for the path below the endpoint's root, as a camera's definition has it; "
        "the end of the dataset's identity and the extension are added",
    ),
    "create": Setting(False, _create, "Whether a put may register a dataset type that is new"),
    "fsync": Setting(
        False, _switch("fsync"), "Whether a file is flushed to the disk before its row is committed"
    ),
}
"""All settings of datasets, in the order in which they are shown."""
OF_PARTS = {
    "format": "The format of a part, such as `mask`, which then has a file to itself",
    "endpoint": "The storage of that file; `tables`: the part lies in the table declared for it",
}
"""Settings of parts, which have the name of the part before them."""


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Turn ``NAME=VALUE`` of a command line into settings.

    What is no setting is an option of the format that stands beside it.

    Raises
    ------
    PolicyError
        There is no format that it could be an option of.
    """
    import yaml

    found: dict[str, Any] = {name: text for name, text in texts.items() if is_setting(name)}
    options = {name: text for name, text in texts.items() if not is_setting(name)}
    if options and "format" not in found:
        name = next(iter(options))
        raise PolicyError(
            f"A policy has no setting '{name}'.{did_you_mean(name, SETTINGS)} An option of a "
            f"format stands beside it: format=NAME {name}=...",
            name=name,
        )
    if options:
        try:
            values = {name: yaml.safe_load(text) for name, text in options.items()}
        except yaml.YAMLError as error:
            raise PolicyError(f"An option's value cannot be understood: {error}") from error
        found["format"] = {"name": found["format"], **values}
    return found


def shown(setting: str, value: Any) -> str:
    """Write a value as a person would."""
    if value is None:
        return "(taken back)"
    if setting.rpartition(".")[2] == "format":
        options = [f"{k}={_compact(v)}" for k, v in value.items() if k != "name"]
        return " ".join([value["name"], *options])
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else value


def _compact(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_compact, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
