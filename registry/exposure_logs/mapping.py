"""Which column of an observing log is which field of an exposure, and which rows are none?

A mapping is a YAML file, or made of ``column=field`` pairs; the shipped ones are beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from registry import plain_yaml
from registry.errors import RegistryError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "BadMapping", "LogMapping", "Rule", "Skip", "read_mapping", "shipped"]

FIELDS: dict[str, str] = {
    "instrument": "text",
    "id": "integer",
    "obs_id": "text",
    "day_obs": "integer",
    "physical_filter": "text",
    "observation_type": "text",
    "observation_reason": "text",
    "target_name": "text",
    "science_program": "text",
    "seq_num": "integer",
    "exposure_time": "number",
    "dark_time": "number",
    "begin": "time",
    "end": "time",
    "ra": "number",
    "dec": "number",
    "airmass": "number",
    "quality": "text",
}
"""Fields of an exposure that a log may give, and their types.

``begin`` and ``end`` become ``begin_tai_ns`` and ``end_tai_ns``.
"""
FORMATS = ("isot", "mjd", "unix")
SCALES = ("utc", "tai")
REGISTERED = ("instrument", "physical_filter")
REPEATED = ("error", "first", "last")


class BadMapping(RegistryError, ValueError):
    """The mapping of an observing log cannot be used."""

    code = "bad-log-mapping"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field comes from a column.

    Parameters
    ----------
    column : str
        Its name in the log.
    digits : bool
        Whether only the digits of the content count: ``2021-01-14`` becomes 20210114.
    lookup : mapping or None
        Content to value; other content is an error of the row.
    missing : tuple of str
        Contents that mean that there is no value.
    format, scale : str
        Of a time: isot, mjd or unix; utc or tai.
    """

    column: str
    digits: bool = False
    lookup: Mapping[str, str] | None = None
    missing: tuple[str, ...] = ()
    format: str = "isot"
    scale: str = "utc"


@dataclass(frozen=True, slots=True)
class Skip:
    """Rows that are no exposures: those with one of some contents in a column."""

    column: str
    values: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class LogMapping:
    """How rows of a log become exposures.

    Parameters
    ----------
    fields : mapping of str to Rule
        By field, one of `FIELDS`; empty: columns that are called like a field give it.
    instrument : str
        Camera of every row, when no column says it.
    longitude : float or None
        Of the telescope, positive east [deg]: the night of an exposure, where no column gives it,
        and the noons between which nights that are not registered yet lie.
    register : tuple of str
        What is registered when a row names it for the first time: instrument, physical_filter.
        Nights always are.
    skip : tuple of Skip
        Rows that are passed over.
    extra : tuple of str
        Columns that are kept as further facts of the exposure.
    missing : tuple of str
        Contents that mean in every column that there is no value.
    repeated : str
        What a second row with the number of an earlier one is: an error, or the first or the last
        of them counts.
    """

    fields: Mapping[str, Rule] = field(default_factory=dict)
    instrument: str = ""
    longitude: float | None = None
    register: tuple[str, ...] = ()
    skip: tuple[Skip, ...] = ()
    extra: tuple[str, ...] = ()
    missing: tuple[str, ...] = ("",)
    repeated: str = "error"
    doc: str = ""

    def with_columns(self, columns: Mapping[str, str]) -> LogMapping:
        """Add fields given as column to field, as on the command line."""
        rules = {name: Rule(column) for column, name in columns.items()}
        return replace(self, fields={**self.fields, **_checked(rules)})


def shipped() -> list[str]:
    """List the mappings that come with this version."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def read_mapping(source: str | Path | Mapping[str, Any]) -> LogMapping:
    """Read a mapping.

    Parameters
    ----------
    source : mapping, path-like or str
        The document, its YAML file, or the name of one that is shipped.

    Raises
    ------
    BadMapping
        With the key that is wrong.
    """
    if isinstance(source, (str, Path)):
        name = str(source)
        path = Path(__file__).parent / f"{name}.yaml" if name in shipped() else Path(name)
        try:
            document = plain_yaml.load_file(path)
        except (OSError, yaml.YAMLError) as error:
            raise BadMapping(
                f"The mapping '{name}' cannot be read ({error}); give a YAML file, or one of "
                f"{', '.join(shipped())}."
            ) from error
    else:
        document = source
    if not isinstance(document, dict):
        raise BadMapping("A mapping is a YAML document with `fields`, `instrument`, `skip`, ...")
    return _build(document)


def _build(document: Mapping[str, Any]) -> LogMapping:
    known = dict.fromkeys(LogMapping.__dataclass_fields__)
    _known("key", document, known)
    given: dict[str, Any] = dict(document)
    try:
        given["fields"] = _checked(
            {
                name: Rule(**_rule(rule if isinstance(rule, dict) else {"column": str(rule)}))
                for name, rule in (document.get("fields") or {}).items()
            }
        )
        given["skip"] = tuple(
            Skip(**{**s, "values": tuple(map(str, s["values"]))}) for s in document.get("skip", ())
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise BadMapping(f"The mapping has a rule that cannot be understood: {error}.") from error
    for key in ("register", "extra", "missing"):
        if key in given:
            given[key] = tuple(map(str, given[key]))
    _known("thing to register", given.get("register", ()), dict.fromkeys(REGISTERED))
    _known("way with repeated rows", [given.get("repeated", "error")], dict.fromkeys(REPEATED))
    return LogMapping(**given)


def _rule(given: Mapping[str, Any]) -> dict[str, Any]:
    rule = dict(given)
    _known("key of a rule", rule, dict.fromkeys(Rule.__dataclass_fields__))
    _known("time format", [rule.get("format", "isot")], dict.fromkeys(FORMATS))
    _known("time scale", [rule.get("scale", "utc")], dict.fromkeys(SCALES))
    rule["missing"] = tuple(map(str, rule.get("missing", ())))
    if rule.get("lookup") is not None:
        rule["lookup"] = {str(k): str(v) for k, v in rule["lookup"].items()}
    return rule


def _checked(rules: dict[str, Rule]) -> dict[str, Rule]:
    _known("field of an exposure", rules, FIELDS)
    return rules


def _known(what: str, names: Any, known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise BadMapping(
                f"'{name}' is no {what}.{did_you_mean(str(name), known)} Known: {', '.join(known)}."
            )
