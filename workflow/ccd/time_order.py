"""In which order were the inputs of a quantum observed?

Exposure identifiers need not grow with time, so tasks that leave out the first frames, or name
their inputs, read them through this view of their context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflow.task import QuantumContext

__all__ = ["InTimeOrder", "input_name"]


class InTimeOrder:
    """A quantum's context whose inputs of one connection are in the order of observation.

    Parameters
    ----------
    context : QuantumContext
        The context as the runner made it; everything else is passed on to it.
    connection : str
        Name of an input with ``multiple=True`` that has the dimension exposure.
    """

    def __init__(self, context: QuantumContext, connection: str) -> None:
        self._context = context
        self._connection = connection
        records = context.records.get(connection, ())
        n = len(context.refs.get(connection, ()))
        self._order = list(range(n))
        if len(records) == n:
            self._order.sort(key=lambda i: (records[i].get("begin_tai_ns") or 0, i))

    def _sorted(self, values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in self._order] if len(values) == len(self._order) else [*values]

    def _with_sorted(self, mapping: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        return {k: self._sorted(v) if k == self._connection else v for k, v in mapping.items()}

    @property
    def data_id(self) -> Any:
        """The quantum's data ID."""
        return self._context.data_id

    @property
    def refs(self) -> dict[str, Sequence[Any]]:
        """The datasets, by connection."""
        return self._with_sorted(self._context.refs)

    @property
    def records(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The exposure records, as ``refs``."""
        return self._with_sorted(self._context.records)

    @property
    def metadata(self) -> Any:
        """What is noted about this quantum."""
        return self._context.metadata

    def get(self, name: str) -> Any:
        """Read an input."""
        value = self._context.get(name)
        return self._sorted(value) if name == self._connection else value

    def put(self, name: str, obj: Any) -> None:
        """Write an output."""
        self._context.put(name, obj)

    def dimension_record(self, element: str) -> Mapping[str, Any]:
        """Return a dimension record of the quantum's data ID."""
        return self._context.dimension_record(element)


def input_name(data_id: Mapping[str, Any]) -> str:
    """Name an input by its data ID, short enough for a header card or a metric.

    Examples
    --------
    >>> input_name({"instrument": "DemoCam", "detector": 3, "exposure": 202503100007})
    'DemoCam/202503100007/3'
    """
    keys = ("instrument", "exposure", "visit", "detector")
    return "/".join(str(data_id[k]) for k in keys if k in data_id)
