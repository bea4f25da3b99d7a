"""Do the commands on calibrations do and say what they should, and do pipelines go by policies?"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from butler import Butler
from tests.workflow import splitting_tasks
from tests.workflow.planned import quanta_of
from workflow.cli import main
from workflow.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry import DatasetRef

S = 1_000_000_000
DAY = 86_400 * S
CAMERA = "DemoCam"
LEVEL = ("instrument", "detector", "day_obs")
TEMPERATURES = {1: -100.0, 2: -96.0, 3: -99.5}


@pytest.fixture
def repo(tmp_path: Path, database_url: str) -> Path:
    """Frames of three exposures a day apart, and two levels, of other temperatures."""
    root = tmp_path / "repo"
    with Butler.create(root, database_url) as butler:
        butler.register_instrument("demo")
        night = {"instrument": CAMERA, "id": 20250310, "begin_tai_ns": 0, "end_tai_ns": 9 * DAY}
        butler.registry.insert_dimension_records("day_obs", [night])
        exposures = [
            {
                "instrument": CAMERA,
                "id": n,
                "obs_id": str(n),
                "day_obs": 20250310,
                "observation_type": "science",
                "begin_tai_ns": n * DAY,
                "end_tai_ns": n * DAY + S,
                "extra": {"ccdtemp": t},
            }
            for n, t in TEMPERATURES.items()
        ]
        butler.registry.insert_dimension_records("exposure", exposures)
        butler.register_dataset_type("frame", splitting_tasks.DETECTOR, "StructuredDataDict")
        butler.register_dataset_type(
            "level",
            ("instrument", "detector", "day_obs"),
            "StructuredDataDict",
            is_calibration=True,
        )
        with butler.transaction():
            for n in TEMPERATURES:
                keys = {"instrument": CAMERA, "exposure": n, "detector": 1}
                butler.put({"value": n}, "frame", keys, run="raw")
            key = {"instrument": CAMERA, "detector": 1, "day_obs": 20250310}
            for run in ("cold", "warm"):
                butler.put({"of": 1.0}, "level", key, run=run)
    return root


@pytest.fixture
def tell(repo: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command, with the repository after its name."""

    def run(command: str, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([command, str(repo), *words])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def certify_both(tell: Callable[..., tuple[int, str, str]]) -> None:
    for run, begin, end, temperature in (
        ("cold", "1970-01-01/tai", "1970-01-02/tai", "-100"),
        ("warm", "1970-01-03/tai", "1970-01-04T12:00:00/tai", "-96"),
    ):
        status, out, err = tell(
            "certify", "calib", "level", "-i", run, "--begin", begin, "--end", end,
            "--fact", f"ccdtemp={temperature}",
        )  # fmt: skip
        assert (status, err) == (0, "")
        assert out.startswith("Certified 1 level in 'calib' over [1970-01-0")


def taken(repo: Path) -> dict[int, str | None]:
    """Name the run of the level that a pipeline takes for each exposure."""
    pipeline = Pipeline.from_yaml(
        "description: levels\ntasks:\n  subtract:\n"
        f"    class: {splitting_tasks.__name__}.SubtractTask\n"
    )
    with Butler(repo, writeable=True) as butler:
        ready, blocked = quanta_of(butler.registry, pipeline.tasks, ["raw", "calib"])
    found: dict[int, str | None] = {}
    for quantum in (*ready, *blocked):
        levels: tuple[DatasetRef, ...] = quantum.inputs.get("level", ())
        found[int(quantum.data_id["exposure"])] = levels[0].run if levels else None
    return found


def test_pipeline_takes_what_the_policy_allows(
    repo: Path, tell: Callable[..., tuple[int, str, str]]
) -> None:
    certify_both(tell)
    assert taken(repo) == {1: None, 2: "warm", 3: "warm"}
    assert tell("calibration-policy", "level", "--selection", "nearest-earlier")[0] == 0
    assert taken(repo) == {1: "cold", 2: "warm", 3: "warm"}
    status, out, _ = tell(
        "calibration-policy", "level", "--selection", "nearest", "--match", "ccdtemp=1",
        "--within", "36h",
    )  # fmt: skip
    assert (status, out.split()[-4:]) == (0, ["nearest", "1.5", "d", "ccdtemp=1"])
    assert taken(repo) == {1: "cold", 2: "warm", 3: None}
    assert tell("calibration-policy", "level", "--remove")[1] == (
        "The policy of level is removed.\n"
    )
    assert taken(repo) == {1: None, 2: "warm", 3: "warm"}


def test_why_names_every_candidate_with_its_reason(
    tell: Callable[..., tuple[int, str, str]],
) -> None:
    certify_both(tell)
    asked = ("level", "--exposure", "3", "--detector", "1", "-i", "calib")
    status, out, err = tell("why-calibration", *asked, "--format", "json")
    assert (status, err) == (0, "")
    assert [(r["taken"], r["run"], r["reason"]) for r in json.loads(out)] == [
        ("yes", "warm", "valid"),
        ("", "cold", "not valid: ended 2 d before the observation"),
    ]
    tell("calibration-policy", "level", "--match", "ccdtemp=1")
    out = tell("why-calibration", *asked, "--limit", "1")[1]
    assert "policy: valid, ccdtemp within 1; searched: 'calib': none of 2 candidates" in out
    assert "its ccdtemp is -96, more than 1 from -99.5" in out or "not valid" in out
    out = tell(
        "why-calibration", "level", "--key", "detector=2", "--at", "1970-01-03", "-i", "calib"
    )[1]
    assert "nothing is certified for it at any time" in out


def test_ranges_are_cut_and_resolved(repo: Path, tell: Callable[..., tuple[int, str, str]]) -> None:
    certify_both(tell)
    words = ("calib", "level", "-i", "cold", "--begin", "1970-01-03/tai", "--end", "1970-01-05/tai")
    status, _, err = tell("certify", *words)
    assert status == 1
    assert "may not overlap: " in err
    assert tell("certify", *words, "--resolve", "earliest")[0] == 0
    cut = ("--begin", "1970-01-03T06:00:00/tai", "--end", "1970-01-03T12:00:00/tai")
    assert tell("decertify", "calib", "level", *cut, "--key", "detector=1")[0] == 1
    status, out, _ = tell(
        "decertify", "calib", "level", *cut, "--key", "detector=1", "--key", f"instrument={CAMERA}"
    )
    assert (status, out[:25]) == (0, "Cut or removed 1 ranges o")
    with Butler(repo) as butler:
        held = [
            butler.registry.find_calibrations(
                "level", [({"instrument": CAMERA, "detector": 1}, int(day * DAY))], "calib"
            )[0]
            for day in (0.5, 1.5, 2.1, 2.4, 2.6, 3.6)
        ]
        assert [ref and ref.run for ref in held] == ["cold", None, "warm", None, "warm", "cold"]
        assert butler.registry.find_dataset(
            "level", {"instrument": CAMERA, "detector": 1}, "calib", at=DAY // 2
        )


def test_old_registry_is_refused_listed_and_loaded(
    tmp_path: Path, tell: Callable[..., tuple[int, str, str]]
) -> None:
    old = tmp_path / "old.sqlite3"
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE zero (path, ccd, filter, validStart, validEnd)")
        rows = [("z/1.fits", "2005-01-01", "2005-01-09"), ("z/2.fits", "2005-01-05", "2005-01-20")]
        connection.executemany(
            "INSERT INTO zero VALUES (?, ?, 'NONE', ?, ?)",
            [(path, ccd, begin, end) for path, begin, end in rows for ccd in (1, 2)],
        )
    connection.close()
    words = (str(old), "--collection", "old", "--instrument", CAMERA, "--scale", "tai")
    status, out, err = tell("import-calibrations", *words, "--format", "json")
    assert status == 1
    assert [(p["detector"], p["new_run"], p["old_end"]) for p in json.loads(out)] == [
        (1, "old/z/2", "2005-01-09"),
        (2, "old/z/2", "2005-01-09"),
    ]
    assert err.endswith("--resolve loads it; --format csv lists every pair.\n")
    would = tell("import-calibrations", *words, "--resolve", "split", "--dry-run")[1]
    assert would == "4 zero: 4 datasets would be new, 4 ranges would be certified in 'old'.\n"
    done = tell("import-calibrations", *words, "--resolve", "split")[1]
    assert done == "4 zero: 4 datasets new, 4 ranges certified in 'old'.\n"
    out = tell(
        "why-calibration", "zero", "--detector", "1", "--at", "2005-01-08/tai", "--format", "json"
    )[1]
    first = json.loads(out)[0]
    assert (first["run"], first["begin"], first["reason"]) == ("old/z/1", "2005-01-01", "valid")


MISTAKES = [
    ("calibration-policy --selection nearest", 2, "Name the dataset type whose policy"),
    ("calibration-policy level --remove --within 1d", 2, "Either set a policy or --remove"),
    ("calibration-policy level --within 1d", 1, "needs the policy nearest-earlier or nearest"),
    ("calibration-policy level --selection nearest --within ten", 1, "'ten' is not a length"),
    ("calibration-policy level --match t=warm", 2, "--match t=warm: 'warm' is no number"),
    ("calibration-policy frame --selection nearest", 1, "frame is not a calibration type"),
    ("calibration-policy levl --selection nearest", 1, "Did you mean 'level'"),
    ("why-calibration level --detector 1", 2, "Give --exposure, or the time --at"),
    ("why-calibration level --exposure 77 --detector 1", 1, "There is no exposure 77 of Demo"),
    ("why-calibration level --exposure 1", 1, "lacks detector"),
    ("why-calibration level --exposure 1 --key detector", 2, "--key takes NAME=VALUE"),
    ("certify c level -i cold --resolve newest", 2, "'newest' is not one of 'latest'"),
    ("certify c level -i cold --fact hot", 2, "--fact takes NAME=VALUE, not 'hot'"),
    ("decertify nowhere level", 1, "no collection 'nowhere'"),
]


def test_mistakes_are_told(tell: Callable[..., tuple[int, str, str]]) -> None:
    for words, status, message in MISTAKES:
        command, *rest = words.split()
        got, _, err = tell(command, *rest)
        assert (words, got) == (words, status)
        assert message in " ".join(err.split())
