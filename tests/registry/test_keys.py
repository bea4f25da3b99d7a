"""Are keys of data IDs that have no column compared and sorted by the type of their values?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import DatasetType, Registry, deploy, keys
from registry.database import open_engine
from registry.errors import DefinitionConflict, InvalidDataId
from registry.expressions import ExpressionError
from registry.schema.identity import data_id_key

if TYPE_CHECKING:
    from registry import DatasetRef

BLOCKS = DatasetType("blocks", ("instrument", "block", "label"), "Table")
VALUES = [(9, "9"), (10, "10"), (2**40, "Ωa"), (-3, "a b")]


@pytest.fixture
def blocks(filled: Registry) -> list[DatasetRef]:
    filled.register_dataset_type(BLOCKS)
    filled.register_collection("all")
    ids = [{"instrument": "Cam", "block": b, "label": label} for b, label in VALUES]
    return filled.insert_datasets(BLOCKS, ids, "all")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("block = 10", [10]),
        ("block < 10", [-3, 9]),
        ("block > 9", [10, 2**40]),
        ("block IN (5..10)", [9, 10]),
        ("block IN (:some)", [9, 2**40]),
        ("block * 2 = 20", [10]),
        ("block - 9 = 1099511627767", [2**40]),
        ("label = '10'", [10]),
        ("label < '9'", [10]),
        ("label GLOB '*a*'", [-3, 2**40]),
        ("NOT label = 'Ωa' AND block != 9", [-3, 10]),
    ],
)
def test_conditions_on_integers_and_texts(
    filled: Registry, blocks: list[DatasetRef], where: str, found: list[int]
) -> None:
    del blocks
    refs = filled.query_datasets("blocks", "all", where=where, bind={"some": [9, 2**40]})
    assert sorted(ref.data_id["block"] for ref in refs) == found


def test_order_and_fixed_values(filled: Registry, blocks: list[DatasetRef]) -> None:
    def ordered(by: str) -> list[int]:
        found = filled.query_datasets("blocks", "all", order_by=[by])
        return [blocks.index(ref) for ref in found]

    assert ordered("block") == [3, 0, 1, 2]
    assert ordered("-block") == [2, 1, 0, 3]
    assert ordered("label") == [1, 0, 3, 2]
    assert filled.query_datasets("blocks", "all", data_id={"block": 10}) == [blocks[1]]
    assert filled.query_datasets("blocks", "all", data_id={"label": "9"}) == [blocks[0]]
    found = filled.query_data_ids(["block"], datasets="blocks", collections="all")
    assert [d["block"] for d in found] == [-3, 9, 10, 2**40]


def test_types_are_told_apart(filled: Registry, blocks: list[DatasetRef]) -> None:
    del blocks
    for where, remedy in (("block = '10'", "write 10"), ("label = 10", "write '10'")):
        with pytest.raises(ExpressionError, match=remedy):
            filled.query_datasets("blocks", "all", where=where)


def test_a_key_has_values_of_one_type(filled: Registry, blocks: list[DatasetRef]) -> None:
    wrong = {"instrument": "Cam", "block": "ten", "label": "x"}
    with pytest.raises(InvalidDataId, match="'block' takes an integer .* given 'ten'"):
        filled.insert_datasets(BLOCKS, [wrong], "all")
    new = DatasetType("new", ("new",), "Table")
    filled.register_dataset_type(new)
    with pytest.raises(InvalidDataId, match="a text and an integer, 1 and 'a'"):
        filled.insert_datasets(new, [{"new": 1}, {"new": "a"}], "all")
    with filled.begin() as connection:
        keys.declare_keys(connection, {"block": int, "run_number": int})
        keys.declare_keys(connection, {"run_number": int})
        with pytest.raises(DefinitionConflict, match="'run_number' are integers .* as texts"):
            keys.declare_keys(connection, {"run_number": str})
    with filled.read() as connection:
        kinds = {n: keys.key_type(connection, n) for n in ("block", "label", "run_number", "none")}
    assert kinds == {"block": int, "label": str, "run_number": int, "none": str}
    assert len(filled.query_datasets("blocks", "all")) == len(blocks)


def test_an_upgrade_takes_the_types_from_the_values(database_url: str) -> None:
    deploy.downgrade(database_url, "0005")
    engine = open_engine(database_url)
    with engine.begin() as connection:
        data_id = sa.table("data_id", sa.column("extra", sa.JSON))
        for extra in ({"target": "M31"}, {"target": "M33", "block": 3}, {"odd": 1}, {"odd": "x"}):
            connection.execute(sa.insert(data_id).values(extra=extra))
    deploy.upgrade(database_url)
    with engine.connect() as connection:
        found = connection.execute(sa.select(data_id_key).order_by(data_id_key.c.name)).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [("block", "int"), ("odd", "str"), ("target", "str")]
