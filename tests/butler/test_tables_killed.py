"""A process that puts rows is killed: all of a dataset is there, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import sqlalchemy as sa

from backbone.audit import check
from butler import Butler
from tests.butler.declared import install
from tests.nursery import Moments, Nursery, moments_to_die

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = """
doc: Numbers.
dataset_types: [number]
columns:
  - {name: n, type: int64, doc: A number}
"""
N_ROWS = 21_000  # sent in two parts


def rows() -> pd.DataFrame:
    return pd.DataFrame({"n": range(N_ROWS)})


def program(root: str, run: str, last: int) -> None:
    """Put rows; die at a moment, or tell how many there are."""
    with Butler(root, run=run) as butler:
        moments = Moments(last)
        butler.put(rows(), "number")
        print(moments.count)  # noqa: T201


def test_a_put_of_rows_is_all_or_nothing(repository: Path, nursery: Nursery) -> None:
    install(repository, NUMBERS)
    this, root = f"{__name__}:program", str(repository)
    with Butler(repository, writeable=True) as butler:
        butler.register_dataset_type("number", (), "DataFrame")
        status, said = nursery.run(this, root, "whole", 0)
        assert status == 0
        for kill, last in enumerate(moments_to_die(int(said[-1]), kills=4)):
            run = f"killed/{kill}"
            nursery.kill(this, root, run, last)
            there = butler.exists("number", collections=run)
            assert there == bool(butler.query_datasets("number", collections=run))
            if not there:
                butler.put(rows(), "number", run=run)
            assert butler.get("number", collections=run).equals(rows())
        assert check(butler.registry.database, butler.root, checksums=True, grace=0).findings == []
        with butler.registry.read() as connection:
            counted = connection.execute(sa.text("SELECT count(*) FROM rows_number")).scalar_one()
        assert counted == 5 * N_ROWS
