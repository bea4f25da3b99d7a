"""Which cameras does this repository know, and by which version of their definitions?

Registers instrument definitions with their detectors, filters and dataset types, keeps every
version, and loads the one in force.  What a definition says is `butler.instrument`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from butler import camera_history
from butler.instrument import InstrumentDefinition, load_shipped, shipped
from registry import datasets, dimensions, keys
from registry.database import account, insert_rows, lock_rows, utc_now
from registry.errors import UnknownDimensionValue
from registry.schema.dimensions import detector, instrument, instrument_definition, physical_filter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from butler.camera_history import Change, Version
    from registry.registry import Registry

__all__ = [
    "change",
    "defined",
    "find",
    "history",
    "load",
    "names",
    "only_one",
    "read_definition",
    "register",
]


def register(registry: Registry, source: Any) -> InstrumentDefinition:
    """Register a camera, or a new version of its definition.

    Parameters
    ----------
    source : InstrumentDefinition, mapping, path-like or str
        The definition, its YAML file, or the name of one that is shipped.

    Raises
    ------
    UnknownInstrument
        If there is neither a file nor a shipped definition of that name.
    DefinitionError
        With every mistake in it.

    Returns
    -------
    InstrumentDefinition
        What is in force now.
    """
    definition = read_definition(source)
    registry.database.transact(_store, definition)
    return definition


def read_definition(source: Any) -> InstrumentDefinition:
    """Read a definition, its YAML file, or a shipped one by its name; see `register`."""
    if isinstance(source, InstrumentDefinition):
        return source
    if isinstance(source, Mapping):
        return InstrumentDefinition.from_mapping(source)
    if isinstance(source, str) and (
        source in shipped() or not ("\n" in source or _is_file(source))
    ):
        return load_shipped(source)
    return InstrumentDefinition.from_yaml(source)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # no file can have such a name
        return False


def _store(connection: sa.Connection, definition: InstrumentDefinition) -> None:
    record = definition.instrument_record()
    dimensions.insert_dimension_records(connection, "instrument", [record], "skip")
    mine = sa.select(instrument.c.name).where(instrument.c.name == definition.name)
    connection.execute(lock_rows(mine, connection)).all()
    d = instrument_definition
    latest = connection.execute(
        sa.select(d.c.version, d.c.digest)
        .where(d.c.instrument == definition.name)
        .order_by(d.c.version.desc())
        .limit(1)
    ).first()
    if latest is None or latest.digest != definition.digest:
        version = 1 if latest is None else latest.version + 1
        row = {
            "instrument": definition.name,
            "version": version,
            "digest": definition.digest,
            "text": definition.to_yaml(),
            "registered_at": utc_now(),
            "registered_by": account(),
        }
        insert_rows(connection, d, [row])
        connection.execute(
            sa.update(instrument)
            .where(instrument.c.name == definition.name)
            .values({**record, "definition_version": version, "doc": record.get("doc") or ""})
        )
    for element, rows in (
        ("physical_filter", definition.physical_filter_records()),
        ("detector", definition.detector_records()),
    ):
        dimensions.insert_dimension_records(connection, element, rows, "skip")
    _tell_filters(connection, definition)
    _tell_detectors(connection, definition)
    keys.declare_keys(connection, definition.keys)
    for spec in definition.dataset_types.values():
        datasets.register_dataset_type(connection, spec.dataset_type)


def _tell_filters(connection: sa.Connection, definition: InstrumentDefinition) -> None:
    """Write bands and passbands of filters that an older version of the definition registered."""
    facts = ("band", "wavelength_min_m", "wavelength_max_m")
    rows = [
        {"_name": f["name"], **{k: f[k] for k in facts}}
        for f in definition.physical_filter_records()
    ]
    mine = sa.and_(
        physical_filter.c.instrument == definition.name,
        physical_filter.c.name == sa.bindparam("_name"),
    )
    if rows:
        connection.execute(
            sa.update(physical_filter).where(mine).values({k: sa.bindparam(k) for k in facts}), rows
        )


def _tell_detectors(connection: sa.Connection, definition: InstrumentDefinition) -> None:
    """Write names and sizes of detectors that an older version of the definition registered."""
    facts = ("full_name", "purpose", "raft", "nrows", "ncols")
    kept = sa.select(detector.c.id, *(detector.c[k] for k in facts)).where(
        detector.c.instrument == definition.name
    )
    known = {row[0]: tuple(row[1:]) for row in connection.execute(kept)}
    changed = [
        {"_id": d["id"], **{k: d[k] for k in facts}}
        for d in definition.detector_records()
        if known.get(d["id"]) != tuple(d[k] for k in facts)
    ]
    if not changed:
        return
    mine = sa.and_(detector.c.instrument == definition.name, detector.c.id == sa.bindparam("_id"))
    # two may have exchanged their names, and no two ever have the same
    aside = [{"_id": d["_id"], "full_name": f"~{d['_id']}"} for d in changed]
    for names_of, rows in ((facts[:1], aside), (facts, changed)):
        values: dict[str, Any] = {k: sa.bindparam(k) for k in names_of}
        connection.execute(sa.update(detector).where(mine).values(values), rows)


def names(registry: Registry) -> list[str]:
    """List the cameras that are registered."""
    return registry.database.ask(_names)


def _names(connection: sa.Connection) -> list[str]:
    return list(
        connection.execute(sa.select(instrument.c.name).order_by(instrument.c.name)).scalars()
    )


def only_one(registries: Iterable[Registry]) -> str | None:
    """Name the camera when the repositories have just one."""
    found = {name for registry in registries for name in names(registry)}
    return found.pop() if len(found) == 1 else None


def defined(registry: Registry) -> list[InstrumentDefinition]:
    """Load the definitions in force of all cameras that have one."""
    found = [find(registry, name) for name in names(registry)]
    return [definition for definition in found if definition is not None]


def find(registry: Registry, name: str) -> InstrumentDefinition | None:
    """Load the definition in force of a camera; None for one that is known by its record alone.

    Raises
    ------
    UnknownDimensionValue
        If it is not registered; names those that are.
    """
    text = registry.database.ask(_text_in_force, name)
    if text is not None:
        return _parsed(text)
    known = names(registry)
    if name in known:
        return None
    raise UnknownDimensionValue("instrument", name, known, remedy=_REMEDY)


def load(registry: Registry, name: str, version: int | None = None) -> InstrumentDefinition:
    """Load a definition of a camera.

    Parameters
    ----------
    version : int, optional
        As registered; the one in force by default.

    Raises
    ------
    UnknownDimensionValue
        If it has none, or none of this version; names those that it has.
    """
    if version is not None:
        texts = registry.database.ask(_texts, name)
        if version in texts:
            return _parsed(texts[version])
        if texts:
            raise UnknownDimensionValue(
                "version",
                f"{version}",
                map(str, texts),
                of=name,
                remedy=f"`skyspine instrument history REPO {name}` lists them.",
            )
    definition = find(registry, name)
    if definition is None:
        raise UnknownDimensionValue("definition", name, remedy=_REMEDY)
    return definition


_REMEDY = "Register its definition with: skyspine instrument register REPO FILE"


def history(registry: Registry, name: str) -> list[Version]:
    """List the versions of a camera's definition, with what was taken in under each.

    Raises
    ------
    UnknownDimensionValue
        If it has none.
    """
    texts = registry.database.ask(_texts, name)
    if not texts:
        load(registry, name)
    kinds = {k.dataset_type for text in texts.values() for k in _parsed(text).files.kinds}
    return registry.database.ask(camera_history.versions, name, sorted(kinds))


def change(
    registry: Registry, definition: InstrumentDefinition
) -> tuple[list[Change], list[str]] | None:
    """Say what registering a definition would change, and what that means for what is stored.

    Returns
    -------
    tuple of list of Change and list of str, or None
        None when the camera has no definition yet.
    """
    if definition.name not in names(registry):
        return None
    old = find(registry, definition.name)
    if old is None:
        return None
    told = registry.database.ask(camera_history.effects, old, definition)
    return camera_history.changes(old, definition), told


def _texts(connection: sa.Connection, name: str) -> dict[int, str]:
    d = instrument_definition
    asked = sa.select(d.c.version, d.c.text).where(d.c.instrument == name).order_by(d.c.version)
    return {int(row.version): str(row.text) for row in connection.execute(asked)}


def _text_in_force(connection: sa.Connection, name: str) -> str | None:
    d = instrument_definition
    asked = sa.select(d.c.text).where(d.c.instrument == name).order_by(d.c.version.desc()).limit(1)
    return connection.execute(asked).scalar()


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> InstrumentDefinition:
    """Read a definition, once for each text: another process may have changed it meanwhile."""
    return InstrumentDefinition.from_yaml(text)
