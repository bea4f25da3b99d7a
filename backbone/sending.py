"""How does a file come to an endpoint behind a URL together with its row, whatever is killed?

It is written below the repository's root, under the temporary name of `backbone.staging`, sent
before the transaction, and has its name there before the commit.  Where a file is seen while it is
written, it is sent under a temporary name too, and renamed inside the transaction.  A process
killed in between leaves a file without a row on either side, which `backbone.audit` finds.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from backbone.endpoints import ROOT
from backbone.errors import BackboneError, ChangedFile, EndpointRefuses
from backbone.staging import PART, StagedFile, gone

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from backbone.endpoints import Endpoint

__all__ = ["SentFile", "require_ours", "stage", "stage_for_dataset"]

_log = logging.getLogger("skyspine.backbone")

SURELY_THERE = 60.0
"""How long nobody removes what was sent [s]: less than what `backbone.audit` leaves alone."""


class SentFile(StagedFile):
    """A file on its way to an endpoint behind a URL.

    Parameters
    ----------
    root : Path
        Of the repository, on this disk.
    path : str
        Where it shall be, below the endpoint's root.
    endpoint : Endpoint
        Where to.
    shared : bool
        Whether another process may bring the same file, under the same name.
    """

    ends_here = False

    def __init__(self, root: Path, path: str, endpoint: Endpoint, *, shared: bool = False) -> None:
        super().__init__(root, path)
        self.remote = endpoint.remote()
        self._begun = self._renamed = False
        self._sent = 0.0
        self._shared = shared
        self.part = path
        if self.remote.protocol.renames:
            folder, slash, name = path.rpartition("/")
            apart = f".{secrets.token_hex(4)}" if shared else ""
            self.part = f"{folder}{slash}.{name}{apart}{PART}"

    def send(self, size: int, *, fsync: bool = False) -> None:  # noqa: ARG002 (the server's)
        """Send the file that has its temporary name here; it has none here afterwards.

        Raises
        ------
        EndpointAway, EndpointRefuses, StorageFull
            Nothing is left behind then.
        ChangedFile
            If not all of it has arrived.
        """
        self._begun = True
        try:
            self.remote.send(str(self.temporary), self.part)
            arrived = self.remote.size(self.part)
            if arrived != size:
                raise ChangedFile(
                    f"{self.remote.url(self.path)}: {arrived} of {size} bytes have arrived; repeat."
                )
        except BaseException:
            self.abandon()
            raise
        self.temporary.unlink()
        self.release()
        self._sent = time.monotonic()

    def arrived(self, size: int) -> str:
        """Read what was sent back, and give its checksum."""
        return self.remote.checksum(self.part, size)

    def settle(self) -> None:
        """Give the file its name there, or see that it has it still.

        Raises
        ------
        ChangedFile
            If it is gone.
        """
        try:
            if self.part != self.path:
                self.remote.rename(self.part, self.path)
                self._renamed = True
            elif time.monotonic() - self._sent >= SURELY_THERE:
                self.remote.size(self.path)
        except FileNotFoundError as error:
            raise gone(self.remote.url(self.path)) from error

    def abandon(self, *, settled: bool = True) -> None:
        """Remove whatever there is of the file, here and there.

        What has its final name there may be what another process has brought of the same dataset;
        it is then left for ``skyspine check``, which knows what is recorded.
        """
        self._forget()
        if not self._begun:  # nothing is there, or it was tried already
            return
        self._begun = False
        ours = {self.part} | ({self.path} if self._renamed else set())
        if self._shared or not settled:
            ours.discard(self.path)
        for path in ours:
            try:
                self.remote.remove(path)
            except BackboneError as error:
                _log.warning("A file may be left for skyspine check to remove: %s", error)


def require_ours(endpoint: Endpoint) -> None:
    """Refuse an endpoint at which this repository makes no files, or none now.

    Raises
    ------
    EndpointRefuses
    """
    if not endpoint.owned:
        raise EndpointRefuses(
            f"The endpoint '{endpoint.name}' is only read by this repository; store at another one."
        )
    if not endpoint.online:
        raise EndpointRefuses(
            f"The endpoint '{endpoint.name}' is offline: an operator took it out of use. Store at "
            f"another one, or first: skyspine endpoint online REPO {endpoint.name}"
        )


def stage(endpoint: Endpoint, repository: Path, path: str, *, shared: bool = False) -> StagedFile:
    """Stage a file for an endpoint; one that refuses files, see `require_ours`, refuses it.

    Parameters
    ----------
    path : str
        Where it shall be, below the endpoint's root.
    shared : bool
        Whether another process may bring the same file, under the same name.
    """
    require_ours(endpoint)
    if endpoint.is_remote:
        return SentFile(repository, path, endpoint, shared=shared)
    return StagedFile(
        repository if endpoint.name == ROOT else endpoint.locate("", repository), path
    )


def stage_for_dataset(
    endpoint: Endpoint, repository: Path, stem: str, dataset_id: uuid.UUID, extension: str
) -> StagedFile:
    """Stage the file of a dataset, under the name that `StagedFile.for_dataset` gives."""
    staged = stage(endpoint, repository, StagedFile.path_for(stem, dataset_id, extension))
    with suppress(FileNotFoundError):
        staged.temporary.unlink()
    return staged
