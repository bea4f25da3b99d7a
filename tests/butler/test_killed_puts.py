"""What is seen of a file on its way when its process dies, or takes longer than a check waits?

On a disk it has a temporary name then; S3 knows no renaming, and an object has its final name from
the beginning.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints, sending
from backbone.audit import check
from backbone.errors import ChangedFile
from butler import Butler
from butler.storing import Content
from registry.errors import MissingDataset
from tests.backbone import storage_servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backbone.storage_servers import Storage
    from tests.nursery import Nursery

KEYS = {"instrument": "DemoCam", "detector": 1, "target": "M76"}
VALUE = {"text": "x" * 2000}


@pytest.fixture(scope="module")
def served() -> Iterator[Storage]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in storage_servers.KEYS.items():
            patched.setenv(name, value)
        with storage_servers.s3() as storage:
            yield storage


@pytest.fixture(params=["disk", "s3"])
def butler(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str, served: Storage
) -> Iterator[Butler]:
    """A repository whose endpoint `far` is a folder, or a bucket."""
    where = served.root.replace("/data?", f"/data/{tmp_path.name}?")
    if request.param == "disk":
        (tmp_path / "far").mkdir()
        where = str(tmp_path / "far")
    with Butler.create(tmp_path / "repo", db=database_url) as made:
        made.register_instrument("demo")
        made.register_dataset_type("summary", sorted(KEYS), "StructuredDataDict")
        made.registry.database.transact(endpoints.register, "far", where)
    with Butler(tmp_path / "repo", run="u/test") as opened:
        yield opened


def problems(butler: Butler, *, repair: bool = False, grace: float = 0.0) -> list[str]:
    report = check(
        butler.registry.database, butler.root, grace=grace, repair=repair, checksums=True
    )
    return [finding.problem for finding in report.findings]


def dies_before_it_is_recorded(root: str) -> None:
    """Put, and die when the file is whole and the transaction has done all but name it."""
    os.environ |= storage_servers.KEYS
    setattr(Content, "settle", lambda _: os.kill(os.getpid(), signal.SIGKILL))  # noqa: B010
    with Butler(root, run="u/test") as butler:
        butler.put(VALUE, "summary", KEYS, endpoint="far")


def test_what_a_killed_put_leaves_is_nobodys(butler: Butler, nursery: Nursery) -> None:
    at_s3 = butler.registry.database.ask(endpoints.named, "far").is_remote
    status, _ = nursery.run(f"{__name__}:dies_before_it_is_recorded", str(butler.root))
    assert status == -signal.SIGKILL
    assert not butler.exists("summary", KEYS)
    with pytest.raises(MissingDataset):
        butler.get("summary", KEYS)
    assert problems(butler, grace=600) == []  # it may be under way
    ref = butler.put(VALUE, "summary", KEYS, endpoint="far")
    left = ["orphan" if at_s3 else "unfinished"]
    assert problems(butler) == problems(butler, repair=True) == left
    assert problems(butler) == []
    assert butler.get(ref) == VALUE


def test_what_a_check_has_removed_is_not_recorded(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction lasts longer than the check waits."""
    monkeypatch.setattr(sending, "SURELY_THERE", 0.0)

    def put() -> None:
        with butler.transaction():
            butler.put(VALUE, "summary", KEYS, endpoint="far")

    kept = Content.settle

    def removed(content: Content) -> None:
        for file in content.staged:
            if isinstance(file, sending.SentFile):
                file.remote.remove(file.part)
            else:
                file.temporary.unlink()
        kept(content)

    with monkeypatch.context() as patched, pytest.raises(ChangedFile, match="repeat"):
        patched.setattr(Content, "settle", removed)
        put()
    assert not butler.exists("summary", KEYS)
    assert problems(butler) == []
    put()
    assert butler.get("summary", KEYS) == VALUE
