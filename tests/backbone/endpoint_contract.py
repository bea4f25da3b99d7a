"""What every endpoint behind a URL keeps; an observatory with its own store runs the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backbone import owners
from backbone.endpoints import Endpoint
from backbone.errors import ChangedFile, EndpointAway, EndpointConflict, EndpointRefuses
from backbone.fetching import bring
from backbone.files import Stored
from backbone.sending import SentFile
from backbone.staging import StagedFile
from registry.identity import uuid7

if TYPE_CHECKING:
    from pathlib import Path

    from backbone.remote import Remote
    from tests.backbone.storage_servers import Storage

CONTENT = bytes(range(256)) * 700
PATH = "run/flat/flat_123456789abc.fits"


class ReadContract:
    """Reading; a subclass has the fixture `storage`."""

    @pytest.fixture
    def endpoint(self, storage: Storage) -> Endpoint:
        return Endpoint(7, "far", storage.root, owned=True)

    @pytest.fixture
    def remote(self, endpoint: Endpoint) -> Remote:
        return endpoint.remote()

    def test_reads_all_and_parts(self, storage: Storage, remote: Remote, tmp_path: Path) -> None:
        storage.seed(PATH, CONTENT)
        assert remote.size(PATH) == len(CONTENT)
        assert remote.cat_file(PATH) == CONTENT
        assert remote.cat_file(PATH, 1000, 1300) == CONTENT[1000:1300]
        assert remote.cat_ranges([PATH] * 2, [0, 500], [10, 520]) == [
            CONTENT[:10],
            CONTENT[500:520],
        ]
        assert (
            remote.checksum(PATH, len(CONTENT)) == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
        )
        remote.get_file(PATH, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == CONTENT

    def test_a_large_file_comes_piece_by_piece(
        self,
        storage: Storage,
        endpoint: Endpoint,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("backbone.remote._PIECE", 50_000)
        digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
        storage.seed(PATH, CONTENT)
        lengths = [len(p) for p in endpoint.remote().pieces(PATH, len(CONTENT))]
        assert lengths == [50_000, 50_000, 50_000, 29_200]
        staged = StagedFile(tmp_path, PATH)
        staged.temporary.write_bytes(CONTENT[:60_000])  # what was fetched before a kill
        copy = Stored(1, uuid7(), "", PATH, len(CONTENT), digest, "text", endpoint)
        storage.interrupt()
        assert bring([copy], tmp_path, staged) == (copy, digest)
        assert staged.temporary.read_bytes() == CONTENT
        staged.temporary.write_bytes(b"of another file")
        assert bring([copy], tmp_path, staged) == (copy, digest)
        for other in (CONTENT[:-1], CONTENT + b"x", b""):
            staged.abandon(settled=False)
            storage.seed(PATH, other)
            with pytest.raises(ChangedFile, match="is not what was recorded of it"):
                bring([copy], tmp_path, staged)
            assert not staged.temporary.exists()
        storage.seed(PATH, b"")
        empty = replace(copy, size=0, checksum=None)
        assert bring([empty], tmp_path, staged)[1] == f"sha256:{hashlib.sha256().hexdigest()}"

    def test_says_what_is_not_there(self, remote: Remote, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="is not there"):
            remote.size(PATH)
        with pytest.raises(FileNotFoundError, match="is not there"):
            remote.cat_file(PATH, 0, 10)
        with pytest.raises(FileNotFoundError, match="is not there"):
            remote.get_file(PATH, str(tmp_path / "copy"))
        assert not (tmp_path / "copy").exists()

    def test_a_flapping_server_is_asked_again(self, storage: Storage, remote: Remote) -> None:
        storage.seed(PATH, CONTENT)
        assert remote.size(PATH) == len(CONTENT)
        storage.interrupt()
        assert remote.cat_file(PATH) == CONTENT

    def test_a_server_that_is_away_is_named(self, storage: Storage, remote: Remote) -> None:
        storage.seed(PATH, CONTENT)
        storage.stop()
        with pytest.raises(EndpointAway, match="'far' does not give or take .*tried 3 times"):
            remote.cat_file(PATH)

    def test_a_refusal_is_no_absence(self, storage: Storage, remote: Remote) -> None:
        storage.seed(PATH, CONTENT)
        storage.deny()
        with pytest.raises(EndpointRefuses, match="'far' refuses .*credentials"):
            remote.size(PATH)
        with pytest.raises(EndpointRefuses, match="'far' refuses"):
            remote.cat_file(PATH)


class SlowContract:
    """Of servers that speak HTTP, which may be made to stall."""

    def test_a_server_that_stalls_is_given_up(self, storage: Storage) -> None:
        storage.seed(PATH, CONTENT)
        assert storage.gate is not None
        storage.gate.stalled = True
        joint = "&" if "?" in storage.root else "?"
        slow = Endpoint(8, "slow", f"{storage.root}{joint}timeout=0.2", owned=True)
        with pytest.raises(EndpointAway, match="'slow' does not give or take"):
            slow.remote().cat_file(PATH)


class EndpointContract(ReadContract):
    """Reading and writing."""

    def test_a_file_has_its_name_when_it_is_whole(
        self, endpoint: Endpoint, remote: Remote, tmp_path: Path
    ) -> None:
        file = SentFile(tmp_path, PATH, endpoint)
        file.temporary.write_bytes(CONTENT)
        file.send(len(CONTENT))
        assert not file.temporary.exists()
        seen = remote.list()
        assert [listed.size for listed in seen.values()] == [len(CONTENT)]
        assert (PATH in seen) is not remote.protocol.renames
        file.settle()
        file.settle()  # a transaction that is repeated
        assert list(remote.list()) == [PATH]
        assert remote.cat_file(PATH) == CONTENT

    def test_it_belongs_to_one_repository(self, remote: Remote) -> None:
        mine = uuid7()
        assert owners.belongs_far(remote) is None
        for _ in range(2):
            owners.claim_far(remote, mine)
        assert owners.belongs_far(remote) == mine
        with pytest.raises(EndpointConflict, match=f"of another repository .{mine}"):
            owners.claim_far(remote, uuid7())
        assert remote.list() == {}

    def test_what_is_abandoned_leaves_nothing(
        self, endpoint: Endpoint, remote: Remote, tmp_path: Path
    ) -> None:
        for settled in (False, True):
            file = SentFile(tmp_path, PATH, endpoint)
            file.temporary.write_bytes(CONTENT)
            file.send(len(CONTENT))
            if settled:
                file.settle()
            file.abandon()
            assert remote.list() == {}

    def test_of_two_that_bring_the_same_none_removes_what_the_other_brought(
        self, endpoint: Endpoint, remote: Remote, tmp_path: Path
    ) -> None:
        brought = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            file = SentFile(tmp_path / name, PATH, endpoint, shared=True)
            file.temporary.write_bytes(CONTENT)
            file.send(len(CONTENT))
            brought.append(file)
        brought[0].settle()
        brought[1].abandon()
        assert list(remote.list()) == [PATH]
        assert remote.cat_file(PATH) == CONTENT

    def test_a_removal_is_repeatable(self, storage: Storage, remote: Remote) -> None:
        storage.seed(PATH, CONTENT)
        storage.seed("other.bin", b"stays")
        remote.remove(PATH)
        remote.remove(PATH)
        assert {path: found.size for path, found in remote.list().items()} == {"other.bin": 5}

    def test_a_refused_file_leaves_nothing_here(
        self, storage: Storage, endpoint: Endpoint, tmp_path: Path
    ) -> None:
        storage.deny()
        file = SentFile(tmp_path, PATH, endpoint)
        file.temporary.write_bytes(CONTENT)
        with pytest.raises(EndpointRefuses, match="'far' refuses"):
            file.send(len(CONTENT))
        assert not file.temporary.exists()
