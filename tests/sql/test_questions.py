"""The named questions answer the same on every database, and by key where they say so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, cookbook
from tests.sql import demo_rows
from tests.sql.known_answers import FOLDER, answer, examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.databases import Databases

QUESTIONS = cookbook.questions()
BY_KEY = [q for q in QUESTIONS.values() if q.reads == "by key"]


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_has_its_known_answer(demo: Registry, name: str) -> None:
    assert answer(demo, name) == (FOLDER / f"{name}.csv").read_text(encoding="utf-8")


def test_there_are_forty_questions_and_each_says_what_it_must() -> None:
    assert len(QUESTIONS) >= 40
    assert {p.stem for p in FOLDER.glob("*.csv")} == set(QUESTIONS)
    for q in QUESTIONS.values():
        assert q.reads in ("by key", "whole tables")
        used = set(re.findall(r"(?<!:):(\w+)", q.sql))
        assert used == {p.name for p in q.parameters}, q.name
        assert "ORDER BY" in q.sql, f"{q.name}: its rows come in no order"
        for p in q.parameters:
            p.value(p.example)


def test_no_question_is_answered_by_nothing() -> None:
    empty = [n for n in QUESTIONS if len((FOLDER / f"{n}.csv").read_text().splitlines()) < 2]
    assert empty == []


def test_unknown_question_and_parameters_are_refused_with_help(demo: Registry) -> None:
    with demo.read() as connection:
        with pytest.raises(cookbook.UnknownQuestion, match="Did you mean 'nights'"):
            cookbook.run(connection, "night")
        with pytest.raises(cookbook.BadParameter, match="no parameter 'rum'.*Did you mean 'run'"):
            cookbook.run(connection, "failures", rum="demo/again")
        with pytest.raises(cookbook.BadParameter, match="needs a value for run"):
            cookbook.run(connection, "failures")
        with pytest.raises(cookbook.BadParameter, match="'yesterday' is not a value for day_obs"):
            cookbook.run(connection, "exposures_of_a_night", instrument="C", day_obs="yesterday")


def test_values_are_bound_and_never_written_into_the_statement(demo: Registry) -> None:
    with demo.read() as connection:
        hostile = "x' OR '1'='1"
        assert len(cookbook.run(connection, "failures", run=hostile)) == 0
        statement = cookbook.statement(cookbook.read("failures"), {"run": hostile}, "sqlite")
        assert hostile not in str(statement.compile(connection))


SYNTHETIC = """
INSERT INTO day_obs (instrument, id, begin_tai_ns, end_tai_ns)
SELECT 'DemoCam', 20300000 + n, n * 86400000000000, (n + 1) * 86400000000000
FROM generate_series(1, 100) AS n;
INSERT INTO exposure (instrument, id, obs_id, day_obs, physical_filter, observation_type, seq_num,
    exposure_time, begin_tai_ns, end_tai_ns, ra, dec, quality)
SELECT 'DemoCam', 1000000 + n, 'S' || n, 20300001 + n / 100, 'Demo g', 'science', n % 100, 60,
    n * 100000000000, n * 100000000000 + 60000000000, n % 360, n % 80, 'good'
FROM generate_series(0, 5999) AS n;
INSERT INTO visit (instrument, id, name, day_obs, physical_filter, exposure_time, begin_tai_ns,
    end_tai_ns)
SELECT instrument, id, obs_id, day_obs, physical_filter, 60, begin_tai_ns, end_tai_ns
FROM exposure WHERE id BETWEEN 1000000 AND 1100000;
INSERT INTO data_id (instrument, detector, exposure)
SELECT 'DemoCam', 1 + id % 4, id FROM exposure WHERE id BETWEEN 1000000 AND 1100000;
INSERT INTO collection (name, type, doc, created_at)
SELECT 'synthetic/' || n, 'RUN', '', now() FROM generate_series(1, 20) AS n;
INSERT INTO dataset (id, dataset_type_id, run_id, data_id, ingest_date_tai_ns)
SELECT gen_random_uuid(), t.id, c.id, i.id, 0
FROM data_id AS i
JOIN dataset_type AS t ON t.name IN ('raw', 'calexp')
JOIN collection AS c ON c.name = 'synthetic/' || (1 + i.exposure % 20)
WHERE i.exposure BETWEEN 1000000 AND 1100000;
INSERT INTO file (id, dataset_id, component, path, size_bytes, formatter)
SELECT 100000 + row_number() OVER (), id, '', 'synthetic/' || id, 1000, 'fits-image'
FROM dataset WHERE ingest_date_tai_ns = 0;
INSERT INTO replica (file_id, endpoint_id, state, since)
SELECT id, 1, 'available', now() FROM file WHERE id > 100000;
INSERT INTO task (id, run_id, label, class_name, config_id, created_at)
SELECT 1000 + c.id, c.id, 'isr', 'x', 1, now() FROM collection AS c WHERE c.name LIKE 'synthetic/%';
INSERT INTO quantum (id, task_id, data_id, state, attempt)
SELECT gen_random_uuid(), k.id, i.id, 'ready', 0
FROM data_id AS i
JOIN collection AS c ON c.name = 'synthetic/' || (1 + i.exposure % 20)
JOIN task AS k ON k.run_id = c.id
WHERE i.exposure BETWEEN 1000000 AND 1100000;
INSERT INTO quantum_output (dataset_id, quantum_id, connection)
SELECT d.id, q.id, 'o'
FROM quantum AS q
JOIN dataset AS d ON d.data_id = q.data_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'calexp'
WHERE q.state = 'ready';
INSERT INTO quantum_input (quantum_id, dataset_id, connection)
SELECT q.id, d.id, 'i'
FROM quantum AS q
JOIN dataset AS d ON d.data_id = q.data_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'raw'
WHERE q.state = 'ready';
"""
LARGE = {
    "data_id", "dataset", "exposure", "file", "quantum", "quantum_input", "quantum_output",
    "replica", "visit",
}  # fmt: skip
"""Tables of which the synthetic repository has 6,000 rows or more."""


def scanned(plan: dict[str, Any]) -> set[str]:
    """List the tables that a plan of PostgreSQL reads from end to end."""
    here = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return here.union(*(scanned(p) for p in plan.get("Plans", [])))


def explained(
    connection: sa.Connection, question: cookbook.Question, how: str
) -> Sequence[sa.Row[Any]]:
    """Ask how a database would answer a question with its examples."""
    asked = cookbook.statement(question, examples(question), connection.dialect.name)
    values = [
        sa.bindparam(p.name, p.value(p.example), cookbook.TYPES[p.type])
        for p in question.parameters
    ]
    return connection.execute(sa.text(f"{how} {asked.text}").bindparams(*values)).all()


def test_questions_by_key_read_no_large_table_from_end_to_end(
    databases: Databases, demo: Registry
) -> None:
    if databases.name != "postgresql":
        # the others scan small tables by choice; that they plan every question is enough
        with demo.read() as connection:
            how = "EXPLAIN QUERY PLAN" if databases.name == "sqlite" else "EXPLAIN"
            assert all(explained(connection, question, how) for question in BY_KEY)
        return
    with databases.migrated() as url, Registry.connect(url) as registry:
        demo_rows.fill(registry)
        with registry.begin() as connection:
            for statement in SYNTHETIC.split(";\n")[:-1]:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        with registry.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
        with registry.read() as connection:
            # reading at random costs little more than in order, on anything but a spinning disk
            connection.exec_driver_sql("SET random_page_cost = 1.1")
            whole = {}
            for question in BY_KEY:
                ((plan,),) = explained(connection, question, "EXPLAIN (FORMAT JSON)")
                read = scanned((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
                if read & LARGE:
                    whole[question.name] = read & LARGE
    assert whole == {}
