"""What does YAML do that was written to exhaust a machine, or to run code?

Every kind of file that is read as YAML gets every kind of bad text, in one process per kind with
little memory and time: it is refused in a sentence, or read for what it is.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.errors import SkyspineError

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 2 * 2**30  # bytes of address space; libraries take half a gigabyte
SECONDS = 120  # of processor time for all texts of a kind
LONGEST = 4_100


def laughs(form: str) -> str:
    """Ten times ten times ten ... of the same."""
    first = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    names = "abcdefghij"
    more = (form.format(new=n, old=o) for o, n in pairwise(names))
    return first + "".join(more)


def texts(pwned: str) -> dict[str, bytes]:
    """Make the bad texts; those that run code would write a file."""
    ten = ", ".join(["*{old}"] * 10)
    pairs = ", ".join(f"k{n}: *{{old}}" for n in range(10))
    made = {
        "laughs": laughs("{new}: &{new} [" + ten + "]\n"),
        "laughs in maps": laughs("{new}: &{new} {{" + pairs + "}}\n"),
        "merged laughs": "a: &a {k0: 1}\n"
        + "".join(
            f"{n}: &{n} {{<<: [{', '.join(['*' + o] * 10)}], {n}1: 1}}\n"
            for o, n in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "in itself": "&a [*a]\n",
        "map in itself": "a: &a {b: *a}\n",
        "deep list": "[" * 100_000 + "]" * 100_000,
        "deep map": "{a: " * 50_000 + "1" + "}" * 50_000,
        "deep blocks": "".join(" " * n + "a:\n" for n in range(500)),
        "deep dashes": "- " * 2_000 + "x\n",
        "large text": "name: " + "x" * 3_000_000 + "\n",
        "large key": "x" * 200_000 + ": 1\n",
        "many digits": "name: " + "9" * 100_000 + "\nversion: -" + "9" * 100_000 + "\n",
        "many hex digits": "version: 0x" + "f" * 100_000 + "\n",
        "sexagesimal": "version: " + "1:" * 3_000 + "1\n",
        "code": f"!!python/object/apply:os.system ['touch {pwned}']\n",
        "code in a value": f"name: !!python/object/new:os.system ['touch {pwned}']\n",
        "name of code": "version: !!python/name:os.system\n",
        "module": "name: !!python/module:os\n",
        "zero byte": "name: a\0b\n",
        "escaped zero byte": 'name: "a\\0b"\n',
        "surrogate": 'name: "\\ud800"\n',
        "key that is a list": "? [a, b]\n: 1\n",
        "key that is a map": "? {a: b}\n: 1\n",
        "nothing": "",
        "number": "5\n",
        "list": "- a\n",
        "no numbers": "version: .inf\nname: .nan\n",
        "no date": "version: 99999-99-99\nname: 2020-13-45\n",
        "no time": "version: !!timestamp abc\n",
        "no integer": "version: !!int abc\n",
        "no float": "version: !!float abc\n",
        "no truth": "version: !!bool abc\n",
        "no set": "!!set {a, b}\n",
        "no pairs": "x: !!omap [a: 1, 5]\n",
        "two documents": "a: 1\n---\nb: 2\n",
        "unknown alias": "a: *b\n",
        "unknown tag": "a: !mine b\n",
        "percent": "%YAML 9.9\n---\na: 1\n",
        "long alias": f"a: &{'a' * 100_000} 1\n",
        "tabs": "a:\n\t- b\n",
    }
    return {
        **{name: text.encode() for name, text in made.items()},
        "not UTF-8": b"name: \xff\xfe\xfd\n",
        "UTF-16": "name: x\n".encode("utf-16"),
        "noise": bytes(range(256)) * 100,
    }


def readers() -> dict[str, Callable[[Path], Any]]:
    """Name what is read as YAML, and how."""
    from butler.exchange.document import read_document
    from butler.formatters import get_formatter
    from butler.instrument import InstrumentDefinition
    from butler.repository import CONFIG, Repository
    from butler.skymaps import read as read_skymap
    from registry.exposure_logs import read_mapping
    from workflow.overrides import read_overrides
    from workflow.pipeline import Pipeline

    def repository(path: Path) -> Any:
        folder = path.parent / "repo"
        folder.mkdir(exist_ok=True)
        (folder / CONFIG).write_bytes(path.read_bytes())
        return Repository.open(folder)

    def imported(path: Path) -> Any:
        return Pipeline.from_yaml(f"imports:\n  - location: {path}\ntasks: {{}}\n")

    return {
        "camera": InstrumentDefinition.from_yaml,
        "skymap": read_skymap,
        "export": read_document,
        "log": read_mapping,
        "pipeline": Pipeline.from_yaml,
        "imported pipeline": imported,
        "overrides": read_overrides,
        "repository": repository,
        "dataset": lambda path: get_formatter("yaml").read(path, None, None),
    }


def read_all(kind: str, folder: str) -> int:
    """Read every text as one kind of file; say what became of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    read = readers()[kind]
    path = Path(folder, "bad.yaml")
    for name, text in texts(f"{folder}/pwned").items():
        path.write_bytes(text)
        try:
            read(path)
            said = ["read", ""]
        except SkyspineError as error:
            said = ["refused", str(error)]
        except Exception as error:  # noqa: BLE001 (it is what the test looks for)
            said = ["raised", f"{type(error).__name__}: {error!s:.200}"]
        print(json.dumps([name, *said]), flush=True)  # noqa: T201
    return 0


@pytest.mark.parametrize("kind", readers())
def test_bad_yaml_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    code = f"from {__name__} import read_all; read_all({kind!r}, {str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    names = list(texts(""))
    assert [name for name, *_ in said] == names, f"ended at {names[len(said)]}: {done.stderr}"
    assert done.returncode == 0
    assert [s for s in said if s[1] == "raised"] == []
    sentences = {name: text for name, how, text in said if how == "refused"}
    assert all(0 < len(text) <= LONGEST for text in sentences.values())
    assert not (tmp_path / "pwned").exists()
    never = {"in itself", "map in itself", "deep list", "deep map", "deep blocks", "deep dashes"}
    assert never | {"zero byte"} <= sentences.keys()
