"""Is it seen what another process has changed, by who had looked it up before?

Two registries, or two Butlers, on one database stand for two processes: they share no connection
and no memory of what was looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from butler import Butler
from registry import DatasetType, Registry, Timespan, collections
from registry.errors import (
    CollectionTypeError,
    DefinitionConflict,
    InUse,
    UnknownCollection,
    UnknownDataset,
    UnknownDatasetType,
)
from registry.removing import remove_datasets
from tests.registry import observatory
from tests.registry.observatory import BIAS, RAW, bias_id, raw_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = {"instrument": "Cam"}


@pytest.fixture
def other(filled: Registry) -> Iterator[Registry]:
    """The registry of another process."""
    with Registry.connect(filled.database.url) as opened:
        yield opened


@pytest.fixture
def butlers(database_url: str, tmp_path: Path) -> Iterator[tuple[Butler, Butler]]:
    """The Butlers of two processes."""
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as one, Butler(root, run="run") as other:
        observatory.fill(one.registry)
        yield one, other


def kind(*keys: str, storage_class: str = "StructuredDataDict") -> DatasetType:
    return DatasetType("note", ("instrument", *keys), storage_class)


def turned(butler: Butler, definition: DatasetType) -> None:
    """Register a dataset type anew, with another key in the database."""
    butler.registry.remove_dataset_type("note")
    butler.registry.register_dataset_type(kind("band"))
    butler.registry.remove_dataset_type("note")
    for n in range(3):
        butler.registry.register_dataset_type(DatasetType(f"more{n}", (), "StructuredDataDict"))
    butler.registry.register_dataset_type(definition)


def test_a_dataset_type_that_is_registered_anew_is_put_and_found(
    butlers: tuple[Butler, Butler],
) -> None:
    one, other = butlers
    one.registry.register_dataset_type(kind())
    assert other.find_dataset("note", HERE) is None
    ref = other.put({"n": 1}, "note", HERE)
    other.prune([ref], purge=True)
    turned(one, kind("detector"))
    keys = {**HERE, "detector": 1}
    made = other.put({"n": 2}, "note", keys)
    assert made.dataset_type == kind("detector")
    assert other.get("note", keys) == {"n": 2}
    assert one.get("note", keys, collections="run") == {"n": 2}
    assert [r.id for r in other.query_datasets("note")] == [made.id]


def test_a_definition_that_is_not_in_force_is_refused_by_name(
    filled: Registry, other: Registry
) -> None:
    filled.register_collection("run")
    filled.register_dataset_type(kind())
    before = other.dataset_type("note")
    filled.remove_dataset_type("note")
    filled.register_dataset_type(kind(storage_class="Table"))
    with pytest.raises(DefinitionConflict, match="'note' is now registered as .*Table"):
        other.find_dataset(before, HERE, "run")
    with pytest.raises(UnknownDatasetType):
        other.insert_datasets(before, [HERE], "run")
    (ref,) = other.insert_datasets("note", [HERE], "run")
    assert ref.dataset_type == kind(storage_class="Table")
    assert other.find_dataset("note", HERE, "run") == ref


def test_a_dataset_type_goes_only_without_datasets(filled: Registry) -> None:
    filled.register_collection("run")
    filled.insert_datasets(RAW, [raw_id(1)], "run")
    with pytest.raises(InUse, match="There are datasets of the type 'raw'; purge them first"):
        filled.remove_dataset_type("raw")
    with pytest.raises(UnknownDatasetType, match="Did you mean 'raw'"):
        filled.remove_dataset_type("rau")
    filled.set_calibration_policy("bias", "nearest", match={"binning": 0.5})
    filled.remove_dataset_type("bias")
    assert "bias" not in {t.name for t in filled.dataset_types()}
    assert filled.calibration_policies() == {}


def test_a_collection_that_is_made_anew_is_another(filled: Registry, other: Registry) -> None:
    filled.register_collection("run")
    assert other.query_datasets("raw", "run") == []
    filled.chain("chain", ["run"])
    assert other.query_datasets("raw", "chain") == []
    filled.chain("chain", [])
    other.database.transact(collections.remove, "run")
    filled.register_collection("between")
    assert filled.register_collection("run")
    (ref,) = other.insert_datasets("raw", [raw_id(1)], "run")
    assert filled.query_datasets("raw", "run") == [ref]
    assert other.query_datasets("raw", "chain") == []
    filled.chain("chain", ["between", "run"])
    assert other.find_dataset("raw", raw_id(1), "chain") == ref
    assert [c.children for c in other.collections("chain")] == [("between", "run")]


def test_only_one_is_told_that_it_is_new(filled: Registry, other: Registry) -> None:
    assert filled.register_dataset_type(kind())
    assert not other.register_dataset_type(kind())
    assert filled.register_collection("run")
    assert not other.register_collection("run")
    with pytest.raises(CollectionTypeError):
        other.register_collection("run", "TAGGED")
    with pytest.raises(DefinitionConflict):
        other.register_dataset_type(kind("detector"))


def test_a_policy_and_the_validity_that_changed_are_seen(filled: Registry, other: Registry) -> None:
    filled.register_collection("run")
    (ref,) = filled.insert_datasets(BIAS, [bias_id(20220920)], "run")
    filled.certify("calib", [ref], Timespan(1000, 2000))
    asked: list[Any] = [({"instrument": "Cam", "detector": 0}, 5000)]
    assert other.find_calibrations("bias", asked, "calib") == [None]
    filled.set_calibration_policy("bias", "nearest")
    assert other.find_calibrations("bias", asked, "calib") == [ref]
    filled.set_calibration_policy("bias", "nearest", limit_ns=1000)
    assert other.find_calibrations("bias", asked, "calib") == [None]
    filled.decertify("calib", "bias", Timespan(None, None))
    filled.certify("calib", [ref], Timespan(4000, 6000))
    assert other.find_calibrations("bias", asked, "calib") == [ref]


def test_a_dataset_that_was_purged_is_not_tagged(filled: Registry, other: Registry) -> None:
    filled.register_collection("run")
    filled.register_collection("tags", "TAGGED")
    refs = filled.insert_datasets(RAW, [raw_id(1), raw_id(2)], "run")
    other.database.transact(remove_datasets, [ref.id for ref in refs[1:]])
    with pytest.raises(UnknownDataset, match=str(refs[1].id)):
        filled.database.transact(collections.tag, "tags", refs)
    assert filled.query_datasets(RAW, "tags") == []


def test_a_camera_that_was_defined_anew_is_read_by_its_new_definition(
    butlers: tuple[Butler, Butler],
) -> None:
    one, other = butlers
    first = one.register_instrument("demo")
    assert other.definition("DemoCam").digest == first.digest
    document = first.to_yaml().replace("0.082", "0.083")
    second = one.register_instrument(document)
    assert second.digest != first.digest
    assert other.definition("DemoCam").digest == second.digest


def test_a_camera_without_a_definition_is_left_to_who_names_all_keys(
    butlers: tuple[Butler, Butler],
) -> None:
    one, other = butlers
    one.registry.register_dataset_type(kind("detector"))
    other.put({}, "note", {**HERE, "detector": 1})
    with pytest.raises(ValueError, match="lacks detector"):
        other.put({}, "note", HERE)
    with pytest.raises(UnknownCollection):
        other.get("note", {**HERE, "detector": 1}, collections="nowhere")
