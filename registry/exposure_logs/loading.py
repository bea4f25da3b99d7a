"""How does an observing log become exposure records, without one bad row losing the good ones?

The log is read and converted as columns, what is wrong is told by row and column, and the good
rows are inserted in one transaction with the nights, filters and cameras that they need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import sqlalchemy as sa

from registry.dimensions import insert_dimension_records
from registry.errors import did_you_mean
from registry.exposure_logs.converting import DAY_NS, Problems, convert, night_of, text_of
from registry.exposure_logs.mapping import FIELDS, BadMapping, LogMapping, Rule
from registry.schema import dimensions as schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LoadedLog", "RowProblem", "load_exposures", "read_log"]

_NEEDED = ("instrument", "id", "observation_type", "begin", "day_obs")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row was not taken.

    Parameters
    ----------
    row : int
        Its number among the rows of the log, from 1; the header does not count.
    column, content : str
        The cell.
    reason : str
        What is wrong with it.
    """

    row: int
    column: str
    content: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column}: '{self.content}': {self.reason}"


@dataclass(frozen=True)
class LoadedLog:
    """What became of the rows of a log.

    Parameters
    ----------
    n_rows : int
        Rows of the log.
    n_loaded : int
        Exposures that are new.
    n_present : int
        Exposures that were there before, which stay as they are.
    skipped : mapping of str to int
        Rows that are no exposures, by reason.
    n_repeated : int
        Rows that stand behind another one of the same exposure.
    problems : tuple of RowProblem
        By row; a row may have several.
    """

    n_rows: int
    n_loaded: int
    n_present: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    n_repeated: int = 0
    problems: tuple[RowProblem, ...] = ()

    @property
    def n_refused(self) -> int:
        """Rows with a problem."""
        return len({p.row for p in self.problems})


def read_log(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read a log as texts, its rows numbered from 1.

    Parameters
    ----------
    source : path-like or pandas.DataFrame
        A CSV file with a header line, compressed or not; or a table.

    Raises
    ------
    BadMapping
        If the file cannot be read as a table.
    """
    if isinstance(source, pd.DataFrame):
        frame = source.copy()
    else:
        try:
            frame = pd.read_csv(source, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise BadMapping(f"The log {source} cannot be read as CSV: {error}") from error
    frame = frame.apply(text_of)
    frame.columns = [str(c) for c in frame.columns]
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def load_exposures(
    connection: sa.Connection,
    source: str | Path | pd.DataFrame,
    mapping: LogMapping,
    *,
    noon_ns: int | None = None,
) -> LoadedLog:
    """Load the exposures of an observing log.

    Parameters
    ----------
    source : path-like or pandas.DataFrame
        The log; see `read_log`.
    mapping : LogMapping
        What its columns mean.
    noon_ns : int, optional
        From 0h UTC to the noon at which nights begin [ns]; by default of the mapping's longitude.

    Returns
    -------
    LoadedLog
        With the rows that were not taken, and why.

    Raises
    ------
    BadMapping
        If a column that the mapping names is not in the log, or a field that every exposure needs
        comes from nowhere.
    """
    log = read_log(source)
    rules = _rules(log, mapping)
    problems: Problems = []
    skipped: dict[str, int] = {}
    kept = log
    for skip in mapping.skip:
        here = kept[skip.column].isin(skip.values)
        reason = skip.reason or f"{skip.column} is {', '.join(skip.values)}"
        skipped[reason] = skipped.get(reason, 0) + int(here.sum())
        kept = kept[~here]
    values, problems = _convert(kept, rules, mapping)
    noon = noon_ns if noon_ns is not None else _noon(mapping.longitude)
    _complete(values, noon)
    problems += _needed(values, rules, kept, {row for row, *_ in problems})
    problems += _order(values, rules, kept)
    values = values.drop(index=list({row for row, *_ in problems}))
    values, n_repeated, again = _repeated(values, mapping.repeated, rules)
    problems += again
    if mapping.extra:
        values["extra"] = _extra(kept.loc[values.index], mapping)
    values, unknown = _registered(connection, values, mapping, rules)
    problems += unknown
    n_loaded = _insert(connection, values, noon)
    told = tuple(RowProblem(*p) for p in sorted(problems))
    return LoadedLog(len(log), n_loaded, len(values) - n_loaded, skipped, n_repeated, told)


def _noon(longitude: float | None) -> int:
    east = ((longitude or 0.0) + 180) % 360 - 180
    return DAY_NS // 2 - round(east / 360 * DAY_NS)


def _rules(log: pd.DataFrame, mapping: LogMapping) -> dict[str, Rule]:
    rules = dict(mapping.fields) or {c: Rule(c) for c in log.columns if c in FIELDS}
    wanted = [*(r.column for r in rules.values()), *mapping.extra]
    for column in [*wanted, *(s.column for s in mapping.skip)]:
        if column not in log.columns:
            raise BadMapping(
                f"The log has no column '{column}'.{did_you_mean(column, log.columns)} "
                f"It has {', '.join(log.columns)}."
            )
    given = {*rules, "day_obs", *(["instrument"] if mapping.instrument else [])}
    absent = [name for name in _NEEDED if name not in given]
    if absent:
        raise BadMapping(
            f"Nothing says what is {' and '.join(absent)} of an exposure; name the column, for "
            f"example --map COLUMN={absent[0]}. The log has {', '.join(log.columns)}."
        )
    return rules


def _convert(
    kept: pd.DataFrame, rules: Mapping[str, Rule], mapping: LogMapping
) -> tuple[pd.DataFrame, Problems]:
    columns, problems = {}, []
    for name, rule in rules.items():
        columns[name], found = convert(name, rule, kept[rule.column], mapping.missing)
        problems += found
    values = pd.DataFrame(columns, index=kept.index, dtype=object)
    if "instrument" not in values and mapping.instrument:
        values["instrument"] = mapping.instrument
    return values.reindex(columns=[*FIELDS]).astype(object), problems


def _complete(values: pd.DataFrame, noon: int) -> None:
    """Work out what the log leaves out: night, end, identifier, quality."""
    nights = night_of(values["begin"].dropna(), noon)
    values["day_obs"] = values["day_obs"].where(values["day_obs"].notna(), nights)
    seconds = values["exposure_time"].fillna(0.0).astype(float)
    ends = values["begin"] + (seconds * 1e9).round().astype("int64")
    values["end"] = values["end"].where(values["end"].notna(), ends)
    values["obs_id"] = values["obs_id"].where(values["obs_id"].notna(), values["id"].astype(str))
    values["quality"] = values["quality"].where(values["quality"].notna(), "good")


def _needed(
    values: pd.DataFrame, rules: Mapping[str, Rule], kept: pd.DataFrame, bad: set[int]
) -> Problems:
    problems: Problems = []
    for name in _NEEDED:
        if name not in rules:
            continue
        column = rules[name].column
        rows = values.index[values[name].isna() & ~values.index.isin(bad)]
        problems += [
            (int(r), column, str(kept[column][r]), f"an exposure needs a value for {name}")
            for r in rows
        ]
    return problems


def _order(values: pd.DataFrame, rules: Mapping[str, Rule], kept: pd.DataFrame) -> Problems:
    if "end" not in rules:
        return []
    column = rules["end"].column
    both = values["begin"].notna() & values["end"].notna()
    times = values.loc[both, ["begin", "end"]].astype("int64")
    rows = times.index[times["end"] < times["begin"]]
    return [(int(r), column, str(kept[column][r]), "it ends before it begins") for r in rows]


def _repeated(
    values: pd.DataFrame, way: str, rules: Mapping[str, Rule]
) -> tuple[pd.DataFrame, int, Problems]:
    keys = ["instrument", "id"]
    if way != "error":
        behind = values.duplicated(keys, keep="first" if way == "first" else "last")
        return values[~behind], int(behind.sum()), []
    behind = values.duplicated(keys)
    first = {(v.instrument, v.id): row for row, v in values[~behind][keys].iterrows()}
    problems: Problems = [
        (int(row), rules["id"].column, str(v.id), f"row {first[v.instrument, v.id]} has it too")
        for row, v in values[behind][keys].iterrows()
    ]
    return values[~behind], 0, problems


def _extra(kept: pd.DataFrame, mapping: LogMapping) -> list[dict[str, Any] | None]:
    empty = set(mapping.missing)
    return [
        {k: v for k, v in row.items() if v not in empty} or None
        for row in kept[list(mapping.extra)].to_dict("records")
    ]


def _registered(
    connection: sa.Connection,
    values: pd.DataFrame,
    mapping: LogMapping,
    rules: Mapping[str, Rule],
) -> tuple[pd.DataFrame, Problems]:
    """Register the cameras and filters that may be, and refuse rows that name other ones."""
    problems: Problems = []
    for element, names in (
        ("instrument", ["instrument"]),
        ("physical_filter", ["instrument", "name"]),
    ):
        table = getattr(schema, element)
        columns = [table.c.name] if element == "instrument" else [table.c.instrument, table.c.name]
        known = {tuple(row) for row in connection.execute(sa.select(*columns))}
        keys = ["instrument"] if element == "instrument" else ["instrument", "physical_filter"]
        named = values[keys].dropna()
        pairs = pd.Series([tuple(row) for row in named.to_numpy()], index=named.index, dtype=object)
        absent = pairs[~pairs.isin(known)]
        if element in mapping.register:
            names = ["name"] if element == "instrument" else ["instrument", "name"]
            rows = [dict(zip(names, key, strict=True)) for key in dict.fromkeys(absent)]
            insert_dimension_records(connection, element, rows, "skip")
            continue
        column = rules[element].column if element in rules else element
        known_names = sorted({key[-1] for key in known})
        problems += [
            (int(row), column, str(key[-1]),
             f"no such {element} is registered.{did_you_mean(str(key[-1]), known_names)}")
            for row, key in absent.items()
        ]  # fmt: skip
        values = values.drop(index=absent.index)
    return values, problems


def _insert(connection: sa.Connection, values: pd.DataFrame, noon: int) -> int:
    nights = values[["instrument", "day_obs"]].drop_duplicates()
    begins = pd.to_datetime(nights["day_obs"].astype(str), format="%Y%m%d", errors="coerce")
    start = begins.astype("datetime64[ns]").astype("int64") + noon
    rows = [
        {"instrument": i, "id": int(d), "begin_tai_ns": int(b), "end_tai_ns": int(b) + DAY_NS}
        for i, d, b in zip(nights["instrument"], nights["day_obs"], start, strict=True)
    ]
    insert_dimension_records(connection, "day_obs", rows, "skip")
    records = values.rename(columns={"begin": "begin_tai_ns", "end": "end_tai_ns"})
    records = records.where(records.notna(), None)
    return insert_dimension_records(connection, "exposure", records.to_dict("records"), "skip")
