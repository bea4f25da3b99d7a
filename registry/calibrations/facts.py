"""Under which circumstances was a calibration, or an observation, taken?

Facts are what policies compare: fields of exposure records and keys of their ``extra``.  Those of a
calibration are stored with it, because it is mostly made from many exposures; those of an
observation are read from its exposure.  Table: `registry.schema.calibrations`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import CHUNK, insert_rows, rows_of
from registry.errors import InvalidDataId
from registry.schema.calibrations import calibration, calibration_fact, calibration_policy_match
from registry.schema.dimensions import exposure
from registry.schema.identity import data_id, dataset, dataset_type
from registry.schema.provenance import quantum_input, quantum_output

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping, Sequence

    from registry.identity import DatasetRef

__all__ = [
    "agreed",
    "exposure_facts",
    "facts_of",
    "record_facts",
    "record_facts_for_policies",
    "record_facts_of_type",
]

_MAX_TEXT = 255


def agreed(records: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
    """Tell the facts of several exposures together: means of numbers, and texts that all share.

    Parameters
    ----------
    records : sequence of mappings
        Rows of the exposure table; facts are their columns and the keys of ``extra``, columns
        first.
    """
    singles = [
        {
            name: value
            for name, value in {**(r.get("extra") or {}), **r}.items()
            if value is not None and isinstance(value, (str, int, float)) and not _hollow(value)
        }
        for r in records
    ]
    facts: dict[str, float | str] = {}
    for name in singles[0] if singles else ():
        values = [s[name] for s in singles if name in s]
        if len(values) < len(singles):
            continue
        numbers = [float(v) for v in values if not isinstance(v, str)]
        if len(numbers) == len(values):
            facts[name] = math.fsum(numbers) / len(numbers)
        elif len(set(values)) == 1:
            facts[name] = str(values[0])
    return facts


def _hollow(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def exposure_facts(
    connection: sa.Connection, keys: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Read the records of exposures given as (instrument, number); unknown ones are left out."""
    asked = sorted(set(keys))
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for start in range(0, len(asked), CHUNK):
        given = rows_of(
            connection,
            [{"i": i, "e": e} for i, e in asked[start : start + CHUNK]],
            {"i": sa.String, "e": sa.BigInteger},
        )
        same = (exposure.c.instrument == given.c.i) & (exposure.c.id == given.c.e)
        rows = connection.execute(sa.select(exposure).join_from(given, exposure, same)).mappings()
        found.update({(r["instrument"], r["id"]): dict(r) for r in rows})
    return found


def facts_of(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, float | str]]:
    """Read the facts that are stored with calibrations."""
    found: dict[uuid.UUID, dict[str, float | str]] = {}
    for start in range(0, len(ids), CHUNK):
        given = rows_of(
            connection, [{"id": i} for i in ids[start : start + CHUNK]], {"id": sa.Uuid}
        )
        rows = connection.execute(
            sa.select(calibration_fact).join_from(
                given, calibration_fact, calibration_fact.c.dataset_id == given.c.id
            )
        )
        for row in rows:
            value = row.text_value if row.number_value is None else row.number_value
            found.setdefault(row.dataset_id, {})[row.name] = value
    return found


def record_facts(
    connection: sa.Connection, facts: Mapping[uuid.UUID, Mapping[str, float | str]]
) -> None:
    """Store facts of calibrations; one of the same name is replaced.

    Parameters
    ----------
    facts : mapping
        By dataset, then by name: numbers, or texts of at most 255 characters.

    Raises
    ------
    InvalidDataId
        If a name or a value cannot be stored.
    """
    rows = []
    for dataset_id, named in facts.items():
        for name, value in named.items():
            number = isinstance(value, (int, float))
            if not name or len(name) > 128 or _hollow(value) or len(str(value)) > _MAX_TEXT:
                raise InvalidDataId(
                    f"The fact {name[:60]!r} cannot be {str(value)[:60]!r}: a name has 1 to 128 "
                    f"characters, a value is a finite number or at most {_MAX_TEXT} characters."
                )
            rows.append(
                {
                    "dataset_id": dataset_id,
                    "name": name,
                    "number_value": float(value) if number else None,
                    "text_value": None if number else str(value),
                }
            )
    for name in sorted({str(row["name"]) for row in rows}):
        ids = [row["dataset_id"] for row in rows if row["name"] == name]
        for start in range(0, len(ids), CHUNK):
            connection.execute(
                sa.delete(calibration_fact).where(
                    calibration_fact.c.name == name,
                    calibration_fact.c.dataset_id.in_(ids[start : start + CHUNK]),
                )
            )
    insert_rows(connection, calibration_fact, rows)


def record_facts_for_policies(connection: sa.Connection, refs: Sequence[DatasetRef]) -> None:
    """Store, for calibrations whose type has a policy, the facts that it compares.

    They are those of the calibration's own exposure, or of the exposures among what it was made
    from.  Facts that are stored already stay.
    """
    kinds = {ref.dataset_type.name for ref in refs}
    wanted: dict[str, set[str]] = {}
    rows = connection.execute(
        sa.select(dataset_type.c.name, calibration_policy_match.c.name)
        .join(
            calibration_policy_match,
            calibration_policy_match.c.dataset_type_id == dataset_type.c.id,
        )
        .where(dataset_type.c.name.in_(kinds))
    )
    for kind, name in rows:
        wanted.setdefault(kind, set()).add(name)
    for kind, names in wanted.items():
        _derive(connection, [r.id for r in refs if r.dataset_type.name == kind], names)


def record_facts_of_type(connection: sa.Connection, type_id: int, names: set[str]) -> None:
    """Store the facts of everything that is certified of a type; see above."""
    ids = connection.execute(
        sa.select(calibration.c.dataset_id)
        .where(calibration.c.dataset_type_id == type_id)
        .distinct()
    )
    _derive(connection, list(ids.scalars()), names)


def _derive(connection: sa.Connection, ids: Sequence[uuid.UUID], names: set[str]) -> None:
    known = facts_of(connection, ids)
    lacking = [i for i in dict.fromkeys(ids) if names - set(known.get(i, ()))]
    derived: dict[uuid.UUID, dict[str, float | str]] = {}
    for start in range(0, len(lacking), CHUNK):
        part = lacking[start : start + CHUNK]
        given = rows_of(connection, [{"id": i} for i in part], {"id": sa.Uuid})
        records: dict[uuid.UUID, list[dict[str, Any]]] = {}
        for calibration_id, record in _exposures_behind(connection, given):
            records.setdefault(calibration_id, []).append(record)
        for calibration_id, of_it in records.items():
            have = known.get(calibration_id, {})
            derived[calibration_id] = {
                k: v for k, v in agreed(of_it).items() if k in names and k not in have
            }
    record_facts(connection, derived)


def _exposures_behind(
    connection: sa.Connection, given: sa.Subquery
) -> Iterable[tuple[uuid.UUID, dict[str, Any]]]:
    """Read each calibration with the exposures that it is, or was made from, each once."""
    read = dataset.alias("read")
    own = sa.select(given.c.id.label("calibration_id"), dataset.c.data_id).join_from(
        given, dataset, dataset.c.id == given.c.id
    )
    inputs = (
        sa.select(given.c.id, read.c.data_id)
        .join_from(given, quantum_output, quantum_output.c.dataset_id == given.c.id)
        .join(quantum_input, quantum_input.c.quantum_id == quantum_output.c.quantum_id)
        .join(read, read.c.id == quantum_input.c.dataset_id)
    )
    behind = sa.union(own, inputs).subquery("behind")
    taken = (
        sa.select(behind.c.calibration_id, data_id.c.instrument, data_id.c.exposure)
        .join(data_id, data_id.c.id == behind.c.data_id)
        .where(data_id.c.exposure.is_not(None))
        .distinct()
        .subquery("taken")
    )
    same = (exposure.c.instrument == taken.c.instrument) & (exposure.c.id == taken.c.exposure)
    rows = connection.execute(sa.select(taken.c.calibration_id, exposure).join(exposure, same))
    return [(r["calibration_id"], dict(r)) for r in rows.mappings()]
