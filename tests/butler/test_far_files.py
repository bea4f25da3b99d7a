"""Do verbs that move files work when these lie behind URLs?"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from backbone import endpoints
from backbone.audit import check
from backbone.errors import EndpointAway, EndpointRefuses, NotOnDisk
from butler import Butler
from butler.errors import ExchangeError, IngestError, MissingFile, TransferError
from butler.intake import ingest
from tests.backbone import storage_servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backbone.endpoints import Endpoint
    from registry.identity import DatasetRef
    from tests.backbone.storage_servers import Storage
    from tests.databases import Databases

N = 6


class Pair:
    """A repository whose files lie at S3, and one on another engine that has none."""

    def __init__(self, folder: Path, urls: list[str], storage: Storage) -> None:
        self.storage = storage
        Butler.create(folder / "site", urls[0]).close()
        Butler.create(folder / "lab", urls[1]).close()
        self.site = Butler(folder / "site", writeable=True)
        self.lab = Butler(folder / "lab", writeable=True)
        insert = self.lab.registry.insert_dimension_records
        insert("instrument", [{"name": "Cam", "detector_max": N}])
        insert("detector", [{"instrument": "Cam", "id": n, "full_name": f"c{n}"} for n in range(N)])
        self.lab.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
        register(self.lab, "far", storage.root)
        self.refs = [self.put(n) for n in range(N)]

    def put(self, n: int) -> DatasetRef:
        value = {"n": n, "text": "x" * 200}
        return self.lab.put(
            value, "summary", instrument="Cam", detector=n, run="made", endpoint="far"
        )

    def assert_at(self, butler: Butler) -> None:
        """See that a repository has all, and agrees with its storage."""
        assert [butler.get(ref)["n"] for ref in self.refs] == list(range(N))
        found = check(butler.registry.database, butler.root, grace=0, checksums=True)
        assert (found.n_copies, found.findings) == (N, [])

    def seen(self) -> dict[str, int]:
        """Give what lies at S3."""
        return {path: listed.size for path, listed in far(self.lab).remote().list().items()}


def register(butler: Butler, name: str, root: str) -> None:
    butler.registry.database.transact(endpoints.register, name, root)


def far(butler: Butler, name: str = "far") -> Endpoint:
    return butler.registry.database.ask(endpoints.named, name)


@pytest.fixture
def pair(
    tmp_path: Path, engines: list[Databases], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    for name, value in storage_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(storage_servers.s3())
        urls = [stack.enter_context(m.migrated()) for m in engines[:2]]
        made = Pair(tmp_path, urls, storage)
        yield made
        made.site.close()
        made.lab.close()


def test_files_behind_a_url_come_along(pair: Pair) -> None:
    with pytest.raises(NotOnDisk, match="lies behind a URL and cannot be linked"):
        pair.site.transfer_from(pair.lab, pair.refs, transfer="hardlink")
    pair.storage.interrupt()
    assert pair.site.transfer_from(pair.lab, pair.refs).files == N
    pair.storage.stop()
    pair.assert_at(pair.site)


def test_a_transfer_ends_with_the_server_and_goes_on_with_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("butler.moving.transfer.FAR_BATCH", 2)
    assert pair.storage.gate is not None

    def deny(done: int, _: int) -> None:
        if done >= 2:  # the credentials have expired
            pair.storage.deny()

    with pytest.raises(EndpointRefuses, match="'far' refuses"):
        pair.site.transfer_from(pair.lab, pair.refs, progress=deny)
    assert len(list(pair.site.root.glob("made/**/*.yaml"))) == 2
    assert check(pair.site.registry.database, pair.site.root, grace=0).findings == []
    pair.storage.gate.answer = None
    again = pair.site.transfer_from(pair.lab, pair.refs)
    assert (again.present, again.files) == (2, 4)
    pair.assert_at(pair.site)


def test_files_behind_a_url_may_stay_there(pair: Pair) -> None:
    register(pair.site, "far", f"memory://{pair.site.root.parent.name}")
    assert pair.site.transfer_from(pair.lab, pair.refs, transfer="direct").files == N
    where = far(pair.site, "far-2")
    assert (where.root, where.owned) == (pair.storage.root, False)
    pair.assert_at(pair.site)
    before = pair.seen()
    pair.site.prune(pair.refs, purge=True)
    assert pair.seen() == before
    again = pair.site.transfer_from(pair.lab, pair.refs, transfer="direct")
    assert again.files == N
    assert pair.site.registry.database.ask(endpoints.reading, far(pair.lab)) == where
    with pytest.raises(TransferError, match="name no endpoint"):
        pair.site.transfer_from(pair.lab, pair.refs, transfer="direct", endpoint="far")


def test_files_go_from_one_server_to_another(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "dav").mkdir()
    with storage_servers.dav(tmp_path / "dav") as served:
        register(pair.site, "archive", served.root)
        assert pair.site.transfer_from(pair.lab, pair.refs, endpoint="archive").files == N
        pair.storage.stop()
        pair.assert_at(pair.site)
        assert list(pair.site.root.glob("made/**/*.*")) == []


def test_the_next_copy_comes_along_when_one_is_wrong(pair: Pair) -> None:
    pair.lab.replicate(pair.refs, "root")
    (place,) = pair.lab.root.glob(f"made/**/*{pair.refs[1].id.hex[-12:]}*")
    place.write_text("n: 7")
    assert pair.site.transfer_from(pair.lab, pair.refs).files == N
    pair.assert_at(pair.site)


@pytest.mark.parametrize("name", ["out", "out.zip", "out.yaml"])
def test_files_behind_a_url_are_exported(pair: Pair, tmp_path: Path, name: str) -> None:
    target = tmp_path / "exports" / name
    target.parent.mkdir()
    with pytest.raises(ExchangeError, match="behind a URL and has no path on this disk"):
        pair.lab.export(tmp_path / "other" / name, pair.refs, transfer="direct")
    seen: list[tuple[int, int]] = []
    made = pair.lab.export(target, pair.refs, progress=lambda *done: seen.append(done))
    assert (made.files, seen) == (N, [(n + 1, N) for n in range(N)])
    pair.storage.stop()
    pair.site.import_(target)
    pair.assert_at(pair.site)
    assert [p.name for p in tmp_path.rglob("*.part")] == []


def test_an_export_goes_on_when_its_server_is_back(pair: Pair, tmp_path: Path) -> None:
    assert pair.storage.gate is not None
    pair.storage.gate.answer = ("503 Service Unavailable", "")
    with pytest.raises(EndpointAway, match="'far' does not give"):
        pair.lab.export(tmp_path / "out", pair.refs)
    pair.storage.gate.answer = None
    path = next(iter(pair.seen()))
    good = far(pair.lab).remote().cat_file(path)
    pair.storage.seed(path, b"n: 1")
    with pytest.raises(MissingFile, match="is not what was recorded of it.*goes on from here"):
        pair.lab.export(tmp_path / "out", pair.refs)
    pair.storage.seed(path, good)
    before = pair.storage.gate.requests
    assert pair.lab.export(tmp_path / "out", pair.refs).files == N
    assert pair.storage.gate.requests - before < N  # not all of them came again
    pair.site.import_(tmp_path / "out")
    pair.assert_at(pair.site)


def test_a_zip_for_others_holds_what_lies_behind_a_url(pair: Pair, tmp_path: Path) -> None:
    made = pair.lab.export(tmp_path / "out.zip", pair.refs, format="daf-butler-zip")
    assert made.files == N
    pair.storage.stop()
    pair.site.import_(tmp_path / "out.zip")
    pair.assert_at(pair.site)


def test_raw_frames_go_to_a_server(
    pair: Pair, night_frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((night_frames / "bias").glob("*Mon*"))[:4]:
        shutil.copy(path, few)
    lab = pair.lab
    lab.register_instrument("ohp-t152")
    with pytest.raises(IngestError, match="nothing can be linked"):
        lab.ingest_raws([few], run="raw", endpoint="far", transfer="symlink")
    with pytest.raises(IngestError, match="name no endpoint"):
        lab.ingest_raws([few], run="raw", endpoint="far", transfer="direct")
    monkeypatch.setattr(ingest, "FAR_BATCH", 2)
    assert pair.storage.gate is not None
    with pytest.raises(EndpointRefuses, match="'far' refuses"):
        lab.ingest_raws(
            [few],
            run="raw",
            endpoint="far",
            transfer="move",
            progress=lambda *_: pair.storage.deny(),
        )
    pair.storage.gate.answer = None
    assert len(list(few.iterdir())) == 2  # the others have arrived
    taken = lab.ingest_raws([few], run="raw", endpoint="far", transfer="move")
    assert (len(taken.refs), taken.errors, list(few.iterdir())) == (2, [], [])
    assert len(pair.seen()) == N + 4
    assert check(lab.registry.database, lab.root, grace=0, checksums=True).findings == []
    assert lab.get(taken.refs[0]).shape == (1, 100, 2048)


def test_files_that_names_tell_go_to_a_server(pair: Pair, tmp_path: Path) -> None:
    lab, named = pair.lab, tmp_path / "named"
    lab.register_instrument("demo")
    named.mkdir()
    for n in (1, 2):
        (named / f"ccd-{n:03}.json").write_text(f'{{"n": {n}}}')
    how: dict[str, Any] = {"template": "ccd-{detector:03d}", "instrument": "DemoCam"}
    with pytest.raises(IngestError, match="to 'far' with transfer='copy' or 'move'"):
        lab.ingest_named([named], "summary", run="arc", endpoint="far", **how)
    how |= {"endpoint": "far", "transfer": "copy"}
    taken = lab.ingest_named([named], "summary", run="arc", **how)
    assert (taken.errors, [lab.get(ref) for ref in taken.refs]) == ([], [{"n": 1}, {"n": 2}])
    assert len(pair.seen()) == N + 2
    assert len(lab.ingest_named([named], "summary", run="arc", **how).present) == 2
    assert check(lab.registry.database, lab.root, grace=0, checksums=True).findings == []
