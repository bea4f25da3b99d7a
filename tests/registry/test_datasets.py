from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from registry import DatasetType, datasets
from registry import collections as coll
from registry.errors import (
    CollectionTypeError,
    DatasetExists,
    DefinitionConflict,
    InvalidDataId,
    UnknownDatasetType,
    UnknownDimensionValue,
    UnknownName,
)
from registry.identity import uuid7
from registry.provenance import QuantumRow, insert_quanta, record_config, record_task
from registry.removing import remove_datasets
from tests.registry.observatory import CATALOG, RAW, raw_id

if TYPE_CHECKING:
    from registry import DatasetRef, Registry


@pytest.fixture
def runs(filled: Registry) -> Registry:
    """Registry with exposures 1-4 of detector 0 in run `all`, and 3 and 4 again in `redo`."""
    for name in ("all", "redo"):
        filled.register_collection(name)
    filled.insert_datasets(RAW, [raw_id(n) for n in (1, 2, 3, 4)], "all")
    filled.insert_datasets(RAW, [raw_id(n) for n in (3, 4)], "redo")
    filled.chain("chain", ["redo", "all"])
    return filled


def found(registry: Registry, collections: Any, **options: Any) -> list[tuple[Any, str]]:
    refs = registry.query_datasets("raw", collections, **options)
    return [(ref.data_id["exposure"], ref.run) for ref in refs]


def test_dataset_type_is_registered_once(registry: Registry) -> None:
    assert registry.register_dataset_type(RAW) is True
    assert registry.register_dataset_type(RAW) is False
    assert registry.dataset_type("raw") == RAW
    assert registry.dataset_types() == [RAW]
    with pytest.raises(DefinitionConflict, match="registered already"):
        registry.register_dataset_type(DatasetType("raw", RAW.dimensions, "Table"))
    with pytest.raises(UnknownDatasetType, match="Did you mean 'raw'"):
        registry.dataset_type("raws")
    with pytest.raises(InvalidDataId, match="detector among its dimensions and so needs instrum"):
        registry.register_dataset_type(DatasetType("bad", ("detector",), "Table"))
    with pytest.raises(InvalidDataId, match="cannot name a dataset type"):
        registry.register_dataset_type(DatasetType("a b", ("instrument",), "Table"))


def test_type_run_and_data_id_are_unique_together(runs: Registry) -> None:
    with pytest.raises(DatasetExists, match="'redo'") as caught:
        runs.insert_datasets(RAW, [raw_id(1), raw_id(3)], "redo")
    assert caught.value.data_id == raw_id(3)
    with pytest.raises(DatasetExists):
        runs.insert_datasets(RAW, [raw_id(1), raw_id(1)], "redo")
    assert sorted(found(runs, "redo")) == [(3, "redo"), (4, "redo")]
    runs.insert_datasets(RAW, [raw_id(1), raw_id(1, detector=1)], "redo")
    assert len(found(runs, "redo")) == 4


def test_insertion_checks_run_and_keys_and_records(runs: Registry) -> None:
    with pytest.raises(CollectionTypeError, match="'chain' is a CHAINED collection"):
        runs.insert_datasets(RAW, [raw_id(1)], "chain")
    with pytest.raises(InvalidDataId, match="lacks exposure"):
        runs.insert_datasets(RAW, [{"instrument": "Cam", "detector": 0}], "all")
    with pytest.raises(UnknownDimensionValue, match="no exposure '99' of Cam"):
        runs.insert_datasets(RAW, [raw_id(2, detector=1), raw_id(99)], "all")
    with pytest.raises(UnknownDimensionValue, match="no detector '7' of Cam"):
        runs.insert_datasets(RAW, [raw_id(1, detector=7)], "all")
    assert len(found(runs, "all")) == 4


def test_a_bulk_load_checks_no_less_and_leaves_nothing_behind(
    runs: Registry, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_BULK", 2)
    with pytest.raises(UnknownDimensionValue, match="no exposure '77' of Cam"):
        runs.insert_datasets(RAW, [raw_id(n) for n in (1, 2, 77)], "redo")
    with pytest.raises(DatasetExists):
        runs.insert_datasets(RAW, [raw_id(n) for n in (1, 2, 3)], "redo")
    with runs.begin() as connection:
        datasets.insert_datasets(connection, RAW, [raw_id(n) for n in (1, 2)], "redo")
        [ref] = datasets.insert_datasets(connection, RAW, [raw_id(1, detector=1)], "redo")
    assert runs.find_dataset(RAW, ref.data_id, collections="redo") == ref  # a kept plan, anew
    assert sorted(found(runs, "redo")) == [
        (1, "redo"),
        (1, "redo"),
        *((n, "redo") for n in (2, 3, 4)),
    ]
    if backend == "postgresql":
        with runs.begin() as connection:
            asked = connection.exec_driver_sql("SHOW random_page_cost")
            assert asked.scalar_one() == "4"  # as the server has it


def test_keys_beyond_the_dimensions_identify_too(runs: Registry) -> None:
    names = ["M31", "m31", "M31 ", "NGC 224 'Андромеда' \U0001f30c \\ \"q\""]
    ids = [{"instrument": "Cam", "target": name} for name in names]
    refs = runs.insert_datasets(CATALOG, ids, "all")
    assert [ref.data_id for ref in refs] == ids
    assert [runs.find_dataset("catalog", d, "all") for d in ids] == refs
    assert runs.get_refs([r.id for r in refs]) == {r.id: r for r in refs}
    assert set(runs.query_datasets("catalog", "all")) == set(refs)
    assert runs.query_datasets("catalog", "all", where="target = 'm31'") == [refs[1]]
    with pytest.raises(DatasetExists):
        runs.insert_datasets(CATALOG, [ids[3]], "all")


def test_find_goes_through_collections_in_order(runs: Registry) -> None:
    def run_of(number: int, *collections: str) -> str | None:
        ref = runs.find_dataset("raw", raw_id(number), collections)
        return None if ref is None else ref.run

    assert run_of(3, "all", "redo") == "all"
    assert run_of(3, "redo", "all") == "redo"
    assert run_of(3, "chain") == "redo"
    assert run_of(1, "chain") == "all"
    assert run_of(1, "redo") is None
    assert runs.find_dataset("raw", raw_id(3, detector=1), "chain") is None
    (tagged,) = runs.query_datasets("raw", "all", where="exposure = 3")
    runs.register_collection("best", "TAGGED")
    with runs.begin() as connection:
        coll.tag(connection, "best", [tagged])
    assert run_of(3, "best", "chain") == "all"
    assert run_of(3, "chain", "best") == "redo"


def test_query_takes_the_first_of_each_data_id(runs: Registry) -> None:
    first = {(1, "all"), (2, "all"), (3, "redo"), (4, "redo")}
    assert set(found(runs, "chain")) == first
    assert set(found(runs, ["all", "redo"])) == {(n, "all") for n in (1, 2, 3, 4)}
    everything = found(runs, "chain", find_first=False)
    assert len(everything) == 6
    assert set(everything) == first | {(3, "all"), (4, "all")}
    assert found(runs, "none*") == []


@pytest.mark.parametrize(
    ("where", "exposures"),
    [
        ("exposure.observation_type = 'science'", [3, 4]),
        ("exposure.target_name = 'M31'", [3]),
        ("exposure.physical_filter = 'SDSS g' AND exposure.exposure_time < 10", [2]),
        ("physical_filter = 'SDSS g'", [2, 3]),
        ("band = 'r' OR exposure = 1", [1, 4]),
        ("day_obs = 20220921", [4]),
        ("exposure.quality = 'rejected'", [4]),
        ("exposure > least AND NOT exposure IN (3)", [2, 4]),
        ("instrument = 'cam'", []),
        ("run = 'all'", [1, 2, 3, 4]),
        ("detector.full_name = 'chip0'", [1, 2, 3, 4]),
        ("detector = 1", []),
    ],
)
def test_query_by_expression(runs: Registry, where: str, exposures: list[int]) -> None:
    assert sorted(n for n, _ in found(runs, "all", where=where, bind={"least": 1})) == exposures


def test_query_by_key_in_order_and_with_limit(runs: Registry) -> None:
    by_number = ["-exposure"]
    for collections in ("all", "chain"):
        numbers = [n for n, _ in found(runs, collections, order_by=by_number)]
        assert numbers == [4, 3, 2, 1]
        assert [n for n, _ in found(runs, collections, order_by=by_number, limit=2)] == [4, 3]
        ordered = found(runs, collections, order_by=["exposure.observation_type", "-exposure"])
        assert [n for n, _ in ordered] == [1, 2, 4, 3]
        assert [n for n, _ in found(runs, collections, data_id={"exposure": 2})] == [2]
        night = found(runs, collections, data_id={"day_obs": 20220920}, order_by=["exposure"])
        assert [n for n, _ in night] == [1, 2, 3]
    with pytest.raises(UnknownName, match="Did you mean 'exposure"):
        found(runs, "all", order_by=["exposre"])


def test_data_ids_come_from_the_records(runs: Registry) -> None:
    assert sorted(runs.query_data_ids(["instrument", "day_obs"]), key=str) == [
        {"instrument": "Cam", "day_obs": d} for d in (20220920, 20220921)
    ]
    frames = runs.query_data_ids(
        ["instrument", "detector", "exposure"],
        where="exposure.observation_type = 'science'",
        order_by=["exposure", "-detector"],
    )
    assert frames == [raw_id(3, 1), raw_id(3, 0), raw_id(4, 1), raw_id(4, 0)]
    assert runs.query_data_ids(["band"], order_by=["band"]) == [{"band": "g"}, {"band": "r"}]
    assert runs.query_data_ids(["instrument", "exposure"], limit=1, order_by=["exposure"]) == [
        {"instrument": "Cam", "exposure": 1}
    ]


def test_data_ids_come_from_the_datasets(runs: Registry) -> None:
    ids = runs.query_data_ids(["instrument", "exposure"], datasets="raw", collections="redo")
    assert sorted(d["exposure"] for d in ids) == [3, 4]
    nights = runs.query_data_ids(
        ["instrument", "day_obs"], datasets="raw", collections="chain", order_by=["-day_obs"]
    )
    assert nights == [{"instrument": "Cam", "day_obs": d} for d in (20220921, 20220920)]


def test_dataset_read_by_a_quantum_leaves_its_row(runs: Registry) -> None:
    refs: dict[Any, DatasetRef] = {
        r.data_id["exposure"]: r for r in runs.query_datasets("raw", "all")
    }
    with runs.begin() as connection:
        config = record_config(connection, "a.Config", "", [])
        task = record_task(connection, "redo", "reduce", "a.Task", config, [])
        row = QuantumRow(uuid7(), refs[3].data_id, (("raws", refs[3].id),))
        insert_quanta(connection, task, [row])
    with runs.begin() as connection:
        assert remove_datasets(connection, [refs[1].id, refs[3].id]) == 1
    assert sorted(found(runs, "all")) == [(2, "all"), (4, "all")]
    with runs.begin() as connection:
        assert remove_datasets(connection, [refs[4].id]) == 0
        assert set(datasets.get_refs(connection, [r.id for r in refs.values()])) == {
            refs[2].id,
            refs[3].id,
        }
    assert sorted(found(runs, "all")) == [(2, "all")]
    assert sorted(found(runs, "redo")) == [(3, "redo"), (4, "redo")]


def test_verbs_in_one_transaction_are_undone_together(runs: Registry) -> None:
    class AbandonedError(Exception):
        pass

    with pytest.raises(AbandonedError), runs.begin():
        runs.register_collection("new")
        runs.insert_datasets(RAW, [raw_id(1)], "new")
        assert found(runs, "new") == [(1, "new")]
        raise AbandonedError
    assert [c.name for c in runs.collections("new")] == []
