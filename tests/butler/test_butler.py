from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.nddata import CCDData

from butler import Butler
from butler.errors import NoRun, UnknownComponent, WrongType
from registry import provenance
from registry.errors import (
    DatasetExists,
    DatasetRemoved,
    DefinitionConflict,
    InvalidDataId,
    MissingDataset,
    ReadOnly,
    UnknownCollection,
    UnknownDatasetType,
    UnknownDimensionValue,
)
from registry.identity import uuid7

if TYPE_CHECKING:
    from pathlib import Path


def files_below(root: Path) -> set[str]:
    """Names of all files of datasets, finished or not."""
    found = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
    return {str(p) for p in found if not p.name.startswith(("skyspine.yaml", "registry.sqlite3"))}


def test_what_was_put_is_what_is_got(butler: Butler) -> None:
    ref = butler.put({"n": 3, "é": [1.5, None]}, "summary", instrument="DemoCam", detector=2)
    assert butler.get(ref) == {"n": 3, "é": [1.5, None]}
    assert butler.get("summary", instrument="DemoCam", detector=2) == {"n": 3, "é": [1.5, None]}
    assert ref.run == "u/test"
    assert ref.data_id == {"instrument": "DemoCam", "detector": 2}
    assert butler.exists("summary", instrument="DemoCam", detector=2)
    assert not butler.exists("summary", instrument="DemoCam", detector=3)
    assert butler.find_dataset("summary", instrument="DemoCam", detector=2) == ref
    assert butler.find_dataset("summary", instrument="DemoCam", detector=3) is None


def test_the_only_camera_need_not_be_named(butler: Butler) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)
    assert ref.data_id["instrument"] == "DemoCam"
    assert butler.get("summary", detector=1) == {"n": 1}


def test_another_process_reads_what_was_put(butler: Butler, repository: Path) -> None:
    butler.put({"n": 1}, "summary", detector=1)
    with Butler(repository, collections="u/test") as reader:
        assert reader.get("summary", detector=1) == {"n": 1}
        with pytest.raises(ReadOnly, match="reading only"):
            reader.put({"n": 2}, "summary", detector=2, run="u/test")
    assert len(files_below(repository)) == 1


def test_collections_are_searched_in_order(butler: Butler) -> None:
    for run, n in (("u/old", 1), ("u/new", 2)):
        butler.put({"n": n}, "summary", detector=1, run=run)
    butler.put({"n": 9}, "summary", detector=2, run="u/old")
    butler.collections.register("both", "CHAINED")
    butler.collections.chain("both", ["u/new", "u/old"])
    assert butler.get("summary", detector=1, collections="both") == {"n": 2}
    assert butler.get("summary", detector=1, collections=["u/old", "u/new"]) == {"n": 1}
    assert butler.get("summary", detector=2, collections="both") == {"n": 9}


def test_components_are_read_without_the_rest(butler: Butler) -> None:
    butler.register_dataset_type("image", ("instrument", "detector"), "Exposure")
    pixels = np.arange(12.0).reshape(3, 4)
    image = CCDData(pixels, unit="adu", mask=pixels > 9, meta={"OBJECT": "M76"})
    butler.put(image, "image", detector=1)
    assert butler.get("image.header", detector=1)["OBJECT"] == "M76"
    assert np.count_nonzero(butler.get("image", detector=1, component="mask")) == 2
    cut = butler.get("image", detector=1, parameters={"bbox": (1, 0, 3, 2)})
    assert cut.data.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    with pytest.raises(UnknownComponent, match="header"):
        butler.get("image.haeder", detector=1)


def test_a_deferred_dataset_is_found_now_and_read_later(butler: Butler) -> None:
    butler.put({"n": 5}, "summary", detector=1)
    deferred = butler.get_deferred("summary", detector=1)
    assert deferred.ref.data_id["detector"] == 1
    assert deferred.get() == {"n": 5}
    with pytest.raises(MissingDataset):
        butler.get_deferred("summary", detector=2)


def test_a_second_put_is_refused_and_leaves_no_file(butler: Butler, repository: Path) -> None:
    butler.put({"n": 1}, "summary", detector=1)
    before = files_below(repository)
    with pytest.raises(DatasetExists, match="'u/test'"):
        butler.put({"n": 2}, "summary", detector=1)
    assert files_below(repository) == before
    assert butler.get("summary", detector=1) == {"n": 1}


@pytest.mark.parametrize(
    ("obj", "detector", "error"),
    [
        ([1, 2], 1, WrongType),
        ({"f": test_what_was_put_is_what_is_got}, 1, Exception),
        ({"n": 1}, "one", InvalidDataId),
    ],
)
def test_a_refused_put_leaves_no_file(
    butler: Butler, repository: Path, obj: Any, detector: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        butler.put(obj, "summary", detector=detector)
    assert files_below(repository) == set()
    assert not butler.query_datasets("summary")


def test_an_unknown_detector_is_named(butler: Butler, repository: Path) -> None:
    with pytest.raises(InvalidDataId, match="no detector 77. Known: '1', '2'"):
        butler.put({"n": 1}, "summary", detector=77)
    with pytest.raises(UnknownDimensionValue, match="detector"):
        butler.put({"n": 1}, "summary", instrument="DemoCam", detector=77)
    assert files_below(repository) == set()


@pytest.mark.usefixtures("butler")
def test_a_put_needs_a_run(repository: Path) -> None:
    with Butler(repository, writeable=True) as without, pytest.raises(NoRun, match="run="):
        without.put({"n": 1}, "summary", detector=1)
    assert files_below(repository) == set()


@pytest.mark.usefixtures("butler")
def test_a_get_needs_a_collection(repository: Path) -> None:
    with Butler(repository) as without, pytest.raises(InvalidDataId, match="collections="):
        without.get("summary", detector=1)


def test_arguments_that_mean_nothing_are_refused(butler: Butler) -> None:
    with pytest.raises(TypeError, match="a DatasetType or a DatasetRef, not by 5"):
        butler.get(5, detector=1)  # type: ignore[arg-type]
    for ask in (
        lambda: butler.query_datasets("summary", collections="u/test", limit=-1),
        lambda: butler.query_data_ids(["detector"], limit=-1),
        lambda: butler.query_dimension_records("detector", limit=-1),
    ):
        with pytest.raises(ValueError, match="limit=-1 must be at least 0"):
            ask()
    assert butler.query_datasets("summary", collections="u/test", limit=0) == []


def test_wrong_names_are_answered_with_near_ones(butler: Butler) -> None:
    with pytest.raises(UnknownDatasetType, match="Did you mean 'summary'"):
        butler.get("sumary", detector=1)
    with pytest.raises(UnknownCollection, match="Did you mean 'u/test'"):
        butler.get("summary", detector=1, collections="u/tset")


def test_a_dataset_type_has_one_definition(butler: Butler) -> None:
    butler.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
    with pytest.raises(DefinitionConflict, match="summary"):
        butler.register_dataset_type("summary", ("instrument",), "StructuredDataDict")


def test_a_missing_dataset_tells_what_was_searched(butler: Butler) -> None:
    with pytest.raises(MissingDataset, match="detector=4.*'u/test'") as caught:
        butler.get("summary", detector=4)
    assert caught.value.data_id == {"instrument": "DemoCam", "detector": 4}
    assert caught.value.collections == ("u/test",)


def test_a_transaction_is_all(butler: Butler, repository: Path) -> None:
    with butler.transaction():
        for detector in (1, 2):
            butler.put({"n": detector}, "summary", detector=detector)
    assert [butler.get("summary", detector=d)["n"] for d in (1, 2)] == [1, 2]
    assert len(files_below(repository)) == 2


def test_or_nothing(butler: Butler, repository: Path) -> None:
    butler.put({"n": 0}, "summary", detector=4)
    before = files_below(repository)

    def fails() -> None:
        with butler.transaction():
            butler.put({"n": 1}, "summary", detector=1)
            with butler.transaction():
                butler.put({"n": 2}, "summary", detector=2)
            butler.put({"n": 3}, "summary", detector=4)

    with pytest.raises(DatasetExists):
        fails()
    assert files_below(repository) == before
    assert not butler.exists("summary", detector=1)
    assert not butler.exists("summary", detector=2)
    butler.put({"n": 1}, "summary", detector=1)


@pytest.mark.parametrize("purge", [False, True])
def test_a_prune_that_is_rolled_back_removes_nothing(butler: Butler, *, purge: bool) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)

    def fails() -> None:
        with butler.transaction():
            butler.prune([ref], purge=purge)
            assert not butler.exists("summary", detector=1)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert butler.get("summary", detector=1) == {"n": 1}


@pytest.mark.parametrize("purge", [False, True])
def test_a_prune_in_a_transaction_is_done_at_its_end(
    butler: Butler, repository: Path, *, purge: bool
) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)
    with butler.transaction():
        butler.prune([ref], purge=purge)
        assert len(files_below(repository)) == 1
    assert files_below(repository) == set()
    assert len(butler.query_datasets("summary")) == (0 if purge else 1)


def test_an_unstored_dataset_stays_known(butler: Butler, repository: Path) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)
    butler.prune([ref])
    assert files_below(repository) == set()
    assert not butler.exists("summary", detector=1)
    assert butler.query_datasets("summary") == [ref]
    with pytest.raises(MissingDataset, match="unstored"):
        butler.get(ref)
    with pytest.raises(DatasetExists):
        butler.put({"n": 2}, "summary", detector=1)


def test_a_purged_dataset_is_gone_and_may_come_again(butler: Butler, repository: Path) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)
    butler.collections.register("best", "TAGGED")
    butler.collections.tag("best", [ref])
    butler.prune([ref], purge=True)
    assert files_below(repository) == set()
    assert butler.query_datasets("summary") == []
    assert butler.query_datasets("summary", collections="best") == []
    again = butler.put({"n": 2}, "summary", detector=1)
    assert again.id != ref.id
    assert butler.get(again) == {"n": 2}


def test_a_purge_leaves_the_row_of_what_a_quantum_read(butler: Butler) -> None:
    ref = butler.put({"n": 1}, "summary", detector=1)
    other = butler.put({"n": 2}, "summary", detector=2)
    with butler.registry.begin() as connection:
        config = provenance.record_config(connection, "a.Config", "", [])
        task = provenance.record_task(connection, "u/test", "measure", "a.Task", config, [])
        reads = provenance.QuantumRow(uuid7(), ref.data_id, (("summary", ref.id),))
        provenance.insert_quanta(connection, task, [reads])
    butler.prune([other, ref], purge=True)
    assert butler.registry.get_refs([ref.id, other.id]) == {ref.id: ref}
    assert butler.query_datasets("summary", collections="*") == []
    assert butler.find_dataset("summary", detector=1) is None
    with pytest.raises(MissingDataset, match="It was removed on .* by "):
        butler.get(ref)
    with pytest.raises(DatasetRemoved, match="put the new one into another run"):
        butler.put({"n": 3}, "summary", detector=1)
    assert butler.put({"n": 3}, "summary", detector=2).id != other.id


STRANGE = ["../../etc", "..", "a/../../b", "with blank", "quo'te\"s;--", "Ünïcødé/星/Ω", ".hidden"]


def test_strange_run_names_stay_inside_the_root(butler: Butler, repository: Path) -> None:
    outside = {p for p in repository.parent.iterdir() if p != repository}
    for n, name in enumerate(STRANGE):
        butler.put({"n": n}, "summary", detector=1, run=name)
        assert butler.get("summary", detector=1, collections=name) == {"n": n}
    assert len(files_below(repository)) == len(STRANGE)
    assert {p for p in repository.parent.iterdir() if p != repository} == outside


def test_strange_values_of_extra_keys_stay_inside_the_root(
    butler: Butler, repository: Path
) -> None:
    outside = {p for p in repository.parent.iterdir() if p != repository}
    butler.register_dataset_type("note", ("instrument", "target"), "StructuredDataDict")
    names = [*STRANGE, "星" * 60]
    for n, name in enumerate(names):
        butler.put({"n": n}, "note", instrument="DemoCam", target=name)
        assert butler.get("note", instrument="DemoCam", target=name) == {"n": n}
    assert len(files_below(repository)) == len(names)
    assert {p for p in repository.parent.iterdir() if p != repository} == outside


def test_names_that_differ_only_where_paths_cannot_do_not_collide(butler: Butler) -> None:
    for n, run in enumerate(("a b", "a_b", "a:b", "A_B", "ä_b")):
        butler.put({"n": n}, "summary", detector=1, run=run)
    found = [
        butler.get("summary", detector=1, collections=run)["n"]
        for run in ("a b", "a_b", "a:b", "A_B", "ä_b")
    ]
    assert found == [0, 1, 2, 3, 4]


def test_a_butler_shows_itself_and_finds_by_identity(butler: Butler, repository: Path) -> None:
    assert repr(butler) == f"<Butler of {butler.root}: searches u/test; writes to u/test>"
    assert repr(butler.collections) == f"<Collections of {butler.root}>"
    ref = butler.put({"n": 1}, "summary", instrument="DemoCam", detector=1)
    assert butler.get_dataset(ref.id) == butler.get_dataset(str(ref.id)) == ref
    assert butler.get_dataset(uuid7()) is None
    with pytest.raises(TypeError, match=r"get_dataset finds one by its UUID"):
        butler.get(ref.id)  # type: ignore[arg-type]
    with Butler(repository) as reading:
        shown = f"<Butler of {butler.root}: searches nothing by default; reads only>"
        assert repr(reading) == shown
        assert repr(reading.registry).endswith(", reads only>")
        (found,) = reading.registry.query_datasets("summary", collections="u/test")
        assert found == ref


def test_one_text_is_no_list_of_names(butler: Butler) -> None:
    with pytest.raises(TypeError, match=r"dimensions='exposure' is no list of names: write \['ex"):
        butler.query_data_ids("exposure")
    with pytest.raises(TypeError, match=r"dimensions='exposure' is no list"):
        butler.register_dataset_type("letters", "exposure", "StructuredDataDict")
