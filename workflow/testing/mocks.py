"""How would a pipeline run, if its tasks computed nothing, and some of them failed?

`mocked` keeps labels, dimensions, connections and stages.  What the pipeline makes gets the prefix
``mock_`` and holds a few words; what comes from outside is looked up but not read.  A `Behaviour`
lets quanta that fulfil an expression fail, sleep, or die as by the kernel's out-of-memory killer.
"""

from __future__ import annotations

import builtins
import dataclasses
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from lsst.pex.config import Config, DictField, Field, ListField

import workflow.errors
from registry.errors import did_you_mean
from registry.expressions import parse
from workflow.config_values import import_dotted
from workflow.errors import PipelineError
from workflow.overrides import Override
from workflow.pipeline import Pipeline, PipelineTask
from workflow.task import SuperTask
from workflow.variants import checked

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Behaviour", "MockTask", "mocked", "parse_behaviour"]

PREFIX = "mock_"
STORAGE = "StructuredDataDict"
KILLED = "killed"


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What quanta of a task do besides nothing.

    Parameters
    ----------
    label : str
        The task.
    error : str
        Class of the error that they raise: of Python, of `workflow.errors`, or a dotted path;
        ``killed`` for a process that dies; empty for none.
    seconds : float
        How long they take [s].
    where : str
        Expression that their data IDs fulfil, as for ``-d``; all when empty.
    """

    label: str
    error: str = ""
    seconds: float = 0.0
    where: str = ""

    def __post_init__(self) -> None:
        if self.error:
            _error_class(self.error)
        if self.where:
            parse(self.where)

    @property
    def text(self) -> str:
        """As it stands in the configuration of the mock."""
        return f"{self.error}:{self.seconds!r}:{self.where}"


def parse_behaviour(argument: str, *, sleeping: bool = False) -> Behaviour:
    """Read ``LABEL:ERROR[:WHERE]``, or ``LABEL:SECONDS[:WHERE]``.

    Raises
    ------
    PipelineError
        If it has another form.
    ExpressionError
        If the expression has a mistake.
    """
    label, _, rest = argument.partition(":")
    what, _, where = rest.partition(":")
    if not label or not what:
        form = "LABEL:SECONDS[:WHERE]" if sleeping else "LABEL:ERROR[:WHERE]"
        raise PipelineError(f"'{argument}' is not of the form {form}.")
    if not sleeping:
        return Behaviour(label, error=what, where=where)
    try:
        return Behaviour(label, seconds=float(what), where=where)
    except ValueError as error:
        raise PipelineError(f"'{argument}': '{what}' is no number of seconds.") from error


class MockConfig(Config):
    """What a mock stands for, and what it does."""

    of = Field[str](doc="Class of the task that it stands for.", default="")
    reads = ListField[str](doc="Inputs that other mocks made.", default=[])
    makes = ListField[str](doc="Outputs.", default=[])
    several = ListField[str](doc="Outputs of which one quantum makes several.", default=[])
    behaviours = ListField[str](doc="ERROR:SECONDS:WHERE of each behaviour.", default=[])
    selections = DictField[int, str](
        doc="By number, each expression that the task is configured for and the data ID fulfils.",
        default={},
    )


class MockTask(SuperTask):
    """Reads what other mocks made, and writes what it read."""

    ConfigClass = MockConfig

    def run_quantum(self, context: Any) -> None:
        """Do what the data ID is told to, then put a few words for each output.

        Parameters
        ----------
        context : workflow.worker.Context
            That of a run, which knows what its data ID fulfils.
        """
        for text in self.config.behaviours:
            error, seconds, where = text.split(":", 2)
            if not where or context.fulfils(where):
                time.sleep(float(seconds))
                self._fail(error)
        read = [name for name in self.config.reads if context.get(name) not in (None, [])]
        self.metadata["n_inputs"] = len(read)
        for name in self.config.makes:
            words = [
                {"task": self.name, "data_id": dict(ref.data_id), "read": read}
                for ref in context.refs.get(name, ())
            ]
            if words:
                context.put(name, words if name in self.config.several else words[0])

    def _fail(self, error: str) -> None:
        if error == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        elif error:
            raise _error_class(error)(f"'{self.name}' was told to raise {error}.")


def mocked(pipeline: Pipeline, behaviours: Iterable[Behaviour] = ()) -> Pipeline:
    """Turn a pipeline into one of the same shape whose tasks compute nothing.

    Parameters
    ----------
    pipeline : Pipeline
        It stays as it is.
    behaviours : iterable of Behaviour
        What quanta of some tasks do; the first that raises ends the quantum.

    Raises
    ------
    UnknownLabel
        If the pipeline has no task of a label.
    """
    asked: dict[str, list[str]] = {}
    for behaviour in behaviours:
        asked.setdefault(pipeline[behaviour.label].label, []).append(behaviour.text)
    return Pipeline(
        [_mock(pipeline, task, asked.get(task.label, [])) for task in pipeline],
        description=f"Mock of: {pipeline.description}",
        instrument=pipeline.instrument,
        parameters=pipeline.parameters,
        subsets=pipeline.subsets,
        steps=pipeline.steps,
        name=pipeline.name,
        text=pipeline.text,
    )


def _mock(pipeline: Pipeline, task: PipelineTask, behaviours: list[str]) -> PipelineTask:
    kept = {
        name: c
        for name, c in task.connections.items()
        if c.is_input or name in task.connections.outputs
    }
    made_here = {k for k, c in kept.items() if pipeline.producer(c.dataset_type) is not None}
    connections = {
        name: dataclasses.replace(
            c, dataset_type=f"{PREFIX}{c.dataset_type}", storage_class=STORAGE, defer_load=False
        )
        if name in made_here
        else c
        for name, c in kept.items()
    }
    values: dict[str, Any] = {
        "of": task.class_name,
        "reads": [k for k, c in kept.items() if c.is_input and k in made_here],
        "makes": list(task.connections.outputs),
        "several": [k for k, c in task.connections.outputs.items() if c.multiple],
        "behaviours": behaviours,
    }
    config = MockConfig(**values)
    config.freeze()
    steps = [Override(path, value, "pipeline", task.origin) for path, value in values.items()]
    steps += [
        Override(f"selections[{n}]", where, "pipeline", task.origin, where=where)
        for n, where in enumerate(task.selections, 1)
    ]
    mock = dataclasses.replace(
        task,
        task_class=MockTask,
        config=config,
        history={},
        connections=task.connections.made_of(connections),
        steps=steps if task.selections else (),
    )
    return dataclasses.replace(mock, selections=checked(mock))


def _error_class(name: str) -> Any:
    """Find the class of an error by its name."""
    if name == KILLED:
        return SystemExit
    found = getattr(builtins, name, None) or getattr(workflow.errors, name, None)
    if found is None and "." in name:
        try:
            found = import_dotted(name)
        except ImportError as error:
            raise PipelineError(f"the error '{name}' cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Exception)):
        known = [n for n in (*vars(builtins), *workflow.errors.__all__) if n.endswith("Error")]
        raise PipelineError(
            f"'{name}' is no error that can be raised; '{KILLED}' lets the process die."
            f"{did_you_mean(name, [*known, *workflow.errors.__all__, KILLED])}"
        )
    return found
