"""What do the reporting views say?

The views are files under ``sql/views``; migrations install them.  This module only reads them.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import deploy
from registry.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UnknownView", "describe", "read_view"]


class UnknownView(UnknownName):
    """There is no reporting view of this name."""

    code = "unknown-view"
    kind = "view"
    remedy = "`skyspine report REPO` lists them."


def describe() -> dict[str, str]:
    """Tell for each view which question it answers."""
    return {
        name: deploy.view_sql(name, "sqlite").splitlines()[0].removeprefix("-- ")
        for name in deploy.view_names()
    }


def read_view(connection: sa.Connection, name: str) -> pd.DataFrame:
    """Read a whole view.

    Raises
    ------
    UnknownView
        With the nearest names.
    """
    import pandas as pd

    if name not in deploy.view_names():
        raise UnknownView(name, deploy.view_names())
    result = connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
    rows = [tuple(_plain(v) for v in row) for row in result]
    return pd.DataFrame(rows, columns=list(result.keys()))


def _plain(value: Any) -> Any:
    """Give the same Python type on each database: whole sums as int, UUIDs as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value) if isinstance(value, uuid.UUID) else value
