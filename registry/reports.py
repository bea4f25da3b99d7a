"""What do the reporting views say?

The views are files under ``sql/views``; migrations install them.  This module only reads them.
Questions that take parameters are in `registry.cookbook`.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import deploy, views
from registry.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

    from registry.views import View

__all__ = ["UnknownView", "describe", "plain", "read_view", "view"]


class UnknownView(UnknownName):
    """There is no reporting view of this name."""

    code = "unknown-view"
    kind = "view"
    remedy = "`skyspine report REPO` lists them."


def describe() -> dict[str, str]:
    """Tell for each view which question it answers."""
    return {name: view(name).question for name in deploy.view_names()}


def view(name: str) -> View:
    """Tell what a view promises: its question, notes and columns.

    Raises
    ------
    UnknownView
        With the nearest names.
    """
    if name not in deploy.view_names():
        raise UnknownView(name, deploy.view_names())
    return views.parse(name, deploy.view_sql(name, "sqlite"))


def read_view(connection: sa.Connection, name: str) -> pd.DataFrame:
    """Read a whole view.

    Returns
    -------
    pandas.DataFrame
        The columns that the view's file declares, of the same types on each database: whole
        numbers, floats, texts (UUIDs among them), and timestamps to the microsecond.

    Raises
    ------
    UnknownView
        With the nearest names.
    """
    import pandas as pd

    table = view(name).table
    columns: list[Any] = [*table.c] or [sa.text("*")]
    result = connection.execute(sa.select(*columns).select_from(table))
    rows = [tuple(plain(v) for v in row) for row in result]
    return pd.DataFrame(rows, columns=list(result.keys()), dtype=object)


def plain(value: Any) -> Any:
    """Give the same Python type on each database: whole sums as int, UUIDs as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value) if isinstance(value, uuid.UUID) else value
