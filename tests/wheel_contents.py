"""Does a wheel carry the four packages, migrations and SQL included, and no other name?

usage: python -m tests.wheel_contents WHEEL
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

PACKAGES = {"registry", "backbone", "butler", "workflow"}
CHECKOUT = Path(__file__).parents[1]


def faults(wheel: Path) -> list[str]:
    """List what is wrong with a wheel, compared with the checkout that it was built from."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    top = {name.partition("/")[0] for name in names}
    found = [
        f"puts the name {name!r} into site-packages"
        for name in sorted(top - PACKAGES)
        if not name.endswith(".dist-info")
    ]
    wanted = {str(path.relative_to(CHECKOUT)) for name in PACKAGES for path in _files(name)}
    wanted |= {
        f"registry/{path.relative_to(CHECKOUT)}"
        for folder in ("migrations", "sql")
        for path in _files(folder)
    }
    return found + [f"lacks {name}" for name in sorted(wanted - names)]


def _files(folder: str) -> list[Path]:
    return [
        path
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]))) or 0)
