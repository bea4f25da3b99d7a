"""How do the rows that several registries give become those of one export?

A row is the same when its key is; what the registry says that comes first stays, and what is told
otherwise is given back.  Where each registry decides for itself, the first that knows the thing
decides alone.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from registry.portable.comparing import told_apart
from registry.portable.tables import TABLES

if TYPE_CHECKING:
    from registry.portable.comparing import Contradiction
    from registry.portable.taking import Row, Taken

__all__ = ["join"]

_DECIDED = {
    "calibration_policy": ("dataset_type", "name", "dataset_type"),
    "calibration_policy_match": ("dataset_type", "name", "dataset_type"),
    "instrument_definition": ("instrument_definition", "instrument", "instrument"),
}
"""Tables of which the first registry gives all rows of a thing: the table and column that name the
things which it knows, and the column that names the thing of a row."""


def join(first: Taken, later: Taken) -> list[Contradiction]:
    """Add the rows of a later registry to those of the first ones.

    Returns
    -------
    list of Contradiction
        What the later one says otherwise; what was there has stayed.
    """
    known = {
        name: set(map(itemgetter(*TABLES[table].positions((column,))), first.rows[table]))
        for name, (table, column, _) in _DECIDED.items()
    }
    differing: list[Contradiction] = []
    for name, portable in TABLES.items():
        given = later.rows[name]
        if name in _DECIDED:
            (place,) = portable.positions((_DECIDED[name][2],))
            given = [row for row in given if row[place] not in known[name]]
        key = itemgetter(*portable.positions(portable.key))
        here: dict[object, Row] = {key(row): row for row in first.rows[name]}
        new, otherwise = told_apart(name, given, here)
        differing += otherwise
        if new:
            first.rows[name] = sorted([*first.rows[name], *new], key=key)
    first.running += later.running
    return differing
