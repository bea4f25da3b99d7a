"""What are tables, arrays, structures of values, texts and figures in Python?

The storage classes of all that is no image.  What a storage class is: `butler.storage_classes`.
"""

from __future__ import annotations

from typing import Any

from butler.storage_classes import Part, StorageClass

__all__ = [
    "ARRAY",
    "ARRAYS",
    "ARROW_TABLE",
    "CONFIG",
    "DATA_FRAME",
    "DEFECTS",
    "FIGURE",
    "PICKLE",
    "STRUCTURED_DATA_DICT",
    "STRUCTURED_DATA_LIST",
    "TABLE",
    "TEXT",
    "TREE",
]


class ArraysStorageClass(StorageClass):
    """Values by name; the names are a component."""

    def component(self, obj: Any, name: str) -> Any:
        """Take the names out of a dict."""
        self.component_class(name)
        return list(obj)


_TABLE_REMEDIES = {
    "pyarrow.Table": "use storage class ArrowTable",
    "pandas.DataFrame": "use storage class DataFrame, or put Table.from_pandas(df)",
    "numpy.ndarray": "put Table(array)",
    "builtins.dict": "put Table(columns)",
    "builtins.list": "put Table(rows=rows)",
}
_TABLE_PARTS = {"meta": Part("StructuredDataDict", rows="mapping")}

TABLE = StorageClass(
    "Table",
    "astropy.table.Table",
    "fits-table",
    {"columns": "StructuredDataList", "meta": "StructuredDataDict"},
    _TABLE_REMEDIES,
    "An astropy table.",
    ("ecsv", "parquet-astropy"),
    parts=_TABLE_PARTS,
)
DEFECTS = StorageClass(
    "Defects",
    "astropy.table.Table",
    "fits-table",
    {"columns": "StructuredDataList", "meta": "StructuredDataDict"},
    _TABLE_REMEDIES,
    "Defects of a detector: a table of boxes.",
    ("ecsv", "parquet-astropy"),
    parts=_TABLE_PARTS,
)
DATA_FRAME = StorageClass(
    "DataFrame",
    "pandas.DataFrame",
    "parquet",
    {"columns": "StructuredDataList"},
    {
        "astropy.table.Table": "use storage class Table, or put table.to_pandas()",
        "pandas.Series": "put series.to_frame()",
        "numpy.ndarray": "put DataFrame(array)",
        "pyarrow.Table": "use storage class ArrowTable, or put table.to_pandas()",
        "builtins.dict": "put DataFrame(columns)",
    },
    "A pandas table.",
    ("csv",),
)
ARROW_TABLE = StorageClass(
    "ArrowTable",
    "pyarrow.Table",
    "parquet-arrow",
    {"columns": "StructuredDataList"},
    {
        "pyarrow.RecordBatch": "put pyarrow.Table.from_batches([batch])",
        "pandas.DataFrame": "use storage class DataFrame, or put Table.from_pandas(df)",
        "astropy.table.Table": "use storage class Table",
        "builtins.dict": "put pyarrow.table(columns)",
    },
    "An Arrow table, nested columns included.",
    attributes={"columns": "column_names"},
)
STRUCTURED_DATA_DICT = StorageClass(
    "StructuredDataDict",
    "builtins.dict",
    "yaml",
    remedies={
        "lsst.pex.config.Config": "use storage class Config, or put config.toDict()",
        "collections.abc.Mapping": "put dict(mapping)",
        "builtins.list": "use storage class StructuredDataList",
    },
    doc="Names with values: numbers, text, dates, lists and dicts of them.",
    others=("json",),
)
STRUCTURED_DATA_LIST = StorageClass(
    "StructuredDataList",
    "builtins.list",
    "yaml",
    remedies={
        "builtins.tuple": "put list(values)",
        "numpy.ndarray": "put array.tolist()",
        "builtins.dict": "use storage class StructuredDataDict",
    },
    doc="A list of numbers, text, dates, lists and dicts.",
    others=("json",),
)
CONFIG = StorageClass(
    "Config",
    "lsst.pex.config.Config",
    "config",
    remedies={"builtins.type": "put an instance: the class and ()"},
    doc="A configuration of a task.",
)
TEXT = StorageClass(
    "Text",
    "builtins.str",
    "text",
    remedies={
        "builtins.bytes": "put content.decode()",
        "os.PathLike": "put path.read_text()",
    },
    doc="A text.",
)
FIGURE = StorageClass(
    "Figure",
    "matplotlib.figure.Figure",
    "png",
    remedies={"matplotlib.axes.Axes": "put axes.figure"},
    doc="A picture; it can be put, and not be got back as a Figure.",
)
ARRAY = StorageClass(
    "Array",
    "numpy.ndarray",
    "npy",
    remedies={
        "builtins.list": "put numpy.asarray(values)",
        "astropy.nddata.NDData": "use storage class NDData or Exposure",
    },
    doc="An array; also pixels or the mask of an Exposure.",
)
ARRAYS = ArraysStorageClass(
    "Arrays",
    "builtins.dict",
    "npz",
    {"names": "StructuredDataList"},
    {"numpy.ndarray": "use storage class Array, or put {'name': array}"},
    "Arrays by name.",
    ("zarr",),
)
TREE = ArraysStorageClass(
    "Tree",
    "builtins.dict",
    "asdf",
    {"names": "StructuredDataList"},
    {
        "numpy.ndarray": "put {'name': array}",
        "asdf.AsdfFile": "put file.tree",
    },
    "Names with values: all of StructuredDataDict, arrays, quantities, times and tables.",
)
PICKLE = StorageClass(
    "Pickle",
    "builtins.object",
    "pickle",
    doc="Any object; it can be got only where the caller trusts what lies there.",
)
