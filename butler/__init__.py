"""The access client: get, put, list and exists for any dataset.

`Butler` is the door.  `butler.instrument` reads camera definitions, `butler.formatters` files,
`butler.storage_classes` says which Python type a dataset is.  `butler.intake` takes files in,
`butler.policy` decides how datasets are stored, `butler.objects` and `butler.tables` know how they
lie in files and in rows, `butler.asking` finds them over several repositories, `butler.moving`
brings them elsewhere, and `butler.exchange` to and from other registries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from butler.butler import Butler, Deferred, FileDataset

__all__ = ["Butler", "Deferred", "FileDataset"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # the database layer takes its time, and a formatter alone does not need it
        from butler import butler

        return getattr(butler, name)
    raise AttributeError(f"module 'butler' has no attribute {name!r}")
