"""How does a partial data ID become a complete one, by the rules of a definition alone?

``{"file": "M76_..._Wed_Sep_21_2022_02.25.44_00000.fits"}`` to a night, ``{"ccdname": "ccd2"}`` to
a detector number, an exposure number to the time it was taken.  What needs the database (the
filter of an exposure) is the registry's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import InconsistentDataId, TranslationError
from butler.instrument.kept import find_value
from butler.instrument.rules import Absent, Ambiguous, RuleFault, Rules
from butler.instrument.times import Instant
from registry.errors import InvalidDataId, did_you_mean
from registry.identity import DIMENSIONS, DataId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from butler.instrument.definition import InstrumentDefinition

    Answer = Callable[[str, Mapping[str, Any]], list[Any]]

__all__ = ["Expansion"]

_TIMES = ("begin", "end")


class Expansion:
    """The `expand` rules of a definition.

    Parameters
    ----------
    definition : InstrumentDefinition
        Whose.
    rules : mapping of str to Rules
        Key to how it is derived.
    """

    def __init__(self, definition: InstrumentDefinition, rules: Mapping[str, Rules]) -> None:
        self._definition = definition
        self._rules = rules
        kept = [table for table in definition.tables.values() if table.rows]
        used = [*rules.values(), *(rule for table in kept for rule in table.match.values())]
        fields = {
            name
            for r in used
            for rule in r.alternatives
            for what, name in rule.names()
            if what != "table"
        }
        self._folded = {n.casefold(): n for n in (*fields, *rules, *definition.keys, *DIMENSIONS)}
        self._folded |= {n.casefold(): meant for n, meant in definition.aliases.items()}
        self._known = [
            *DIMENSIONS,
            *definition.keys,
            *sorted(fields),
            *rules,
            "file",
            "begin_tai_ns",
            "end_tai_ns",
        ]

    def named(self, data_id: Mapping[str, Any]) -> dict[str, Any]:
        """Call the keys of a data ID by their own names.

        Raises
        ------
        InconsistentDataId
            If two names of one key have different values.
        """
        named: dict[str, Any] = {}
        for key, value in data_id.items():
            name = key if key in self._known else self._folded.get(key.casefold(), key)
            if named.setdefault(name, value) != value:
                raise InconsistentDataId(
                    f"The data ID says {name}={named[name]!r}, and {key}={value!r}, which is "
                    "another name of it. Leave out one of the two."
                )
        return named

    def understands(self, key: str) -> bool:
        """Tell whether a key, by its own name, is a dimension or one that rules use."""
        return key in self._known

    def expand(
        self, data_id: Mapping[str, Any], answer: Answer | None = None
    ) -> dict[str, str | int]:
        """Complete a data ID; see `InstrumentDefinition.expand`."""
        data_id = self.named(data_id)
        for key in data_id:
            if key not in self._known:
                hint = did_you_mean(key, self._known)
                raise InvalidDataId(
                    f"'{key}' is no dimension, nor a key or field that the definition of "
                    f"{self._definition.name} knows.{hint} A new key of data IDs is declared "
                    "there, under `keys`."
                )
        completion = _Completion(self._definition, self._rules, data_id, answer)
        values = completion.complete()
        dimensions = {
            k: v for k, v in values.items() if k in DIMENSIONS or k in self._definition.keys
        }
        times = {f"{k}_tai_ns": int(values[k]) for k in _TIMES if values.get(k) is not None}
        return {**DataId.of(dimensions), **times}


def spelled_filter(definition: InstrumentDefinition, name: Any) -> str:
    """Find the filter that a person means, whether in upper or lower case.

    Raises
    ------
    UnknownFilter
        With near names.
    InvalidDataId
        If it could be several.
    """
    meant = definition.filters_called(name)
    if len(meant) > 1:
        raise InvalidDataId(f"{name!r} could be the filter {' or '.join(meant)}; write it so.")
    return meant[0] if meant else definition.filter_name(name)


class _Completion:
    """One data ID on its way: the scope of the rules."""

    def __init__(
        self,
        definition: InstrumentDefinition,
        rules: Mapping[str, Rules],
        data_id: Mapping[str, Any],
        answer: Answer | None,
    ) -> None:
        self._definition = definition
        self._rules = rules
        self._answer = answer
        self._ambiguous: dict[str, Ambiguous] = {}
        self.longitude = definition.site.longitude
        self._groups: Mapping[str, str | None] = {}
        given = {k: v for k, v in data_id.items() if v is not None}
        for name in _TIMES:
            if f"{name}_tai_ns" in given:
                given[name] = Instant(given.pop(f"{name}_tai_ns"))
        if given.setdefault("instrument", definition.name) != definition.name:
            raise InconsistentDataId(
                f"The data ID is of {given['instrument']!r}, and is to be expanded by the "
                "definition of "
                f"{definition.name}."
            )
        if "file" in given:
            match = definition.files.match(Path(str(given["file"])))
            if match is None:
                raise InvalidDataId(
                    f"{given['file']} fits no file-name pattern of {definition.name}."
                )
            self._groups = match[1].groupdict()
        self._given = given
        self._values = {k: self._canonical(k, v) for k, v in given.items()}

    def complete(self) -> dict[str, Any]:
        """Apply rules until nothing new follows."""
        pending = [name for name in self._rules if name not in self._values]
        progress = True
        while progress:
            progress = False
            for name in list(pending):
                value = self._derived(name)
                if value is not None:
                    self._values[name] = self._canonical(name, value)
                    pending.remove(name)
                    progress = True
        for name in pending:
            if name in self._ambiguous:
                raise InvalidDataId(
                    f"The data ID {self._given} could mean several: for {name}, "
                    f"{self._ambiguous[name]} Say which, with {name}=..."
                )
        self._imply("day_obs", self._night())
        physical_filter = self._values.get("physical_filter")
        self._imply(
            "band", self._definition.band(physical_filter) if physical_filter is not None else None
        )
        return self._values

    def _derived(self, name: str) -> Any:
        try:
            found = self._rules[name].apply(self)
        except Ambiguous as error:  # what other rules give may decide it
            self._ambiguous[name] = error
            return None
        except RuleFault as error:
            raise InvalidDataId(f"The data ID {self._given} cannot be expanded: {error}") from error
        return None if found is None else found.value

    def _night(self) -> int | None:
        begin = self._values.get("begin")
        return None if begin is None else self._definition.night(begin)

    def _imply(self, key: str, value: Any) -> None:
        if value is None:
            return
        if self._values.setdefault(key, value) != value:
            raise InconsistentDataId(
                f"The data ID {self._given} says {key}={self._values[key]!r}, but by the "
                "definition of "
                f"{self._definition.name} it is {value!r}. Leave out one of the two."
            )

    def _canonical(self, key: str, value: Any) -> Any:
        try:
            if key == "detector":
                return self._definition.detector_number(value)
            if key == "physical_filter":
                return spelled_filter(self._definition, value)
        except TranslationError as error:
            raise InvalidDataId(str(error)) from error
        return value

    # What rules ask for: the methods of `rules.Scope`.

    def card(self, name: str, hdu: int | str | None) -> tuple[Any, int]:
        """No header is at hand."""
        raise Absent(f"card {name} of HDU {hdu}")

    def group(self, name: str) -> str:
        """Give a named group of the file name."""
        content = self._groups.get(name)
        if content is None:
            raise Absent(name)
        return content

    def value(self, name: str) -> Any:
        """Give a key."""
        if self._values.get(name) is None:
            raise Absent(name)
        return self._values[name]

    def column(self, table: str, name: str) -> Any:
        """Give a column of the row of a table that is kept with the definition."""
        spec = self._definition.tables[table or next(iter(self._definition.tables))]
        found = {column: rules.apply(self) for column, rules in spec.match.items()}
        wanted = {c: f.value for c, f in found.items() if f is not None and f.value is not None}
        content = find_value(spec.file, spec.rows, wanted, name) if wanted else None
        if content is None:
            raise Absent(f"{table}.{name}")
        return content

    def answer(self, query: str, values: Mapping[str, Any]) -> Any:
        """Give what the database answers."""
        found = self._answer(query, values) if self._answer is not None else []
        if not found:
            raise Absent(query)
        if len(found) > 1:
            given = " and ".join(f"{k} {v!r}" for k, v in values.items() if k != "instrument")
            raise Ambiguous(given or "the query", found)
        return found[0]

    def translated(self, name: str) -> Any:
        """No header is at hand."""
        raise Absent(name)

    def night(self, when: Instant) -> int:
        """Give the night of a moment."""
        return self._definition.night(when)
