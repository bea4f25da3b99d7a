"""Which keys may an instrument definition have, and what must stand in them?

The grammar of the YAML file as data: each key with its type and a sentence.  `check` compares a
document with it and reports every mistake with its line, `reference` renders the same data as the
reference page.  What keys mean together (names that refer to each other) is checked where it is
used, in `butler.instrument.definition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from butler.instrument.errors import DefinitionError, Problem
from butler.instrument.grammar import (
    Boolean,
    Choice,
    Either,
    ExpressionText,
    Integer,
    Key,
    ListOf,
    MapOf,
    Number,
    Record,
    Regex,
    Scalar,
    SelectText,
    TemplateText,
    Text,
    TimeFormat,
)
from butler.instrument.times import SCALES
from registry.visits import SYSTEMS

if TYPE_CHECKING:
    from butler.instrument.source import Document

__all__ = ["CONVERTERS", "DEFINITION", "RULE", "SOURCES", "UNITS", "VALUES", "check", "reference"]

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "deg": 1.0,
    "arcmin": 1 / 60,
    "arcsec": 1 / 3600,
    "hourangle": 15.0,
    "rad": 57.29577951308232,
}
"""Units that a rule may convert from: durations to seconds, angles to degrees."""

CONVERTERS = {
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "sexagesimal": "degrees (or hours) from a text like -09:42:08.3 or '-09 42 08.3'",
    "hours": "degrees from hours: 14:28:04.70, or a number",
    "night": "the night (YYYYMMDD) of a time",
}
"""Named converters and what they give."""

SOURCES = (
    "value",
    "card",
    "group",
    "field",
    "template",
    "expression",
    "column",
    "query",
    "translator",
)
"""Keys of a rule that say where a value comes from; a rule has exactly one."""

VALUES = {
    "exposure": "number of the exposure, unique at the instrument (integer)",
    "visit": "number of the visit; the exposure's number when no rule gives it (integer)",
    "obs_id": "identifier given at the telescope; the exposure's number when no rule gives it",
    "detector": "number, name or alias of the detector",
    "physical_filter": "name or alias of the filter",
    "observation_type": "bias, dark, flat, arc, science, ... (lower case)",
    "observation_reason": "why it was taken",
    "target_name": "name of the target as observed",
    "science_program": "programme that it belongs to",
    "seq_num": "running number within the night (integer)",
    "exposure_time": "time with the shutter open [s]",
    "dark_time": "time in which dark current gathered [s]; the exposure time when no rule gives it",
    "begin": "time at which the exposure began",
    "middle": "time of its middle, when neither begin nor end is recorded",
    "end": "time at which it ended; begin plus exposure time when no rule gives it",
    "day_obs": "night, YYYYMMDD; from begin and the site when no rule gives it (integer)",
    "ra": "right ascension of the pointing, ICRS [deg]",
    "dec": "declination of the pointing, ICRS [deg]",
    "airmass": "air mass at the begin",
    "quality": "good or rejected; good when no rule gives it",
    "run_suffix": "sub-collection of the run that such files enter, e.g. rejected",
    "valid_begin": "curated calibrations: time from which they hold; without it, from ever",
    "valid_end": "curated calibrations: time until which they hold; without it, for ever",
}
"""The values that rules give, and what each is."""

_RULE_KEYS: dict[str, Key] = {
    "value": Key(Scalar(), "a constant"),
    "card": Key(
        Either(scalar=Text(), sequence=ListOf(Text(), minimum=1)),
        "a header card, or several of which the first that is present counts",
    ),
    "hdu": Key(
        Either(scalar=Scalar()),
        "with `card`: number or EXTNAME of the header; otherwise the data's, then the primary one",
    ),
    "group": Key(Text(), "a named group of the file-name pattern"),
    "field": Key(
        Text(),
        "another value, an `extra` or key, or `instrument`, `file` (name without compression "
        "suffix), `stem`, `folder`",
    ),
    "template": Key(
        TemplateText(),
        "a text with {names}: values, groups, cards (upper case); `{begin:%Y%m%d%H%M%S}` (UTC)",
    ),
    "expression": Key(
        ExpressionText(), "arithmetic with names: values, groups, cards; times count in seconds"
    ),
    "column": Key(Text(), "a column of an auxiliary table, in the row that matches the file"),
    "query": Key(
        SelectText(),
        "in `expand`: one SELECT of one column on the repository's database; `:names` stand for "
        "values that are known",
    ),
    "table": Key(Text(), "with `column`: which table; may be left out when there is one"),
    "translator": Key(Text(), "a value as the `translator` gives it, for example observation_type"),
    "missing": Key(
        Either(scalar=Scalar(), sequence=ListOf(Scalar())),
        "contents that mean that there is no value",
    ),
    "pattern": Key(
        Regex(), "take the part that group 1 (or the whole match) finds; no match: no value"
    ),
    "case": Key(Choice("lower", "upper"), "change the case of a text"),
    "replace": Key(MapOf(Scalar(), "content"), "contents to replace; others stay"),
    "lookup": Key(
        MapOf(Scalar(), "content"), "table of contents to values; others are an error, or `default`"
    ),
    "convert": Key(
        Choice(*CONVERTERS), "make it " + "; ".join(f"`{k}`: {v}" for k, v in CONVERTERS.items())
    ),
    "unit": Key(Choice(*UNITS), "unit of the content; durations become seconds, angles degrees"),
    "format": Key(
        TimeFormat(), "how a time is written: isot (default), mjd, jd, unix, or a strptime pattern"
    ),
    "scale": Key(Choice(*SCALES), "time scale of the content (utc)"),
    "utc_offset": Key(Number(-15, 15), "what the clock was ahead of `scale` [h], for local times"),
    "clock": Key(
        Choice("12-hour"),
        "the hour lost its am/pm: of the two readings the one nearer to the site's midnight is "
        "taken",
    ),
    "default": Key(Scalar(), "the value when there is none, or when `lookup` does not list it"),
}

RULE = Either(scalar=Scalar(), mapping=Record(_RULE_KEYS, one_of=SOURCES))
"""One rule: a constant, or a source with what is to be done to it."""
RULES = Either(scalar=Scalar(), mapping=RULE.mapping, sequence=ListOf(RULE, minimum=1))
"""A rule, or a list of alternatives of which the first that gives a value counts."""

_TRANSLATE = MapOf(RULES, "value")
_REGION = Choice("wcs", "none")

_FOOTPRINT = Record(
    {
        "crpix1_offset": Key(
            Number(), "added to CRPIX1, for a card that counts in another frame [pixel] (0)"
        ),
        "crpix2_offset": Key(Number(), "added to CRPIX2 [pixel] (0)"),
        "ncols": Key(Integer(1), "columns that see the sky, without overscan [pixel]"),
        "nrows": Key(Integer(1), "rows that see the sky [pixel]"),
    }
)

_DETECTOR = Record(
    {
        "number": Key(Integer(0), "the detector's number, as in data IDs", required=True),
        "name": Key(Text(), "its full name, unique", required=True),
        "aliases": Key(ListOf(Scalar()), "other spellings: CCD names, serial numbers"),
        "purpose": Key(Text(), "science (default), guide, focus, wavefront"),
        "raft": Key(Text(), "group of detectors that it sits in"),
        "nrows": Key(Integer(1), "rows of a raw frame [pixel]"),
        "ncols": Key(Integer(1), "columns of a raw frame [pixel]"),
    }
)

_FILTER = Record(
    {
        "physical_filter": Key(Text(), "name at the camera, unique", required=True),
        "band": Key(
            Text(), "common name of the passband, e.g. g; left out for what passes no light"
        ),
        "aliases": Key(ListOf(Scalar()), "other spellings in headers and file names"),
        "wavelength_min": Key(Number(0, 1e9), "blue end of the passband, in vacuum [nm]"),
        "wavelength_max": Key(Number(0, 1e9), "red end of the passband, in vacuum [nm]"),
        "doc": Key(Text(), "what it is"),
    }
)

_VISITS = Record(
    {
        "system": Key(
            Choice(*SYSTEMS),
            "how: each exposure is a visit; exposures that share a `group`; those of one sequence "
            "from `start` to `end`; those that follow each other within a `gap`",
            required=True,
        ),
        "observation_types": Key(
            ListOf(Text(), minimum=1),
            "types of exposures that make visits (all but bias, dark, flat and arc; with "
            "one-to-one all)",
        ),
        "group": Key(
            Text(),
            "by-group-metadata: the fact that the exposures of a visit share, one of `extra` or a "
            "field of exposures (group)",
        ),
        "start": Key(Text(), "by-seq-start-end: the fact that tells the first seq_num (seq_start)"),
        "end": Key(Text(), "by-seq-start-end: the fact that tells the last seq_num (seq_end)"),
        "number": Key(
            Text(), "the fact that numbers the visit; by default it has that of its first exposure"
        ),
        "gap": Key(
            Number(0, 86_400),
            "back-to-back, required: from the end of an exposure to the begin of the next, at most "
            "[s]",
        ),
        "count": Key(Integer(1), "back-to-back: exposures of a visit, at most (any number)"),
        "at_ingest": Key(
            Boolean(),
            "whether `ingest-raws` defines visits as frames come (true), or only `define-visits`",
        ),
    }
)

_DATASET_TYPE = Record(
    {
        "dimensions": Key(ListOf(Text(), minimum=1), "keys of its data IDs", required=True),
        "storage_class": Key(Text(), "what a get returns, e.g. Exposure", required=True),
        "formatter": Key(Text(), "how its files are read and written, e.g. fits-image"),
        "is_calibration": Key(Boolean(), "whether it is certified with validity ranges (false)"),
        "doc": Key(Text(), "what it is"),
    }
)

_COMPONENTS = Record(
    {
        "group": Key(
            Text(), "the named group of `pattern` that tells the parts apart", required=True
        ),
        "names": Key(
            MapOf(Text(), "content of the group"),
            "content of the group to component",
            required=True,
        ),
        "header": Key(Text(), "the component whose header is translated (the first)"),
        "optional": Key(ListOf(Text()), "components that may be absent"),
    }
)

_FILE = Record(
    {
        "name": Key(Text(), "what this kind of file is called in messages", required=True),
        "pattern": Key(
            Regex(),
            "regular expression for the whole name (without .gz), or the end of the path when it "
            "holds '/'; "
            "a named group that is called like a value gives that value",
            required=True,
        ),
        "dataset_type": Key(Text(), "what such a file is a dataset of", required=True),
        "hdu": Key(
            Either(scalar=Scalar()),
            "number or EXTNAME of the unit with the data (the first that has any)",
        ),
        "header": Key(
            Choice("fits", "none"), "none for files without FITS header: their name says all (fits)"
        ),
        "components": Key(_COMPONENTS, "several files make one dataset"),
        "curated": Key(
            Boolean(), "a calibration made by people: no exposure is recorded for it (false)"
        ),
        "region": Key(_REGION, "as at the top, for these files"),
        "footprint": Key(_FOOTPRINT, "as at the top, for these files"),
        "identify": Key(
            MapOf(Either(scalar=Scalar(), sequence=ListOf(Scalar(), minimum=1)), "card"),
            "as at the top",
        ),
        "translate": Key(_TRANSLATE, "rules for these files; they win over those at the top"),
        "extra": Key(MapOf(RULES, "name"), "as at the top, for these files"),
    }
)

DEFINITION = Record(
    {
        "name": Key(Text(maximum=128), "name of the instrument, as in data IDs", required=True),
        "doc": Key(Text(), "what it is, and what is odd about its files", required=True),
        "version": Key(Integer(1), "number of this text, for its author"),
        "facility": Key(Text(maximum=128), "telescope or observatory, as archives call it"),
        "field_of_view": Key(Number(0, 360), "diameter of the field of view [deg]"),
        "site": Key(
            Record(
                {
                    "name": Key(Text(), "the observatory"),
                    "longitude": Key(
                        Number(-180, 360), "positive east [deg]; gives the site's mean noon"
                    ),
                    "latitude": Key(Number(-90, 90), "positive north [deg]"),
                    "elevation": Key(Number(-500, 9000), "above the sea [m]"),
                    "noon_utc": Key(
                        Text(pattern=r"([01]\d|2[0-3]):[0-5]\d"),
                        "UTC, hh:mm, at which the date of a night begins, where the observatory "
                        "has its own rule",
                    ),
                }
            ),
            "where it stands: a night runs from noon to noon there and is called after its "
            "evening's date",
            required=True,
        ),
        "detectors": Key(ListOf(_DETECTOR, minimum=1), "its detectors", required=True),
        "filters": Key(ListOf(_FILTER), "its filters"),
        "keys": Key(
            MapOf(Choice("str", "int"), "key"),
            "keys of data IDs beyond the dimensions, with their type; rules of the same name give "
            "them",
        ),
        "identify": Key(
            MapOf(Either(scalar=Scalar(), sequence=ListOf(Scalar(), minimum=1)), "card"),
            "cards by which its files are known, with the content or contents that they may have",
        ),
        "translator": Key(
            Text(),
            "class of astro-metadata-translator that gives the values no rule gives, e.g. DECam; "
            "auto: the one that knows the header",
        ),
        "aliases": Key(
            MapOf(Text(), "name"),
            "other names of keys in data IDs: to a dimension, a key, or a field of exposure, "
            "visit or detector records, such as obs_id or seq_num",
        ),
        "translate": Key(_TRANSLATE, "rules: value to where it comes from"),
        "extra": Key(
            MapOf(RULES, "name"),
            "further facts of an exposure, kept with it and searchable (not of curated files)",
        ),
        "checks": Key(
            ListOf(
                Record(
                    {
                        "expression": Key(ExpressionText(), "what must hold", required=True),
                        "message": Key(Text(), "what to say when it does not", required=True),
                    }
                )
            ),
            "cross-checks between values, made for every file; one whose values are absent is "
            "passed over",
        ),
        "tables": Key(
            MapOf(
                Record(
                    {
                        "file": Key(
                            Text(),
                            "name of the file, sought beside the data and upwards",
                            required=True,
                        ),
                        "kept": Key(
                            Boolean(),
                            "whether the table (CSV, ECSV, YAML) lies beside the definition and "
                            "is kept in the repository with it (false); rules of `expand` can use "
                            "such a table too",
                        ),
                        "rows": Key(
                            ListOf(MapOf(Scalar(), "column"), minimum=1),
                            "with `kept`: the rows themselves, instead of those of the file",
                        ),
                        "match": Key(
                            MapOf(RULES, "column"),
                            "columns and the values they must have",
                            required=True,
                        ),
                        "required": Key(
                            Boolean(), "whether a file without row (or table) is an error (false)"
                        ),
                    }
                ),
                "name",
            ),
            "auxiliary tables (FITS, ECSV, CSV) with facts of exposures",
        ),
        "visits": Key(
            _VISITS,
            "which exposures make a visit; without it each is one, numbered by the rule of `visit`",
        ),
        "region": Key(_REGION, "footprint on the sky from the header's WCS (wcs), or none"),
        "footprint": Key(
            _FOOTPRINT,
            "which pixels see the sky, where the WCS does not count in those of the file",
        ),
        "files": Key(
            ListOf(_FILE, minimum=1),
            "kinds of files; the first whose pattern fits counts",
            required=True,
        ),
        "ignore": Key(ListOf(Regex()), "patterns of files that ingest passes over in silence"),
        "expand": Key(
            MapOf(RULES, "key"),
            "rules that complete a partial data ID; `field` is a key, `group` a part of the key "
            "`file`",
        ),
        "templates": Key(
            MapOf(Text(), "dataset type"),
            "paths of files by dataset type (or `default`); [..] is left out when a field in it "
            "is absent",
        ),
        "dataset_types": Key(
            MapOf(_DATASET_TYPE, "dataset type"), "dataset types that the camera brings"
        ),
    }
)
"""The whole definition."""


def check(document: Document) -> None:
    """Compare a document with the grammar.

    Raises
    ------
    DefinitionError
        With every mistake: its line, key path, what was expected, and a near name.
    """
    problems: list[Problem] = []
    DEFINITION.check(document.value, (), document, problems)
    if problems:
        raise DefinitionError(document.source, problems)


def reference() -> str:
    """Render every key as a Markdown page: path, type, meaning."""
    lines = ["| key | content | meaning |", "| --- | --- | --- |"]
    for path, content, doc in DEFINITION.rows(""):
        lines.append(f"| `{path}` | {content} | {doc} |")
    lines += ["", "A rule is a constant, a mapping with these keys, or a list of alternatives:", ""]
    lines += ["| key of a rule | content | meaning |", "| --- | --- | --- |"]
    for name, key in _RULE_KEYS.items():
        lines.append(f"| `{name}` | {key.content.describe()} | {key.doc} |")
    lines += ["", "| value | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {doc} |" for name, doc in VALUES.items()]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"
