"""The main job from an empty folder to answers: simulate, ingest, calibrate, compare, draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from butler.butler import Butler
from workflow.demo import pictures
from workflow.demo.compare import Check, compare
from workflow.demo.simulate import CENTRE, PIXEL_SCALE, simulate
from workflow.errors import WorkflowError
from workflow.pipeline import Pipeline
from workflow.runner import RunReport, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DemoFailed", "Made", "run_demo", "shipped_pipeline"]

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


class DemoFailed(WorkflowError):
    """The main job did not do what it should."""

    code = "demo-failed"


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
        Comparisons with the truth; empty for real frames.
    report : RunReport or None
        What became of the quanta.
    """

    repository: Path
    pictures: list[Path] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    report: RunReport | None = None


def shipped_pipeline(name: str) -> str:
    """Give the path of a pipeline that is shipped."""
    return str(Path(__file__).parent.parent / "pipelines" / f"{name}.yaml")


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
    if folder.exists() and any(folder.iterdir()):
        raise DemoFailed(f"{folder} is not empty; name another folder, or remove it.")
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
    labels = ", ".join(t.label for t in pipeline)
    tell(f"Running the pipeline on {jobs} processes: {labels} ...")
    report = run_pipeline(
        repository,
        pipeline,
        inputs=["DemoCam/raw", "DemoCam/calib"],
        output=OUTPUT,
        jobs=jobs,
        progress=progress,
    )
    if not report.succeeded:
        why = [f.error for f in report.failures] + [reason for _, reason in report.blocked]
        raise DemoFailed(f"{len(why)} quanta did not run, the first: {why[0]}")
    tell(f"{sum(report.states.values())} quanta done; {'; '.join(report.certified)}.")
    made = Made(repository, report=report)
    with Butler(repository, collections=OUTPUT) as butler:
        tell("Comparing what was measured with what was simulated ...")
        made.checks = compare(butler, OUTPUT, truth)
        made.pictures = _draw(butler, folder)
    return made


def _draw(butler: Butler, folder: Path) -> list[Path]:
    made = []
    images = butler.query_datasets("calexp", where="exposure = 202503100020", order_by=["detector"])
    target = folder / "calibrated.png"
    pictures.draw_images(
        {f"detector {r.data_id['detector']}": butler.get(r).data for r in images},
        target,
        "One exposure, calibrated",
    )
    made.append(target)
    coadds = butler.query_datasets("coadd", order_by=["band", "-patch"])
    target = folder / "coadd.png"
    pictures.draw_images(
        {
            f"band {r.data_id['band']}, patch {r.data_id['patch']}": butler.get(r).data
            for r in coadds
        },
        target,
        "Coadds of all exposures in each band",
    )
    made.append(target)
    target = folder / "calibrations.png"
    pictures.draw_timeline(butler.registry.report("calibration_coverage"), target)
    made.append(target)
    ref = butler.query_datasets("coadd", where="band = 'r' AND patch = 0")[0]
    target = folder / "provenance.png"
    pictures.draw_history(ref, butler.registry.provenance.ancestors(ref.id), target)
    made.append(target)
    return made
