"""How is a history told in the tables of the IVOA Provenance Data Model?

One table per class of the model (IVOA Recommendation 1.0, 2020-04-11), its attributes as columns in
their order, then the references to other tables; as VOTable or as CSV.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Mapping
    from pathlib import Path

    from astropy.table import Table

    from registry.provenance.graphs import Graph
    from registry.provenance.settings import Settings

__all__ = ["CLASSES", "Attribute", "tables", "votable", "write_csv"]


class Attribute(NamedTuple):
    """A column of a table: its name in the model, UCD, whether it is a time, and what it holds."""

    name: str
    ucd: str
    text: str
    is_time: bool = False


_ID = Attribute("id", "meta.id;meta.main", "Unique identifier")
_NAME = Attribute("name", "meta.title", "Name for people")
_COMMENT = Attribute("comment", "meta.note", "Comment")
_ROLE = Attribute("role", "meta.code.class", "Function with respect to the activity")


def _to(name: str) -> Attribute:
    return Attribute(name, "meta.id", f"Reference to {name[0].upper()}{name[1:]}")


CLASSES: dict[str, tuple[Attribute, ...]] = {
    "Entity": (
        _ID,
        _NAME,
        Attribute("location", "meta.ref.url", "Where an available copy lies"),
        Attribute("generatedAtTime", "time.creation", "When it was made, UTC", is_time=True),
        _COMMENT,
        _to("entityDescription"),
    ),
    "EntityDescription": (
        _ID,
        _NAME,
        Attribute("description", "meta.note", "What it holds, and the keys of its data IDs"),
        Attribute("type", "meta.code.class", "Kind of entity"),
    ),
    "Activity": (
        _ID,
        _NAME,
        Attribute("startTime", "time.start", "Begin, UTC", is_time=True),
        Attribute("endTime", "time.end", "End, UTC", is_time=True),
        _COMMENT,
        _to("activityDescription"),
    ),
    "ActivityDescription": (
        _ID,
        _NAME,
        Attribute("version", "meta.version", "Revision of the code, or of the package it is in"),
        Attribute("subtype", "meta.code.class", "Label of the task in the pipeline"),
    ),
    "Used": (_ROLE, _to("activity"), _to("entity")),
    "WasGeneratedBy": (_ROLE, _to("entity"), _to("activity")),
    "Agent": (
        _ID,
        _NAME,
        Attribute("type", "meta.code.class", "Person, Organization or SoftwareAgent"),
        _COMMENT,
    ),
    "WasAssociatedWith": (_ROLE, _to("activity"), _to("agent")),
    "Parameter": (
        _ID,
        _NAME,
        Attribute("value", "stat.value", "Value as a literal"),
        _to("parameterDescription"),
    ),
    "ParameterDescription": (
        _ID,
        _NAME,
        Attribute("valueType", "meta.code.class", "VOTable datatype in which it is given: char"),
        Attribute("description", "meta.note", "Type in Python"),
    ),
    "WasConfiguredBy": (
        Attribute("artefactType", "meta.code.class", "Parameter or ConfigFile"),
        _to("activity"),
        _to("parameter"),
    ),
}
"""The classes that are written, and their columns."""

Rows = dict[str, list[tuple[str | None, ...]]]


def tables(
    graph: Graph, settings: Settings, locations: Mapping[uuid.UUID, str]
) -> dict[str, Table]:
    """Tell a graph in the tables of the model.

    Parameters
    ----------
    locations : mapping
        Where datasets lie, as far as known; see `registry.provenance.settings.locations`.

    Returns
    -------
    dict of astropy.table.Table
        By class of the model; texts throughout, empty for what is not known.
    """
    from astropy.table import Table

    rows = _rows(graph, settings, locations)
    made = {}
    for name, attributes in CLASSES.items():
        columns = list(zip(*rows[name], strict=True)) or [()] * len(attributes)
        table = Table(
            [["" if v is None else v for v in column] for column in columns],
            names=[a.name for a in attributes],
            dtype=[str] * len(attributes),
            meta={"name": name, "utype": f"voprov:{name}"},
        )
        for a in attributes:
            table[a.name].description = a.text
        made[name] = table
    return made


def _rows(graph: Graph, settings: Settings, locations: Mapping[uuid.UUID, str]) -> Rows:
    rows: Rows = {name: [] for name in CLASSES}
    makers = graph.maker_of()
    for i, ref in graph.datasets.items():
        born = _time(makers[i].finished_at) if i in makers else None
        kind = f"dataset-type/{ref.dataset_type.name}"
        label = f"{ref.dataset_type.name} {ref.data_id!r}"
        rows["Entity"].append((str(i), label, locations.get(i), born, f"run {ref.run}", kind))
    rows["EntityDescription"] = [
        (
            f"dataset-type/{kind.name}",
            kind.name,
            f"{kind.storage_class} by {', '.join(kind.dimensions)}",
            "data",
        )
        for kind in dict.fromkeys(ref.dataset_type for ref in graph.datasets.values())
    ]
    described: dict[tuple[str | None, ...], None] = {}
    for quantum, step in graph.steps.items():
        software = settings.environments.get(step.environment_id or 0)
        version = None
        if software is not None:
            version = software.code_revision or software.packages.get("skyspine")
        task = f"task/{step.task_label}/{step.task_class}/{version or 'unknown'}"
        described[task, step.task_class, version, step.task_label] = None
        rows["Activity"].append(
            (
                str(quantum),
                f"{step.task_label} {step.data_id!r}",
                _time(step.started_at),
                _time(step.finished_at),
                f"{step.state} in run {step.run}" + (f" on {step.host}" if step.host else ""),
                task,
            )
        )
        for name, read in graph.reads.get(quantum, ()):
            rows["Used"].append((name, str(quantum), str(read)))
        for name, made in graph.makes.get(quantum, ()):
            rows["WasGeneratedBy"].append((name, str(made), str(quantum)))
        if software is not None:
            rows["WasAssociatedWith"].append(
                ("Operator", str(quantum), f"environment/{software.digest}")
            )
        config = settings.configurations[step.config_id]
        rows["WasConfiguredBy"] += [
            ("Parameter", str(quantum), f"configuration/{config.digest}/{path}")
            for path in config.values
        ]
    rows["ActivityDescription"] = list(described)
    for software in settings.environments.values():
        packages = ", ".join(f"{name} {v}" for name, v in software.packages.items())
        name = f"Python {software.python} on {software.platform}"
        rows["Agent"].append((f"environment/{software.digest}", name, "SoftwareAgent", packages))
    parameters: dict[tuple[str | None, ...], None] = {}
    for config in settings.configurations.values():
        for path, (value, kind) in config.values.items():
            field = f"field/{config.class_name}/{path}/{kind}"
            parameters[field, path, "char", kind] = None
            rows["Parameter"].append(
                (f"configuration/{config.digest}/{path}", path, value or "None", field)
            )
    rows["ParameterDescription"] = list(parameters)
    return rows


def _time(moment: dt.datetime | None) -> str | None:
    """Write a time as VOTable wants it: ISO 8601 in UTC, without a zone."""
    return (
        None if moment is None else moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    )


def votable(told: Mapping[str, Table]) -> str:
    """Write the tables as one VOTable 1.4, each with its utype, columns with UCD and utype."""
    from astropy.io.votable.tree import Resource, TableElement, VOTableFile

    file = VOTableFile(version="1.4")
    resource = Resource(name="provenance", utype="voprov:Provenance")
    file.resources.append(resource)
    for name, table in told.items():
        element = TableElement.from_table(file, table)
        # an ID is unique in a document, but columns of several tables have one name
        element.ID, element.name, element.utype = None, name, f"voprov:{name}"
        for a, field in zip(CLASSES[name], element.fields, strict=True):
            field.ID, field.ucd, field.utype = None, a.ucd, f"voprov:{name}.{a.name}"
            field.description = a.text
            if a.is_time:
                field.xtype = "timestamp"
        resource.tables.append(element)
    written = io.BytesIO()
    file.to_xml(written)
    return written.getvalue().decode()


def write_csv(told: Mapping[str, Table], folder: Path) -> list[Path]:
    """Write the tables as CSV, one file per class, and tell which.

    Parameters
    ----------
    folder : Path
        Made when it is missing; files of these names in it are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in told.items():
        path = folder / f"{name}.csv"
        table.write(path, format="ascii.csv", overwrite=True)
        written.append(path)
    return written
