"""How does a program ask for data IDs and dimension records, and for tables of them?

The part of `registry.Registry` whose questions are answered by `registry.data_ids` and
`registry.records`; those for datasets are beside them, and answered by `registry.finding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import data_ids, records
from registry.answering import dataframe
from registry.database import plan_of, question, shown_sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

    from registry.database import Database
    from registry.identity import DataId

__all__ = ["Discovery"]


class Discovery:
    """Questions about data IDs and records; a `registry.Registry` has them all."""

    database: Database

    @question
    def query_data_ids(self, dimensions_: Sequence[str], **options: Any) -> list[DataId]:
        """List data IDs; see `registry.data_ids.query_data_ids` for the options."""
        with self.database.read() as connection:
            return data_ids.query_data_ids(connection, dimensions_, **options)

    def stream_data_ids(self, dimensions_: Sequence[str], **options: Any) -> Iterator[DataId]:
        """Give data IDs while they come; see `registry.data_ids.stream_data_ids`."""
        with self.database.stream() as connection:
            yield from data_ids.stream_data_ids(connection, dimensions_, **options)

    @question
    def table_of_data_ids(self, dimensions_: Sequence[str], **options: Any) -> pa.Table:
        """List data IDs as a table of Arrow; see `registry.data_ids.table_of_data_ids`."""
        with self.database.read() as connection:
            return data_ids.table_of_data_ids(connection, dimensions_, **options)

    @question
    def count_data_ids(self, dimensions_: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Count data IDs, by the values of some names; see `registry.data_ids.count_data_ids`."""
        with self.database.read() as connection:
            return data_ids.count_data_ids(connection, dimensions_, **options)

    @question
    def show_query_of_data_ids(self, dimensions_: Sequence[str], **options: Any) -> tuple[str, str]:
        """Show what `query_data_ids` would run, as `show_query` does for datasets."""
        with self.database.read() as connection:
            statement = data_ids.query_data_ids_sql(connection, dimensions_, **options)
            return shown_sql(connection, statement), plan_of(connection, statement)

    @question
    def query_dimension_records(self, element: str, **options: Any) -> list[dict[str, Any]]:
        """List records of an element; see `registry.records.query_dimension_records`."""
        with self.database.read() as connection:
            return records.query_dimension_records(connection, element, **options)

    def stream_dimension_records(self, element: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Give records while they come; see `registry.records.stream_dimension_records`."""
        with self.database.stream() as connection:
            yield from records.stream_dimension_records(connection, element, **options)

    @question
    def table_of_dimension_records(self, element: str, **options: Any) -> pa.Table:
        """List records as a table of Arrow; see `registry.records.table_of_dimension_records`."""
        with self.database.read() as connection:
            return records.table_of_dimension_records(connection, element, **options)

    @question
    def count_dimension_records(self, element: str, **options: Any) -> list[dict[str, Any]]:
        """Count records, by the values of names; see `registry.records.count_dimension_records`."""
        with self.database.read() as connection:
            return records.count_dimension_records(connection, element, **options)

    @question
    def show_query_of_dimension_records(self, element: str, **options: Any) -> tuple[str, str]:
        """Show what `query_dimension_records` would run, as `show_query` does for datasets."""
        with self.database.read() as connection:
            statement = records.query_dimension_records_sql(connection, element, **options)
            return shown_sql(connection, statement), plan_of(connection, statement)

    @question
    def to_dataframe(self, query: Any) -> pd.DataFrame:
        """Give the answer to a query as a DataFrame.

        Parameters
        ----------
        query : str, sqlalchemy.Select or pyarrow.Table
            SQL to be run; or what `table_of_datasets`, `table_of_data_ids` or
            `table_of_dimension_records` gave, of which integers and truth values stay what they are
            beside missing ones.

        Examples
        --------
        ::

            registry.to_dataframe(registry.table_of_data_ids(["visit", "tract"]))
        """
        if not isinstance(query, (str, sa.Executable)):
            return dataframe(query)
        import pandas as pd

        statement = sa.text(query) if isinstance(query, str) else query
        with self.database.read() as connection:
            result = connection.execute(statement)
            return pd.DataFrame(result.fetchall(), columns=list(result.keys()))
