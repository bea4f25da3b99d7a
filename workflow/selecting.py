"""Which tasks of a pipeline does an expression choose?

``isr,detect`` names tasks and subsets; ``isr..coadd``, ``..isr`` and ``isr..`` are ranges in the
order in which tasks run; ``<coadd`` is all that leads to a task, ``>isr`` all that follows from
one, ``<=`` and ``>=`` with itself; ``|`` or a comma joins, ``&`` takes what is in both, ``~`` all
else, brackets group.  A dataset type stands for the task that makes it; after ``>``, for those that
read it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.errors import did_you_mean
from workflow.errors import PipelineError, UnknownLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workflow.pipeline import Pipeline

__all__ = ["followers", "is_plain", "select"]

_TOKEN = re.compile(r"\s*(\.\.|<=|>=|[<>|&~(),]|[^\W\d][\w-]*)")


def is_plain(text: str) -> bool:
    """Tell whether a choice only names tasks and subsets."""
    return re.fullmatch(r"[\w\s,-]*", text) is not None


def select(pipeline: Pipeline, text: str) -> list[str]:
    """Choose tasks.

    Parameters
    ----------
    pipeline : Pipeline
        All tasks.
    text : str
        The expression.

    Returns
    -------
    list of str
        Labels, in the order in which the tasks run.

    Raises
    ------
    UnknownLabel
        If a name is no task, subset or dataset type.
    PipelineError
        If the expression cannot be read, or chooses nothing.
    """
    chosen = _Selection(pipeline, text).read()
    if not chosen:
        raise PipelineError(f"'{text}' chooses no task.", file=pipeline.name)
    return [task.label for task in pipeline if task.label in chosen]


def followers(pipeline: Pipeline) -> dict[str, set[str]]:
    """Map each task to those that read what it makes."""
    found: dict[str, set[str]] = {task.label: set() for task in pipeline}
    for task in pipeline:
        for connection in task.connections.values():
            maker = pipeline.producer(connection.dataset_type)
            if connection.reads and maker is not None:
                found[maker.label].add(task.label)
    return found


def _reached(begin: Iterable[str], steps: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(begin)
    while left:
        for label in steps[left.pop()] - found:
            found.add(label)
            left.append(label)
    return found


class _Selection:
    """Reads an expression from left to right."""

    def __init__(self, pipeline: Pipeline, text: str) -> None:
        self._pipeline = pipeline
        self._text = text
        self._order = [task.label for task in pipeline]
        self._after = followers(pipeline)
        self._before = {
            label: {o for o in self._order if label in self._after[o]} for label in self._order
        }
        self._tokens = self._split(text)

    def read(self) -> set[str]:
        found = self._joined()
        if self._tokens:
            raise self._error(f"'{self._tokens[0]}' was not expected")
        return found

    def _split(self, text: str) -> list[str]:
        tokens, position = [], 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"'{text[position:].strip()}' is not understood")
            tokens.append(match.group(1))
            position = match.end()
        return tokens

    def _error(self, problem: str) -> PipelineError:
        return PipelineError(
            f"the choice of tasks '{self._text}': {problem}; write labels, subsets, ranges (a..b), "
            "<a, >a, and | & ~ between them.",
            file=self._pipeline.name,
        )

    def _take(self, *wanted: str) -> str:
        return self._tokens.pop(0) if self._tokens and self._tokens[0] in wanted else ""

    def _chain(
        self,
        part: Callable[[], set[str]],
        signs: tuple[str, ...],
        join: Callable[[set[str], set[str]], set[str]],
    ) -> set[str]:
        found = part()
        while self._take(*signs):
            found = join(found, part())
        return found

    def _joined(self) -> set[str]:
        return self._chain(self._shared, ("|", ","), set.union)

    def _shared(self) -> set[str]:
        return self._chain(self._one, ("&",), set.intersection)

    def _one(self) -> set[str]:
        if self._take("~"):
            return set(self._order) - self._one()
        sign = self._take("<=", ">=", "<", ">")
        if sign:
            return self._walked(sign)
        if self._take("("):
            found = self._joined()
            if not self._take(")"):
                raise self._error("a bracket is not closed")
            return found
        if self._take(".."):
            return self._range(None, self._name())
        name = self._name()
        if self._take(".."):
            ends = self._tokens and _TOKEN.fullmatch(self._tokens[0]) and self._is_name()
            return self._range(name, self._name() if ends else None)
        return self._named(name, reading=False)

    def _is_name(self) -> bool:
        return bool(self._tokens) and (self._tokens[0][0].isalpha() or self._tokens[0][0] == "_")

    def _name(self) -> str:
        if not self._is_name():
            raise self._error("a name is missing")
        return self._tokens.pop(0)

    def _walked(self, sign: str) -> set[str]:
        up = sign[0] == "<"
        steps = self._before if up else self._after
        is_kind = bool(self._tokens) and self._is_kind(self._tokens[0])
        begin = self._named(self._name(), reading=not up) if is_kind else self._one()
        reached = _reached(begin, steps)
        if sign in ("<=", ">=") or is_kind:  # what makes, or reads, a dataset type is beside it
            return reached | begin
        return reached - begin

    def _is_kind(self, name: str) -> bool:
        tasks_and_subsets = {*self._order, *self._pipeline.subsets}
        return name in self._pipeline.dataset_types() and name not in tasks_and_subsets

    def _named(self, name: str, *, reading: bool) -> set[str]:
        if name in self._order:
            return {name}
        if name in self._pipeline.subsets:
            return set(self._pipeline.subsets[name])
        if self._is_kind(name):
            return {
                task.label
                for task in self._pipeline
                for c in task.connections.values()
                if c.dataset_type == name and c.reads is reading
            }
        known = [*self._order, *self._pipeline.subsets, *self._pipeline.dataset_types()]
        raise UnknownLabel(
            f"there is no task, subset or dataset type '{name}'.{did_you_mean(name, known)}",
            file=self._pipeline.name,
        )

    def _range(self, first: str | None, last: str | None) -> set[str]:
        ends = []
        for name, default in ((first, self._order[0]), (last, self._order[-1])):
            label = name or default
            if label not in self._order:
                raise UnknownLabel(
                    f"a range goes from task to task; there is no task '{label}'."
                    f"{did_you_mean(label, self._order)}",
                    file=self._pipeline.name,
                )
            ends.append(self._order.index(label))
        begin, end = ends
        if begin > end:
            raise self._error(f"'{first}' runs after '{last}'")
        return set(self._order[begin : end + 1])
