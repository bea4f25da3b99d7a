"""Is the software that a task ran with recorded as Python's own tools tell it?"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from workflow import environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_packages_are_those_that_python_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = environment.current().packages
    assert packages == {p.metadata["Name"]: p.version for p in metadata.distributions()}
    assert len(packages) > 50
    wheel, egg, nameless = (
        tmp_path / n
        for n in ("In.A_Wheel-1.0.dist-info", "one_file-0.1.dev0.egg-info", "c.dist-info")
    )
    for folder in (wheel, nameless):
        folder.mkdir()
    (wheel / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: In.A_Wheel\nSummary: of\n Name: folded\nVersion:  1.0\n\n"
        "Version: 9 is in the description\n"
    )
    egg.write_text("Name: one-file\nVersion: 0.1.dev0\n")
    (nameless / "RECORD").touch()
    monkeypatch.syspath_prepend(tmp_path)
    told = environment.current.__wrapped__().packages
    assert (told["In.A_Wheel"], told["one-file"]) == ("1.0", "0.1.dev0")
    assert "" not in told
