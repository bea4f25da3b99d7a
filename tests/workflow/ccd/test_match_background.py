"""Background matched over a focal plane: simulated truth, any ranks and back ends, real frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from butler import Butler
from tests.workflow.ccd.real_frames import image
from workflow.ccd.errors import NoSkyCoordinates
from workflow.ccd.grid import TanGrid
from workflow.ccd.match_background import MatchBackgroundConfig, MatchBackgroundTask
from workflow.demo.job import run_on_frames
from workflow.multinode import Placement
from workflow.multinode.supertask import run_by_geometry
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NOISE = 5.0
SIZE = 128
ROWS, COLUMNS = 2, 3


def camera(
    steps: NDArray[np.float64],
    *,
    gap: float = 14.0,
    turned: Sequence[int] = (),
    slope: float = 0.02,
) -> list[Any]:
    """Simulate detectors of one exposure: a sloping sky with stars, and a number on each."""
    dice = np.random.default_rng(11)
    rows, columns = steps.shape
    stars = dice.uniform(0, (SIZE + gap) * np.array([columns, rows]), (40 * steps.size, 2))
    frames = []
    for n, (j, i) in enumerate(np.ndindex(rows, columns)):
        x0, y0 = i * (SIZE + gap), j * (SIZE + gap)
        y, x = np.mgrid[:SIZE, :SIZE]
        sky = 1000.0 + slope * (x + x0) + 0.5 * slope * (y + y0) + steps[j, i]
        data = dice.normal(sky, NOISE)
        for sx, sy in stars - (x0, y0):
            if -5 < sx < SIZE + 5 and -5 < sy < SIZE + 5:
                data += 900.0 * np.exp(-0.5 * ((x - sx) ** 2 + (y - sy) ** 2) / 1.5**2)
        grid = TanGrid(150.0, 2.0, 0.2, SIZE, SIZE, 200.0 - x0, 140.0 - y0)
        frame = image(data, grid)
        if n in turned:  # mounted upside down
            frame = image(data[::-1, ::-1], grid)
            frame.wcs = grid.wcs()
            frame.wcs.wcs.crpix = SIZE + 1 - frame.wcs.wcs.crpix
            frame.wcs.wcs.cdelt = -frame.wcs.wcs.cdelt
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def steps() -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.random.default_rng(3).normal(0.0, 8.0, (ROWS, COLUMNS))
    return found


@pytest.fixture(scope="module")
def frames(steps: NDArray[np.float64]) -> list[Any]:
    return camera(steps)


def matched(frames: list[Any], placement: str = "threads:1", **settings: Any) -> Any:
    config = MatchBackgroundConfig()
    config.depth = 24
    for name, value in settings.items():
        setattr(config, name, value)
    task = MatchBackgroundTask(config)
    result = run_by_geometry(task, {"calexps": frames}, Placement.of(placement))
    result.metadata = task.metadata.to_dict()
    return result


def left(result: Any, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what is left of the steps, but for the same number on all."""
    rest: NDArray[np.float64] = steps.ravel() + np.array(result.offsets["offset"])
    rest -= rest.mean()
    return rest


def test_steps_that_were_put_in_are_taken_out(
    frames: list[Any], steps: NDArray[np.float64]
) -> None:
    result = matched(frames)
    assert np.abs(left(result, steps)).max() < 1.0
    assert np.abs(steps - steps.mean()).max() > 8.0
    assert sum(result.offsets["offset"]) == pytest.approx(0.0, abs=1e-9)
    assert result.metadata["step_after"] < 0.1 * result.metadata["step_before"]
    assert list(result.offsets["n_neighbours"]) == [2, 3, 2, 2, 3, 2]
    for frame, made, offset in zip(frames, result.matched, result.offsets["offset"], strict=True):
        assert np.allclose(made.data - frame.data, offset, atol=1e-9)
        assert made.uncertainty is not None


def test_a_slope_along_the_focal_plane_is_no_step(steps: NDArray[np.float64]) -> None:
    sloping = camera(steps, slope=0.3)
    assert np.abs(left(matched(sloping), steps)).max() < 1.5
    assert np.abs(left(matched(sloping, extrapolate=False), steps)).max() > 4.0


def test_detectors_that_are_mounted_upside_down_match_too(
    steps: NDArray[np.float64],
) -> None:
    result = matched(camera(steps, turned=(1, 3)), cells=[2, 2])
    assert np.abs(left(result, np.repeat(steps.ravel(), 4))).max() < 2.0


@pytest.mark.parametrize("placement", ["threads:4", "threads:6", "processes:2", "mpi:3"])
def test_every_bit_is_the_same_on_any_ranks(frames: list[Any], placement: str) -> None:
    alone = matched(frames, cells=[2, 2])
    found = matched(frames, placement, cells=[2, 2])
    assert found.metadata["multinode"]["ranks"] == int(placement.partition(":")[2])
    for name in alone.offsets.colnames:
        assert np.array_equal(found.offsets[name], alone.offsets[name])
    for one, other in zip(found.matched, alone.matched, strict=True):
        assert one.data.tobytes() == other.data.tobytes()


def test_every_bit_is_the_same_through_a_broker(
    frames: list[Any], rabbitmq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYSPINE_AMQP_URL", rabbitmq)
    alone, found = matched(frames), matched(frames, "rabbitmq:2")
    assert np.array_equal(found.offsets["offset"], alone.offsets["offset"])


def test_a_detector_that_touches_none_is_left_as_it_is(steps: NDArray[np.float64]) -> None:
    result = matched(camera(steps[:1, :2], gap=90.0), reach=30.0)
    assert list(result.offsets["n_neighbours"]) == [0, 0]
    assert list(result.offsets["offset"]) == [0.0, 0.0]


def test_a_side_without_sky_does_not_count(frames: list[Any], steps: NDArray[np.float64]) -> None:
    spoiled = [frame.copy() for frame in frames]
    spoiled[0].mask = np.zeros((SIZE, SIZE), dtype=np.int32)
    spoiled[0].mask[:, SIZE // 2 :] = 1
    spoiled[0].data = np.where(spoiled[0].mask > 0, 60000.0, spoiled[0].data)
    result = matched(spoiled)
    assert result.offsets["n_neighbours"][0] == 1
    assert np.abs(left(result, steps)).max() < 1.5


def test_without_coordinates_only_one_detector_can_be_matched(frames: list[Any]) -> None:
    bare = [frame.copy() for frame in frames[:2]]
    for frame in bare:
        frame.wcs = None
    with pytest.raises(NoSkyCoordinates, match="Detector 0 has no WCS"):
        matched(bare)
    step = np.zeros((SIZE, SIZE))
    step[:, SIZE // 2 :] = 7.0
    bare[0].data = bare[0].data + step
    offsets = matched(bare[:1], cells=[1, 2]).offsets["offset"]
    assert offsets[0] - offsets[1] == pytest.approx(7.0, abs=1.0)


def test_amplifiers_of_real_frames_agree_on_any_ranks(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the pipeline that ships, up to the matched background, and its provenance."""
    pipeline = tmp_path / "part.yaml"
    pipeline.write_text(Path(shipped_pipeline("obs-test")).read_text().partition("  detect:\n")[0])
    monkeypatch.setenv("SKYSPINE_NODES", "threads:1")
    run_on_frames(tmp_path / "demo", test_data / "lsst-obs-test-phosim", lambda _: None, jobs=1,
                  pipeline_file=str(pipeline))  # fmt: skip
    monkeypatch.setenv("SKYSPINE_NODES", "processes:2")
    report = run_pipeline(
        tmp_path / "demo" / "repo", Pipeline.from_yaml(f"{pipeline}#matchBackground"),
        inputs=["demo/out"], output="again",
    )  # fmt: skip
    assert report.states == {("matchBackground", "done"): 3}
    with Butler(tmp_path / "demo" / "repo") as butler:
        seen = [offsets_in(butler, name) for name in ("demo/out", report.run)]
        for ref in butler.query_datasets("matched", collections=report.run):
            inputs = butler.registry.provenance.ancestors(ref.id)
            assert {e.input.dataset_type.name for e in inputs} == {"calexp", "raw", "defects"}
            calexp = butler.get("calexp", ref.data_id, collections="demo/out")
            assert 0.0 < np.abs(butler.get(ref).data - calexp.data).max() < 2.0
    assert seen[0] == seen[1]
    assert [len(values) for values in seen[0].values()] == [4, 4, 4]


def offsets_in(butler: Butler, collection: str) -> dict[int, list[float]]:
    refs = butler.query_datasets("background_offsets", collections=collection)
    return {int(r.data_id["exposure"]): list(butler.get(r)["offset"]) for r in refs}
