"""How does a part of this registry become rows that another one can take in?

`tables` says which tables an export has: those of the schema, with natural keys in place of keys
that count only here.  `taking` collects the rows that belong to datasets, `comparing` says what
contradicts what another registry holds, `joining` makes one export of several registries, and
`merging` writes what is new there.  `histories` does all of it for what made datasets, without
them.  Files that hold such rows are `butler.exchange`.
"""

from __future__ import annotations

from registry.portable.comparing import Contradiction, Incoming, compare
from registry.portable.histories import History, check_history, read_history, write_history
from registry.portable.joining import join
from registry.portable.merging import Merged, merge, refs_of, refuse_contradictions
from registry.portable.tables import TABLES, Portable
from registry.portable.taking import Taken, datasets_behind, take

__all__ = [
    "TABLES",
    "Contradiction",
    "History",
    "Incoming",
    "Merged",
    "Portable",
    "Taken",
    "check_history",
    "compare",
    "datasets_behind",
    "join",
    "merge",
    "read_history",
    "refs_of",
    "refuse_contradictions",
    "take",
    "write_history",
]
