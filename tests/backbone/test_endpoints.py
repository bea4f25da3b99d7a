from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.endpoints import Endpoint
from backbone.errors import EndpointRefuses
from tests.backbone import storage_servers
from tests.backbone.endpoint_contract import (
    CONTENT,
    PATH,
    EndpointContract,
    ReadContract,
    SlowContract,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backbone.remote import Remote
    from tests.backbone.storage_servers import Storage


class TestS3(EndpointContract, SlowContract):
    @pytest.fixture
    def storage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
        for name, value in storage_servers.KEYS.items():
            monkeypatch.setenv(name, value)
        with storage_servers.s3() as served:
            yield served

    def test_expired_credentials_are_told_as_such(self, storage: Storage, remote: Remote) -> None:
        storage.seed(PATH, CONTENT)
        assert remote.cat_file(PATH) == CONTENT
        storage.deny()  # as S3 does in mid-way: ExpiredToken
        with pytest.raises(EndpointRefuses, match="token has expired"):
            remote.cat_file(PATH, 0, 10)


class TestHttp(ReadContract, SlowContract):
    @pytest.fixture
    def storage(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
        with storage_servers.http(tmp_path_factory.mktemp("served")) as served:
            yield served

    def test_a_server_that_gives_no_parts_is_read_whole(
        self, storage: Storage, remote: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backbone.remote._PIECE", 50_000)
        assert storage.gate is not None
        storage.gate.without_ranges = True
        storage.seed(PATH, CONTENT)
        assert b"".join(remote.pieces(PATH, len(CONTENT), 70_000)) == CONTENT[70_000:]

    def test_nothing_can_be_written(self, remote: Remote, tmp_path: Path) -> None:
        (tmp_path / "new").write_bytes(CONTENT)
        with pytest.raises(EndpointRefuses, match="'far' .* can only be read"):
            remote.send(str(tmp_path / "new"), PATH)


class TestWebdav(EndpointContract, SlowContract):
    @pytest.fixture
    def storage(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
        with storage_servers.dav(tmp_path_factory.mktemp("served")) as served:
            yield served


class TestSftp(EndpointContract):
    @pytest.fixture
    def storage(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
        folder, keys = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("keys")
        with storage_servers.sftp(folder, keys) as served:
            yield served

    def test_a_host_that_is_not_known_is_refused(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "nobody").write_text("")
        address = storage.root.partition("?")[0]
        other = Endpoint(9, "unknown", f"{address}?known_hosts={tmp_path / 'nobody'}", owned=True)
        with pytest.raises(EndpointRefuses, match="'unknown' refuses .*Host key is not trusted"):
            other.remote().size(PATH)
