"""Are quanta given to workers when they may begin, and not a moment before?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from butler import Butler
from registry import plans
from registry.schema.provenance import quantum
from tests.workflow import test_runner, test_supertask
from workflow import recorded_pipelines
from workflow.frontier import Frontier
from workflow.planned_runs import run_named
from workflow.quanta import planned_tasks

root = test_runner.root


def test_what_has_just_failed_in_its_worker_lets_nobody_begin(root: Any) -> None:
    test_supertask.ran(root, test_supertask.BOTH, plan_only=True)
    with Butler(root, writeable=True) as butler:
        database = butler.registry.database
        with database.read() as connection:
            run = run_named(connection, "out")
            keys = plans.task_keys(connection, run)
            pipeline = recorded_pipelines.load(connection, run)
            tasks = {t.id: t for t in planned_tasks(connection, pipeline, keys)}
        here = [keys["measure"], keys["extend"]]
        frontier = Frontier(database, tasks, here, lossy=True)
        measured = frontier.next()
        assert [q.label for q in measured] == ["measure"] * 4

        def fail(connection: sa.Connection, one: Any) -> None:
            at = dt.datetime.now(dt.UTC)
            of_one = sa.update(quantum).where(quantum.c.id == one.id)
            connection.execute(of_one.values(state="running", started_at=at))
            told = {"exception_class": "ValueError", "exception_message": "no star"}
            connection.execute(of_one.values(state="failed", finished_at=at, **told))

        for one in measured[:2]:
            database.transact(fail, one)
        frontier.end(measured[0], whole=False)
        found, n_blocked = frontier.heirs()
        assert (found, n_blocked) == ([], 1)
        assert frontier.next() == []  # of the second, nobody has been told
        frontier.end(measured[1], whole=False)
        assert frontier.heirs() == ([], 1)
        assert frontier.next() == []
