"""What can go wrong with storage.

::

    SkyspineError
    └── BackboneError
        ├── UnknownEndpoint (LookupError)
        ├── EndpointConflict (ValueError)        another endpoint of this name, or no usable root
        ├── StorageFull (OSError)                no room for a file; nothing was changed
        ├── ChangedFile (ValueError)             a file is gone, or not what was recorded of it
        ├── UnreadableFile (OSError)             a file is there, and cannot be read
        ├── EndpointAway (ConnectionError)       an endpoint does not answer, or not in time
        ├── EndpointRefuses (PermissionError)    it answers, and does not let us
        ├── InTransaction (RuntimeError)         files cannot go within a transaction
        ├── InvalidSetting (ValueError)          a setting of the caches cannot be understood
        └── NotOnDisk (ValueError)               a copy lies elsewhere, and a path is needed
"""

from __future__ import annotations

from registry.errors import SkyspineError

__all__ = [
    "BackboneError",
    "ChangedFile",
    "EndpointAway",
    "EndpointConflict",
    "EndpointRefuses",
    "InTransaction",
    "InvalidSetting",
    "NotOnDisk",
    "StorageFull",
    "UnknownEndpoint",
    "UnreadableFile",
]


class BackboneError(SkyspineError):
    """The storage could not do what was asked."""

    code = "backbone"


class UnknownEndpoint(BackboneError, LookupError):
    """There is no endpoint of this name."""

    code = "unknown-endpoint"


class EndpointConflict(BackboneError, ValueError):
    """An endpoint cannot be registered so."""

    code = "endpoint-conflict"


class StorageFull(BackboneError, OSError):
    """The storage could not take a file; nothing was changed."""

    code = "storage"


class ChangedFile(BackboneError, ValueError):
    """A file is gone, or not what was recorded of it."""

    code = "changed-file"


class UnreadableFile(BackboneError, OSError):
    """A file is there, and cannot be read."""

    code = "unreadable-file"


class EndpointAway(BackboneError, ConnectionError):
    """An endpoint does not answer."""

    code = "endpoint-away"


class EndpointRefuses(BackboneError, PermissionError):
    """An endpoint does not let us do this."""

    code = "endpoint-refuses"


class InTransaction(BackboneError, RuntimeError):
    """Files cannot be removed within a transaction, which may be undone."""

    code = "in-transaction"


class InvalidSetting(BackboneError, ValueError):
    """A setting cannot be understood."""

    code = "invalid-setting"


class NotOnDisk(BackboneError, ValueError):
    """A copy does not lie on this machine."""

    code = "not-on-disk"
