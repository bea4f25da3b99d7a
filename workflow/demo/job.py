"""The main job from an empty folder to answers: take in, calibrate, compare, draw.

`run_demo` does it on simulated frames, `run_on_frames` on real ones; both with what any user has:
a camera's definition, a pipeline file, and the verbs of the Butler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler.butler import Butler
from butler.skymaps import covering
from workflow.demo import album
from workflow.demo.answers import compare_with_known
from workflow.demo.compare import Check, compare
from workflow.demo.frames import DemoFailed, pipeline_for, sort_out
from workflow.demo.simulate import CENTRE, PIXEL_SCALE, simulate
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from butler.intake.ingest import Ingested

__all__ = ["OUTPUT", "DemoFailed", "Made", "run_demo", "run_on_frames"]

OUTPUT = "demo/out"
SKYMAP = {
    "name": "demo",
    "tracts": [
        {
            "id": 0,
            "ra": CENTRE[0],
            "dec": CENTRE[1],
            "scale": PIXEL_SCALE,
            "size": [540, 540],
            "patches": [2, 2],
        }
    ],
}
"""One tract of two by two patches around the field."""
_TOLD = 5
"""Files that could not be taken, of which it is said why."""


@dataclass
class Made:
    """What the job made.

    Parameters
    ----------
    repository : Path
        The repository.
    pictures : list of Path
        PNG files.
    checks : list of Check
        Comparisons with the truth, or with what is known of real frames.
    report : RunReport or None
        What became of the quanta.
    next : list of str
        Commands to try next.
    """

    repository: Path
    pictures: list[Path] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    report: RunReport | None = None
    next: list[str] = field(default_factory=list)


def run_demo(
    folder: Path,
    tell: Callable[[str], None],
    *,
    jobs: int = 2,
    db: str | None = None,
    progress: Any = None,
) -> Made:
    """Run the main job on the simulated camera.

    Parameters
    ----------
    folder : Path
        Made by this; it must not exist or be empty.
    tell : callable
        Called with a line for each step.
    jobs : int
        Processes.
    db : str, optional
        URL of an empty database; SQLite inside the repository by default.
    progress : callable, optional
        Called with label and state of quanta.

    Raises
    ------
    DemoFailed
        If the folder is in use, or a quantum failed.
    """
    _check_empty(folder)
    tell("Simulating two nights of a camera with four detectors ...")
    truth = simulate(folder / "frames")
    repository = folder / "repo"
    with Butler.create(repository, db) as butler:
        butler.register_instrument("demo")
        butler.register_skymap(SKYMAP)
        taken = butler.ingest_raws([folder / "frames"], run="DemoCam/raw")
        if taken.errors:
            path, error = taken.errors[0]
            raise DemoFailed(f"{path}: {error}")
        tell(f"Ingested {len(taken.refs)} files ({truth.n_files} frames, 4 tables of defects).")
    pipeline = Pipeline.from_yaml(shipped_pipeline("demo"))
    inputs = ["DemoCam/raw", "DemoCam/calib"]
    made = _processed(repository, pipeline, inputs, tell, jobs=jobs, progress=progress)
    if made.report is not None and not made.report.succeeded:
        raise DemoFailed(f"Not all quanta ran, the first: {_reasons(made.report)[0]}")
    with Butler(repository, collections=OUTPUT) as butler:
        tell("Comparing what was measured with what was simulated ...")
        made.checks = compare(butler, OUTPUT, truth)
        made.pictures = album.draw(butler, folder)
        made.next = _next(butler, repository, pipeline)
    return made


def run_on_frames(
    folder: Path,
    data: Path,
    tell: Callable[[str], None],
    *,
    instruments: Sequence[str] = (),
    pipeline_file: str | None = None,
    jobs: int = 2,
    db: str | None = None,
    progress: Any = None,
) -> Made:
    """Run the main job on real frames.

    Parameters
    ----------
    folder : Path
        Made by this; it must not exist or be empty.
    data : Path
        Folder with the frames, which stay as they are.
    tell : callable
        Called with a line for each step.
    instruments : sequence of str
        Cameras, as YAML files or by the names of those that ship; found out when empty.
    pipeline_file : str, optional
        What to run; what ships for the camera by default.
    jobs, db, progress
        As for `run_demo`.

    Raises
    ------
    DemoFailed
        If the folder is in use, the frames are of no camera that is known, no pipeline ships for
        it, or nothing could be taken in.
    """
    _check_empty(folder)
    cameras = sort_out(data, instruments)
    names = " and ".join(camera.definition.name for camera in cameras)
    tell(f"{data} holds {sum(c.n_files for c in cameras)} files of {names}.")
    pipeline = pipeline_for(cameras) if pipeline_file is None else Pipeline.from_yaml(pipeline_file)
    repository = folder / "repo"
    run = f"{cameras[0].definition.name}/raw" if len(cameras) == 1 else "demo/frames"
    with Butler.create(repository, db) as butler:
        for camera in cameras:
            butler.register_instrument(camera.definition)
        taken = butler.ingest_raws([data], run=run)
        _tell_taken(taken, run, tell)
        _cover_the_sky(butler, pipeline, taken, tell)
        inputs = [run, *(c.name for c in butler.collections.query("*/calib"))]
    made = _processed(repository, pipeline, inputs, tell, jobs=jobs, progress=progress)
    with Butler(repository, collections=OUTPUT) as butler:
        made.checks = compare_with_known(butler, data)
        made.pictures = album.draw(butler, folder)
        made.next = _next(butler, repository, pipeline)
    return made


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoFailed(
            f"{folder} is not empty, perhaps from a demo before; remove it, or name another folder "
            "with --folder."
        )


def _tell_taken(taken: Ingested, run: str, tell: Callable[[str], None]) -> None:
    kinds: dict[str, int] = {}
    for ref in taken.refs:
        kinds[ref.dataset_type.name] = kinds.get(ref.dataset_type.name, 0) + 1
    counted = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    for path, error in taken.errors[:_TOLD]:
        tell(f"Refused {path}: {error}")
    if not taken.refs:
        raise DemoFailed("None of the files could be taken in.")
    tell(
        f"Ingested {counted} into '{run}'; {len(taken.ignored)} other files passed over, "
        f"{len(taken.errors)} refused."
    )


def _cover_the_sky(
    butler: Butler, pipeline: Pipeline, taken: Ingested, tell: Callable[[str], None]
) -> None:
    """Register a skymap of the pixels that the exposures have, if the pipeline makes coadds."""
    if not any("patch" in task.dimensions for task in pipeline):
        return
    seen = {
        (r["instrument"], r["visit"], r["detector"])
        for r in butler.query_dimension_records("visit_detector_region")
    }
    scales = []
    for ref in taken.refs:
        d = ref.data_id
        key = (d.get("instrument"), d.get("visit", d.get("exposure")), d.get("detector"))
        if key in seen:
            scales.append(_pixel_scale(butler.get(ref, component="wcs")))
    if scales:
        definition = covering(butler.registry, "demo", round(max(scales), 2))
        butler.register_skymap(definition)
        n = len(definition["tracts"])
        tell(f"Divided the sky that they show into {n} tract{'s' if n > 1 else ''}.")


def _pixel_scale(wcs: Any) -> float:
    """Give the size of a pixel [arcsec]."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    return 3600.0 * float(max(proj_plane_pixel_scales(wcs.celestial)))


def _processed(
    repository: Path,
    pipeline: Pipeline,
    inputs: Sequence[str],
    tell: Callable[[str], None],
    *,
    jobs: int,
    progress: Any,
) -> Made:
    """Run the pipeline and tell what became of it."""
    labels = ", ".join(task.label for task in pipeline)
    tell(f"Running the pipeline on {jobs} processes: {labels} ...")
    report = run_pipeline(
        repository, pipeline, inputs=inputs, output=OUTPUT, jobs=jobs, progress=progress
    )
    done = sum(n for (_, state), n in report.states.items() if state == "done")
    certified = "".join(f"; certified {line}" for line in report.certified)
    tell(f"{done} of {sum(report.states.values())} quanta done{certified}.")
    for reason in _reasons(report)[:_TOLD]:
        tell(f"Not done: {reason}")
    return Made(repository, report=report)


def _reasons(report: RunReport) -> list[str]:
    failed = [f"{f.quantum.label} {f.quantum.data_id!r}: {f.error}" for f in report.failures]
    return failed + [f"{q.label} {q.data_id!r}: {reason}" for q, reason in report.blocked]


def _next(butler: Butler, repository: Path, pipeline: Pipeline) -> list[str]:
    """Write commands that ask what a user would ask next of what was made."""
    final = album.final_products(butler)
    lines = []
    if final:
        what = f"{repository} {final[-1].dataset_type.name}"
        where = _where(final[-1].data_id)
        lines += [
            f"skyspine query-datasets {what}",
            f'skyspine provenance {what} --where "{where}"',
            f'skyspine how-made {what} --where "{where}" --changed',
        ]
    for name in ("bias", "flat"):
        calibrations = album.found(butler, name, order_by=["detector"])
        if calibrations:
            where = _where(calibrations[0].data_id)
            lines.append(f'skyspine taint {repository} {name} --where "{where}"')
            break
    if any(task.certify for task in pipeline):
        lines.append(f"skyspine report {repository} calibration_coverage")
    lines += [
        f"skyspine report {repository} run_summary",
        f"skyspine check {repository} --checksums",
    ]
    return lines


def _where(data_id: Any) -> str:
    hidden = ("instrument", "skymap")
    return " AND ".join(f"{key} = {value!r}" for key, value in data_id.items() if key not in hidden)
