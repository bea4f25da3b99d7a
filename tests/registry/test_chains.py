"""Does a chain keep what each of several writers puts into it?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from registry import Registry, chains, collections
from registry.errors import CollectionTypeError, UnknownCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNS = ["a", "b", "c", "d"]


def held(registry: Registry, name: str = "chain") -> list[str]:
    (found,) = registry.collections(name)
    return list(found.children)


def do(registry: Registry, verb: Callable[..., None], children: Sequence[str]) -> list[str]:
    registry.database.ensure(verb, "chain", children)
    return held(registry)


@pytest.fixture
def filled(registry: Registry) -> Registry:
    for name in RUNS:
        registry.register_collection(name)
    return registry


def test_a_chain_grows_at_both_ends_and_shrinks(filled: Registry) -> None:
    assert do(filled, chains.extend_chain, ["b"]) == ["b"]
    assert do(filled, chains.extend_chain, ["c", "d"]) == ["b", "c", "d"]
    assert do(filled, chains.prepend_chain, ["a"]) == ["a", "b", "c", "d"]
    assert do(filled, chains.prepend_chain, ["d", "c"]) == ["d", "c", "a", "b"]
    assert do(filled, chains.extend_chain, ["c"]) == ["d", "a", "b", "c"]
    assert do(filled, chains.extend_chain, ["c"]) == ["d", "a", "b", "c"]
    assert do(filled, chains.remove_from_chain, ["a", "d"]) == ["b", "c"]
    assert do(filled, chains.remove_from_chain, ["a"]) == ["b", "c"]


def test_what_cannot_be_changes_nothing(filled: Registry) -> None:
    do(filled, chains.extend_chain, ["a"])
    filled.chain("outer", ["chain"])
    with pytest.raises(CollectionTypeError, match="below itself"):
        do(filled, chains.extend_chain, ["outer"])
    for verb in (chains.extend_chain, chains.remove_from_chain):
        with pytest.raises(UnknownCollection, match="'nope'"):
            do(filled, verb, ["nope"])
        with pytest.raises(CollectionTypeError):
            filled.database.transact(verb, "a", ["b"])
    with pytest.raises(UnknownCollection, match="'new'"):
        filled.database.transact(chains.remove_from_chain, "new", ["a"])
    assert held(filled) == ["a"]
    assert not filled.collections("new")


def test_writers_of_one_chain_lose_nothing(filled: Registry, database_url: str) -> None:
    def extend(name: str) -> None:
        with Registry.connect(database_url) as own:
            own.database.ensure(chains.extend_chain, "chain", [name])

    with ThreadPoolExecutor(len(RUNS)) as writers:
        list(writers.map(extend, RUNS))
    assert sorted(held(filled)) == RUNS


def test_only_a_tagged_collection_lets_datasets_go(filled: Registry) -> None:
    with pytest.raises(CollectionTypeError, match="'a' is a RUN collection"):
        filled.database.transact(collections.untag, "a", [])
