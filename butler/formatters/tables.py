"""How do a Table and a DataFrame lie in text files that people and other programs read?

ECSV keeps types, units and metadata. CSV keeps values only: what would come back otherwise than it
was put is refused. Parquet is in `butler.formatters.parquet`, FITS tables in
`butler.formatters.fits_table`.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.selections import selected_names, selected_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from astropy.table import Table

    from butler.formatters.source import Source

__all__ = ["CsvFormatter", "EcsvFormatter"]


class EcsvFormatter(Formatter):
    """An astropy Table as text (ECSV), with units, descriptions and nested metadata.

    Components: ``columns``, ``meta``. Parameters of a read: ``columns`` and ``rows = (start,
    stop)``; the text is read whole for them. Slow above some ten thousand rows: use
    parquet-astropy or fits-table there.
    """

    name = "ecsv"
    extension: ClassVar[str] = ".ecsv"
    python_types: ClassVar[tuple[str, ...]] = ("astropy.table.Table",)
    components: ClassVar[frozenset[str]] = frozenset({"columns", "meta"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns", "rows"})
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
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the table or a component of it; see `Formatter.load`."""
        import yaml
        from astropy.table import Table
        from astropy.utils.exceptions import AstropyWarning

        try:
            with source.text() as text, warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                table = Table.read(text.read().splitlines(), format="ascii.ecsv")
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        if component == "columns":
            return list(table.colnames)
        if component == "meta":
            return dict(table.meta)
        if "columns" in parameters:
            table = table[selected_names(parameters["columns"], table.colnames, source.name)]
        if "rows" in parameters:
            return table[selected_rows(parameters["rows"], len(table), source.name)]
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

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read it from the table's metadata."""
        meta = self.read(source, "meta")
        return {key: value for key, value in meta.items() if PROVENANCE_KEY.fullmatch(key)}


class CsvFormatter(Formatter):
    """A pandas DataFrame as comma-separated values (RFC 4180), UTF-8, names in the first line.

    Holds integers, floating-point numbers, truth values, texts and times; missing values are
    empty. What has no place in such a file, or would come back as another type, is refused.
    Component: ``columns`` (the names). Parameters of a read: ``columns`` and ``rows``.
    """

    name = "csv"
    extension: ClassVar[str] = ".csv"
    python_types: ClassVar[tuple[str, ...]] = ("pandas.DataFrame",)
    components: ClassVar[frozenset[str]] = frozenset({"columns"})
    parameters: ClassVar[frozenset[str]] = frozenset({"columns", "rows"})

    def dump(self, obj: pd.DataFrame, stream: BinaryIO, provenance: Mapping[str, str]) -> None:  # noqa: ARG002
        """Write the DataFrame, after reading it again; see `Formatter.dump`."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.csv

        plain = pd.RangeIndex(len(obj))
        if obj.attrs or not (isinstance(obj.index, pd.RangeIndex) and obj.index.equals(plain)):
            raise self.refuse(
                "it has attributes or an index of its own, which CSV has no place for",
                "put df.reset_index(drop=True), or use the formatter parquet",
            )
        text = io.BytesIO()
        try:
            pyarrow.csv.write_csv(pa.Table.from_pandas(obj, preserve_index=False), text)
            again = self._frame(pyarrow.csv.read_csv(io.BytesIO(text.getvalue()), **_options()))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise self.refuse(
                " ".join(str(part) for part in error.args), "use the formatter parquet"
            ) from error
        for position, name in enumerate(obj.columns):
            if (
                position >= again.shape[1]
                or again.columns[position] != name
                or not again.iloc[:, position].equals(obj.iloc[:, position])
            ):
                raise self.refuse(
                    f"column {name!r} ({obj.dtypes.iloc[position]}) would come back as something "
                    "else",
                    "convert it to int64, float64, bool or text, or use the formatter parquet",
                )
        stream.write(text.getbuffer())

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the DataFrame or a part of it; see `Formatter.load`."""
        import pyarrow.csv

        with source.open() as stream:
            names = pyarrow.csv.open_csv(stream).schema.names
        if component == "columns":
            return names
        wanted = None
        if "columns" in parameters:
            wanted = selected_names(parameters["columns"], names, source.name)
        with source.open() as stream:
            table = pyarrow.csv.read_csv(stream, **_options(wanted))
        if "rows" in parameters:
            rows = selected_rows(parameters["rows"], table.num_rows, source.name)
            frame = self._frame(table)
            return frame.iloc[rows]
        return self._frame(table)

    def _frame(self, table: Any) -> pd.DataFrame:
        """Convert; a time without a zone is as precise as what was put (ns)."""
        return table.to_pandas()


def _options(columns: list[str] | None = None) -> dict[str, Any]:
    """Say what is missing (what is empty and has no quotes), and which columns are wanted."""
    from pyarrow import csv

    return {
        "convert_options": csv.ConvertOptions(
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
            include_columns=columns,
        ),
        "parse_options": csv.ParseOptions(newlines_in_values=True),
    }
