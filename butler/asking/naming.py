"""Which keys and values does a person mean by the names used at the camera?

A CCD by its name, an exposure by its sequence number or observation id, a filter in lower case: the
camera's definition and the records of the repositories translate them to the dimensions of data
IDs.  Completion by rules alone is `butler.instrument.expansion`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from butler import cameras
from butler.errors import UnmatchedName
from butler.instrument.errors import UnknownDetector
from butler.instrument.expansion import spelled_filter
from butler.instrument.parts import RECORD_FIELDS
from registry.errors import InvalidDataId, UnknownDimensionValue
from registry.identity import DIMENSIONS, DataId
from registry.select_answers import answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from butler.inputs import Place
    from butler.instrument import InstrumentDefinition
    from registry.identity import DatasetType

__all__ = ["complete", "definition_at", "is_complete", "translated"]

_MOST = 9
"""So many candidates are looked up, of which a message shows all but the last."""


def definition_at(
    places: Iterable[Place], name: str
) -> tuple[Place, InstrumentDefinition | None] | None:
    """Find the first repository that knows a camera, and the definition in force there, if any."""
    for place in places:
        try:
            return place, cameras.find(place.registry, name)
        except UnknownDimensionValue:
            continue
    return None


def complete(
    places: Iterable[Place], camera: str | None, kind: DatasetType, given: Mapping[str, Any]
) -> DataId:
    """Complete a data ID for datasets of one type.

    Parameters
    ----------
    places : iterable of Place
        The repository and its inputs, in the order of the search.
    camera : str or None
        The instrument, if it is known.
    given : mapping
        Keys and values, by whatever names the definition and the records know.

    Raises
    ------
    InvalidDataId
        If a key is not known, or what is given could mean several things; names them.
    UnmatchedName
        If no record is as given.
    """
    if camera is None or "instrument" not in kind.dimensions:
        return DataId.of(given)
    places = list(places)
    found = definition_at(places, camera)
    if found is None:
        cameras.find(places[0].registry, camera)  # says which are known
    place, definition = found or (places[0], None)
    named = {**given, "instrument": camera}
    if definition is not None:
        named = _spelled(definition, definition.named(named))
    known, fields = _split(named, (*kind.dimensions, *(definition.keys if definition else ())))
    if definition is None or (not fields and "instrument" in given and _all_there(kind, known)):
        full: dict[str, Any] = dict(DataId.of(known))
    else:
        asked = {k: v for k, v in fields.items() if definition.understands(k)}
        full = definition.expand({**known, **asked}, partial(answer, place.registry.database))
    wanted = {*kind.dimensions, "exposure"} if kind.is_calibration else set(kind.dimensions)
    lacking = wanted - full.keys()
    for element, values in _by_element(fields, wanted).items():
        if element in lacking or not (definition and all(map(definition.understands, values))):
            full[element] = _the_one(places, element, values, full)
    # what only helped to tell which one is meant is no part of its identity
    by_name = bool(fields) or any(k not in DIMENSIONS and k not in wanted for k in named)
    kept = wanted if by_name else wanted | given.keys()
    return DataId.of({k: v for k, v in full.items() if k in kept})


def _split(
    named: Mapping[str, Any], declared: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take keys apart from fields of records; ``exposure.seq_num`` is the field ``seq_num``."""
    keys = {*DIMENSIONS, *declared}
    known: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for name, value in named.items():
        element, _, field = name.rpartition(".")
        of = RECORD_FIELDS.get(field, ())
        if name not in keys and of and (not element or element in of):
            fields[field] = value
        else:
            known[name] = value
    return known, fields


def _by_element(fields: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Sort fields by the dimension whose value they tell: the one that is wanted, if any."""
    sorted_: dict[str, dict[str, Any]] = {}
    for field, value in fields.items():
        of = RECORD_FIELDS[field]
        element = "detector" if of == ("detector",) else "exposure"
        if element == "exposure" and "exposure" not in wanted and "visit" in wanted:
            element = "visit"
        sorted_.setdefault(element, {})[field] = value
    return sorted_


def _condition(fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    terms = [f"{RECORD_FIELDS[field][0]}.{field} = :given_{field}" for field in fields]
    return " AND ".join(terms), {f"given_{field}": value for field, value in fields.items()}


def _the_one(
    places: Iterable[Place], element: str, fields: Mapping[str, Any], full: Mapping[str, Any]
) -> Any:
    """Find the value of a dimension whose record has these fields."""
    where, bind = _condition(fields)
    beside = {"detector": ("instrument",)}.get(
        element, ("instrument", "exposure", "visit", "day_obs", "physical_filter", "band")
    )
    data_id = {k: full[k] for k in (*beside, element) if k in full}
    told = [element] if element == "detector" else [element, "day_obs"]
    for place in places:
        found = place.registry.query_data_ids(
            ["instrument", *told], where=where, bind=bind, data_id=data_id, limit=_MOST
        )
        values = list(dict.fromkeys(row[element] for row in found))
        if len(values) > 1:
            shown = ", ".join(
                f"{row[element]}" + (f" (night {row['day_obs']})" if "day_obs" in row else "")
                for row in found[: _MOST - 1]
            )
            more = ", ..." if len(found) == _MOST else ""
            raise InvalidDataId(
                f"{_shown(fields)} could be {element} {shown}{more}. Say which, with "
                f"{element}=..." + (" or day_obs=..." if "day_obs" in told else "") + "."
            )
        if values:
            return values[0]
    beside_text = f" among those with {_shown(data_id)}" if data_id else ""
    raise UnmatchedName(f"No {element} has {_shown(fields)}{beside_text}.")


def _shown(values: Mapping[str, Any]) -> str:
    return " and ".join(f"{name}={value!r}" for name, value in values.items())


def translated(
    places: Iterable[Place], camera: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Translate the fixed keys of a question; fields of records become conditions.

    Parameters
    ----------
    camera : str or None
        The instrument, if it is known.
    options : mapping
        Of a question; ``data_id``, ``where`` and ``bind`` are looked at.

    Raises
    ------
    InvalidDataId
        If a value is not known, or could mean several.
    """
    given = dict(options.get("data_id") or {})
    if _is_plain(given):
        return dict(options)
    found = definition_at(places, camera) if camera is not None else None
    definition = found[1] if found is not None else None
    if found is None or definition is None:
        known, fields = _split(given, ())
    else:
        named = _spelled(definition, definition.named(given))
        known, fields = _split(named, definition.keys)
        rare = {k for k in known if definition.understands(k)} - {*DIMENSIONS, *definition.keys}
        if rare:
            asked_by_name = {"instrument": camera, **{k: known.pop(k) for k in rare}}
            full = definition.expand(asked_by_name, partial(answer, found[0].registry.database))
            known = {**{k: v for k, v in full.items() if k not in _TIMES}, **known}
    asked = {**options, "data_id": known}
    if fields:
        condition, bind = _condition(fields)
        where = str(options.get("where") or "")
        asked["where"] = f"({where}) AND {condition}" if where.strip() else condition
        asked["bind"] = {**(options.get("bind") or {}), **bind}
    return asked


_TIMES = ("begin_tai_ns", "end_tai_ns")


def _is_plain(given: Mapping[str, Any]) -> bool:
    return (
        given.keys() <= DIMENSIONS.keys()
        and not isinstance(given.get("detector"), str)
        and "physical_filter" not in given
    )


def _spelled(definition: InstrumentDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """Write a detector by its number, and a filter that the definition knows by its own name."""
    spelled = dict(given)
    if isinstance(given.get("detector"), str):
        try:
            spelled["detector"] = definition.detector_number(given["detector"])
        except UnknownDetector as error:
            raise InvalidDataId(str(error)) from error
    if "physical_filter" in given and definition.filters_called(given["physical_filter"]):
        spelled["physical_filter"] = spelled_filter(definition, given["physical_filter"])
    return spelled


def _all_there(kind: DatasetType, known: Mapping[str, Any]) -> bool:
    names = set(kind.dimensions)
    return names <= known.keys() <= DIMENSIONS.keys() | names


def is_complete(kind: DatasetType, given: Mapping[str, Any]) -> bool:
    """Tell whether a data ID needs no look into definitions and records."""
    return (
        "instrument" in given
        and _all_there(kind, given)
        and _is_plain({k: v for k, v in given.items() if k in DIMENSIONS})
    )
