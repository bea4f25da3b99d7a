"""Do processes that load much at the same time wait for each other's statistics?"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry import Registry
from tests.registry import observatory
from tests.registry.observatory import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 5010
"""More rows than are inserted without new statistics."""


@contextmanager
def loader(url: str, backend: str, run: str) -> Iterator[Registry]:
    """Open a registry that gives up at once when somebody has locked what it needs."""
    shown = sa.make_url(url)
    if backend == "postgresql":
        shown = shown.update_query_dict({"options": "-c lock_timeout=500"})
    with Registry.connect(shown.render_as_string(hide_password=False)) as registry:
        registry.register_collection(run)
        yield registry


def load(registry: Registry, run: str) -> int:
    data_ids = [{"instrument": "Cam", "target": f"{run}-{n}"} for n in range(N)]
    return len(registry.insert_datasets(CATALOG, data_ids, run))


def test_nobody_waits_for_the_statistics_of_another(database_url: str, backend: str) -> None:
    with Registry.connect(database_url) as registry:
        observatory.fill(registry)
        registry.register_collection("before")  # a key that is new is declared once
        registry.insert_datasets(CATALOG, [{"instrument": "Cam", "target": "x"}], "before")
    with ExitStack() as stack:
        first = stack.enter_context(loader(database_url, backend, "first"))
        second = stack.enter_context(loader(database_url, backend, "second"))
        with first.begin():
            assert load(first, "first") == N
            if backend != "sqlite":  # where writers take turns
                assert load(second, "second") == N
        n_second = 0 if backend == "sqlite" else N
        assert len(first.query_datasets(CATALOG, ["first", "second"])) == N + n_second
