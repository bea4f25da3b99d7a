"""What does the command import before it knows what to do, and what does it say of bad input?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from butler import Butler
from workflow.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.databases import Databases

HELP_OF_EVERYTHING = """
import sys
from workflow.cli import main, root
try:
    main(["--help"])
except SystemExit as done:
    assert done.code == 0
print("modules:", *sorted(set(sys.modules) - set(sys.stdlib_module_names)))
import click
def tell(command, parent):
    context = click.Context(command, info_name=command.name, parent=parent)
    assert command.get_help(context)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        tell(command.get_command(context, name), context)
tell(root, None)
print("modules:", *sorted(set(sys.modules) - set(sys.stdlib_module_names)))
"""


def test_help_imports_click_and_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EVERYTHING], capture_output=True, text=True, check=True
    )
    of_root, of_all = (
        {name.partition(".")[0] for name in line.split()[1:]} - set(sys.stdlib_module_names)
        for line in done.stdout.splitlines()
        if line.startswith("modules:")
    )
    heavy = {
        *("alembic", "astropy", "fsspec", "lark", "lsst", "matplotlib", "numpy", "pandas"),
        *("pyarrow", "rich", "sqlalchemy", "yaml"),
    }
    assert not {*heavy, "registry", "backbone", "butler"} & of_root
    assert not heavy & of_all
    assert "ingest-raws" in done.stdout


@pytest.fixture(scope="module")
def repo(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("cli") / "repo"
    with databases.migrated() as url:
        with Butler.create(root, url) as butler:
            butler.register_instrument("demo")
            butler.register_dataset_type("note", ("instrument", "detector"), "StructuredDataDict")
            butler.put({"n": 1}, "note", detector=1, run="u/notes")
        yield root


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("query-datasets REPO note --count", [{"n": 1}]),
        ("query-datasets REPO note --where exposure>0 --count", [{"n": 0}]),
        ("query-data-ids REPO detector --datasets note", [{"detector": 1}]),
        (
            "query-data-ids REPO detector --without note --order-by -detector --limit 2",
            [{"detector": 4}, {"detector": 3}],
        ),
        (
            "query-data-ids REPO instrument,detector --after instrument=DemoCam,detector=3",
            [{"instrument": "DemoCam", "detector": 4}],
        ),
        (
            "query-data-ids REPO detector --by detector.purpose",
            [{"detector.purpose": "science", "n": 4}],
        ),
        (
            "query-data-ids REPO detector --where detector>=0ANDdetector=1 --explain",
            [
                {"condition": "", "left": 4},
                {"condition": "detector>=0", "left": 4},
                {"condition": "detector=1", "left": 1},
            ],
        ),
        (
            "query-dimension-records REPO instrument --by instrument",
            [{"instrument": "DemoCam", "n": 1}],
        ),
        ("query-dimension-records REPO detector --limit 1 --after instrument=DemoCam,id=4", []),
    ],
)
def test_every_question_takes_the_same_options(
    repo: Path, capsys: pytest.CaptureFixture[str], command: str, rows: list[dict[str, object]]
) -> None:
    words = [part.replace("REPO", str(repo)) for part in command.split()]
    words = [word.replace("AND", " AND ") for word in words]
    with pytest.raises(SystemExit) as left:
        main([*words, "--format", "json"])
    assert left.value.code in (0, None)
    assert json.loads(capsys.readouterr().out) == rows


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("query-datasets REPO nte", 1, "There is no dataset type 'nte'. Did you mean 'note'?"),
        ("query-datasets REPO note --where detector=", 1, "ends after '=', where a value should"),
        ("query-datasets REPO note -i u/note", 1, "no collection 'u/note'. Did you mean 'u/notes'"),
        ("query-datasets REPO note --order-by detectr", 1, "Did you mean 'detector'"),
        ("query-datasets REPO note --format xml", 2, "'xml' is not one of 'table', 'json'"),
        ("query-datasets REPO note --limit -1", 2, "-1 is not in the range x>=0"),
        ("query-datasets REPO note --where instrument='Demo'", 0, "Did you mean 'DemoCam'?"),
        (
            "query-datasets REPO note --where detector=7",
            0,
            "There are datasets of type note in 'u/notes', but none",
        ),
        ("query-datasets REPO defects", 0, "No dataset of type defects is registered yet."),
        ("query-data-ids REPO detectr", 1, "no dimension or field 'detectr'. Did you mean 'det"),
        ("query-data-ids REPO ,", 1, "name at least one"),
        ("query-data-ids REPO exposure", 0, "There is no record of exposure yet."),
        (
            "query-data-ids REPO detector --datasets defects",
            0,
            "No dataset of type defects is registered yet.",
        ),
        (
            "query-datasets REPO note --where tract=0",
            1,
            "Nothing relates 'tract' to instrument, det",
        ),
        ("query-datasets REPO note --by exposure", 1, "'exposure' may have several values for one"),
        ("query-data-ids REPO detector --after detector", 2, "is no key; write it as exposure=12,"),
        ("query-data-ids REPO detector --after exposure=1", 1, "it has exposure too many"),
        (
            "query-data-ids REPO detector --without note --where detector=1",
            0,
            "left before it fulfils: detector=1",
        ),
        ("query-dimension-records REPO detector --after id=1", 1, "is known by instrument, id;"),
        ("query-dimension-records REPO exposur", 1, "Did you mean 'exposure'"),
        ("query-dimension-records REPO visit", 0, "There is no record of visit yet."),
        ("certify REPO c note -i u/notes", 1, "note is not a calibration type"),
        ("certify REPO c note -i u/notes --begin 2022-30-30", 1, "'2022-30-30' is not a time"),
        ("certify REPO c note -i * --begin 2022-02 --end 2022-01", 1, "'2022-02' is not a time"),
        ("certify REPO c note -i * --begin 60001 --end 60000", 1, "must begin before it ends"),
        (
            "instrument register REPO dem",
            1,
            "'dem' ships with skyspine. Did you mean 'demo' or 'decam'?",
        ),
        ("report REPO run_sumary", 1, "There is no view 'run_sumary'. Did you mean 'run_summary'"),
        ("query-datasets REPO/none note", 1, "holds no repository; make one with: skyspine create"),
        ("create REPO", 1, "holds a repository already"),
        ("create REPO/x --db nonsense", 1, "'nonsense' is not a database URL; write for example"),
        ("create REPO/x --db oracle://a/b", 1, "'oracle' is not supported; use SQLite, Postgre"),
        ("run REPO -p demo -i a -o b --clobber", 2, "There is no --clobber: a dataset is never"),
        ("db current nonsense", 1, "'nonsense' is not a database URL"),
        ("db current sqlite:///REPO/x.db", 1, "x.db holds no schema; make it with: skyspine db cr"),
        ("db upgrade sqlite:///REPO/x.db 9999", 1, "There is no revision '9999'."),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    repo: Path, capsys: pytest.CaptureFixture[str], command: str, status: int, told: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main([part.replace("REPO", str(repo)) for part in command.split()])
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert "should not happen" not in error
    assert left.value.code == status
    assert not list(repo.glob("x*"))
