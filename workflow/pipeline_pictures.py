"""How does a pipeline look: as lines of text, or as a picture?

A box is a task or a dataset type, an arrow leads from what is read to the task, and from the task
to what it makes.  Boxes are drawn by `registry.provenance.pictures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.provenance.pictures import Box, Picture, dot, mermaid, svg
from workflow.connections import Prerequisite

if TYPE_CHECKING:
    from workflow.connections import Connection
    from workflow.pipeline import Pipeline

__all__ = ["FORMATS", "drawn", "lines", "picture"]

FORMATS = {"mermaid": mermaid, "dot": dot, "svg": svg}
"""What writes a picture, by the name of its format."""


def drawn(pipeline: Pipeline, style: str) -> str:
    """Write a pipeline as ``text`` or in one of `FORMATS`."""
    if style == "text":
        return "".join(f"{line}\n" for line in lines(pipeline))
    return FORMATS[style](picture(pipeline))


def lines(pipeline: Pipeline) -> list[str]:
    """Tell each task with what it reads and makes, in the order in which tasks run.

    ``*`` marks what is looked up, ``...`` what a quantum has several of, brackets what it may lack.
    """
    found = []
    for n, stage in enumerate(pipeline.stages()):
        if n:
            found.append("-- once that is certified --")
        for task in stage:
            every = task.connections.values()
            reads = ", ".join(_named(c) for c in every if c.reads) or "nothing"
            makes = ", ".join(_named(c) for c in every if not c.reads) or "nothing"
            found.append(f"{reads} -> {task.label} -> {makes}")
    return found


def _named(connection: Connection) -> str:
    mark = "*" if isinstance(connection, Prerequisite) else ""
    several = "..." if connection.multiple else ""
    name = f"{connection.dataset_type}{mark}{several}"
    return name if connection.minimum else f"[{name}]"


def picture(pipeline: Pipeline) -> Picture:
    """Choose the boxes and arrows."""
    boxes: dict[tuple[str, str], Box] = {}
    arrows: dict[tuple[tuple[str, str], tuple[str, str]], set[str]] = {}
    for task in pipeline:
        here = ("task", task.label)
        name = task.class_name.rpartition(".")[2]
        boxes[here] = Box((task.label, name, ", ".join(task.dimensions)), "task", is_root=True)
        for connection in task.connections.values():
            there = ("dataset", connection.dataset_type)
            about = ", ".join(connection.dimensions)
            words = (connection.dataset_type, connection.storage_class, about)
            boxes.setdefault(there, Box(tuple(filter(None, words)), words[0], is_root=False))
            ends = (there, here) if connection.reads else (here, there)
            word = "read by" if connection.reads else "makes"
            if isinstance(connection, Prerequisite):
                word = "looked up by"
            arrows.setdefault(ends, set()).add(word)
    place = {key: n for n, key in enumerate(boxes)}
    listed = [(place[a], place[b], ", ".join(sorted(words))) for (a, b), words in arrows.items()]
    return Picture(tuple(boxes.values()), tuple(listed))
