"""How is this dataset to be stored, and which layer of the policy says so?

Layers, the first giving way to the next: what the storage class says; the site; the repository; the
camera's definition; a table that is declared for the dataset type; what was set for the camera; the
dataset type; the call.  Within a layer, what was set for a storage class wins over what was set for
all.  Answers are kept for a second, after which one short question tells whether anything has
changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from backbone import endpoints
from butler import cameras
from butler.errors import PolicyError
from butler.instrument.templates import PathTemplate
from butler.policy import policies, settings
from butler.policy.decisions import Decision, OfPart
from butler.policy.policies import Scope
from butler.storage_classes import get_storage_class
from butler.tables.in_tables import form_of
from registry import row_tables
from registry.errors import (
    SkyspineError,
    UnknownDatasetType,
    UnknownDimensionValue,
    did_you_mean,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from backbone.endpoints import Endpoint
    from butler.formatters import Formatter
    from butler.policy.decisions import Format
    from butler.policy.policies import Rule
    from butler.storage_classes import StorageClass
    from butler.writing import Writing
    from registry.identity import DatasetRef
    from registry.row_tables import RowTable

__all__ = ["Policy", "Reason"]

FRESH_SECONDS = 1.0
"""How long an answer is taken without asking whether anything has changed [s]."""
_OWN = endpoints.Endpoint(0, endpoints.ROOT, ".", owned=True)
"""The repository's own folder, which needs no look into the database."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What a setting is for some datasets, and why.

    Parameters
    ----------
    setting : str
        What is decided.
    value : str
        What it is.
    layer : str
        What decided it.
    set_by : str
        The account that did; empty for what nobody has set here.
    set_at : datetime or None
        When, UTC.
    """

    setting: str
    value: str
    layer: str
    set_by: str = ""
    set_at: dt.datetime | None = None


class Policy:
    """Verbs and questions on the policy of one repository, and its decisions."""

    def __init__(self, butler: Writing) -> None:
        self._database = butler.registry.database
        self._registry = butler.registry
        self._butler = butler
        self._until = 0.0
        self._version: tuple[Any, ...] | None = None
        self._rules: list[Rule] = []
        self._decided: dict[tuple[str, str, str], Decision] = {}

    def set(
        self,
        *,
        dataset_type: str = "",
        instrument: str = "",
        storage_class: str = "",
        site: str = "",
        **given: Any,
    ) -> dict[str, Any]:
        """Set settings where they shall hold; a value of None takes one back.

        Parameters
        ----------
        dataset_type, instrument, storage_class, site : str
            Only for these; for the whole repository by default.
        **given
            ``format``, ``endpoint``, ``path``, ``create``, ``fsync``; those of a part, such as
            ``mask.format``, in a mapping that is unpacked; see `butler.policy.settings`.

        Returns
        -------
        dict
            Those that were not so before.

        Raises
        ------
        PolicyError, UnknownFormatter, InvalidOption, StorageClassError, UnknownEndpoint, UnsafePath
            If one cannot be; nothing is changed then.
        """
        scope = Scope(dataset_type, instrument, storage_class, site)
        changed = self._database.transact(_set, scope, given)
        self.forget()
        return changed

    def unset(self, *names: str, **scope: str) -> None:
        """Take settings back where they were set; what gave way to them holds again.

        Parameters
        ----------
        *names : str
            Settings.
        **scope
            ``dataset_type``, ``instrument``, ``storage_class``, ``site``, as for `set`.

        Raises
        ------
        PolicyError
            If one is not set there.
        """
        nothing: dict[str, Any] = dict.fromkeys(names)
        self.set(**nothing, **scope)

    def load(self, rules: Any, *, dry_run: bool = False) -> list[tuple[Scope, str, Any]]:
        """Set all settings of the repository; those that are not among the rules are taken back.

        Parameters
        ----------
        rules : list of mapping
            Each with its scope (``dataset_type``, ...) and settings, as `as_rules` gives them.
        dry_run : bool
            Only check them, and tell what would change.

        Returns
        -------
        list of (Scope, str, object)
            What was changed; None for what was taken back.

        Raises
        ------
        PolicyError
            With the number of the rule that cannot be; nothing is changed then.
        """
        if dry_run:
            return self._database.ask(_differences, rules)
        changed = self._database.transact(_load, rules)
        self.forget()
        return changed

    def forget(self) -> None:
        """Ask anew what holds, at the next decision."""
        self._until, self._version = 0.0, None

    def rules(self) -> list[Rule]:
        """List the settings that hold, those that give way first."""
        return self._database.ask(policies.in_force)

    def history(self) -> list[Rule]:
        """List every setting that there was, the oldest first; None for what was taken back."""
        return self._database.ask(policies.history)

    def problems(self) -> list[tuple[Rule, str]]:
        """List the settings that hold and could not be made any more, each with the reason."""
        return self._database.ask(_problems)

    def as_rules(self) -> list[dict[str, Any]]:
        """Give the settings that hold as `load` takes them."""
        found: dict[Scope, dict[str, Any]] = {}
        for rule in self.rules():
            value = rule.value
            if rule.setting.rpartition(".")[2] == "format":
                value = value["name"] if len(value) == 1 else {"name": value["name"], **value}
            found.setdefault(rule.scope, _words(rule.scope))[rule.setting] = value
        return list(found.values())

    def explain(self, dataset_type: str, instrument: str = "") -> list[Reason]:
        """Tell how datasets of a type are to be stored, and which layer says so.

        Parameters
        ----------
        instrument : str
            Camera of the datasets.

        Raises
        ------
        UnknownDatasetType
            If it is not registered, and nothing is set for it.
        """
        self._refresh()
        try:
            storage_class = self._registry.dataset_type(dataset_type).storage_class
        except UnknownDatasetType:
            if not any(rule.scope.dataset_type == dataset_type for rule in self._rules):
                raise
            storage_class = ""
        return list(self._reasons(dataset_type, storage_class, instrument)[1].values())

    def may_create(self, dataset_type: str) -> bool:
        """Tell whether a put may register a dataset type that is new."""
        self._refresh()
        return bool(self._reasons(dataset_type, "", "")[0]["create"])

    def decide(
        self, ref: DatasetRef, given: Format | None = None, endpoint: str | None = None
    ) -> Decision:
        """Decide how a dataset is to be stored.

        Parameters
        ----------
        given : str or dict, optional
            The format that the call asks for.
        endpoint : str, optional
            The endpoint that the call asks for.
        """
        self._refresh()
        kind = ref.dataset_type
        key = (kind.name, kind.storage_class, str(ref.data_id.get("instrument") or ""))
        found = self._decided.get(key)
        if found is None:
            found = self._decided[key] = self._decision(*key)
        if endpoint == endpoints.TABLES:
            return replace(found, table=self._table(kind.name, kind.storage_class))
        if given is not None:
            asked = _writer(kind.storage_class, given)
            parts = found.parts if found.whole is not None else {}
            found = replace(found, whole=asked, table=None, parts=parts)
        if endpoint is not None:
            found = replace(found, endpoint=self._endpoint(endpoint), table=None)
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._until:
            return
        version = (self._database.ask(policies.version), policies.site())
        if version != self._version:
            self._rules, self._decided = self.rules(), {}
            self._version = version
        self._until = now + FRESH_SECONDS

    def _decision(self, kind: str, storage_class: str, camera: str) -> Decision:
        values, _ = self._reasons(kind, storage_class, camera)
        in_table = values["endpoint"] == endpoints.TABLES
        in_parts = get_storage_class(storage_class).is_in_parts and values["format"] is None
        return Decision(
            None if in_parts else _writer(storage_class, values["format"]),
            self._endpoint(endpoints.ROOT if in_table else values["endpoint"]),
            values["path"],
            values["fsync"],
            self._table(kind, storage_class) if in_table else None,
            self._parts(kind, storage_class, values),
        )

    def _parts(self, kind: str, storage_class: str, values: Mapping[str, Any]) -> dict[str, OfPart]:
        """Decide what lies apart: what has a format, an endpoint or a table, or cannot but."""
        found = {}
        of_all = get_storage_class(storage_class)
        always = of_all.is_in_parts and values["format"] is None
        for name, part in of_all.parts.items():
            named, where = values.get(f"{name}.format"), values.get(f"{name}.endpoint")
            if named is None and where is None and not (part.apart or always):
                continue
            storage = get_storage_class(part.storage_class)
            in_table = where == endpoints.TABLES
            found[name] = OfPart(
                _writer(part.storage_class, named or storage.default_formatter or ""),
                None if in_table or where is None else self._endpoint(where),
                self._table(kind, storage_class, name) if in_table else None,
            )
        return found

    def _table(self, kind: str, storage_class: str, part: str = "") -> RowTable:
        """Find the table that is declared for a dataset type, else for its storage class."""
        tables = row_tables.tables_of(self._butler.row_tables, kind, storage_class)
        table = tables.get(part)
        if table is None and not part:
            storage = get_storage_class(storage_class)
            apart = [name for name, one in storage.parts.items() if one.rows]
            if apart and form_of(storage.python_type) is None:
                raise PolicyError(
                    f"Of datasets of '{kind}' ({storage_class}) only parts lie in tables: "
                    f"{', '.join(apart)}. Declare tables for these, and name a storage for files."
                )
        if table is None:
            what = f"The {part} of datasets" if part else "Datasets"
            raise PolicyError(
                f"{what} of '{kind}' should lie in a table, and none is declared for it; declare "
                "one, and make it: skyspine table add REPO FILE, skyspine db upgrade REPO."
            )
        return table

    def _endpoint(self, name: str) -> Endpoint:
        return _OWN if name == endpoints.ROOT else self._database.ask(endpoints.named, name)

    def _reasons(
        self, kind: str, storage_class: str, camera: str
    ) -> tuple[dict[str, Any], dict[str, Reason]]:
        """Go through the layers; what comes later wins."""
        values: dict[str, Any] = {name: one.default for name, one in settings.SETTINGS.items()}
        told = {
            name: Reason(name, settings.shown(name, value), "built in")
            for name, value in values.items()
        }
        told["path"] = Reason("path", "run/dataset type/[day_obs/]dataset type_keys", "built in")
        own = get_storage_class(storage_class).default_formatter if storage_class else ""
        values["format"] = own
        in_parts = "(its parts have formats)" if storage_class and own is None else ""
        told["format"] = Reason("format", own or in_parts, f"storage class {storage_class}".strip())
        here = policies.site()
        held = [r for r in self._rules if r.scope.holds(kind, storage_class, camera, here)]
        of_camera = Scope(instrument=camera).rank[:2]
        self._take([r for r in held if r.scope.rank[:2] < of_camera], values, told)
        if camera:
            self._take_definition(kind, camera, values, told)
        self._take_table(kind, storage_class, values, told)
        self._take([r for r in held if r.scope.rank[:2] >= of_camera], values, told)
        if storage_class:
            told.update(_formats_of_parts(get_storage_class(storage_class), values))
        return values, told

    def _take_table(
        self, kind: str, storage_class: str, values: dict[str, Any], told: dict[str, Reason]
    ) -> None:
        tables = row_tables.tables_of(self._butler.row_tables, kind, storage_class)
        parts = get_storage_class(storage_class).parts if storage_class else {}
        for part, table in tables.items():
            if part and (part not in parts or not parts[part].rows):
                can = [name for name, one in parts.items() if one.rows]
                raise PolicyError(
                    f"The table {table.name} is declared for the component '{part}' of '{kind}', "
                    f"and storage class {storage_class} has none that could lie in a table."
                    f"{did_you_mean(part, can)} Take the table down: skyspine db downgrade REPO "
                    "REVISION --site",
                    name=table.name,
                )
            name = f"{part}.endpoint" if part else "endpoint"
            values[name] = endpoints.TABLES
            told[name] = Reason(name, endpoints.TABLES, f"table {table.name}")

    def _take(self, rules: Sequence[Rule], values: dict[str, Any], told: dict[str, Reason]) -> None:
        for rule in rules:
            name = rule.setting
            values[name] = PathTemplate(rule.value) if name == "path" else rule.value
            told[name] = Reason(
                name, settings.shown(name, rule.value), str(rule.scope), rule.set_by, rule.set_at
            )

    def _take_definition(
        self, kind: str, camera: str, values: dict[str, Any], told: dict[str, Reason]
    ) -> None:
        try:
            definition = cameras.find(self._registry, camera)
        except UnknownDimensionValue:  # a data ID may name one that an input knows
            return
        spec = None if definition is None else definition.dataset_types.get(kind)
        if definition is None or spec is None:
            return
        layer = f"definition of the camera {camera}"
        if spec.formatter:
            values["format"] = spec.formatter
            told["format"] = Reason("format", spec.formatter, layer)
        template = definition.templates.get(kind)
        if template is not None:
            values["path"] = definition
            told["path"] = Reason("path", template.text, layer)


def _formats_of_parts(storage: StorageClass, values: Mapping[str, Any]) -> dict[str, Reason]:
    """Tell the formats of files of parts that lie apart though nothing is set of that."""
    always = storage.is_in_parts and values["format"] is None
    told = {}
    for name, part in storage.parts.items():
        setting, in_table = f"{name}.format", values.get(f"{name}.endpoint") == endpoints.TABLES
        if (part.apart or always) and not in_table and values.get(setting) is None:
            own = get_storage_class(part.storage_class).default_formatter or ""
            told[setting] = Reason(setting, own, f"storage class {part.storage_class}")
    return told


def _writer(storage_class: str, given: Format) -> Formatter:
    storage = get_storage_class(storage_class)
    if isinstance(given, str):
        return storage.formatter(given)
    options = {k: v for k, v in given.items() if k != "name"}
    return storage.formatter(given.get("name")).with_options(options)


def _set(connection: Any, scope: Scope, given: Mapping[str, Any]) -> dict[str, Any]:
    settings.check_scope(connection, scope)
    return policies.change(connection, scope, settings.checked(connection, scope, given))


def _load(connection: Any, rules: Any) -> list[tuple[Scope, str, Any]]:
    return policies.replace(connection, _read(connection, rules))


def _differences(connection: Any, rules: Any) -> list[tuple[Scope, str, Any]]:
    return policies.differences(connection, _read(connection, rules))


_SCOPE = ("dataset_type", "instrument", "storage_class", "site")


def _words(scope: Scope) -> dict[str, Any]:
    return {name: value for name in _SCOPE if (value := getattr(scope, name))}


def _read(connection: Any, rules: Any) -> list[tuple[Scope, dict[str, Any]]]:
    """Check rules one after the other."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise PolicyError(
            "A policy is a list of rules, such as '- {dataset_type: calexp, endpoint: archive}'."
        )
    found: list[tuple[Scope, dict[str, Any]]] = []
    for number, rule in enumerate(rules, 1):
        scope = Scope(**{name: str(rule[name]) for name in _SCOPE if name in rule})
        given = {str(k): v for k, v in rule.items() if k not in _SCOPE}
        try:
            if scope in [known for known, _ in found]:
                raise PolicyError(f"There are two rules for the {scope}; write them as one.")
            settings.check_scope(connection, scope)
            found.append((scope, settings.checked(connection, scope, given)))
        except SkyspineError as error:
            raise PolicyError(f"Rule {number} ({scope}): {error}") from error
    return found


def _problems(connection: Any) -> list[tuple[Rule, str]]:
    found = []
    for rule in policies.in_force(connection):
        try:
            settings.check_scope(connection, rule.scope)
            settings.checked(connection, rule.scope, {rule.setting: rule.value})
        except SkyspineError as error:
            found.append((rule, str(error)))
    return found
