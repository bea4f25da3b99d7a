"""What can go wrong with storage.

::

    SkyspineError
    └── BackboneError
        ├── UnknownEndpoint (LookupError)
        ├── StorageFull (OSError)        no room for a file; nothing was changed
        └── ChangedFile (ValueError)     a file is gone, or not what was recorded of it
"""

from __future__ import annotations

from registry.errors import SkyspineError

__all__ = ["BackboneError", "ChangedFile", "StorageFull", "UnknownEndpoint"]


class BackboneError(SkyspineError):
    """The storage could not do what was asked."""

    code = "backbone"


class UnknownEndpoint(BackboneError, LookupError):
    """There is no endpoint of this name."""

    code = "unknown-endpoint"


class StorageFull(BackboneError, OSError):
    """The storage could not take a file; nothing was changed."""

    code = "storage"


class ChangedFile(BackboneError, ValueError):
    """A file is gone, or not what was recorded of it."""

    code = "changed-file"
