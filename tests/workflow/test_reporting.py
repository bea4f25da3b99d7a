"""Reports and named questions at the command: printed, drawn, exported; observing logs loaded."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import sqlalchemy as sa

from butler import Butler
from registry import deploy, reports
from registry.schema import files
from tests.sql import demo_rows
from workflow.cli import main
from workflow.report_plots import CannotDraw, draw

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repository with the rows of the demo."""
    root = tmp_path_factory.mktemp("reporting") / "repo"
    with Butler.create(root) as butler:
        with butler.registry.begin() as connection:
            for table in (files.endpoint, files.site):  # the demo's rows have their own
                connection.execute(sa.delete(table))
        demo_rows.fill(butler.registry)
    return root


class Command:
    """Runs the command on the repository and keeps what it says."""

    def __init__(self, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo = repo
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([a.replace("REPO", str(self.repo)) for a in arguments])
        told = self.capsys.readouterr()
        return int(left.value.code or 0), told.out, told.err


@pytest.fixture
def skyspine(repo: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(repo, capsys)


def test_report_lists_the_views_and_tells_their_columns(skyspine: Command) -> None:
    status, out, _ = skyspine("report", "REPO")
    assert status == 0
    assert all(name in out for name in deploy.view_names())
    status, out, _ = skyspine("report", "REPO", "obscore", "--describe", "--format", "json")
    told = {c["column"]: c for c in json.loads(out)}
    assert (told["em_min"]["unit"], told["em_min"]["type"]) == ("m", "double")


def test_report_prints_exact_numbers_in_every_format(skyspine: Command, tmp_path: Path) -> None:
    _, out, _ = skyspine("report", "REPO", "growth", "--format", "csv")
    printed = pd.read_csv(io.StringIO(out))
    assert list(printed.total_datasets) == [4, 68, 144, 318, 319]
    _, out, _ = skyspine("report", "REPO", "late_dataset", "--format", "json")
    late, missing = json.loads(out)
    assert (late["exposure"], missing["detector"]) == (202503110019, None)
    _, out, _ = skyspine("report", "REPO", "late_dataset")
    assert "202503110020" in out
    for ending in ("csv", "json", "parquet"):
        path = str(tmp_path / f"growth.{ending}")
        status, out, _ = skyspine("report", "REPO", "growth", "--output", path)
        assert (status, out) == (0, f"Wrote 5 rows to {path}.\n")
    table = pd.read_parquet(tmp_path / "growth.parquet")
    assert list(table.total_datasets) == [4, 68, 144, 318, 319]
    assert table.total_datasets.dtype.kind == "i"
    assert table.day_begin_tai.dt.year.unique().tolist() == [2025]


@pytest.mark.parametrize("view", deploy.view_names())
def test_every_view_can_be_drawn(skyspine: Command, tmp_path: Path, view: str) -> None:
    path = tmp_path / f"{view}.png"
    status, out, _ = skyspine("report", "REPO", view, "--plot", str(path))
    assert (status, out) == (0, f"Drew {path}.\n")
    assert path.read_bytes().startswith(PNG)


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    empty = pd.DataFrame(columns=["kind"])
    with pytest.raises(CannotDraw, match="has no rows"):
        draw(empty, reports.view("orphan"), str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("report REPO growth --plot a.bmp", 1, "does not end in .png, .pdf, .svg"),
        ("report REPO growth --output a.xls", 2, "does not end in .csv, .json or .parquet"),
        ("report REPO --plot a.png", 2, "Name a view"),
        ("report REPO grwth", 1, "Did you mean 'growth'"),
        ("query REPO nigts", 1, "Did you mean 'nights'"),
        (
            "query REPO failures",
            1,
            "needs a value for run (RUN collection), for example demo/again",
        ),
        ("query REPO failures demo/again", 2, "is not PARAMETER=VALUE; failures takes run="),
        ("query REPO failures rum=x", 1, "Did you mean 'run'"),
        ("load-exposures REPO none.csv --instrument DemoCam", 1, "cannot be read as CSV"),
        ("load-exposures REPO none.csv --map a", 2, "is not COLUMN=FIELD"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    skyspine: Command, command: str, status: int, told: str
) -> None:
    code, _, error = skyspine(*command.split())
    assert told in error
    assert code == status
    assert "Traceback" not in error


def test_query_lists_answers_and_shows_its_sql(skyspine: Command) -> None:
    _, out, _ = skyspine("query", "--format", "json")
    assert len(json.loads(out)) >= 40
    _, out, _ = skyspine("query", "REPO", "failures", "run=demo/again", "--format", "json")
    (failure,) = json.loads(out)
    assert failure["exception_message"] == "no source above the threshold"
    _, out, _ = skyspine("query", "REPO", "failures", "--sql")
    assert "-- :run text" in out
    assert "WHERE c.name = :run" in out


def test_log_is_loaded_and_its_bad_rows_are_listed(skyspine: Command, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "expnum,kind,utc,t,filter\n"
        "900,science,2025-03-13T02:00:00,60,Demo g\n"
        "901,science,later,60,Demo g\n"
        "902,science,2025-03-13T02:02:00,60,Demo i\n"
    )
    arguments = ["load-exposures", "REPO", str(log), "--instrument", "DemoCam"]
    pairs = ("expnum=id", "kind=observation_type", "utc=begin", "t=exposure_time",
             "filter=physical_filter")  # fmt: skip
    for pair in pairs:
        arguments += ["--map", pair]
    status, out, error = skyspine(*arguments)
    assert status == 1
    assert "later" in out
    assert "no such physical_filter is registered. Did you mean" in out
    assert "3 rows: 1 exposures are new, 0 were there, 0 repeated, 2 refused." in error
    _, out, _ = skyspine("query", "REPO", "exposures_of_a_night", "instrument=DemoCam",
                         "day_obs=20250312", "--format", "json")  # fmt: skip
    assert [r["exposure"] for r in json.loads(out)] == [900]
