"""What does a definition make of real files, card by card?

For the engineer who writes one: which rule gave which value from which card, what was absent or
refused, which files fail and why, and which cards nothing looks at.  Nothing is registered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import InstrumentError
from butler.instrument.schema import VALUES
from butler.instrument.times import Instant
from butler.instrument.translator import TRANSLATED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from butler.instrument.definition import InstrumentDefinition
    from butler.instrument.observation import FileGroup, Observation
    from butler.instrument.parts import FileKind
    from butler.instrument.translation import Translation

__all__ = ["CheckedFile", "Report", "ToldValue", "check_files"]


@dataclass(frozen=True, slots=True)
class ToldValue:
    """A value of one file.

    Parameters
    ----------
    name : str
        Of the value, the key or the further fact.
    value : object
        None when there is none.
    rule : str
        Key path of the rule that gave it, or of those that could not.
    source : str
        ``card EXPTIME``, ``group night``, ...; of several that are absent, all.
    content : object
        What stood there.
    hdu : int or None
        Number of the header, for cards.
    problem : str
        Why the content was refused; empty when it was not.
    """

    name: str
    value: Any
    rule: str
    source: str
    content: Any = None
    hdu: int | None = None
    problem: str = ""


@dataclass(slots=True)
class CheckedFile:
    """A file, and what the definition makes of it.

    Parameters
    ----------
    path : Path
        The file whose header was read.
    kind : str
        Name of its kind in the definition; empty when no pattern fits.
    values : list of ToldValue
        Those that rules give, in the order of the reference.
    observation : Observation or None
        None when the file is refused.
    problem : str
        Why it is refused.
    """

    path: Path
    kind: str = ""
    values: list[ToldValue] = field(default_factory=list)
    observation: Observation | None = None
    problem: str = ""

    @property
    def dataset(self) -> str:
        """The dataset that it is, as people write it."""
        seen = self.observation
        return "" if seen is None else f"{seen.dataset_type} {seen.data_id!r}"


@dataclass(slots=True)
class Report:
    """What a definition makes of many files.

    Parameters
    ----------
    definition : InstrumentDefinition
        Which.
    files : list of CheckedFile
        One for each dataset.
    ignored : list of Path
        Files that the definition says to pass over.
    """

    definition: InstrumentDefinition
    files: list[CheckedFile]
    ignored: list[Path]

    @property
    def refused(self) -> list[CheckedFile]:
        """The files that an ingest would refuse."""
        return [f for f in self.files if f.problem]

    def rules(self) -> list[dict[str, Any]]:
        """Tell for each value of each kind of file how often its rules gave one.

        Returns
        -------
        list of dict
            kind, value, source, given, absent, refused (numbers of files), example.
        """
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for file in self.files:
            for told in file.values:
                row = rows.setdefault(
                    (file.kind, told.name),
                    {
                        "kind": file.kind,
                        "value": told.name,
                        "source": "",
                        "given": 0,
                        "absent": 0,
                        "refused": 0,
                        "example": None,
                    },
                )
                what = "refused" if told.problem else "absent" if told.value is None else "given"
                row[what] += 1
                if what == "given" and row["example"] is None:
                    row |= {"example": told.value, "source": told.source}
                row["source"] = row["source"] or told.source
        return list(rows.values())

    def dimension_values(self) -> list[dict[str, Any]]:
        """Count the files of each value of the keys of data IDs, the night and the type.

        Returns
        -------
        list of dict
            name, value, files.
        """
        counts: Counter[tuple[str, Any]] = Counter()
        for file in self.files:
            seen = file.observation
            if seen is not None:
                more = ("observation_type", "physical_filter", "day_obs", "quality")
                facts = {n: v for n in more if (v := getattr(seen, n)) is not None}
                counts.update((facts | dict(seen.data_id)).items())
        order = ["instrument", "observation_type", "quality", "physical_filter", "day_obs"]
        ordered = sorted(
            counts.items(),
            key=lambda c: (
                order.index(c[0][0]) if c[0][0] in order else len(order),
                c[0][0],
                (isinstance(c[0][1], str), c[0][1]),
            ),
        )
        return [{"name": n, "value": v, "files": count} for (n, v), count in ordered]

    def unused_cards(self) -> list[dict[str, Any]]:
        """Count the files that have a card which no rule looks at.

        Returns
        -------
        list of dict
            card, files.
        """
        counts = Counter(
            card for f in self.files if f.observation for card in f.observation.unused_cards
        )
        return [{"card": card, "files": n} for card, n in sorted(counts.items())]

    def document(self) -> dict[str, Any]:
        """Give all of it as JSON has it."""
        return {
            "instrument": self.definition.name,
            "version": self.definition.version,
            "summary": {
                "datasets": len(self.files) - len(self.refused),
                "refused": len(self.refused),
                "ignored": len(self.ignored),
            },
            "files": [
                {
                    "path": str(f.path),
                    "kind": f.kind,
                    "dataset_type": f.observation.dataset_type if f.observation else None,
                    "data_id": dict(f.observation.data_id) if f.observation else None,
                    "problem": f.problem or None,
                    "values": [
                        {
                            "value": t.name,
                            "is": shown(t.value),
                            "rule": t.rule,
                            "source": t.source,
                            "content": shown(t.content),
                            "hdu": t.hdu,
                            "problem": t.problem or None,
                        }
                        for t in f.values
                    ],
                    "unused_cards": list(f.observation.unused_cards) if f.observation else [],
                }
                for f in self.files
            ],
            "rules": [r | {"example": shown(r["example"])} for r in self.rules()],
            "values": self.dimension_values(),
            "unused_cards": self.unused_cards(),
            "ignored": [str(path) for path in self.ignored],
        }


def shown(value: Any) -> Any:
    """Write a time as ISO; other values stay."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if isinstance(value, Instant) else value


def check_files(definition: InstrumentDefinition, paths: Iterable[Path]) -> Report:
    """Try a definition on files.

    Parameters
    ----------
    paths : iterable of Path
        Files, not folders.
    """
    paths = list(paths)
    ignored = [path for path in paths if _passed_over(definition, path)]
    wanted = [path for path in paths if path not in set(ignored)]
    checked = [_checked(definition, group) for group in definition.group(wanted)]
    first: dict[Any, CheckedFile] = {}
    for file in checked:
        seen = file.observation
        if seen is None:
            continue
        other = first.setdefault((seen.dataset_type, seen.data_id, seen.run_suffix), file)
        if other is not file:
            file.problem = (
                f"{file.path.name} is the same dataset as {other.path.name}, {file.dataset}. One "
                "of them, or the rule that numbers exposures, is wrong."
            )
    return Report(definition, checked, ignored)


def _passed_over(definition: InstrumentDefinition, path: Path) -> bool:
    """Tell whether an ingest passes over a file: it is to be ignored, or is no FITS by its name."""
    other = not definition.accepts(path) and ".fit" not in path.name.lower()
    return other or definition.ignores(path)


def _checked(definition: InstrumentDefinition, group: FileGroup) -> CheckedFile:
    file = CheckedFile(group.path, group.kind)
    try:
        translation = definition.translation(group)
    except (InstrumentError, OSError) as error:
        file.problem = str(error)
        return file
    kind = next(k for k in definition.files.kinds if k.name == group.kind)
    names = [*VALUES, *definition.keys, *kind.extra]
    by_translator = TRANSLATED if definition.translator is not None and not kind.curated else {}
    file.values = [
        _told(translation, kind, name)
        for name in names
        if name in kind.rules or name in kind.extra or name in by_translator
    ]
    try:
        file.observation = translation.observation()
    except InstrumentError as error:
        file.problem = str(error)
    return file


def _told(translation: Translation, kind: FileKind, name: str) -> ToldValue:
    rules = kind.rules.get(name) or kind.extra.get(name)
    where = rules.where if rules is not None else "translator"
    translator = translation.translator
    wanted = " or ".join(rules.wanted()) if rules is not None else ""
    if rules is None and translator is not None:
        wanted = translator.source(name)
    try:
        found = translation.find(name)
    except InstrumentError as error:
        return ToldValue(name, None, where, wanted, problem=str(error))
    if found is None:
        return ToldValue(name, None, where, wanted)
    origin = found.origin
    source = f"{origin.kind} {origin.name}".strip()
    if origin.kind == "translator" and translator is not None:
        source = wanted if rules is None else translator.source(origin.name)
    return ToldValue(name, found.value, origin.rule, source, origin.content, origin.hdu)
