"""How does one file become an `Observation`?

A `Translation` is the scope of the rules for one file: its headers, the groups of its name, its
row in auxiliary tables, the external translator.  Values are worked out when something asks for
them, each with where it came from.
"""

from __future__ import annotations

import difflib
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import (
    BadValue,
    FailedCheck,
    MissingCard,
    TranslationError,
    WrongInstrument,
)
from butler.instrument.filenames import plain_name
from butler.instrument.footprint import footprint
from butler.instrument.kept import find_value
from butler.instrument.observation import FileGroup, Observation
from butler.instrument.rules import VALUE_TYPES, Absent, Ambiguous, Found, Origin, RuleFault, named
from butler.instrument.schema import VALUES
from butler.instrument.source import text_of
from butler.instrument.tables import find_table, open_table
from butler.instrument.times import Instant
from butler.instrument.translator import TRANSLATED, HeaderTranslator
from butler.instrument.visits import NOT_ON_SKY
from registry.errors import did_you_mean
from registry.identity import DataId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from butler.instrument.cards import Headers
    from butler.instrument.definition import InstrumentDefinition
    from butler.instrument.parts import FileKind

__all__ = ["Translation"]

_SECOND_NS = 1_000_000_000
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Translation:
    """The rules of a definition at work on one file.

    Parameters
    ----------
    definition : InstrumentDefinition
        Whose rules.
    kind : FileKind
        Which kind of file it is.
    files : FileGroup
        The file or files.
    groups : mapping
        Named groups of the file name.
    headers : Headers
        The header units.
    """

    def __init__(
        self,
        definition: InstrumentDefinition,
        kind: FileKind,
        files: FileGroup,
        groups: Mapping[str, str | None],
        headers: Headers,
    ) -> None:
        self._definition = definition
        self._kind = kind
        self._files = files
        self._path = files.path
        self._groups = groups
        self._headers = headers
        self._found: dict[str, Found | None] = {}
        self._rows: dict[str, Mapping[str, Any] | None] = {}
        self._looked_at: set[str] = set()
        self.longitude = definition.site.longitude

    # What rules ask for: the methods of `rules.Scope`.

    def card(self, name: str, hdu: int | str | None) -> tuple[Any, int]:
        """Give the content of a card and the number of its header."""
        self._looked_at.add(name)
        header = self._headers.find(name, hdu)
        if header is None or header[name] is None:
            raise Absent(f"card {name}")
        return header[name], header.index

    def group(self, name: str) -> str:
        """Give a named group of the file name."""
        content = self._groups.get(name)
        if content is None:
            raise Absent(f"group {name}")
        return content

    def value(self, name: str) -> Any:
        """Give another value, or an automatic one."""
        if name in self._definition.automatic:
            return self._automatic(name)
        found = self.find(name)
        if found is None or found.value is None:
            raise Absent(name)
        return found.value

    def column(self, table: str, name: str) -> Any:
        """Give a column of the row of an auxiliary table that matches this file."""
        table = table or next(iter(self._definition.tables))
        spec = self._definition.tables[table]
        if spec.rows:
            content = find_value(spec.file, spec.rows, self._wanted(table), name)
            if content is None:
                raise Absent(f"table {table}")
            return content
        if table not in self._rows:
            self._rows[table] = self._row(table)
        row = self._rows[table]
        if row is None:
            raise Absent(f"table {table}")
        if name not in row:
            raise RuleFault(
                f"the table {spec.file} has no column '{name}'.{did_you_mean(name, row)}"
            )
        if row[name] is None:
            raise Absent(f"column {name}")
        return row[name]

    def translated(self, name: str) -> Any:
        """Give a value of astro-metadata-translator."""
        translator = self.translator
        if translator is None:
            raise Absent(name)
        return translator.get(name)

    @cached_property
    def translator(self) -> HeaderTranslator | None:
        """The translator of the header; None when the definition relies on none."""
        name = self._definition.translator
        if name is None:
            return None
        return HeaderTranslator(name, self._headers, str(self._path))

    def answer(self, query: str, values: Mapping[str, Any]) -> Any:
        """No database is at hand: a definition refuses such a rule."""
        raise Absent(f"{query} with {dict(values)}")

    def night(self, when: Instant) -> int:
        """Give the night of a moment."""
        return self._definition.night(when)

    # The observation.

    def observation(self) -> Observation:
        """Work everything out.

        Raises
        ------
        TranslationError
            One of its kinds, with what to do.
        """
        self._identify()
        values = self._curated() if self._kind.curated else self._exposure()
        values["keys"] = {k: v for k in self._definition.keys if (v := self._get(k)) is not None}
        values["extra"] = values["keys"] | {
            k: v for k in self._kind.extra if (v := _json_ready(self._get(k))) is not None
        }
        self._cross_check()
        dataset_type = self._definition.dataset_types[self._kind.dataset_type]
        available = values | values["keys"] | {"instrument": self._definition.name}
        return Observation(
            instrument=self._definition.name,
            kind=self._kind.name,
            dataset_type=dataset_type.name,
            data_id=DataId.of({d: self._dimension(d, available) for d in dataset_type.dimensions}),
            path=self._path,
            components=self._files.components,
            size=sum(path.stat().st_size for path in self._files.paths if path.exists()),
            hdu=self._headers.data.index,
            region=self._region(values.get("observation_type")),
            curated=self._kind.curated,
            origins={k: f.origin for k, f in self._found.items() if f is not None},
            unused_cards=self._unused_cards(),
            **values,
        )

    def _unused_cards(self) -> tuple[str, ...]:
        translator = self.__dict__.get("translator")
        used = self._looked_at | (translator.cards_used if translator is not None else frozenset())
        return tuple(k for k in self._headers.keywords() if k not in used)

    def _exposure(self) -> dict[str, Any]:
        exposure = self._require("exposure")
        values: dict[str, Any] = {
            name: self._get(name)
            for name in (
                "observation_reason",
                "target_name",
                "science_program",
                "seq_num",
                "airmass",
                "run_suffix",
            )
        }
        values |= self._detector_and_filter()
        begin, end, exposure_time = self._times()
        ra = self._get("ra")
        return values | {
            "exposure": exposure,
            "visit": self._get("visit", exposure),
            "obs_id": self._get("obs_id", str(exposure)),
            "observation_type": self._require("observation_type").lower(),
            "exposure_time": exposure_time,
            "dark_time": self._get("dark_time", exposure_time),
            "begin_tai_ns": int(begin),
            "end_tai_ns": int(end),
            "day_obs": self._get("day_obs", self._definition.night(begin)),
            "ra": ra % 360 if ra is not None else None,
            "dec": self._in_range("dec", self._get("dec"), -90, 90),
            "quality": self._quality(),
        }

    def _curated(self) -> dict[str, Any]:
        validity = tuple(
            None if v is None else int(v)
            for v in (self._get("valid_begin"), self._get("valid_end"))
        )
        observation_type = self._get("observation_type")
        return self._detector_and_filter() | {
            "observation_type": observation_type,
            "run_suffix": self._get("run_suffix"),
            "validity": validity,
        }

    def _detector_and_filter(self) -> dict[str, Any]:
        physical_filter = self._get("physical_filter")
        return {
            "detector": self._get("detector"),
            "physical_filter": physical_filter,
            "band": self._definition.band(physical_filter) if physical_filter is not None else None,
        }

    def _times(self) -> tuple[Instant, Instant, float | None]:
        """Work begin, end and exposure time out of those, or the middle, that are recorded."""
        exposure_time = self._in_range("exposure_time", self._get("exposure_time"), 0, 1e8)
        recorded = {name: self._get(name) for name in ("begin", "end")}
        if None in recorded.values() and exposure_time is None:
            exposure_time = self._require("exposure_time")
        length = round((exposure_time or 0.0) * _SECOND_NS)
        begin, end = recorded["begin"], recorded["end"]
        if begin is None and end is None and (middle := self._get("middle")) is not None:
            begin = Instant(middle - length // 2)
        if begin is None:
            begin = Instant(end - length) if end is not None else self._require("begin")
        if end is None:
            end = Instant(begin + length)
        if end < begin:
            raise BadValue(
                self._path,
                f"ends ({end:%Y-%m-%dT%H:%M:%S} UTC) before it begins ({begin:%Y-%m-%dT%H:%M:%S} "
                "UTC). Correct "
                "the rules of `begin` and `end`.",
                rule="translate.end",
            )
        for name, time in (("begin", begin), ("end", end)):
            if recorded[name] is None:
                self._found[name] = Found(time, Origin("", "derived", "", time))
        return begin, end, exposure_time

    def _quality(self) -> str:
        quality = self._get("quality", "good")
        if quality not in {"good", "rejected"}:
            raise BadValue(
                self._path,
                f"gets the quality {quality!r}; it must be good or rejected. Correct the rule of "
                "`quality`.",
                rule="translate.quality",
                value=quality,
            )
        return str(quality)

    def _region(self, observation_type: object) -> Any:
        if not self._kind.region or observation_type in NOT_ON_SKY or self._kind.curated:
            return None
        try:
            return footprint(self._headers.data, self._kind.footprint)
        except ValueError as error:
            raise BadValue(
                self._path,
                f"has a WCS that cannot be used: {error}. Correct the header, or write `region: "
                "none`.",
                rule="region",
            ) from error

    def _identify(self) -> None:
        for card, wanted in self._kind.identify.items():
            known = [text_of(w) for w in (wanted if isinstance(wanted, list) else [wanted])]
            try:
                content, _ = self.card(card, None)
            except Absent:
                raise WrongInstrument(
                    self._path,
                    f"has no card {card}, by which files of {self._definition.name} are known "
                    f"({card} = "
                    f"{' or '.join(known)}). It comes from another instrument, or its header is "
                    "damaged.",
                ) from None
            if text_of(content) not in known:
                raise WrongInstrument(
                    self._path,
                    f"has {card} = {content!r}; files of {self._definition.name} have "
                    f"{' or '.join(known)}. Ingest "
                    "it with the definition of its own instrument.",
                )

    def _cross_check(self) -> None:
        for check in self._definition.checks:
            try:
                given = {name: named(self, name) for name in check.expression.names}
            except Absent:
                continue
            try:
                holds = check.expression.evaluate(given)
            except ValueError as error:
                raise BadValue(
                    self._path, f"cannot be checked: {error}", rule=check.where
                ) from error
            if not holds:
                values = ", ".join(f"{name} = {_shown(value)}" for name, value in given.items())
                raise FailedCheck(
                    self._path, f"{check.message} ({check.expression.text} does not hold: {values})"
                )

    # Values.

    def _get(self, name: str, default: Any = None) -> Any:
        found = self.find(name)
        if found is not None:
            return found.value if found.value is not None else default
        if default is not None:
            self._found[name] = Found(default, Origin("", "derived", "", default))
        return default

    def _require(self, name: str) -> Any:
        value = self._get(name)
        if value is None:
            raise self._missing(name)
        return value

    def find(self, name: str) -> Found | None:
        """Give a value with where it comes from; None when there is nothing to make it of.

        Raises
        ------
        TranslationError
            If there is something, and it cannot be used.
        """
        if name not in self._found:
            self._found[name] = None
            try:
                self._found[name] = self._worked_out(name)
            except TranslationError:
                del self._found[name]  # who asks again is told again
                raise
        return self._found[name]

    def _worked_out(self, name: str) -> Found | None:
        rules = self._kind.rules.get(name) or self._kind.extra.get(name)
        try:
            found = rules.apply(self) if rules is not None else None
            if found is None and name in TRANSLATED and self._definition.translator is not None:
                found = self._by_translator(name)
        except (RuleFault, Ambiguous) as error:
            where = rules.where if rules is not None else "translator"
            raise BadValue(self._path, f"{error}", rule=where) from error
        if found is None or found.value is None:
            return found
        if name == "detector":
            return Found(self._definition.detector_number(found.value, self._path), found.origin)
        if name == "physical_filter":
            return Found(self._definition.filter_name(found.value, self._path), found.origin)
        return found

    def _by_translator(self, name: str) -> Found | None:
        try:
            value = self.translated(name)
        except Absent:
            return None
        if value == "":
            return None
        return Found(value, Origin("translator", "translator", TRANSLATED[name][0], value))

    def _automatic(self, name: str) -> str:
        if name == "instrument":
            return self._definition.name
        if name == "folder":
            return self._path.absolute().parent.name
        plain = plain_name(self._path)
        return plain if name == "file" else plain.rpartition(".")[0] or plain

    def _row(self, table: str) -> Mapping[str, Any] | None:
        spec = self._definition.tables[table]
        path = find_table(spec.file, self._path)
        if path is None:
            if spec.required:
                raise MissingCard(
                    self._path,
                    f"needs the table {spec.file}, which is neither beside it nor in a folder "
                    "above. Put it there, or "
                    f"write `required: false` at tables.{table}.",
                    rule=f"tables.{table}",
                )
            return None
        wanted = self._wanted(table)
        lacking = [column for column in spec.match if column not in wanted]
        if lacking:
            self._check_row_needed(table, path, f"{lacking[0]} is not known")
            return None
        row = open_table(path, tuple(wanted)).row(wanted)
        if row is None:
            text = ", ".join(f"{k} = {v!r}" for k, v in wanted.items())
            self._check_row_needed(table, path, f"none has {text}")
        return row

    def _wanted(self, table: str) -> dict[str, Any]:
        """Give what the columns of the row of a table must hold, as far as it is known."""
        found = {c: rules.apply(self) for c, rules in self._definition.tables[table].match.items()}
        return {c: f.value for c, f in found.items() if f is not None and f.value is not None}

    def _check_row_needed(self, table: str, path: Path, why: str) -> None:
        if self._definition.tables[table].required:
            raise MissingCard(
                self._path,
                f"needs a row of {path}, and {why}. Correct tables.{table}.match.",
                rule=f"tables.{table}",
            )

    def _in_range(self, name: str, value: float | None, low: float, high: float) -> float | None:
        if value is not None and not low <= value <= high:
            raise BadValue(
                self._path,
                f"has {name} = {value:g}, outside {low:g} to {high:g}. Correct the rule (its "
                "`unit`?), or list the "
                "content under `missing`.",
                rule=f"translate.{name}",
                value=value,
            )
        return value

    def _dimension(self, dimension: str, available: Mapping[str, Any]) -> Any:
        value = available.get(dimension)
        if value is None:
            raise self._missing(
                dimension, f", which is part of what identifies {self._kind.dataset_type}"
            )
        return value

    def _holds_time(self, card: str) -> bool:
        header = self._headers.find(card)
        return header is not None and _ISO_DATE.match(str(header[card])) is not None

    def _missing(self, name: str, why: str = "") -> TranslationError:
        rules = self._kind.rules.get(name)
        if rules is None:
            doc = f" ({VALUES[name]})" if name in VALUES else ""
            if name in TRANSLATED and self.translator is not None and self.translator.unknown:
                why += f", and {self.translator.unknown}"
            return MissingCard(
                self._path,
                f"gets no {name}{doc}{why}: add a rule translate.{name} to the definition of "
                f"{self._definition.name}.",
                rule=f"translate.{name}",
            )
        for alternative in rules.alternatives:
            for what, other in alternative.names():
                known = what in {"field", "name"} and other in self._kind.rules
                if known and self._get(other) is None:
                    return self._missing(other, f", of which {name} is made")
        wanted = rules.wanted()
        cards = [w.removeprefix("card ") for w in wanted if w.startswith("card ")]
        keywords = self._headers.keywords()
        near = _near(cards, keywords)
        if VALUE_TYPES.get(name) == "time":
            near += [k for k in keywords if k not in near and self._holds_time(k)]
        hint = f" Cards with near names: {', '.join(near)}." if near else ""
        return MissingCard(
            self._path,
            f"gets no {name}{why}: {rules.where} looks for {' or '.join(wanted)}, and nothing is "
            f"there.{hint} Give the "
            "rule another alternative or a `default`.",
            rule=rules.where,
            cards=near,
        )


def _near(cards: list[str], present: list[str]) -> list[str]:
    """Cards whose names are near, or that hold the same word (DATE-OBS, DATEOBS, UTC-DATE)."""
    near: dict[str, None] = {}
    for card in cards:
        near |= dict.fromkeys(difflib.get_close_matches(card, present, n=4, cutoff=0.6))
        words = [w for w in card.replace("_", "-").split("-") if len(w) > 3]
        near |= dict.fromkeys(_containing(words, present))
    return list(near)[:6]


def _containing(words: list[str], present: list[str]) -> Iterator[str]:
    for name in present:
        if any(word in name or name.startswith(word[:4]) for word in words):
            yield name


def _json_ready(value: Any) -> Any:
    if isinstance(value, Instant):
        return value.utc().isoformat(timespec="milliseconds") + "Z"
    return value


def _shown(value: Any) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%S} UTC" if isinstance(value, Instant) else repr(value)
