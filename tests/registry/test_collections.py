from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from registry import collections as coll
from registry.errors import (
    CollectionTypeError,
    Conflict,
    InUse,
    RegistryError,
    UnknownCollection,
)
from registry.identity import uuid7
from registry.schema.collections import tagged
from registry.schema.identity import dataset
from tests.registry.observatory import CATALOG, RAW, raw_id

if TYPE_CHECKING:
    from registry import Registry


def flat(registry: Registry, *names: str) -> list[str]:
    with registry.read() as connection:
        return [c.name for c in coll.flatten(connection, names)]


def test_collection_keeps_its_type(registry: Registry) -> None:
    for kind in coll.TYPES:
        assert registry.register_collection(kind.lower(), kind, doc="why") is True
        assert registry.register_collection(kind.lower(), kind) is False
    with pytest.raises(CollectionTypeError, match="'run' is a RUN collection already"):
        registry.register_collection("run", "TAGGED")
    with pytest.raises(CollectionTypeError, match="choose one of RUN, TAGGED"):
        registry.register_collection("new", "HEAP")
    assert [(c.name, c.type, c.doc) for c in registry.collections()] == [
        (kind.lower(), kind, "why") for kind in sorted(coll.TYPES)
    ]
    assert [c.name for c in registry.collections("c*n")] == ["calibration"]


@pytest.mark.parametrize("name", ["", "a*", "a?", "[a", "a,b", " a", "a ", "a" * 256, "a\x00"])
def test_name_that_cannot_be_written_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(Conflict, match="cannot name a collection"):
        registry.register_collection(name)


def test_names_differ_in_case_and_blanks_and_accents(registry: Registry) -> None:
    names = ["run", "Run", "rün", "run x"]
    assert [registry.register_collection(name) for name in names] == [True] * 4
    assert {c.name for c in registry.collections()} == set(names)


def test_search_goes_through_chains_in_order_and_once(registry: Registry) -> None:
    for name in ("a", "b", "c", "d"):
        registry.register_collection(name)
    registry.chain("inner", ["c", "a"])
    registry.chain("outer", ["b", "inner", "a", "d"])
    assert flat(registry, "outer") == ["b", "c", "a", "d"]
    assert flat(registry, "d", "outer") == ["d", "b", "c", "a"]
    registry.chain("inner", ["a"])
    assert flat(registry, "outer") == ["b", "a", "d"]
    chains = {c.name: c.children for c in registry.collections() if c.type == "CHAINED"}
    assert chains == {"inner": ("a",), "outer": ("b", "inner", "a", "d")}
    registry.chain("inner", [])
    assert flat(registry, "inner") == []


def test_globs_open_in_the_order_of_names(registry: Registry) -> None:
    for name in ("u/2", "u/1", "v/1", "V/1"):
        registry.register_collection(name)
    registry.chain("u/all", ["v/1", "u/2"])
    assert flat(registry, "u/*") == ["u/1", "u/2", "v/1"]
    assert flat(registry, "v/1", "u/[12]") == ["v/1", "u/1", "u/2"]
    assert flat(registry, "w*") == []
    with pytest.raises(UnknownCollection, match="no collection 'u/3'"):
        flat(registry, "u/3")


def test_cycle_is_refused_and_leaves_the_chain_as_it_was(registry: Registry) -> None:
    registry.register_collection("run")
    registry.chain("a", ["run"])
    registry.chain("b", ["a"])
    registry.chain("c", ["b"])
    for children in (["c"], ["a"], ["run", "b"]):
        with pytest.raises(CollectionTypeError, match="'a' cannot be chained below itself"):
            registry.chain("a", children)
    assert flat(registry, "c") == ["run"]
    with pytest.raises(UnknownCollection, match="Did you mean 'run'"):
        registry.chain("a", ["rum"])
    with pytest.raises(CollectionTypeError, match="'run' is a RUN collection"):
        registry.chain("run", ["a"])


def test_tag_replaces_the_dataset_of_the_same_type_and_data_id(filled: Registry) -> None:
    for name in ("one", "two"):
        filled.register_collection(name)
    filled.register_collection("best", "TAGGED")
    ids = [raw_id(3), raw_id(4)]
    old, other = filled.insert_datasets(RAW, ids, "one")
    new, _ = filled.insert_datasets(RAW, ids, "two")
    (catalog,) = filled.insert_datasets(CATALOG, [{"instrument": "Cam", "target": "M31"}], "one")

    def members() -> set[object]:
        found = filled.query_datasets(RAW, "best") + filled.query_datasets(CATALOG, "best")
        return {ref.id for ref in found}

    with filled.begin() as connection:
        coll.tag(connection, "best", [old, other, catalog])
    assert members() == {old.id, other.id, catalog.id}
    with filled.begin() as connection:
        coll.tag(connection, "best", [new])
        coll.tag(connection, "best", [new])
    assert members() == {new.id, other.id, catalog.id}
    with filled.begin() as connection:
        coll.untag(connection, "best", [old, other])
    assert members() == {new.id, catalog.id}
    assert filled.find_dataset(RAW, ids[0], "best") == new
    with (
        pytest.raises(CollectionTypeError, match="'one' is a RUN collection"),
        filled.begin() as connection,
    ):
        coll.tag(connection, "one", [new])


def test_plain_sql_can_neither_tag_what_is_not_nor_remove_what_is_tagged(
    filled: Registry,
) -> None:
    filled.register_collection("first")
    filled.register_collection("best", "TAGGED")
    one, other = filled.insert_datasets(RAW, [raw_id(1), raw_id(2)], "first")
    (catalog,) = filled.insert_datasets(CATALOG, [{"instrument": "Cam", "target": "M31"}], "first")
    with filled.begin() as connection:
        coll.tag(connection, "best", [one])
    kept = sa.select(tagged)
    theirs = sa.select(dataset.c.data_id, dataset.c.dataset_type_id, dataset.c.id)
    with filled.read() as connection:
        before = connection.execute(kept).all()
        of_other = connection.execute(theirs.where(dataset.c.id == other.id)).one()
        of_catalog = connection.execute(theirs.where(dataset.c.id == catalog.id)).one()
    for wrong in (
        sa.update(tagged).values(data_id=of_other.data_id),
        sa.update(tagged).values(dataset_type_id=of_catalog.dataset_type_id),
        sa.update(tagged).values(dataset_id=other.id),
        sa.update(tagged).values(dataset_id=uuid7()),
        sa.delete(dataset).where(dataset.c.id == one.id),
    ):
        with pytest.raises(RegistryError), filled.begin() as connection:
            connection.execute(wrong)
    with filled.read() as connection:
        assert connection.execute(kept).all() == before


def test_collection_in_use_stays(filled: Registry) -> None:
    filled.register_collection("run")
    filled.register_collection("best", "TAGGED")
    refs = filled.insert_datasets(RAW, [raw_id(3)], "run")
    filled.chain("all", ["best", "run"])

    def remove(name: str) -> None:
        with filled.begin() as connection:
            coll.remove(connection, name)

    with pytest.raises(InUse, match="'run' is chained in all"):
        remove("run")
    remove("all")
    with pytest.raises(InUse, match="'run' still holds 1 datasets"):
        remove("run")
    with filled.begin() as connection:
        coll.tag(connection, "best", refs)
    remove("best")
    assert [c.name for c in filled.collections()] == ["run"]
    assert filled.find_dataset(RAW, raw_id(3), "run") == refs[0]
    with pytest.raises(UnknownCollection, match="no collection 'best'"):
        remove("best")
