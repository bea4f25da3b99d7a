"""One table of exposures per database, made once for the tests of the expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.registry.expressions.exposures import exposure, metadata, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases


@pytest.fixture(scope="module")
def connection(databases: Databases) -> Iterator[sa.Connection]:
    """Connection to a database with the table of exposures."""
    with databases.empty() as url:
        engine = sa.create_engine(url)
        metadata.create_all(engine)
        with engine.begin() as writing:
            writing.execute(exposure.insert(), rows())
        with engine.connect() as reading:
            yield reading
        engine.dispose()
