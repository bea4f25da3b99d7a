"""Whose frames lie in a folder, and which pipeline that ships fits them?

A camera is known by the names of its files and the cards by which it identifies them; `sort_out`
tries those that ship, or says of those that were named why none of the files is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from butler.instrument import InstrumentDefinition, load_shipped, shipped
from registry.errors import SkyspineError
from workflow.errors import WorkflowError
from workflow.pipeline import Pipeline
from workflow.shipped import shipped_pipelines

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Camera", "DemoFailed", "files_in", "pipeline_for", "sort_out"]

_PROBED = 3
"""Files of each kind whose headers are read to see whether they are a camera's."""


class DemoFailed(WorkflowError):
    """The main job did not do what it should."""

    code = "demo-failed"


@dataclass
class Camera:
    """A camera, and what of a folder is its own.

    Parameters
    ----------
    given : str
        Name of a shipped definition, or path of a YAML file.
    definition : InstrumentDefinition
        What it says.
    n_files : int
        Files whose names are the camera's.
    kinds : set of str
        Dataset types that they are.
    refused : list of str
        Why files that were tried are not its own.
    """

    given: str
    definition: InstrumentDefinition
    n_files: int = 0
    kinds: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


def files_in(folder: Path) -> list[Path]:
    """List the files in and below a folder.

    Raises
    ------
    DemoFailed
        If it does not exist, is no folder, or is empty.
    """
    if not folder.exists():
        raise DemoFailed(
            f"There is no folder {folder}; name the one with the raw frames with --data."
        )
    if not folder.is_dir():
        raise DemoFailed(f"{folder} is a file; name the folder that it lies in with --data.")
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    if not found:
        raise DemoFailed(f"There is no file in {folder}; name the folder with the raw frames.")
    return found


def sort_out(folder: Path, given: Sequence[str]) -> list[Camera]:
    """Find the cameras of the files in a folder.

    Parameters
    ----------
    folder : Path
        Searched with everything below it.
    given : sequence of str
        Names of shipped definitions or paths of YAML files; all that ship when empty.

    Returns
    -------
    list of Camera
        Each with at least one file.

    Raises
    ------
    DemoFailed
        If no file is of a camera that was named, or of any that ships.
    """
    found = files_in(folder)
    if given:
        cameras = [_tried(name, _definition(name), found) for name in given]
        for camera in cameras:
            if not camera.kinds:
                raise DemoFailed(_not_its_own(camera, folder, found))
        return cameras
    cameras = [_tried(name, load_shipped(name), found) for name in shipped()]
    known = [camera for camera in cameras if camera.kinds]
    if not known:
        example = next((p for p in found if ".fit" in p.name.lower()), found[0])
        raise DemoFailed(
            f"None of the {len(found)} files in {folder} (for example {example.name}) is of a "
            f"camera that ships: {', '.join(shipped())}. Describe yours in a YAML file (how: "
            "docs/how-to/add-a-camera.md) and name it with --instrument FILE."
        )
    return known


def _definition(name: str) -> InstrumentDefinition:
    return InstrumentDefinition.from_yaml(name) if Path(name).is_file() else load_shipped(name)


def _tried(name: str, definition: InstrumentDefinition, found: Sequence[Path]) -> Camera:
    """Look at the names of all files, and into the headers of a few of each kind."""
    camera = Camera(name, definition)
    mine: dict[str, list[Path]] = {}
    for path in found:
        match = None if definition.ignores(path) else definition.files.match(path)
        if match is not None:
            camera.n_files += 1
            mine.setdefault(match[0].dataset_type, []).append(path)
    for kind, paths in mine.items():
        for path in paths[:_PROBED]:
            try:
                definition.observe(path)
            except (SkyspineError, OSError) as error:
                camera.refused.append(str(error))
            else:
                camera.kinds.add(kind)
                break
    return camera


def _not_its_own(camera: Camera, folder: Path, found: Sequence[Path]) -> str:
    name = camera.definition.name
    if camera.refused:
        return (
            f"{camera.n_files} files in {folder} have names as {name} gives them, but "
            f"{camera.refused[0]}"
        )
    others = [c.given for c in (_tried(n, load_shipped(n), found) for n in shipped()) if c.kinds]
    if others:
        return (
            f"No file in {folder} is of {name}; they are of {' and '.join(others)}: leave "
            "--instrument out, or name "
            f"{'it' if len(others) == 1 else 'each'} with --instrument."
        )
    example = next((p for p in found if ".fit" in p.name.lower()), found[0])
    patterns = "; ".join(kind.pattern.pattern for kind in camera.definition.files.kinds)
    return (
        f"None of the {len(found)} files in {folder} has a name as {name} gives them: "
        f"{example.name} does not fit {patterns}."
    )


def pipeline_for(cameras: Sequence[Camera]) -> Pipeline:
    """Choose the pipeline that ships for the frames of some cameras.

    Raises
    ------
    DemoFailed
        If there is none.
    """
    known = shipped_pipelines()
    names = [camera.definition.name for camera in cameras]
    if len(cameras) == 1 and names[0] in known:
        return Pipeline.from_yaml(known[names[0]])
    if all("calexp" in camera.kinds for camera in cameras):
        return Pipeline.from_yaml(known[None])
    ready = sorted(name for name in known if name is not None)
    raise DemoFailed(
        f"No pipeline ships for raw frames of {' and '.join(names)}; there is one for each of "
        f"{', '.join(ready)}, and one for calibrated exposures of any cameras. Write one (how: "
        "docs/how-to/run-a-pipeline.md) and name it with --pipeline FILE."
    )
