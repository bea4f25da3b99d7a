"""Tables that are declared in a repository of a test, as a person would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from butler.repository import Repository
from registry import deploy, site_migrations

if TYPE_CHECKING:
    from pathlib import Path


def install(root: Path, *texts: str) -> None:
    """Declare tables in a repository, and make them."""
    for text in texts:
        (root / "declared.yaml").write_text(text, encoding="utf-8")
        site_migrations.write(root / site_migrations.FOLDER, root / "declared.yaml")
    deploy.upgrade(Repository.open(root).url, site=root / site_migrations.FOLDER)
