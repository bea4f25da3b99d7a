"""What does a task make of objects in memory?

No repository, database or file takes part: what is tested is the task, with its connections and
its configuration as they are in a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import did_you_mean
from registry.identity import DataId, DatasetRef, uuid7
from workflow.errors import MissingOutput, TaskError
from workflow.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lsst.pex.config import Config

    from workflow.connections import Connections
    from workflow.task import SuperTask

__all__ = ["Made", "MemoryQuantum", "run_task"]

RUN = "in memory"


@dataclass(frozen=True)
class Made:
    """What a task made.

    Attributes
    ----------
    outputs : dict
        By output: an object, or a list of those that were made for ``multiple``.
    init_outputs : dict
        By init output, the object.
    metadata : dict
        What the task and its sub-tasks noted, in nested dictionaries.
    task : SuperTask
        The task itself.
    """

    outputs: dict[str, Any]
    init_outputs: dict[str, Any]
    metadata: dict[str, Any]
    task: SuperTask


class MemoryQuantum:
    """A quantum whose datasets are objects; see `workflow.task.QuantumContext`.

    Parameters
    ----------
    connections : Connections
        Those in force.
    data_id : mapping
        The quantum's data ID.
    inputs : mapping
        By input an object, or a sequence of them for ``multiple``.
    data_ids : mapping
        Data IDs of the datasets of a connection that has several; of an output, how many it makes.
    records : mapping
        Exposure records, by input.
    dimension_records : mapping
        By dimension, the record that `dimension_record` gives.
    """

    def __init__(
        self,
        connections: Connections,
        data_id: Mapping[str, Any],
        inputs: Mapping[str, Any],
        *,
        data_ids: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        records: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        dimension_records: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.connections = connections
        self.data_id = DataId.of(dict(data_id))
        self.metadata = Metadata()
        self.records = dict(records or {})
        self.outputs: dict[str, Any] = {}
        self.read: list[str] = []
        self._dimension_records = dict(dimension_records or {})
        self._objects: dict[str, list[Any]] = {}
        self.refs: Mapping[str, Sequence[DatasetRef]] = {}
        refs: dict[str, Sequence[DatasetRef]] = {}
        for name, connection in connections.items():
            given = (data_ids or {}).get(name)
            if connection.is_input:
                value = inputs.get(name)
                listed = list(value or ()) if connection.multiple else [value]
                self._objects[name] = [obj for obj in listed if obj is not None]
                count = len(self._objects[name])
            elif connection.reads or name in connections.init_outputs:
                continue
            else:
                count = len(given) if given is not None else 1
            keys = given or [self.data_id] * count
            kind = connection.definition()
            refs[name] = [DatasetRef(uuid7(), kind, DataId.of(dict(k)), RUN) for k in keys[:count]]
        self.refs = refs

    def get(self, name: str) -> Any:
        """Read an input, or handles of it for ``defer_load``."""
        self.read.append(name)
        objects = self._objects[name]
        if self.connections[name].defer_load:
            objects = [_Handle(obj, ref) for obj, ref in zip(objects, self.refs[name], strict=True)]
        if self.connections[name].multiple:
            return list(objects)
        return objects[0] if objects else None

    def put(self, name: str, obj: Any) -> None:
        """Keep an output.

        Raises
        ------
        TaskError
            If a sequence is longer or shorter than what is to be made.
        """
        if not self.connections[name].multiple:
            self.outputs[name] = obj
            return
        objects = list(obj)
        if len(objects) != len(self.refs[name]):
            raise TaskError(
                f"'{name}': {len(objects)} objects for {len(self.refs[name])} datasets."
            )
        self.outputs[name] = objects

    def dimension_record(self, element: str) -> Mapping[str, Any]:
        """Give the record of a dimension that the test gave."""
        return self._dimension_records[element]


@dataclass(frozen=True)
class _Handle:
    """An object that is asked for when it is needed."""

    obj: Any
    ref: DatasetRef

    def get(self, component: str | None = None, parameters: Mapping[str, Any] | None = None) -> Any:
        """Give the object, or an attribute of it."""
        if parameters:
            raise TaskError("Objects in memory have no parts that parameters could choose.")
        return self.obj if component is None else getattr(self.obj, component)


def _some_data_id(dimensions: Sequence[str]) -> dict[str, Any]:
    texts = {"instrument", "physical_filter", "band", "skymap"}
    return {d: "test" if d in texts else 0 for d in dimensions}


def run_task(
    task: type[SuperTask] | SuperTask,
    config: Config | None = None,
    *,
    data_id: Mapping[str, Any] | None = None,
    init_inputs: Mapping[str, Any] | None = None,
    data_ids: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    records: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    dimension_records: Mapping[str, Mapping[str, Any]] | None = None,
    **inputs: Any,
) -> Made:
    """Run a task on one quantum in memory, as a worker does.

    Parameters
    ----------
    task : type or SuperTask
        The class; or a task, which is used again as workers do.
    config : lsst.pex.config.Config, optional
        Its configuration; the defaults when omitted.
    data_id : mapping, optional
        The quantum's data ID; ``test`` or 0 for each of the task's dimensions when omitted.
    init_inputs : mapping, optional
        Objects of the init inputs.
    data_ids, records, dimension_records
        See `MemoryQuantum`.
    **inputs
        The object of each input, a sequence for ``multiple``.

    Returns
    -------
    Made

    Raises
    ------
    TypeError
        If there is no input of a name.
    InvalidQuantum
        If a required input is absent.
    MissingOutput
        If a required output was not made.
    """
    if isinstance(task, type):
        given: dict[str, Any] = {"init_inputs": init_inputs} if init_inputs else {}
        task = task(config, **given)
    task.metadata.clear()
    connections = task.connections(task.config)
    known = [name for name, c in connections.items() if c.is_input]
    for name in inputs:
        if name not in known:
            raise TypeError(
                f"{type(task).__name__} has no input '{name}'.{did_you_mean(name, known)}"
            )
    quantum = MemoryQuantum(
        connections,
        _some_data_id(connections.dimensions) if data_id is None else data_id,
        inputs,
        data_ids=data_ids,
        records=records,
        dimension_records=dimension_records,
    )
    init_outputs = task.init_outputs()
    task.run_quantum(quantum)
    for name, connection in connections.outputs.items():
        if connection.minimum and quantum.outputs.get(name) is None:
            raise MissingOutput(task.path, name, quantum.outputs)
    metadata = {**task.metadata.to_dict(), **quantum.metadata.to_dict()}
    return Made(quantum.outputs, init_outputs, metadata, task)
