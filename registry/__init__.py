"""The spine: one relational schema, and the queries and transactions on it.

`Registry` opens a database and gives each verb one transaction.  The values that it takes and gives
are `DatasetType`, `DataId`, `DatasetRef` and `Timespan`.  The schema is in `registry.schema`, one
module per table family; the verbs and questions of a family are in the module of the same name.
Migrations are run by `registry.deploy`, and only by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import SkyspineError
from registry.identity import DataId, DatasetRef, DatasetType
from registry.timespan import Timespan

if TYPE_CHECKING:
    from registry.registry import Registry

__all__ = ["DataId", "DatasetRef", "DatasetType", "Registry", "SkyspineError", "Timespan"]


def __getattr__(name: str) -> Any:
    if (
        name == "Registry"
    ):  # SQLAlchemy takes its time, and who only handles values does not need it
        from registry.registry import Registry

        return Registry
    raise AttributeError(f"module 'registry' has no attribute {name!r}")
