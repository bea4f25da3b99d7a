"""Does an endpoint do what it is there for?

`probe` writes a small file, reads it, renames and removes it where this repository stores files;
elsewhere it asks for a file that is recorded there.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone.errors import BackboneError
from backbone.sending import stage
from backbone.staging import checksum
from registry.schema.files import file, replica

if TYPE_CHECKING:
    from backbone.endpoints import Endpoint

__all__ = ["probe"]


def probe(connection: sa.Connection, endpoint: Endpoint, repository: Path) -> str:
    """Try an endpoint, and leave nothing there.

    Returns
    -------
    str
        What was tried.

    Raises
    ------
    BackboneError
        With what is wrong.
    """
    if endpoint.owned:
        return _written_and_read(endpoint, repository)
    recorded = connection.execute(
        sa.select(file.c.path, file.c.size_bytes)
        .join(replica, replica.c.file_id == file.c.id)
        .where(replica.c.endpoint_id == endpoint.id, replica.c.state == "available")
        .order_by(file.c.id)
        .limit(1)
    ).first()
    if recorded is None:
        return "nothing was tried: nothing is recorded there, and nothing may be written"
    place = recorded.path
    try:
        if endpoint.is_remote:
            size = endpoint.remote().size(place)
        else:
            size = endpoint.locate(place, repository).stat().st_size
    except OSError as error:
        if isinstance(error, BackboneError):
            raise
        raise BackboneError(f"{place} cannot be read there: {error.strerror or error}.") from error
    if size != recorded.size_bytes:
        raise BackboneError(f"{place} has {size} bytes there, and {recorded.size_bytes} recorded.")
    return f"{place} is there with its recorded size"


def _written_and_read(endpoint: Endpoint, repository: Path) -> str:
    content = secrets.token_bytes(1024)
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "back")
        staged = stage(endpoint, repository, f"probe_{secrets.token_hex(6)}.bin")
        try:
            staged.temporary.write_bytes(content)
            staged.send(len(content))
            staged.settle()
            if endpoint.is_remote:
                endpoint.remote().get_file(staged.path, str(there))
            else:
                there = staged.final
            digest = checksum(there)
        except OSError as error:
            if isinstance(error, BackboneError):
                raise
            raise BackboneError(
                f"The endpoint '{endpoint.name}' does not keep a file: {error.strerror or error}."
            ) from error
        finally:
            staged.abandon()
    if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
        raise BackboneError(f"The endpoint '{endpoint.name}' gave other bytes than it was given.")
    return "a file was written, read, compared and removed"
