"""Is a newcomer's mistake answered by one sentence that says what to do?"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from workflow.cli import COMMANDS, main, root
from workflow.errors import WorkflowError
from workflow.pipeline import Pipeline
from workflow.runner import run_pipeline
from workflow.shipped import shipped_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator


def call(*arguments: object) -> Result:
    return CliRunner().invoke(root, [str(a) for a in arguments])


def told(*arguments: object) -> str:
    """Make a mistake, and give what is said of it."""
    result = call(*arguments)
    assert result.exit_code != 0
    return result.output or str(result.exception)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Path:
    """A repository with the raw frames of TIRCAM2, and one quick task run on them."""
    folder = tmp_path_factory.mktemp("newcomer") / "repo"
    frames = test_data / "dot-tircam2-ic310-2022"
    assert call("create", folder).exit_code == 0
    assert call("instrument", "register", folder, "tircam2").exit_code == 0
    taken = call("ingest-raws", folder, frames)
    assert taken.exit_code == 0
    assert "13 datasets into 'TIRCAM2/raw'" in taken.stdout
    pipeline = f"{shipped_pipeline('tircam2')}#combineBias"
    ran = call("run", folder, "-p", pipeline, "-i", "TIRCAM2/raw", "-o", "out")
    assert ran.exit_code == 0
    assert "Certified 1 bias (forever) in out/calib." in ran.stdout
    return folder


def test_commands_that_are_spelled_wrongly(repo: Path) -> None:
    assert "Did you mean 'demo'?" in told("dmeo")
    assert "Missing argument 'REPO'" in told("query-datasets")
    for name in COMMANDS:
        assert call(name, "--help").exit_code == 0
    assert "Did you mean 'raw'?" in told("query-datasets", repo, "raws")


def each_command(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Give a command, and those below it, with their names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from each_command(found, f"{name} {below}")


def test_the_shell_completes_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_SKYSPINE_COMPLETE", "bash_complete")
    for words, place, completed in (
        ("skyspine query-dat", 1, {"query-datasets", "query-data-ids", "query-dataset-types"}),
        ("skyspine collection t", 2, {"tag"}),
        ("skyspine ingest-raws --tr", 2, {"--transfer"}),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(place))
        with pytest.raises(SystemExit) as left:
            main([])
        told = {line.partition(",")[2] for line in capsys.readouterr().out.split()}
        assert (left.value.code, told) == (0, completed)


def test_files_that_are_refused_are_named_once(repo: Path, tmp_path: Path, test_data: Path) -> None:
    frame = min((test_data / "dot-tircam2-ic310-2022").glob("flats*.fits.gz"))
    (tmp_path / frame.name).write_bytes(frame.read_bytes()[:99])
    result = call("ingest-raws", repo, tmp_path)
    assert "1 refused" in result.output
    (line,) = [line for line in result.output.splitlines() if frame.name in line]
    assert line.count(frame.name) == 1


def test_each_command_and_each_option_is_explained() -> None:
    unexplained = [
        f"{name} {parameter.opts[0] if parameter else ''}"
        for name, command in each_command(root, "skyspine")
        for parameter in (None, *command.params)
        if not (
            command.help
            if parameter is None
            else not isinstance(parameter, click.Option) or parameter.help or parameter.hidden
        )
    ]
    assert unexplained == []


def test_cameras_that_ship_are_listed_with_their_pipelines() -> None:
    listed = json.loads(call("instrument", "list", "--format", "json").stdout)
    assert {c["name"]: c["pipeline"] for c in listed} == {
        "90prime": "calexps",
        "decam": "",
        "demo": "demo",
        "hsc": "",
        "mosaic3": "calexps",
        "obs-test": "obs-test",
        "ohp-t152": "ohp-t152",
        "tircam2": "tircam2",
    }


def test_cameras(tmp_path: Path, repo: Path) -> None:
    assert "Did you mean 'tircam2'?" in told("instrument", "register", repo, "tircam")
    assert "Give the path of a YAML file" in told("instrument", "register", repo, "mine.yaml")
    empty = tmp_path / "empty"
    call("create", empty)
    frame = repo / "registry.sqlite3"
    assert "skyspine instrument register REPO FILE" in told("ingest-raws", empty, frame)
    passed_over = call("ingest-raws", repo, frame)
    assert passed_over.exit_code == 0
    assert "No name is that of a file of TIRCAM2" in passed_over.output


def test_pipelines_that_ship_are_known_by_name(repo: Path) -> None:
    assert "Did you mean 'tircam2'?" in told(
        "run", repo, "-p", "tircam", "-i", "TIRCAM2/raw", "-o", "o"
    )
    counted = call("run", repo, "-p", "tircam2#isr", "-i", "TIRCAM2/raw", "-o", "o", "--dry-run")
    assert "isr" in counted.stdout
    given = Pipeline.from_yaml(Path(shipped_pipeline("tircam2")))
    assert [t.label for t in Pipeline.from_yaml("tircam2")] == [t.label for t in given]


def test_a_pipeline_of_another_camera(repo: Path) -> None:
    pipeline = Pipeline.from_yaml("ohp-t152")
    with pytest.raises(WorkflowError, match="for the camera OHP-T152; this repository has TIRCAM2"):
        run_pipeline(repo, pipeline, inputs=["TIRCAM2/raw"], output="wrong")
    assert "no rows" in call("query-collections", repo, "wrong*").stdout


def test_histories(repo: Path) -> None:
    assert "has no task 'combinBias'. Did you mean 'combineBias'?" in told(
        "config-history", repo, "out", "combinBias"
    )
    assert "has no field 'stat'" in told("config-history", repo, "out", "combineBias.stat")
    assert "No dataset of type bias is in any collection where detector = 7." in told(
        "provenance", repo, "bias", "--where", "detector = 7"
    )
    assert "No task made raw: it was ingested" in told(
        "how-made", repo, "raw", "--where", "exposure.observation_type = 'bias'"
    )


def test_how_a_bias_was_made(repo: Path) -> None:
    made = call("how-made", repo, "bias", "--changed")
    assert made.exit_code == 0
    lines = [line.split() for line in made.stdout.splitlines()]
    values = {line[0]: line[1] for line in lines if len(line) > 1}
    assert made.stdout.startswith("combineBias (workflow.ccd.combine.CombineBiasTask) in out/")
    assert values["statistics.method"] == "median"
    assert values["statistics.sigma_clip"] == "0.0"
    assert "statistics.centre" not in values
    assert values["numpy"] == version("numpy")
    assert "statistics.centre" in call("how-made", repo, "bias").stdout
