"""Pictures show what they are given: looked at here by their pixels."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.image import imread

from registry.identity import DataId, DatasetRef, DatasetType
from registry.provenance import Edge
from registry.provenance.pictures import columns as layers
from registry.timespan import BEGINNING, END
from workflow.demo.pictures import draw_history, draw_images, draw_timeline

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3_600_000_000_000


def _inked(path: Path) -> Any:
    """Read a picture: where it is not white."""
    return (imread(path)[:, :, :3] < 0.95).any(axis=2)


def _coloured(path: Path, colour: str) -> int:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(imread(path)[:, :, :3] - rgb) < 0.02).all(axis=2).sum())


def test_images_stand_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(100.0, 5.0, (64, 64))
    image[10, 10] = np.nan
    star = image.copy()
    star[30:34, 30:34] = 500.0
    target = tmp_path / "images.png"
    draw_images({"one": image, "two": star, "empty": np.full((4, 4), np.nan)}, target, "Both")
    inked = _inked(target)
    assert 0.2 < inked.mean() < 0.9
    # Three frames in a row leave white gaps between them.
    middle = inked[inked.shape[0] // 2]
    assert np.count_nonzero(np.diff(middle.astype(int)) == 1) >= 3


def test_timeline_shows_calibrations_and_gaps(tmp_path: Path) -> None:
    rows = []
    for detector in (1, 2):
        rows += [
            ("bias", detector, None, 0, 24 * HOUR, "covered", 20250310),
            ("bias", detector, None, 24 * HOUR, END, "covered", 20250311),
            ("flat", detector, "r", 0, 24 * HOUR, "covered", 20250310),
            ("flat", detector, "r", 24 * HOUR, 48 * HOUR, "gap", None),
            ("defects", detector, None, BEGINNING, END, "covered", None),
        ]
    coverage = pd.DataFrame(
        rows,
        columns=[
            "dataset_type", "detector", "physical_filter", "valid_begin_tai_ns",
            "valid_end_tai_ns", "coverage", "made_from_day_obs",
        ],
    )  # fmt: skip
    target = tmp_path / "timeline.png"
    draw_timeline(coverage, target)
    bias, flat, gap = (_coloured(target, c) for c in ("#4c72b0", "#dd8452", "#c44e52"))
    # A bias holds on to the right border, a flat for one day of it.
    assert bias > 2 * flat > 0
    assert gap > 0


def test_timeline_of_what_holds_for_ever(tmp_path: Path) -> None:
    row = ("defects", 1, None, BEGINNING, END, "covered", None)
    names = ["dataset_type", "detector", "physical_filter", "valid_begin_tai_ns",
             "valid_end_tai_ns", "coverage", "made_from_day_obs"]  # fmt: skip
    target = tmp_path / "ever.png"
    draw_timeline(pd.DataFrame([row], columns=names), target)
    assert _coloured(target, "#937860") > 1000


def _ref(kind: str, **keys: int) -> DatasetRef:
    data_id = DataId.of({"instrument": "DemoCam", "detector": 1, **keys})
    return DatasetRef(uuid.uuid4(), DatasetType(kind, tuple(data_id), "Exposure"), data_id, "run")


def test_history_names_what_was_made_and_counts_raw_frames(tmp_path: Path) -> None:
    bias, flat = _ref("bias", day_obs=20250310), _ref("flat", day_obs=20250310)
    calexp = _ref("calexp", exposure=20)
    made = {bias: [_ref("raw", exposure=n) for n in range(5)]}
    made[flat] = [_ref("raw", exposure=n) for n in range(5, 9)]
    made[flat].append(bias)
    made[calexp] = [_ref("raw", exposure=20), bias, flat]
    edges = [
        Edge(source, output, uuid.uuid4(), "task", "run", "raws")
        for output, sources in made.items()
        for source in sources
    ]
    target = tmp_path / "history.png"
    draw_history(calexp, edges, target)
    inked = _inked(target)
    assert inked.mean() > 0.01
    for colour in ("#4c72b0", "#dd8452", "#2e8b57"):
        assert _coloured(target, colour) > 50


def test_columns_follow_the_longest_way_and_lines_do_not_cross() -> None:
    # Two chains whose nodes are given in opposite order, and a shortcut.
    lines = {("a1", "b1"), ("b1", "c1"), ("c1", "root"), ("a2", "b2"), ("b2", "c2"),
             ("c2", "root"), ("a1", "c1")}  # fmt: skip
    columns = layers(["root"], ["root", "c2", "c1", "b1", "b2", "a2", "a1"], lines)[::-1]
    assert [sorted(c) for c in columns] == [["root"], ["c1", "c2"], ["b1", "b2"], ["a1", "a2"]]
    for left, right in pairwise(columns[1:]):
        assert [n[1] for n in left] == [n[1] for n in right]
