"""Do the parts of a definition fit together, and what do they make?

Turns a document that `butler.instrument.schema` has checked into the parts of a definition, and
finds what the grammar cannot see: names that refer to nothing, two detectors with one alias,
values that need each other, dataset types whose template would give two datasets one path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import DefinitionError, Problem, UnsafePath
from butler.instrument.expressions import Expression
from butler.instrument.footprint import PixelFrame
from butler.instrument.parts import (
    AUTOMATIC,
    RECORD_FIELDS,
    AuxiliarySpec,
    Check,
    Components,
    DatasetTypeSpec,
    Detector,
    FileKind,
    PhysicalFilter,
    Site,
)
from butler.instrument.rules import VALUE_TYPES, Rule, Rules
from butler.instrument.schema import VALUES
from butler.instrument.source import Document, KeyPath, key_text, text_of
from butler.instrument.templates import DEFAULT_TEMPLATE, PATH_FIELDS, PathTemplate
from butler.instrument.translator import TRANSLATED
from butler.instrument.visits import EXPOSURE_FIELDS, VisitRule
from registry.errors import did_you_mean
from registry.identity import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Builder"]

_RAW = {
    "raw": {
        "dimensions": ["instrument", "detector", "exposure"],
        "storage_class": "Exposure",
        "formatter": "fits-image",
    }
}
_STANDS_FOR = {"detector": ("detector_name",)}
_OF_VISITS = {
    "one-to-one": {"system", "at_ingest"},
    "by-group-metadata": {"system", "at_ingest", "group", "number"},
    "by-seq-start-end": {"system", "at_ingest", "start", "end", "number"},
    "back-to-back": {"system", "at_ingest", "gap", "count", "number"},
}
_EXPAND_SOURCES = ("value", "group", "field", "template", "expression", "column", "query")


class Builder:
    """The parts of one definition, as attributes.

    Parameters
    ----------
    document : Document
        Checked against the grammar.

    Raises
    ------
    DefinitionError
        With everything that does not fit together.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems: list[Problem] = []
        spec: dict[str, Any] = document.value
        self._spec = spec
        self.name: str = spec["name"]
        if "|" in self.name:
            self._report(("name",), "must not hold '|', which separates values in identities")
        self.keys = {str(k): {"str": str, "int": int}[v] for k, v in spec.get("keys", {}).items()}
        self._check_names("keys", self.keys, taken={**DIMENSIONS, **VALUES})
        self._check_names("extra", spec.get("extra", {}), taken={**VALUES, **self.keys})
        self.site = self._site(spec["site"])
        self.detectors = self._detectors(spec["detectors"])
        self.filters = self._filters(spec.get("filters", []))
        self.dataset_types = self._dataset_types({**_RAW, **spec.get("dataset_types", {})})
        self.tables = self._tables(spec.get("tables", {}))
        self._extra_names = {str(k) for s in (spec, *spec["files"]) for k in s.get("extra", {})}
        self._groups = {name: i for f in spec["files"] for name, i in _groups(f["pattern"]).items()}
        self.kinds = tuple(self._kind(f, ("files", i)) for i, f in enumerate(spec["files"]))
        self.ignored = tuple(_path_pattern(p) for p in spec.get("ignore", []))
        self.checks = self._checks(spec.get("checks", []))
        self.aliases = self._aliases(spec.get("aliases", {}))
        self.expand = self._expand(spec.get("expand", {}))
        self.templates = self._templates(spec.get("templates", {}))
        self.visits = self._visits(spec["visits"]) if "visits" in spec else None
        self._check_unique(
            [f["name"] for f in spec["files"]], ("files",), "two kinds of files are called"
        )
        if self._problems:
            raise DefinitionError(document.source, self._problems)

    def _report(self, path: KeyPath, message: str) -> None:
        self._problems.append(self._document.problem(path, message))

    def _check_names(self, section: str, names: Iterable[str], taken: Mapping[str, Any]) -> None:
        for name in names:
            if name in taken or name in AUTOMATIC:
                self._report(
                    (section, name), "has the name of a dimension or value; choose another"
                )
            elif not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                self._report((section, name), "must be a lower-case name: letters, digits and '_'")

    def _check_unique(self, names: Iterable[Any], path: KeyPath, what: str) -> None:
        seen: dict[str, int] = {}
        for i, name in enumerate(names):
            if text_of(name) in seen:
                self._report(
                    (*path, i), f"{what} {name!r}; the other is {path[-1]}[{seen[text_of(name)]}]"
                )
            seen.setdefault(text_of(name), i)

    def _site(self, spec: Mapping[str, Any]) -> Site:
        longitude, noon_utc = spec.get("longitude"), spec.get("noon_utc")
        if longitude is None and noon_utc is None:
            self._report(("site",), "needs `longitude` or `noon_utc`, to tell nights apart")
        return Site(
            spec.get("name", ""),
            longitude,
            spec.get("latitude"),
            spec.get("elevation"),
            Site.noon(longitude, noon_utc),
        )

    def _detectors(self, specs: list[dict[str, Any]]) -> tuple[Detector, ...]:
        self._check_unique(
            [s["number"] for s in specs], ("detectors",), "two detectors have the number"
        )
        self._check_spellings([(s["name"], s.get("aliases", [])) for s in specs], "detectors")
        return tuple(
            Detector(**{**s, "aliases": tuple(text_of(a) for a in s.get("aliases", []))})
            for s in specs
        )

    def _filters(self, specs: list[dict[str, Any]]) -> tuple[PhysicalFilter, ...]:
        self._check_spellings(
            [(s["physical_filter"], s.get("aliases", [])) for s in specs], "filters"
        )
        return tuple(
            PhysicalFilter(
                s["physical_filter"],
                s.get("band"),
                tuple(" ".join(text_of(a).split()) for a in s.get("aliases", [])),
                s.get("doc", ""),
                *(_metres(s.get(key)) for key in ("wavelength_min", "wavelength_max")),
            )
            for s in specs
        )

    def _check_spellings(self, specs: list[tuple[str, list[Any]]], section: str) -> None:
        owner: dict[str, int] = {}
        for i, (name, aliases) in enumerate(specs):
            for spelling in (name, *aliases):
                other = owner.setdefault(text_of(spelling), i)
                if other != i:
                    self._report(
                        (section, i), f"{spelling!r} is a name or alias of {section}[{other}] too"
                    )

    def _dataset_types(self, specs: Mapping[str, Mapping[str, Any]]) -> dict[str, DatasetTypeSpec]:
        known = [*DIMENSIONS, *self.keys]
        for name, spec in specs.items():
            for i, dimension in enumerate(spec["dimensions"]):
                if dimension not in known:
                    hint = did_you_mean(dimension, known)
                    path = ("dataset_types", str(name), "dimensions", i)
                    self._report(path, f"{dimension!r} is no dimension, nor one of `keys`.{hint}")
        return {
            str(name): DatasetTypeSpec(
                str(name), **{**spec, "dimensions": tuple(spec["dimensions"])}
            )
            for name, spec in specs.items()
        }

    def _tables(self, specs: Mapping[str, Any]) -> dict[str, AuxiliarySpec]:
        for name, spec in specs.items():
            path = ("tables", str(name))
            if spec.get("kept") and "rows" not in spec:
                self._report(path, "is kept with the definition, which is no file: give its `rows`")
            if "rows" in spec and not spec.get("kept"):
                self._report(path, "has rows: write `kept: true`")
            columns = set(spec.get("rows", [{}])[0])
            for i, row in enumerate(spec.get("rows", [])):
                if set(row) != columns:
                    self._report((*path, "rows", i), "does not have the columns of the first row")
            for column in spec["match"] if columns else ():
                if column not in columns:
                    hint = did_you_mean(str(column), columns)
                    self._report((*path, "match", str(column)), f"is no column of it.{hint}")
        return {
            str(name): AuxiliarySpec(
                spec["file"],
                {
                    str(column): self._rules(
                        ("tables", str(name), "match", str(column)), rule, "any"
                    )
                    for column, rule in spec["match"].items()
                },
                spec.get("required", False),
                tuple(spec.get("rows", ())),
            )
            for name, spec in specs.items()
        }

    def _aliases(self, specs: Mapping[str, str]) -> dict[str, str]:
        known = [*DIMENSIONS, *self.keys, *RECORD_FIELDS]
        for name, meant in specs.items():
            if name in DIMENSIONS or name in self.keys:
                self._report(("aliases", str(name)), "is the name of a key already")
            if meant not in known:
                hint = did_you_mean(meant, known)
                self._report(
                    ("aliases", str(name)), f"'{meant}' is no key, nor a field of a record.{hint}"
                )
        return {str(name): meant for name, meant in specs.items()}

    def _visits(self, spec: Mapping[str, Any]) -> VisitRule:
        given = {k: v for k, v in spec.items() if k != "observation_types"}
        types = spec.get("observation_types")
        rule = VisitRule(**given, types=None if types is None else frozenset(types))
        for key in given:
            if key not in _OF_VISITS[rule.system]:
                self._report(("visits", key), f"has no meaning with the system {rule.system}")
        known = [*EXPOSURE_FIELDS, *self.keys, *self._extra_names]
        for key, name in rule.needs.items():
            if name not in known:
                hint = did_you_mean(name, known)
                message = f"'{name}' is no fact of exposures; add a rule extra.{name}.{hint}"
                self._report(("visits", key), message)
        if rule.system == "back-to-back" and "gap" not in spec:
            self._report(("visits",), "back-to-back needs the key 'gap'")
        if any("visit" in s.get("translate", {}) for s in (self._spec, *self._spec["files"])):
            self._report(
                ("visits",),
                "says which exposures make a visit, and so does translate.visit; take one away",
            )
        return rule

    def _rules(self, path: KeyPath, spec: Any, kind: str) -> Rules:
        return Rules.of(key_text(path), spec, kind)

    def _kind(self, spec: dict[str, Any], path: KeyPath) -> FileKind:
        groups = _groups(spec["pattern"])
        rules: dict[str, Rules] = {}
        for name in groups:
            if name in VALUES or name in self.keys:
                rules[name] = self._rules((*path, "pattern"), {"group": name}, self._type(name))
        for where, section in (((), self._spec), (path, spec)):
            for name, rule in section.get("translate", {}).items():
                at = (*where, "translate", str(name))
                if name not in VALUES and name not in self.keys:
                    hint = did_you_mean(str(name), [*VALUES, *self.keys])
                    self._report(at, f"is no value.{hint} Put further facts under `extra`.")
                rules[str(name)] = self._checked(
                    at, rule, self._type(str(name)), groups, bool(where)
                )
        extra: dict[str, Rules] = {}
        if not spec.get("curated"):
            extra = {
                str(name): self._checked(("extra", str(name)), rule, "any", groups, False)
                for name, rule in self._spec.get("extra", {}).items()
            }
        for name, rule in spec.get("extra", {}).items():
            extra[str(name)] = self._checked((*path, "extra", str(name)), rule, "any", groups, True)
        kind = FileKind(
            name=spec["name"],
            pattern=_path_pattern(spec["pattern"]),
            dataset_type=spec["dataset_type"],
            hdu=spec.get("hdu"),
            has_header=spec.get("header", "fits") == "fits",
            components=self._components(spec, (*path, "components"), groups),
            curated=spec.get("curated", False),
            region=spec.get("region", self._spec.get("region", "wcs")) == "wcs",
            footprint=_pixel_frame(spec.get("footprint", self._spec.get("footprint", {}))),
            identify={
                str(k): v for k, v in spec.get("identify", self._spec.get("identify", {})).items()
            },
            rules=rules,
            extra=extra,
        )
        self._check_kind(kind, path)
        return kind

    def _type(self, name: str) -> str:
        if name in self.keys:
            return "int" if self.keys[name] is int else "text"
        kind = VALUE_TYPES.get(name, "text")
        return "any" if kind in {"detector", "filter"} else kind

    def _check_kind(self, kind: FileKind, path: KeyPath) -> None:
        if kind.hdu is not None and (
            isinstance(kind.hdu, bool) or not isinstance(kind.hdu, int | str)
        ):
            self._report((*path, "hdu"), f"must be a number or an EXTNAME, found {kind.hdu!r}")
        spec = self.dataset_types.get(kind.dataset_type)
        if spec is None:
            hint = did_you_mean(kind.dataset_type, self.dataset_types)
            self._report(
                (*path, "dataset_type"),
                f"{kind.dataset_type!r} is not under `dataset_types`.{hint}",
            )
        given = {*kind.rules, *(TRANSLATED if "translator" in self._spec else ())}
        needed = [] if kind.curated else ["exposure", "observation_type"]
        needed += [
            d
            for d in (spec.dimensions if spec else ())
            if d not in {"instrument", "band", "day_obs", "visit"}
        ]
        for name in dict.fromkeys(needed):
            if name not in given:
                why = VALUES.get(name, "a key of its dataset type")
                self._report(path, f"no rule gives {name} ({why}); add translate.{name}")
        if not kind.curated and not given & {"begin", "middle", "end"}:
            self._report(path, "no rule gives the time; add translate.begin (or middle, or end)")
        self._check_cycles(kind, path)

    def _check_cycles(self, kind: FileKind, path: KeyPath) -> None:
        rules = {**kind.extra, **kind.rules}

        def visit(name: str, trail: tuple[str, ...]) -> bool:
            if name in trail:
                self._report(
                    path,
                    f"values need each other: {' -> '.join((*trail[trail.index(name) :], name))}",
                )
                return True
            if name not in rules:
                return False
            refers = [
                n
                for rule in rules[name].alternatives
                for what, n in rule.names()
                if what in {"field", "name"}
            ]
            return any(visit(n, (*trail, name)) for n in refers)

        for name in rules:
            if visit(name, ()):
                return

    def _checked(
        self, path: KeyPath, spec: Any, kind: str, groups: Mapping[str, int], own: bool
    ) -> Rules:
        """Make rules whose names exist; ``own`` ones see the groups of one pattern only."""
        rules = self._rules(path, spec, kind)
        listed = isinstance(spec, list)
        for i, rule in enumerate(rules.alternatives):
            at = (*path, i) if listed else path
            self._check_rule(at, rule, groups if own else self._groups)
        return rules

    def _check_rule(self, path: KeyPath, rule: Rule, groups: Mapping[str, int]) -> None:
        values = [*VALUES, *self.keys, *self._extra_names, *AUTOMATIC]
        for what, name in rule.names():
            if what == "group" and name not in groups:
                self._report(
                    (*path, "group"),
                    f"the pattern has no group '{name}'.{did_you_mean(name, groups)}",
                )
            elif what == "field" and name not in values:
                self._report(
                    (*path, "field"), f"there is no value '{name}'.{did_you_mean(name, values)}"
                )
            elif (
                what == "name"
                and name != name.upper()
                and name not in values
                and name not in groups
            ):
                hint = did_you_mean(name, [*values, *groups])
                self._report(
                    (*path, rule.source),
                    f"'{name}' is no value or group (cards are upper case).{hint}",
                )
            elif what == "table" and (name not in self.tables if name else len(self.tables) != 1):
                hint = did_you_mean(name, self.tables) if name else ""
                self._report((*path, "table"), f"name one of the tables under `tables`.{hint}")
        if rule.source == "query" and path[0] != "expand":
            self._report((*path, "query"), "the database is asked by rules of `expand` only")
        if rule.source == "translator" and "translator" not in self._spec:
            self._report((*path, "translator"), "the definition names no `translator`")

    def _components(
        self, spec: dict[str, Any], path: KeyPath, groups: Mapping[str, int]
    ) -> Components | None:
        parts = spec.get("components")
        if parts is None:
            return None
        names = {text_of(k): v for k, v in parts["names"].items()}
        if parts["group"] not in groups:
            hint = did_you_mean(parts["group"], groups)
            self._report((*path, "group"), f"the pattern has no group '{parts['group']}'.{hint}")
        header = parts.get("header", next(iter(names.values()), ""))
        for name in (header, *parts.get("optional", [])):
            if name not in names.values():
                self._report(
                    path, f"'{name}' is not among `names`.{did_you_mean(name, names.values())}"
                )
        return Components(parts["group"], names, header, frozenset(parts.get("optional", [])))

    def _checks(self, specs: list[dict[str, str]]) -> tuple[Check, ...]:
        values = [*VALUES, *self.keys, *self._extra_names, *self._groups]
        for i, spec in enumerate(specs):
            for name in Expression(spec["expression"]).names:
                if name != name.upper() and name not in values:
                    hint = did_you_mean(name, values)
                    self._report(
                        ("checks", i, "expression"), f"'{name}' is no value or group.{hint}"
                    )
        return tuple(
            Check(f"checks[{i}]", Expression(s["expression"]), s["message"].rstrip("."))
            for i, s in enumerate(specs)
        )

    def _expand(self, specs: Mapping[str, Any]) -> dict[str, Rules]:
        expand: dict[str, Rules] = {}
        for name, spec in specs.items():
            path = ("expand", str(name))
            if name not in VALUES and name not in self.keys and name not in DIMENSIONS:
                known = [*DIMENSIONS, *self.keys, *VALUES]
                self._report(path, f"is no key of a data ID.{did_you_mean(str(name), known)}")
            rules = expand[str(name)] = self._rules(path, spec, self._type(str(name)))
            for rule in rules.alternatives:
                if rule.source not in _EXPAND_SOURCES:
                    allowed = ", ".join(_EXPAND_SOURCES)
                    self._report(
                        path,
                        f"uses {rule.source}, but only {allowed} are known without a file's header",
                    )
                if rule.source == "column":
                    self._check_rule(path, rule, self._groups)
                    table = self.tables.get(rule.spec.get("table") or next(iter(self.tables), ""))
                    if table is not None and not table.rows:
                        self._report(path, f"uses {table.file}, which is not `kept`")
                for what, group in rule.names() if rule.source == "group" else ():
                    if group not in self._groups:
                        hint = did_you_mean(group, self._groups)
                        self._report((*path, what), f"no pattern has a group '{group}'.{hint}")
        return expand

    def _templates(self, specs: Mapping[str, str]) -> dict[str, PathTemplate]:
        templates: dict[str, PathTemplate] = {}
        optional = "".join(f"[_{{{key}}}]" for key in self.keys)
        for name, text in {"default": DEFAULT_TEMPLATE + optional, **specs}.items():
            try:
                template = PathTemplate(text)
                template.check_fields([*PATH_FIELDS, *self.keys])
            except UnsafePath as error:
                self._report(("templates", str(name)), str(error))
                continue
            templates[str(name)] = template
        for name, spec in self.dataset_types.items():
            own = name if name in specs else "default"
            if own not in templates or "id" in templates[own].fields:
                continue
            fields = set(templates[own].fields)
            lacking = [
                d
                for d in spec.dimensions
                if not {d, *_STANDS_FOR.get(d, ())} & fields and d != "instrument"
            ]
            if lacking:
                self._report(
                    ("templates", own),
                    f"two datasets of {name} could get one path: add {{{'}, {'.join(lacking)}}} "
                    f"(or {{id}})",
                )
        return templates


def _pixel_frame(spec: Mapping[str, Any]) -> PixelFrame:
    offset = float(spec.get("crpix1_offset", 0)), float(spec.get("crpix2_offset", 0))
    return PixelFrame(offset, spec.get("ncols"), spec.get("nrows"))


def _groups(pattern: str) -> dict[str, int]:
    return dict(re.compile(pattern).groupindex)


def _path_pattern(pattern: str) -> re.Pattern[str]:
    """Let a pattern match the end of a path, from the beginning of a name."""
    return re.compile(rf"(?:.*/)?(?:{pattern})", re.DOTALL)


def _metres(nanometres: float | None) -> float | None:
    return None if nanometres is None else float(nanometres) / 1e9
