"""Does the last good copy stay, where the records do not know that the others are gone?"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from backbone import endpoints, files, withdrawing
from butler import Butler

if TYPE_CHECKING:
    from pathlib import Path

    from registry.identity import DatasetRef
    from tests.backbone.storage_servers import Storage

KEYS = {"instrument": "DemoCam", "detector": 1}
VALUE = {"target": "M76", "text": "x" * 200}
N = 8


@pytest.fixture
def butler(butler_of_targets: Butler) -> Butler:
    return butler_of_targets


@pytest.fixture
def s3(far_bucket: Storage) -> Storage:
    return far_bucket


@pytest.fixture
def refs(butler: Butler) -> list[DatasetRef]:
    return [butler.put(VALUE, "summary", KEYS, target=f"{n}") for n in range(N)]


def path_of(butler: Butler, ref: DatasetRef) -> str:
    with butler.registry.read() as connection:
        (copies,) = files.all_copies(connection, [ref.id]).values()
    return copies[0].path


def test_what_a_folder_has_lost_is_not_relied_on(
    butler: Butler, refs: list[DatasetRef], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("far", "tape"):
        (tmp_path / name).mkdir()
        butler.registry.database.transact(endpoints.register, name, str(tmp_path / name))
    butler.replicate(refs, "far")
    butler.replicate(refs[3:4], "tape")
    places = [tmp_path / "far" / path_of(butler, ref) for ref in refs]
    places[0].unlink()
    places[1].write_bytes(places[1].read_bytes()[:-1])
    places[2].unlink()
    places[2].symlink_to(butler.root / path_of(butler, refs[2]))
    places[3].unlink()
    assert butler.withdraw(refs, "root") == (N - 3, 3)
    assert f"nor can 3 more: {places[0]} is gone. What is wrong is marked by" in caplog.text
    with Butler(butler.root) as anew:
        assert all(anew.get(ref) == VALUE for ref in [refs[0], *refs[2:]])
    kept = {str(p.relative_to(butler.root)) for p in butler.root.rglob("summary_*")}
    assert kept == {path_of(butler, ref) for ref in refs[:3]}
    assert os.path.islink(places[2])  # noqa: PTH114


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_a_bucket_has_lost_is_not_relied_on(
    butler: Butler,
    refs: list[DatasetRef],
    s3: Storage,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    one_by_one: bool,
) -> None:
    if one_by_one:
        monkeypatch.setattr("backbone.withdrawing._PAGE", 0)
    butler.replicate(refs, "far")
    far = butler.registry.database.ask(endpoints.named, "far")
    far.remove(path_of(butler, refs[0]), butler.root)
    s3.seed(path_of(butler, refs[1]), b"{")
    assert butler.withdraw(refs[:-1], "root") == (N - 3, 2)
    assert "nor can 1 more: " in caplog.text
    assert [butler.get(ref) for ref in refs] == [VALUE] * N
    s3.stop()
    assert butler.withdraw(refs, "root") == (0, 3)  # what does not answer is not relied on
    assert [butler.get(ref) for ref in (refs[0], refs[1], refs[-1])] == [VALUE] * 3


def test_what_goes_meanwhile_is_not_relied_on(
    butler: Butler, refs: list[DatasetRef], tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(tmp_path / "far"))
    butler.replicate(refs, "far")
    database, ids = butler.registry.database, [ref.id for ref in refs]
    with butler.registry.read() as connection:
        seen = withdrawing.look(connection, butler.root, ids, "root")
    assert len(seen.good) == N
    assert butler.withdraw(refs[:1], "far") == (1, 0)
    assert database.transact(withdrawing.withdraw, ids, "root", seen)[1:] == (N - 1, 1)
    database.transact(partial(endpoints.switch, online=False), "far")
    assert butler.get(refs[0]) == VALUE
