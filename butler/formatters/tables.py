"""How do a DataFrame lie in Parquet, and a Table in ECSV?

Both keep types and units and can be read by others. FITS tables are in
`butler.formatters.fits_table`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.fits_table import selected_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd
    from astropy.table import Table

__all__ = ["EcsvFormatter", "ParquetFormatter"]


class ParquetFormatter(Formatter):
    """A pandas DataFrame as Parquet, through Arrow; index and attributes come back.

    Component: ``columns`` (the names). Parameter of a read: ``columns``; only those are read from
    the disk.
    """

    name = "parquet"
    extension: ClassVar[str] = ".parquet"
    python_types: ClassVar[tuple[str, ...]] = ("pandas.DataFrame",)
    components: ClassVar[frozenset[str]] = frozenset({"columns"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: pd.DataFrame, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the DataFrame; see `Formatter.dump`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names: list[Any] = list(obj.columns)
        odd = [name for name in names if not isinstance(name, str)]
        if odd:
            raise self.refuse(
                f"the name of column {odd[0]!r} is of type {type(odd[0]).__name__}",
                "rename the columns: df.rename(columns=str)",
            )
        try:
            table = pa.Table.from_pandas(obj)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise self.refuse(
                " ".join(str(part) for part in error.args), "give each column values of one type"
            ) from error
        metadata = {**(table.schema.metadata or {}), **provenance}
        pq.write_table(table.replace_schema_metadata(metadata), stream)

    def load(
        self,
        path: str,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the DataFrame or its column names; see `Formatter.load`."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            index = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
            names = [name for name in file.schema_arrow.names if name not in index]
            if component == "columns":
                return names
            wanted = None
            if "columns" in parameters:
                wanted = selected_columns(parameters["columns"], names, path)
            frame = file.read(columns=wanted, use_pandas_metadata=True).to_pandas()
        return frame if wanted is None else frame[wanted]

    def read_provenance(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Read the key/value metadata of the file."""
        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata or {}
        return {
            key.decode(): value.decode()
            for key, value in metadata.items()
            if PROVENANCE_KEY.fullmatch(key.decode())
        }


class EcsvFormatter(Formatter):
    """An astropy Table as text (ECSV), with units, descriptions and nested metadata.

    Components: ``columns``, ``meta``. Parameter of a read: ``columns``. Slow above some ten
    thousand rows: use fits-table there.
    """

    name = "ecsv"
    extension: ClassVar[str] = ".ecsv"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.table.Table",)
    components: ClassVar[frozenset[str]] = frozenset({"columns", "meta"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Table, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the table; see `Formatter.dump`."""
        import yaml

        table = obj.copy(copy_data=False)
        table.meta = {
            **{k: v for k, v in obj.meta.items() if not PROVENANCE_KEY.fullmatch(str(k))},
            **provenance,
        }
        self._protect_texts(table)
        text = io.StringIO()
        try:
            table.write(text, format="ascii.ecsv")
        except (ValueError, TypeError, yaml.YAMLError) as error:
            raise self.refuse(
                " ".join(str(error).split()).rstrip("."), "change that column or metadata"
            ) from error
        stream.write(text.getvalue().encode())

    def load(
        self,
        path: str,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the table or a component of it; see `Formatter.load`."""
        import yaml
        from astropy.table import Table

        try:
            table = Table.read(path, format="ascii.ecsv")
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        if component == "columns":
            return list(table.colnames)
        if component == "meta":
            return dict(table.meta)
        if "columns" in parameters:
            return table[selected_columns(parameters["columns"], table.colnames, path)]
        return table

    def _protect_texts(self, table: Table) -> None:
        """Keep empty texts apart from masked ones, and refuse those that astropy would strip."""
        import numpy as np
        from astropy.table import MaskedColumn

        for name in table.colnames:
            column = table[name]
            if getattr(column.info.dtype, "kind", "") != "U":
                continue
            texts = np.asarray(column)
            if (np.strings.strip(texts) != texts).any():
                raise self.refuse(
                    f"texts in column '{name}' begin or end with blanks, which ECSV loses",
                    "strip them, or use another formatter",
                )
            if (texts == "").any():
                table[name] = MaskedColumn(column)
                table[name].info.serialize_method["ecsv"] = "data_mask"

    def read_provenance(self, path: str | os.PathLike[str]) -> dict[str, str]:
        """Read it from the table's metadata."""
        meta = self.read(path, "meta")
        return {key: value for key, value in meta.items() if PROVENANCE_KEY.fullmatch(key)}
