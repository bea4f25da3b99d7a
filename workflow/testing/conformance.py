"""Does a task keep to what every runner relies on?

A task's own tests inherit `SuperTaskTests` and say what the task is run on::

    class TestMyTask(SuperTaskTests):
        task_class = MyTask

        def inputs(self):
            return {"raw": make_raw()}
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, ClassVar

from workflow.config_values import digest, import_dotted, load_text, save_text
from workflow.errors import InvalidQuantum
from workflow.pipeline import PipelineTask
from workflow.testing.memory import run_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflow.task import SuperTask
    from workflow.testing.memory import Made

__all__ = ["SuperTaskTests"]


class SuperTaskTests:
    """Tests that every `SuperTask` passes; a subclass sets ``task_class`` and ``inputs``."""

    task_class: ClassVar[type[SuperTask]]

    def inputs(self) -> Mapping[str, Any]:
        """Make the inputs of one quantum, by name; new ones for each call."""
        return {}

    def config(self) -> Any:
        """Make the configuration; None for the defaults."""
        return None

    def options(self) -> Mapping[str, Any]:
        """Give further arguments of `run_task`: data_id, records, init_inputs, ..."""
        return {}

    def ran(self, **changed: Any) -> Made:
        """Run the task; ``changed`` replaces inputs."""
        inputs = {**self.inputs(), **changed}
        return run_task(self.task_class, self.config(), **{**self.options(), **inputs})

    def task_of_pipeline(self) -> PipelineTask:
        """Put the task into a place of a pipeline."""
        task = self.task_class(self.config(), **self._init())
        connections = self.task_class.connections(task.config)
        return PipelineTask(task.name, self.task_class, task.config, connections)

    def test_it_is_found_by_its_dotted_name(self) -> None:
        """A pipeline file names it so."""
        cls = self.task_class
        assert import_dotted(f"{cls.__module__}.{cls.__qualname__}") is cls

    def test_connections_can_work_with_the_configuration(self) -> None:
        """Their dimensions, names and numbers fit together."""
        connections = self.task_of_pipeline().connections
        assert connections.problems() == []
        assert connections.outputs, "a task without outputs is never needed"

    def test_it_travels_to_another_process(self) -> None:
        """Workers are given tasks as bytes; the configuration stays as it is, and frozen."""
        here = self.task_of_pipeline()
        there: PipelineTask = pickle.loads(pickle.dumps(here))
        assert there.task_class is here.task_class
        assert digest(there.config) == digest(here.config)
        assert there.make(self.options().get("init_inputs")).name == here.label

    def test_its_configuration_is_saved_and_loaded(self) -> None:
        """What a run records is what it was made with."""
        config = self.task_of_pipeline().config
        assert digest(load_text(save_text(config))) == digest(config)

    def test_it_makes_what_it_declares(self) -> None:
        """Every output that is not optional, and nothing else."""
        made = self.ran()
        declared = self.task_of_pipeline().connections.outputs
        needed = {name for name, c in declared.items() if c.minimum}
        assert needed <= made.outputs.keys() <= declared.keys()

    def test_one_task_runs_many_quanta(self) -> None:
        """Workers keep it: metadata of one quantum are not those of the next."""
        first = self.ran()
        again = run_task(first.task, **{**self.options(), **self.inputs()})
        assert again.metadata.keys() == first.metadata.keys()

    def test_metadata_fit_into_the_database(self) -> None:
        """They are plain numbers, texts and lists."""
        made = self.ran()
        made.task.metadata.to_json()
        assert all(isinstance(v, (int, float)) for v in made.task.metadata.numbers().values())

    def test_a_required_input_is_required(self) -> None:
        """A quantum without it is refused, whatever the task would make of it."""
        for name, c in self.task_of_pipeline().connections.items():
            if c.is_input and c.minimum:
                try:
                    self.ran(**{name: [] if c.multiple else None})
                except InvalidQuantum:
                    continue
                raise AssertionError(f"it ran without '{name}', of which it needs {c.minimum}")

    def test_an_optional_input_is_optional(self) -> None:
        """Without it the task runs."""
        for name, c in self.task_of_pipeline().connections.items():
            if c.is_input and not c.minimum:
                self.ran(**{name: [] if c.multiple else None})

    def _init(self) -> dict[str, Any]:
        given = self.options().get("init_inputs")
        return {"init_inputs": given} if given else {}
