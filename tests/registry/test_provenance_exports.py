from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from astropy.io import votable
from hypothesis import given, settings
from hypothesis import strategies as st
from openlineage.client import event_v2
from openlineage.client.generated import (
    dataset_version_dataset,
    error_message_run,
    execution_parameters_run,
    job_type_job,
    parent_run,
    processing_engine_run,
)
from openlineage.client.serde import Serde
from prov.model import ProvActivity, ProvDocument, ProvGeneration, ProvUsage

from registry.errors import RegistryError, UnknownDataset
from registry.identity import uuid7
from registry.provenance import graph_of_run, walk
from registry.provenance import prov as w3c
from registry.provenance.exports import FORMATS, written
from registry.provenance.ivoa import CLASSES, tables, write_csv
from registry.provenance.ivoa import votable as as_votable
from registry.provenance.pictures import columns, dot, mermaid, picture, svg
from registry.provenance.settings import locations, settings_of
from tests.registry.provenance_graphs import BEGAN, Task, make, nodes
from tests.registry.test_provenance_questions import store

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from registry import DatasetRef, Registry

SVG = "{http://www.w3.org/2000/svg}"


class History:
    """Five raw frames make a bias; it and another make a calexp with its log; a quantum failed."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.raw = nodes(registry, 6, "raw")
        self.bias, self.calexp, self.log = nodes(registry, 3, "out")
        values = {"clip": "3.0", 'odd "field"': None}
        software = {"numpy": "2.0", "skyspine": "0.1.0"}
        (self.combine,) = make(
            registry, Task("out", "combine", {}, software), [(self.raw[:5], [self.bias], "done")]
        )
        self.isr, self.failed = make(
            registry,
            Task("out", "isr", values, software),
            [
                ([self.bias, self.raw[5]], [self.calexp, self.log], "done"),
                ([self.bias], [], "failed"),
            ],
        )
        with registry.begin() as connection:
            store(connection, self.calexp, "available")


@pytest.fixture
def history(registry: Registry) -> History:
    return History(registry)


def names(of: ProvDocument, kind: type[Any]) -> set[str]:
    return {str(r.identifier).partition(":")[2] for r in of.get_records(kind)}


def test_prov_is_read_back_and_keeps_its_constraints(history: History) -> None:
    text = history.registry.provenance.export(history.calexp.id)
    schema = json.loads(files("prov").joinpath("tests/schemas/prov-json.schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [e.message for e in validator.iter_errors(json.loads(text))] == []
    told = ProvDocument.deserialize(content=text, format="json")
    with history.registry.read() as connection:
        graph = walk(connection, [history.calexp.id], up=True)
        assert told == w3c.document(graph, settings_of(connection, graph))
    assert w3c.violations(told) == []
    assert names(told, ProvActivity) == {str(history.combine), str(history.isr)}
    used = Counter((u.args[0].localpart, u.args[1].localpart) for u in told.get_records(ProvUsage))
    assert used == Counter(
        [(str(history.combine), str(r.id)) for r in history.raw[:5]]
        + [(str(history.isr), str(r.id)) for r in (history.bias, history.raw[5])]
    )
    made = {(g.args[0].localpart, g.args[1].localpart) for g in told.get_records(ProvGeneration)}
    assert made == {
        (str(history.bias.id), str(history.combine)),
        (str(history.calexp.id), str(history.isr)),
    }
    document = json.loads(text)
    assert len(document["wasDerivedFrom"]) == 5 + 2
    isr = document["activity"][f"uuid:{history.isr}"]
    assert isr["prov:startTime"] == "2022-09-20T12:01:00+00:00"
    assert isr["prov:endTime"] == "2022-09-20T12:01:30+00:00"
    (plan,) = {
        a["prov:plan"]
        for a in document["wasAssociatedWith"].values()
        if a["prov:activity"] == f"uuid:{history.isr}"
    }
    assert set(document["entity"][plan]["sky:field"]) == {"clip = 3.0", 'odd "field" = None'}
    (agent,) = document["agent"].values()
    assert set(agent["sky:package"]) == {"numpy 2.0", "skyspine 0.1.0"}


def test_prov_of_a_run_has_its_failures(history: History) -> None:
    with history.registry.read() as connection:
        text = written([connection], graph_of_run(connection, "out"), "prov")
    told = ProvDocument.deserialize(content=text, format="json")
    assert w3c.violations(told) == []
    assert names(told, ProvActivity) == {
        str(history.combine),
        str(history.isr),
        str(history.failed),
    }
    failed = json.loads(text)["activity"][f"uuid:{history.failed}"]
    assert failed["sky:state"] == "failed"


def time(minute: int) -> str:
    return BEGAN.replace(minute=minute).isoformat()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda d: d["activity"]["e:make"].update({"prov:startTime": time(9)}),
            {"start-precedes-end", "generation-within-activity"},
        ),
        (
            lambda d: d["wasGeneratedBy"]["_:a"].update({"prov:time": time(3)}),
            {
                "generation-within-activity",
                "generation-precedes-usage",
                "derivation-generation-generation-ordering",
            },
        ),
        (
            lambda d: d["used"]["_:u"].update({"prov:time": time(5)}),
            {"usage-within-activity"},
        ),
        (
            lambda d: d["wasGeneratedBy"].update(
                {"_:c": {"prov:entity": "e:b", "prov:activity": "e:make"}}
            ),
            {"unique-generation"},
        ),
        (lambda d: d["entity"].pop("e:a"), {"typing"}),
        (lambda d: d["entity"].update({"e:make": {}}), {"entity-activity-disjoint"}),
        (
            lambda d: d["wasDerivedFrom"].update(
                {"_:e": {"prov:generatedEntity": "e:raw", "prov:usedEntity": "e:b"}}
            ),
            {"derivation-generation-generation-ordering"},
        ),
        (lambda _: None, set()),
    ],
)
def test_what_contradicts_the_constraints_is_found(change: Any, told: set[str]) -> None:
    document = {
        "prefix": {"e": "urn:e:"},
        "entity": {"e:raw": {}, "e:a": {}, "e:b": {}},
        "activity": {
            "e:make": {"prov:startTime": time(0), "prov:endTime": time(1)},
            "e:use": {"prov:startTime": time(1), "prov:endTime": time(2)},
        },
        "wasGeneratedBy": {
            "_:a": {"prov:entity": "e:a", "prov:activity": "e:make", "prov:time": time(1)},
            "_:b": {"prov:entity": "e:b", "prov:activity": "e:use", "prov:time": time(2)},
        },
        "used": {"_:u": {"prov:activity": "e:use", "prov:entity": "e:a"}},
        "wasDerivedFrom": {
            "_:d": {"prov:generatedEntity": "e:b", "prov:usedEntity": "e:a"},
            "_:r": {"prov:generatedEntity": "e:a", "prov:usedEntity": "e:raw"},
        },
    }
    change(document)
    read = ProvDocument.deserialize(content=json.dumps(document), format="json")
    assert {v.partition(":")[0] for v in w3c.violations(read)} == told


def test_ivoa_tables_are_read_back_from_votable_and_csv(history: History, tmp_path: Path) -> None:
    with history.registry.read() as connection:
        graph = graph_of_run(connection, "out")
        places = locations(connection, list(graph.datasets))
        told = tables(graph, settings_of(connection, graph), places)
    text = as_votable(told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = votable.parse(io.BytesIO(text.encode()), verify="exception")
    ids = [e.get("ID") for e in ET.fromstring(text).iter() if e.get("ID")]  # noqa: S314 (ours)
    assert len(ids) == len(set(ids))
    rows = {}
    for table in read.iter_tables():
        assert table.utype == f"voprov:{table.name}"
        fields = [(f.name, f.utype, f.ucd) for f in table.fields]
        assert fields == [
            (a.name, f"voprov:{table.name}.{a.name}", a.ucd) for a in CLASSES[table.name]
        ]
        stamps = {f.name for f in table.fields if f.xtype == "timestamp"}
        assert stamps == {a.name for a in CLASSES[table.name] if a.is_time}
        found = [tuple(str(v) for v in row) for row in table.to_table().iterrows()]
        rows[table.name] = [dict(zip((f[0] for f in fields), row, strict=True)) for row in found]
    assert rows.keys() == CLASSES.keys()
    assert {r["id"] for r in rows["Entity"]} == {str(i) for i in graph.datasets}
    times = {r["id"]: (r["startTime"], r["endTime"]) for r in rows["Activity"]}
    assert times[str(history.isr)] == ("2022-09-20T12:01:00.000000", "2022-09-20T12:01:30.000000")
    calexp = next(r for r in rows["Entity"] if r["id"] == str(history.calexp.id))
    assert calexp["generatedAtTime"] == "2022-09-20T12:01:30.000000"
    assert calexp["location"] == "/data/n/1.fits"
    assert {(r["activity"], r["entity"]) for r in rows["Used"]} == {
        (str(q), str(i)) for q, links in graph.reads.items() for _, i in links
    }
    assert {(r["activity"], r["entity"], r["role"]) for r in rows["WasGeneratedBy"]} == {
        (str(history.combine), str(history.bias.id), "out"),
        (str(history.isr), str(history.calexp.id), "out"),
        (str(history.isr), str(history.log.id), "out"),
    }
    for table, column in (
        ("Entity", "entityDescription"),
        ("Activity", "activityDescription"),
        ("Used", "activity"),
        ("Used", "entity"),
        ("WasAssociatedWith", "agent"),
        ("WasConfiguredBy", "parameter"),
        ("Parameter", "parameterDescription"),
    ):
        target = column[0].upper() + column[1:]
        assert {r[column] for r in rows[table]} <= {r["id"] for r in rows[target]}, table
        assert len({r["id"] for r in rows[target]}) == len(rows[target])
    values = {r["name"]: r["value"] for r in rows["Parameter"]}
    assert values == {"clip": "3.0", 'odd "field"': "None"}
    assert {r["version"] for r in rows["ActivityDescription"]} == {"0.1.0"}
    written_files = write_csv(told, tmp_path / "csv")
    for path in written_files:
        with path.open(newline="") as stream:
            assert list(csv.DictReader(stream)) == rows[path.stem]


def test_ivoa_tables_without_a_quantum(history: History) -> None:
    text = history.registry.provenance.export(history.raw[0].id, format="ivoa")
    read = votable.parse(io.BytesIO(text.encode()), verify="exception")
    sizes = {t.name: len(t.to_table()) for t in read.iter_tables()}
    assert {name: n for name, n in sizes.items() if n} == {"Entity": 1, "EntityDescription": 1}


FACETS = {
    "parent": parent_run.ParentRunFacet,
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
    "executionParameters": execution_parameters_run.ExecutionParametersRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
}


def as_the_client_writes(event: dict[str, Any]) -> dict[str, Any]:
    """Make the event by the classes that OpenLineage generates from its schemas."""

    def facets(of: dict[str, Any]) -> dict[str, Any]:
        return {
            name: FACETS[name](
                producer=facet["_producer"],
                **{k: v for k, v in facet.items() if not k.startswith("_")},
            )
            if name in FACETS
            else facet
            for name, facet in of.items()
        }

    def dataset(kind: Any, of: dict[str, Any]) -> Any:
        return kind(**{**of, "facets": facets(of["facets"])})

    made = event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"], facets(event["run"]["facets"])),
        job=event_v2.Job(
            event["job"]["namespace"], event["job"]["name"], facets(event["job"]["facets"])
        ),
        inputs=[dataset(event_v2.InputDataset, d) for d in event["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, d) for d in event["outputs"]],
    )
    written_again: dict[str, Any] = json.loads(Serde.to_json(made))
    return written_again


def test_openlineage_events_are_those_of_its_client(history: History) -> None:
    with history.registry.read() as connection:
        lines = written([connection], graph_of_run(connection, "out"), "openlineage").splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        known = event | {
            "run": {
                **event["run"],
                "facets": {k: v for k, v in event["run"]["facets"].items() if k in FACETS},
            }
        }
        assert as_the_client_writes(known) == known
    of_start = events[2]["run"]["facets"]
    assert of_start["skyspine_software"]["packages"] == {"numpy": "2.0", "skyspine": "0.1.0"}
    assert of_start["processing_engine"]["version"] == "0.1.0"
    assert of_start["executionParameters"]["parameters"] == [
        {"key": "clip", "value": "3.0"},
        {"key": 'odd "field"', "value": "None"},
    ]
    assert [(e["eventType"], e["job"]["name"], e["run"]["runId"]) for e in events] == [
        ("START", "combine", str(history.combine)),
        ("COMPLETE", "combine", str(history.combine)),
        ("START", "isr", str(history.isr)),
        ("COMPLETE", "isr", str(history.isr)),
        ("START", "isr", str(history.failed)),
        ("FAIL", "isr", str(history.failed)),
    ]
    done = events[3]

    def versions(datasets: list[dict[str, Any]]) -> set[str]:
        return {d["facets"]["version"]["datasetVersion"] for d in datasets}

    assert versions(done["inputs"]) == {str(history.bias.id), str(history.raw[5].id)}
    assert versions(done["outputs"]) == {str(history.calexp.id), str(history.log.id)}
    assert done["outputs"][0]["name"] == "out/node/instrument=Cam,healpix=1"
    assert done["eventTime"] == "2022-09-20T12:01:30+00:00"
    assert events[2]["outputs"] == []
    assert events[5]["run"]["facets"]["errorMessage"]["message"] == "ValueError: no stars"
    assert events[5]["outputs"] == []
    assert len({e["run"]["facets"]["parent"]["run"]["runId"] for e in events}) == 1


def test_pictures_hold_every_box_and_arrow(history: History) -> None:
    with history.registry.read() as connection:
        graph = walk(connection, [history.calexp.id], up=True)
    drawn = picture(graph)
    shown = [b.lines for b in drawn.boxes]
    assert sorted(shown) == [
        ("5 node",),
        ("node", "healpix 0"),
        ("node", "healpix 1"),
        ("node", "healpix 5"),
    ]
    assert [b.lines for b in drawn.boxes if b.is_root] == [("node", "healpix 1")]
    arrows = {(shown[a], shown[b], task) for a, b, task in drawn.arrows}
    assert arrows == {
        (("5 node",), ("node", "healpix 0"), "combine"),
        (("node", "healpix 0"), ("node", "healpix 1"), "isr"),
        (("node", "healpix 5"), ("node", "healpix 1"), "isr"),
    }
    root = ET.fromstring(svg(drawn))  # noqa: S314 (ours)
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert Counter(texts) == Counter(line for lines in shown for line in lines)
    titles = [t.text for t in root.iter(f"{SVG}title")]
    assert Counter(titles) == {"combine": 1, "isr": 2}
    assert mermaid(drawn).count("-->") == dot(drawn).count("->") == 3
    assert mermaid(drawn).count(":::asked") == 1
    merged = picture(graph, merged=True)
    assert sorted(b.lines for b in merged.boxes) == [("2 node", "out"), ("6 node", "raw")]
    places = [b.lines[1] for b in merged.boxes]
    assert {(places[a], places[b], task) for a, b, task in merged.arrows} == {
        ("raw", "out", "combine, isr"),
        ("out", "out", "isr"),
    }
    assert ET.fromstring(svg(merged)).tag == f"{SVG}svg"  # noqa: S314 (ours)


def test_boxes_do_not_lie_on_each_other(history: History) -> None:
    with history.registry.read() as connection:
        drawn = picture(graph_of_run(connection, "out"))
    root = ET.fromstring(svg(drawn))  # noqa: S314 (ours)
    sheet = [float(root.get(k, "")) for k in ("width", "height")]
    boxes = [
        tuple(float(r.get(k, "")) for k in ("x", "y", "width", "height"))
        for r in root.iter(f"{SVG}rect")
        if r.get("x")
    ]
    assert len(boxes) == len(drawn.boxes)
    for n, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= sheet[0]
        assert y + h <= sheet[1]
        for a, b, c, d in boxes[:n]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y


@given(
    edges=st.sets(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40).map(
        lambda pairs: {(min(p), max(p)) for p in pairs if p[0] != p[1]}
    )
)
@settings(max_examples=50, deadline=None)
def test_arrows_lead_from_left_to_right(edges: set[tuple[int, int]]) -> None:
    nodes_ = list(range(15))
    placed = columns([14], nodes_, edges)
    column = {node: n for n, listed in enumerate(placed) for node in listed}
    assert sorted(column) == nodes_
    assert all(column[a] < column[b] for a, b in edges)
    assert column[14] == len(placed) - 1


def test_texts_with_meaning_in_a_format_are_escaped(registry: Registry) -> None:
    (raw,) = nodes(registry, 1, "raw")
    (out,) = nodes(registry, 1, "out")
    make(registry, Task("out", 'a"b<c>\\'), [([raw], [out], "done")])
    export = registry.provenance.export
    assert 'label="a\\"b<c>\\\\"' in export(out.id, format="dot")
    assert '|"a#34;b#60;c#62;#92;"|' in export(out.id, format="mermaid")
    root = ET.fromstring(export(out.id, format="svg"))  # noqa: S314 (ours)
    assert [t.text for t in root.iter(f"{SVG}title")] == ['a"b<c>\\']


def test_export_says_what_is_wrong(history: History) -> None:
    export = history.registry.provenance.export
    unknown: uuid.UUID = uuid7()
    known: DatasetRef = history.calexp
    with pytest.raises(UnknownDataset, match=f"There is no dataset '{unknown}'"):
        export(known.id, unknown)
    with pytest.raises(RegistryError, match=r"no format 'opnlineage'.*'openlineage'"):
        export(known.id, format="opnlineage")
    for name in FORMATS:
        assert export(known.id, format=name).strip(), name
