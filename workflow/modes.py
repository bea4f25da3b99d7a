"""How does a run stand to the runs before it: new, continued, extended, in place of one?

Each word has one meaning, and words that contradict each other are refused before anything is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import did_you_mean
from workflow.errors import WorkflowError

if TYPE_CHECKING:
    from workflow.pipeline import Pipeline

__all__ = ["CLOBBER", "Contradiction", "Mode", "leading_to"]


class Contradiction(WorkflowError, ValueError):
    """Options of a run contradict each other."""

    code = "contradiction"


@dataclass(frozen=True, slots=True)
class Mode:
    """What becomes of runs that are there, and of what exists.

    Parameters
    ----------
    resume : bool
        Continue the last run: what is done stays, all else is run, and quanta are added for
        inputs that are new.
    extend : bool
        Add to the last run what is not in it, and run again what a process of this machine left
        when it died; what failed there stays failed, and what others run is theirs.
    replace : bool
        Begin a new run, which takes the place of the last one in the chain.
    skip_existing : bool
        Begin a new run without what exists in the chain: it is taken instead.
    only : tuple of str
        Dataset types: no quantum is run but for them.

    Raises
    ------
    Contradiction
        If two of them exclude each other.
    """

    resume: bool = False
    extend: bool = False
    replace: bool = False
    skip_existing: bool = False
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = {name for name in _WORDS if getattr(self, name)}
        for pair, sentence in _EXCLUDED.items():
            if pair <= given:
                raise Contradiction(sentence)

    @property
    def is_new(self) -> bool:
        """Whether a new run is begun."""
        return not (self.resume or self.extend)

    @property
    def renewed(self) -> tuple[str, ...]:
        """The states of recorded quanta that are planned anew."""
        return ("ready", "blocked") if self.extend else ("ready", "running", "failed", "blocked")


CLOBBER = (
    "There is no --clobber: a dataset is never made again in the run that has it, since what was "
    "made from it could no longer be explained. To make everything anew, in place of the last run: "
    "--replace. To run again what failed or was cut short: --resume. To make only what does not "
    "exist: --skip-existing."
)
"""What is said to who asks for it, as pipelines elsewhere have it."""
_WORDS = ("resume", "extend", "replace", "skip_existing")
_NEW = "begins a new run, and"
_EXCLUDED = {
    frozenset({"resume", "extend"}): (
        "--resume runs again what has failed, and --extend leaves it as it is; choose one."
    ),
    frozenset({"resume", "replace"}): (
        f"--replace {_NEW} --resume continues the last one; choose one."
    ),
    frozenset({"extend", "replace"}): (
        f"--replace {_NEW} --extend adds to the last one; choose one."
    ),
    frozenset({"resume", "skip_existing"}): (
        f"--skip-existing {_NEW} --resume continues the last one, which knows what it left out; "
        "choose one."
    ),
    frozenset({"extend", "skip_existing"}): (
        f"--skip-existing {_NEW} --extend adds to the last one, which knows what it left out; "
        "choose one."
    ),
    frozenset({"replace", "skip_existing"}): (
        "--replace takes the last run out of the chain, and --skip-existing takes what is in it; "
        "choose one."
    ),
}


def leading_to(pipeline: Pipeline, only: tuple[str, ...]) -> set[str]:
    """Name the tasks that make some dataset types, and those that their inputs come from.

    Raises
    ------
    Contradiction
        If the pipeline makes none of one type.
    """
    wanted: set[str] = set()
    for name in only:
        maker = pipeline.producer(name)
        if maker is None:
            made = [n for n in pipeline.dataset_types() if pipeline.producer(n) is not None]
            raise Contradiction(f"The pipeline makes no {name}.{did_you_mean(name, made)}")
        wanted.add(maker.label)
    for task in reversed(pipeline.tasks):
        if task.label in wanted:
            makers = [
                pipeline.producer(c.dataset_type) for c in task.connections.values() if c.reads
            ]
            wanted |= {maker.label for maker in makers if maker is not None}
    return wanted
