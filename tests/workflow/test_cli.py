"""What does the command import before it knows what to do, and what does it say of bad input?"""

from __future__ import annotations

import subprocess
import sys

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
