"""What is decided on how datasets are stored, where does each decision hold, and who made it?

A rule is a setting with its scope.  Setting and taking back only ever add rows
(`registry.schema.policies`), so that the history is complete.  What follows for one dataset is
`butler.policy.deciding`; what a setting may be, `butler.policy.settings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from butler.errors import PolicyError
from registry.database import account, insert_rows, utc_now
from registry.errors import did_you_mean
from registry.schema.dimensions import instrument
from registry.schema.policies import policy_setting

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

__all__ = [
    "EVERYWHERE",
    "SITE",
    "Rule",
    "Scope",
    "change",
    "differences",
    "history",
    "in_force",
    "replace",
    "site",
    "version",
]

SITE = "SKYSPINE_SITE"
"""Environment variable that says at which site a process runs."""


def site() -> str:
    """Name the site that this process runs at."""
    return os.environ.get(SITE, "local")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a setting holds; what is empty does not matter.

    Parameters
    ----------
    dataset_type : str
        Only for datasets of this type.
    instrument : str
        Only for data of this camera.
    storage_class : str
        Only for dataset types of this storage class.
    site : str
        Only for processes at this site.
    """

    dataset_type: str = ""
    instrument: str = ""
    storage_class: str = ""
    site: str = ""

    @property
    def rank(self) -> tuple[bool, bool, bool, bool]:
        """Sort scopes: a setting of a higher one wins.

        Site, repository, camera, dataset type; within one of these, a storage class before none.
        """
        return (
            bool(self.dataset_type),
            bool(self.instrument),
            not self.site,
            bool(self.storage_class),
        )

    def holds(self, kind: str, storage_class: str, camera: str, where: str) -> bool:
        """Tell whether it holds for a dataset type, its storage class, a camera and a site."""
        return (
            self.dataset_type in ("", kind)
            and self.storage_class in ("", storage_class)
            and self.instrument in ("", camera)
            and self.site in ("", where)
        )

    def __str__(self) -> str:
        parts = [
            f"{word} {name}"
            for word, name in (
                ("site", self.site),
                ("camera", self.instrument),
                ("storage class", self.storage_class),
                ("dataset type", self.dataset_type),
            )
            if name
        ]
        return ", ".join(parts) or "repository"


EVERYWHERE = Scope()


@dataclass(frozen=True, slots=True)
class Rule:
    """One setting.

    Parameters
    ----------
    scope : Scope
        Where it holds.
    setting : str
        What it decides.
    value : object
        What was decided; None in the history where it was taken back.
    set_at : datetime
        When, UTC.
    set_by : str
        By which account.
    """

    scope: Scope
    setting: str
    value: Any
    set_at: dt.datetime
    set_by: str


_P = policy_setting.c
_HISTORY = sa.select(
    _P.dataset_type,
    _P.instrument,
    _P.storage_class,
    _P.site,
    _P.setting,
    _P.value,
    _P.set_at,
    _P.set_by,
).order_by(_P.id)


def history(connection: sa.Connection) -> list[Rule]:
    """List every setting that there was, the oldest first."""
    return [Rule(Scope(*row[:4]), *row[4:]) for row in connection.execute(_HISTORY)]


def in_force(connection: sa.Connection) -> list[Rule]:
    """List the settings that hold, those that give way first."""
    last = {(rule.scope, rule.setting): rule for rule in history(connection)}
    held = [rule for rule in last.values() if rule.value is not None]
    return sorted(held, key=lambda rule: (rule.scope.rank, str(rule.scope), rule.setting))


_DEFINITIONS = sa.select(sa.func.sum(instrument.c.definition_version)).scalar_subquery()
_VERSION = sa.select(
    sa.select(sa.func.max(_P.id)).scalar_subquery().label("last"),
    sa.select(sa.func.count(_P.id)).scalar_subquery().label("settings"),
    _DEFINITIONS.label("definitions"),
)


def version(connection: sa.Connection) -> tuple[Any, ...]:
    """Give what changes whenever a setting or the definition of a camera does.

    Settings are counted, since one with a smaller key may be committed later.
    """
    return tuple(connection.execute(_VERSION).one())


def change(connection: sa.Connection, scope: Scope, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Set settings of one scope; a value of None takes one back.

    Parameters
    ----------
    settings : mapping of str to object
        Checked and complete; see `butler.policy.settings.checked`.

    Returns
    -------
    dict
        Those that were not so before.

    Raises
    ------
    PolicyError
        If one is taken back that is not set.
    """
    now = {r.setting: r.value for r in in_force(connection) if r.scope == scope}
    for name, value in settings.items():
        if value is None and name not in now:
            raise PolicyError(
                f"Nothing is set as '{name}' for the {scope}.{did_you_mean(name, now)} "
                "`skyspine policy show REPO` lists what is.",
                name=name,
            )
    new = {name: value for name, value in settings.items() if now.get(name) != value}
    _write(connection, [(scope, name, value) for name, value in new.items()])
    return new


def replace(
    connection: sa.Connection, wanted: Iterable[tuple[Scope, Mapping[str, Any]]]
) -> list[tuple[Scope, str, Any]]:
    """Set all settings of a repository: those that are not wanted are taken back.

    Returns
    -------
    list of (Scope, str, object)
        What was changed; None for what was taken back.
    """
    new = differences(connection, wanted)
    _write(connection, new)
    return new


def differences(
    connection: sa.Connection, wanted: Iterable[tuple[Scope, Mapping[str, Any]]]
) -> list[tuple[Scope, str, Any]]:
    """Tell what `replace` would change."""
    now = {(r.scope, r.setting): r.value for r in in_force(connection)}
    given = {
        (scope, name): value
        for scope, more in wanted
        for name, value in more.items()
        if value is not None
    }
    new = [(*key, value) for key, value in given.items() if now.get(key) != value]
    return new + [(*key, None) for key in now if key not in given]


def _write(connection: sa.Connection, settings: Iterable[tuple[Scope, str, Any]]) -> None:
    who = {"set_at": utc_now(), "set_by": account()}
    rows = [
        {
            "dataset_type": scope.dataset_type,
            "instrument": scope.instrument,
            "storage_class": scope.storage_class,
            "site": scope.site,
            "setting": name,
            "value": value,
            **who,
        }
        for scope, name, value in settings
    ]
    insert_rows(connection, policy_setting, rows)
