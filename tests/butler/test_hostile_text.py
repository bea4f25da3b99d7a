"""What does text do that was written to be more than text?

Every string that a caller can bring into a statement goes through a door of the list below: it is
refused in a sentence, or answered as a harmless text would be, and the database is as before.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from butler import Butler
from registry import Timespan, cookbook, provenance
from registry.errors import SkyspineError
from registry.schema import metadata
from tests.registry import observatory
from tests.registry.observatory import BIAS, RAW, bias_id, raw_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.databases import Databases

    Door = Callable[[Butler, str], Any]

LONGEST_MESSAGE = 4_100
"""A message repeats of what it was given what a person can read."""
HERE = {"instrument": "Cam"}

HOSTILE = [
    "'; DROP TABLE dataset; --",
    "' OR '1'='1",
    "x'); DELETE FROM collection; --",
    "\\'; DROP TABLE dataset; --",
    "%s %(name)s %% ? :name {0} {name.__class__}",
    "a\x00b",
    "\ud800",
    "\U0001f52d" * 300,
    "x" * 100_000,
    "*" * 500,
    "?[!a-",
    "../../../etc/passwd",
    "a\nb\r\tc",
    " ",
    "",
    "e\u0301",
]


def _text_question() -> tuple[str, str]:
    """Choose a named question with a parameter that is a text."""
    return next(
        (q.name, p.name)
        for q in cookbook.questions().values()
        for p in q.parameters
        if p.type in ("str", "text")
    )


TEXT_QUESTION: tuple[str, str] = _text_question()


def facts(butler: Butler, text: str, value: Any) -> None:
    (ref,) = butler.query_datasets("bias", collections="run")
    butler.registry.record_calibration_facts({ref.id: {text: value}})


def undone(verb: Door) -> Door:
    """Undo what a verb did, so that the next one finds everything as it was."""

    def door(butler: Butler, text: str) -> Any:
        with butler.registry.begin() as connection:
            inner = connection.begin_nested()
            try:
                return verb(butler, text)
            finally:
                if not connection.invalidated:  # else it is undone
                    inner.rollback()

    return door


QUESTIONS: dict[str, Door] = {
    "type of find": lambda b, t: b.find_dataset(t, raw_id(1), collections="run"),
    "collection of find": lambda b, t: b.find_dataset("raw", raw_id(1), collections=t),
    "value of find": lambda b, t: b.find_dataset(
        "catalog", {**HERE, "target": t}, collections="run"
    ),
    "instrument of find": lambda b, t: b.find_dataset(
        "raw", {**raw_id(1), "instrument": t}, collections="run"
    ),
    "key of find": lambda b, t: b.find_dataset("raw", {**raw_id(2), t: 1}, collections="run"),
    "type of get": lambda b, t: b.get(t, raw_id(1), collections="run"),
    "component of get": lambda b, t: b.get("catalog", HERE | {"target": "x"}, component=t),
    "type of query": lambda b, t: b.query_datasets(t, collections="run"),
    "glob of query": lambda b, t: b.query_datasets("catalog", collections=t),
    "where of query": lambda b, t: b.query_datasets("catalog", collections="run", where=t),
    "text in where": lambda b, t: b.query_datasets(
        "raw", collections="run", where=f"instrument = '{t.replace(chr(39), 2 * chr(39))}'"
    ),
    "glob in where": lambda b, t: b.query_datasets(
        "raw", collections="run", where="instrument GLOB :g", bind={"g": "#" + t}
    ),
    "bound value": lambda b, t: b.query_datasets(
        "raw", collections="run", where="instrument = :v", bind={"v": t}
    ),
    "bound list": lambda b, t: b.query_datasets(
        "raw", collections="run", where="instrument IN (:v)", bind={"v": [t, t + "x"]}
    ),
    "bound run": lambda b, t: b.query_datasets(
        "raw", collections="run", where="dataset.run = :v", bind={"v": t}
    ),
    "bound field": lambda b, t: b.query_dimension_records(
        "exposure", where="exposure.target_name = :v", bind={"v": t}
    ),
    "name of a bound value": lambda b, t: b.query_datasets(
        "raw", collections="run", where="exposure = :v AND detector = 7", bind={"v": 1, t: 2}
    ),
    "data ID of query": lambda b, t: b.query_datasets(
        "raw", collections="run", data_id={"instrument": t}
    ),
    "key of query": lambda b, t: b.query_datasets("raw", collections="run", data_id={t: "x"}),
    "order of query": lambda b, t: b.query_datasets("catalog", collections="run", order_by=[t]),
    "columns of table": lambda b, t: (
        b.registry.table_of_datasets("catalog", "run", columns=[t]).num_rows
    ),
    "names of count": lambda b, t: b.registry.count_datasets("catalog", "run", by=[t]),
    "stream": lambda b, t: list(b.registry.stream_datasets("catalog", t)),
    "SQL that is shown": lambda b, t: (
        not b.registry.show_query("raw", "run", data_id={"instrument": t})
    ),
    "explanation": lambda b, t: (
        b.explain_no_datasets("raw", collections="run", where="instrument = :v", bind={"v": t})
        and None
    ),
    "dimensions": lambda b, t: b.query_data_ids([t]),
    "datasets of data IDs": lambda b, t: b.query_data_ids(
        ["detector"], datasets=t, collections="run"
    ),
    "where of data IDs": lambda b, t: b.query_data_ids(["tract"], where=t),
    "element": lambda b, t: b.query_dimension_records(t),
    "where of records": lambda b, t: b.query_dimension_records("tract", where=t),
    "order of records": lambda b, t: b.query_dimension_records("tract", order_by=[t]),
    "value of records": lambda b, t: b.query_dimension_records(
        "exposure", data_id={"instrument": t}
    ),
    "dataset type": lambda b, t: b.registry.dataset_type(t),
    "collections": lambda b, t: b.collections.query("#" + t),
    "view": lambda b, t: b.registry.report(t),
    "named question": lambda b, t: asked(b, t, {}),
    "value of a named question": lambda b, t: asked(b, TEXT_QUESTION[0], {TEXT_QUESTION[1]: t}),
    "parameter of a named question": lambda b, t: asked(b, TEXT_QUESTION[0], {t: "x"}),
    "data ID of a calibration": lambda b, t: (
        b.registry.find_calibrations("bias", [({"instrument": t, "detector": 0}, 0)], "calib")
        == [None]
        and None
    ),
    "collection of a calibration": lambda b, t: (
        b.registry.find_calibrations("bias", [(HERE | {"detector": 0}, -9)], t) == [None] and None
    ),
    "fact of an observation": lambda b, t: (
        b.registry.find_calibrations(
            "bias", [(HERE | {"detector": 5}, 0)], "calib", facts=[{"binning": t, t: t}]
        )
        == [None]
        and None
    ),
    "run of configurations": lambda b, t: b.registry.provenance.config_history(t),
    "task of configurations": lambda b, t: b.registry.provenance.config_history("run", t),
    "field of configurations": lambda b, t: b.registry.provenance.config_history("run", None, t),
    "run of a graph": lambda b, t: b.registry.provenance.graph_of_run(t).steps,
    "package": lambda b, t: b.registry.provenance.made_with(t),
    "datasets of a package": lambda b, t: b.registry.provenance.datasets_made_with(t),
    "format": lambda b, t: b.registry.provenance.export(uuid.UUID(int=1), format=t),
    "camera": lambda b, t: b.definition(t),
}

VERBS: dict[str, Door] = {
    "name of a type": lambda b, t: b.register_dataset_type(t, (), "Table"),
    "dimension of a type": lambda b, t: b.register_dataset_type("new", (t,), "Table"),
    "storage class": lambda b, t: b.register_dataset_type("new", (), t),
    "type to remove": lambda b, t: b.registry.remove_dataset_type(t),
    "name of a collection": lambda b, t: b.collections.register(t),
    "type of a collection": lambda b, t: b.collections.register("new", t),
    "doc of a collection": lambda b, t: b.collections.register("new", "RUN", t),
    "chain": lambda b, t: b.collections.chain(t, ["run"]),
    "child of a chain": lambda b, t: b.collections.chain("new", [t]),
    "tag": lambda b, t: b.collections.tag(t, []),
    "untag": lambda b, t: b.collections.untag(t, []),
    "collection to remove": lambda b, t: b.collections.remove(t),
    "value to insert": lambda b, t: b.registry.insert_datasets(
        "catalog", [HERE | {"target": t}, HERE | {"target": "y"}], "run"
    ),
    "key to insert": lambda b, t: b.registry.insert_datasets("raw", [{**raw_id(1), t: 1}], "run"),
    "run to insert into": lambda b, t: b.registry.insert_datasets("raw", [raw_id(2)], t),
    "run to put into": lambda b, t: b.put({}, "note", HERE, run=t),
    "value to put": lambda b, t: b.put({"text": t}, "note", HERE | {"instrument": t}, run="run"),
    "collection to certify in": lambda b, t: b.certify(
        t, b.query_datasets("bias", collections="run"), Timespan(5000, 6000)
    ),
    "resolution": lambda b, t: b.registry.certify(
        "calib", b.query_datasets("bias", collections="run"), Timespan(5000, 6000), resolve=t
    ),
    "data ID to decertify": lambda b, t: b.decertify(
        "calib", "bias", Timespan(0, 1000), [{"instrument": t, "detector": 0}]
    ),
    "policy": lambda b, t: b.registry.set_calibration_policy("bias", t),
    "name in a policy": lambda b, t: b.registry.set_calibration_policy("bias", match={t: 1.0}),
    "name of a fact": lambda b, t: facts(b, t, 1.0),
    "value of a fact": lambda b, t: facts(b, "binning", t),
    "element to insert": lambda b, t: b.registry.insert_dimension_records(t, [HERE]),
    "field to insert": lambda b, t: b.registry.insert_dimension_records("detector", [{t: 1}]),
    "name to insert": lambda b, t: b.registry.insert_dimension_records(
        "physical_filter", [HERE | {"name": t}]
    ),
    "text to insert": lambda b, t: b.registry.insert_dimension_records(
        "instrument", [{"name": "New", "doc": t}]
    ),
    "instrument to insert": lambda b, t: b.registry.insert_dimension_records(
        "detector", [{"instrument": t, "id": 1, "full_name": "x"}]
    ),
    "further fact to insert": lambda b, t: b.registry.insert_dimension_records(
        "exposure", [observatory.exposure(77, 20220920, "dark", extra={t: t})]
    ),
    "package to record": lambda b, t: b.registry.database.transact(
        provenance.record_environment, "3.11", t, {t: t}
    ),
    "configuration to record": lambda b, t: b.registry.database.transact(
        provenance.record_config, t, t, [(t, t, "str")]
    ),
    "camera to register": lambda b, t: b.register_instrument(t),
    "camera of a document": lambda b, t: b.register_instrument({"name": t}),
}


def asked(butler: Butler, name: str, values: dict[str, Any]) -> Any:
    with butler.registry.read() as connection:
        return len(cookbook.run(connection, name, **values)) and None


@pytest.fixture(scope="module")
def butler(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butler]:
    root = tmp_path_factory.mktemp("hostile") / "repo"
    with databases.migrated() as url, Butler.create(root, url) as made:
        observatory.fill(made.registry)
        made.register_dataset_type("note", ("instrument",), "StructuredDataDict")
        made.registry.register_collection("run")
        made.registry.insert_datasets(RAW, [raw_id(1)], "run")
        (bias,) = made.registry.insert_datasets(BIAS, [bias_id(20220920)], "run")
        made.registry.certify("calib", [bias], Timespan(0, 1000))
        yield made


def content(butler: Butler) -> dict[str, list[str]]:
    """Read every table."""
    with butler.registry.read() as connection:
        return {
            table.name: sorted(map(str, connection.execute(sa.select(table))))
            for table in metadata.sorted_tables
        }


def through(door: Door, butler: Butler, text: str) -> Any:
    """Go through a door; what is refused is refused in a sentence, and gives nothing."""
    try:
        return door(butler, text)
    except SkyspineError as refused:
        sentence = str(refused)
    assert 0 < len(sentence) <= LONGEST_MESSAGE
    sentence.encode()  # it can be printed
    return None


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_refused_or_finds_nothing(butler: Butler, name: str) -> None:
    before = content(butler)
    for text in HOSTILE:
        assert not through(QUESTIONS[name], butler, text) or text.strip(" *") == ""
    assert content(butler) == before


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_refused_or_stores_just_this_text(butler: Butler, name: str) -> None:
    before = content(butler)
    for text in HOSTILE:
        through(undone(VERBS[name]), butler, text)
    assert content(butler) == before


TEXTS = st.text(max_size=40) | st.text(
    st.sampled_from("'\"`\\;-%:?*[](){}$#/.,|= \x00\n\ud800\u00e9aR0"), max_size=40
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(door=st.sampled_from(sorted({**QUESTIONS, **VERBS})), text=TEXTS)
def test_any_text_through_any_door(butler: Butler, door: str, text: str) -> None:
    chosen = QUESTIONS.get(door) or undone(VERBS[door])
    before = content(butler)
    through(chosen, butler, text)
    assert content(butler) == before


STORED = [t for t in HOSTILE if 0 < len(t) <= 128 and not set(t) & set("\x00|\ud800\udcff")]


@pytest.mark.parametrize("text", STORED, ids=range(len(STORED)))
def test_what_is_stored_is_found_by_just_this_text(butler: Butler, text: str) -> None:
    registry = butler.registry
    with registry.begin() as connection:
        inner = connection.begin_nested()
        (ref,) = registry.insert_datasets("catalog", [HERE | {"target": text}], "run")
        other = "x" if text != "x" else "y"
        registry.insert_datasets("catalog", [HERE | {"target": other}], "run")
        assert registry.find_dataset("catalog", HERE | {"target": text}, "run") == ref
        assert registry.query_datasets("catalog", "run", where="target = :t", bind={"t": text}) == [
            ref
        ]
        quoted = text.replace("'", "''")
        assert registry.query_datasets("catalog", "run", where=f"target = '{quoted}'") == [ref]
        assert registry.query_datasets("catalog", "run", data_id={"target": text}) == [ref]
        assert registry.get_refs([ref.id])[ref.id].data_id["target"] == text
        inner.rollback()
