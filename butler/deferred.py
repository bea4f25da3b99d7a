"""What stands for a dataset that was found and is read only when it is asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from butler.butler import Butler
    from registry.identity import DatasetRef

__all__ = ["Deferred"]


class Deferred:
    """A dataset that was found and is read when asked for.

    Parameters
    ----------
    butler : Butler
        Where it is.
    ref : DatasetRef
        What it is.
    """

    def __init__(self, butler: Butler, ref: DatasetRef) -> None:
        self._butler = butler
        self.ref = ref

    def get(
        self, *, component: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> Any:
        """Read it, or a part of it."""
        return self._butler.get(self.ref, component=component, parameters=parameters)
