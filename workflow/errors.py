"""What can go wrong in tasks, configurations and pipelines, and what to do about it.

::

    SkyspineError
    └── WorkflowError
        ├── TaskError                         raised while a quantum runs; its code is recorded
        │   ├── NoWorkFound                   nothing to do for these inputs: not a failure
        │   ├── UnprocessableData             the data are bad: trying again does not help
        │   ├── PartialOutputs                some outputs were written, one part failed
        │   ├── RepeatableError               same input, same failure: do not retry
        │   ├── InvalidQuantum (ValueError)   the quantum lacks inputs: a mistake in the graph
        │   └── MissingOutput (LookupError)   run() did not return what its class declares
        ├── TaskDefinitionError (TypeError)   a task class declares something that cannot work
        ├── MissingInitInput (LookupError)    what a task needs to be made does not exist
        ├── ConfigurationError (ValueError)   an override does not fit the configuration
        │   └── UnknownField (LookupError)    the configuration has no such field
        ├── PipelineError (ValueError)        a pipeline file has a mistake
        │   └── UnknownLabel (LookupError)    the pipeline has no such task or subset
        ├── LogSettingsError (ValueError)     see workflow.logs.errors
        ├── MultiNodeError                    see workflow.multinode.errors
        └── MultiCoreError                    see workflow.multicore.errors
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import SkyspineError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ConfigurationError",
    "InvalidQuantum",
    "MissingInitInput",
    "MissingOutput",
    "NoWorkFound",
    "PartialOutputs",
    "PipelineError",
    "RepeatableError",
    "TaskDefinitionError",
    "TaskError",
    "UnknownField",
    "UnknownLabel",
    "UnprocessableData",
    "WorkflowError",
    "kind_of",
]


class WorkflowError(SkyspineError):
    """The task framework could not do what was asked."""

    code = "workflow"


class TaskError(WorkflowError):
    """A task could not process its quantum.

    Parameters
    ----------
    message : str
        One sentence; the class's own by default.
    metadata : mapping, optional
        Numbers and texts that tell why; they are kept with the quantum's metadata.
    """

    code = "task"

    def __init__(self, message: str = "", *, metadata: Mapping[str, Any] | None = None) -> None:
        super().__init__(message or _first_sentence(type(self)))
        self.metadata: dict[str, Any] = dict(metadata or {})


class NoWorkFound(TaskError):
    """There is nothing to do for these inputs."""

    code = "no-work-found"


class UnprocessableData(TaskError):
    """These data cannot be processed."""

    code = "unprocessable-data"


class PartialOutputs(TaskError):
    """Only a part of the outputs could be made; those that were put are kept.

    The error that stopped the rest is its ``__cause__`` (``raise PartialOutputs(...) from error``).
    """

    code = "partial-outputs"


class RepeatableError(TaskError):
    """The task fails in the same way each time that it is given these inputs."""

    code = "repeatable"


class InvalidQuantum(TaskError, ValueError):
    """The quantum does not have the inputs that the task needs."""

    code = "invalid-quantum"


class MissingOutput(TaskError, LookupError):
    """The task did not return an output that it declares."""

    code = "missing-output"

    def __init__(
        self, task: str, output: str, returned: Iterable[str] = (), *, by: str = "run"
    ) -> None:
        self.task = task
        self.output = output
        if by != "run":
            super().__init__(
                f"{task}.{by}() did not set '{output}', which the class declares as an init output."
                f"{did_you_mean(output, returned)} Set self.{output} there."
            )
            return
        super().__init__(
            f"{task}.run() returned no '{output}', which the class declares as an output."
            f"{did_you_mean(output, returned)} Return Struct({output}=...), "
            "or declare it with minimum=0."
        )


class TaskDefinitionError(WorkflowError, TypeError):
    """A task class declares something that cannot work."""

    code = "task-definition"

    def __init__(self, task: str, problem: str) -> None:
        self.task = task
        super().__init__(f"{task}: {problem}")


class MissingInitInput(WorkflowError, LookupError):
    """What a task needs to be made does not exist."""

    code = "missing-init-input"

    def __init__(self, task: str, dataset_type: str, searched: Iterable[str]) -> None:
        self.task = task
        self.dataset_type = dataset_type
        super().__init__(
            f"'{task}' cannot be made without the dataset {dataset_type}, which is in none of "
            f"{', '.join(searched) or 'no collection'}; add the collection that has it to the "
            "inputs, or the task that makes it to the pipeline."
        )


class ConfigurationError(WorkflowError, ValueError):
    """An override does not fit the configuration.

    Parameters
    ----------
    problem : str
        What is wrong, without a full stop.
    label : str
        The task that is configured.
    path : str
        The field, dotted.
    value : object
        What was given.
    origin : str
        Where it was given: ``file:line``, ``command line``.
    """

    code = "configuration"

    def __init__(
        self, problem: str, *, label: str = "", path: str = "", value: Any = None, origin: str = ""
    ) -> None:
        self.problem = problem
        self.label = label
        self.path = path
        self.value = value
        self.origin = origin
        name = ":".join(filter(None, (label, path)))
        head = f"{name}: " if name else ""
        where = f" (given at {origin})" if origin else ""
        super().__init__(f"{head}{problem}{where}")


class UnknownField(ConfigurationError, LookupError):
    """The configuration has no such field."""

    code = "unknown-config-field"


class PipelineError(WorkflowError, ValueError):
    """A pipeline file has a mistake.

    Parameters
    ----------
    problem : str
        One sentence, with what to do.
    file : str
        The file, as it was given.
    line : int, optional
        The line, counted from 1.
    """

    code = "pipeline"

    def __init__(self, problem: str, *, file: str = "", line: int | None = None) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        place = f"{file}:{line}" if file and line else file or (f"line {line}" if line else "")
        super().__init__(f"{place}: {problem}" if place else problem)


class UnknownLabel(PipelineError, LookupError):
    """The pipeline has no task or subset of this name."""

    code = "unknown-label"


def kind_of(error: BaseException) -> str:
    """Class an error that ended a quantum, for the column ``quantum.error_kind``.

    Returns
    -------
    str
        The code of the nearest class of this module below `TaskError`; ``out-of-memory``; or
        ``error``, for one that no task raised on purpose.
    """
    for cls in type(error).__mro__:
        if cls.__module__ == __name__ and issubclass(cls, TaskError):
            return cls.code
    return "out-of-memory" if isinstance(error, MemoryError) else "error"


def _first_sentence(cls: type) -> str:
    return (cls.__doc__ or f"{cls.__name__}.").strip().splitlines()[0]
