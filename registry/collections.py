"""Which collections are there, and in which order are they searched?

Verbs: register, chain, tag, untag, remove.  Questions: `flatten`, `query`.  Tables:
`registry.schema.collections`.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.database import (
    ShortStatement,
    delete_among,
    hold_rows,
    insert_missing,
    insert_new,
    insert_rows,
    lock_rows,
    rows_of,
    utc_now,
)
from registry.errors import (
    CollectionTypeError,
    Conflict,
    InUse,
    UnknownCollection,
    UnknownDataset,
)
from registry.schema.calibrations import calibration
from registry.schema.collections import collection, collection_chain, tagged
from registry.schema.identity import dataset
from registry.schema.provenance import task

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from registry.identity import DatasetRef

__all__ = [
    "TYPES",
    "Collection",
    "Search",
    "chain",
    "check",
    "check_types",
    "ensure",
    "flatten",
    "get_collection",
    "hold_chains",
    "known_types",
    "link_children",
    "query",
    "register",
    "register_many",
    "remove",
    "search",
    "tag",
    "untag",
]

TYPES = ("RUN", "TAGGED", "CHAINED", "CALIBRATION")


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection.

    Parameters
    ----------
    id : int
        Key in this database.
    name, type, doc : str
        As registered; the type is one of `TYPES`.
    children : tuple of str
        For a CHAINED one, the names in search order.
    """

    id: int
    name: str
    type: str
    doc: str = ""
    children: tuple[str, ...] = ()


def register(connection: sa.Connection, name: str, type: str = "RUN", doc: str = "") -> bool:  # noqa: A002
    """Register a collection.

    Returns
    -------
    bool
        Whether it is new.

    Raises
    ------
    CollectionTypeError
        If it exists with another type.
    Conflict
        If the name or the type is not a legal one.
    """
    check(name, type)
    asked = sa.select(collection.c.type).where(collection.c.name == name)
    found = connection.execute(asked).scalar()
    if found is None:
        row = {"name": name, "type": type, "doc": doc, "created_at": utc_now()}
        if insert_new(connection, collection, row):
            return True
        found = connection.execute(asked).scalar()
        if found is None:
            raise _vanished(name)
    if found != type:
        raise CollectionTypeError(
            f"'{name}' is a {found} collection already; it cannot be made a {type} one."
        )
    return False


def _vanished(name: str) -> InUse:
    return InUse(f"'{name}' was there and is being removed by another process; repeat.")


def check(name: str, type: str) -> None:  # noqa: A002
    """Refuse a collection that cannot be; errors as `register`."""
    if type not in TYPES:
        raise CollectionTypeError(
            f"'{type}' is not a type of collection; choose one of {', '.join(TYPES)}."
        )
    if not name or len(name) > 255 or any(c in name for c in "\x00*?[],") or name != name.strip():
        raise Conflict(
            f"{name[:60]!r} cannot name a collection: 1 to 255 characters, "
            "none of * ? [ ] and comma, no blank at an end."
        )


def register_many(connection: sa.Connection, wanted: Mapping[str, tuple[str, str]]) -> int:
    """Register collections that do not exist yet; see `register`.

    Parameters
    ----------
    wanted : mapping
        Type and documentation by name.

    Returns
    -------
    int
        How many are new.
    """
    for name, (kind, _) in wanted.items():
        check(name, kind)
    known = known_types(connection, wanted)
    now = utc_now()
    new = [
        {"name": name, "type": kind, "doc": doc, "created_at": now}
        for name, (kind, doc) in wanted.items()
        if name not in known
    ]
    insert_rows(connection, collection, new, skip_existing=True)
    if new:
        known = known_types(connection, wanted)
    gone = next((name for name in wanted if name not in known), None)
    if new and gone is not None:
        raise _vanished(gone)
    _check_types(known, {name: kind for name, (kind, _) in wanted.items()})
    return len(new)


def known_types(connection: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    """Tell the types of collections; unknown names are left out."""
    given = rows_of(connection, [{"name": name} for name in names], {"name": sa.String})
    asked = sa.select(collection.c.name, collection.c.type).join(
        given, given.c.name == collection.c.name
    )
    return dict(connection.execute(asked).all())


def check_types(connection: sa.Connection, wanted: Mapping[str, str]) -> None:
    """Refuse types, by name of collection, that those that exist do not have.

    Raises
    ------
    CollectionTypeError
        With the first that is of another type.
    """
    _check_types(known_types(connection, wanted), wanted)


def _check_types(known: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for name, kind in wanted.items():
        if known.get(name, kind) != kind:
            raise CollectionTypeError(
                f"'{name}' is a {known[name]} collection already; it cannot be made a {kind} one."
            )


def ensure(connection: sa.Connection, name: str, type: str = "RUN") -> Collection:  # noqa: A002
    """Look a collection up, and register it when it does not exist; errors as `register`."""
    row = connection.execute(hold_rows(_NAMED, connection), {"asked": name}).first()
    if row is None or row.type != type:
        register(connection, name, type)
        return get_collection(connection, name, hold=True)
    return Collection(row.id, row.name, row.type, row.doc)


_NAMED = sa.select(collection.c.id, collection.c.name, collection.c.type, collection.c.doc).where(
    collection.c.name == sa.bindparam("asked")
)


def get_collection(
    connection: sa.Connection, name: str, *, lock: bool = False, hold: bool = False
) -> Collection:
    """Look one up by name.

    Parameters
    ----------
    lock : bool
        Whether only this transaction shall change it until it ends.
    hold : bool
        Whether nobody shall remove it until this transaction ends.

    Raises
    ------
    UnknownCollection
        With the nearest names.
    """
    statement = lock_rows(_NAMED, connection) if lock else _NAMED
    if hold:
        statement = hold_rows(_NAMED, connection)
    row = connection.execute(statement, {"asked": name}).first()
    if row is None:
        raise UnknownCollection(name, connection.execute(sa.select(collection.c.name)).scalars())
    return Collection(*row)


def chain(connection: sa.Connection, name: str, children: Sequence[str]) -> None:
    """Set the children of a CHAINED collection, in search order; register it if it is new.

    Raises
    ------
    CollectionTypeError
        If it is of another type, or the chain would hold itself.
    UnknownCollection
        If a child does not exist.
    """
    register(connection, name, "CHAINED")
    hold_chains(connection)
    parent = get_collection(connection, name)
    unique = list(dict.fromkeys(children))
    members = [get_collection(connection, child, hold=True) for child in unique]
    if name in _below(connection, unique):
        raise CollectionTypeError(
            f"'{name}' cannot be chained below itself ({', '.join(unique)} lead to it)."
        )
    connection.execute(sa.delete(collection_chain).where(collection_chain.c.parent_id == parent.id))
    insert_rows(
        connection,
        collection_chain,
        [{"parent_id": parent.id, "position": i, "child_id": m.id} for i, m in enumerate(members)],
    )


def hold_chains(connection: sa.Connection) -> None:
    """Let nobody else define a chain until this transaction ends.

    Two that are defined at once could close a circle that neither sees.
    """
    every = sa.select(collection.c.id).where(collection.c.type == "CHAINED")
    connection.execute(lock_rows(every.order_by(collection.c.id), connection)).all()


def link_children(connection: sa.Connection, links: Sequence[tuple[str, int, str]]) -> None:
    """Give children to CHAINED collections that have none yet.

    Parameters
    ----------
    links : sequence of (parent, position, child)
        By name; all exist.

    Raises
    ------
    CollectionTypeError
        If a parent is of another type, or a chain would hold itself.
    """
    names = list(dict.fromkeys(name for parent, _, child in links for name in (parent, child)))
    given = rows_of(connection, [{"k": name} for name in names], {"k": sa.String})
    known = connection.execute(
        sa.select(collection.c.name, collection.c.id, collection.c.type).where(
            collection.c.name.in_(sa.select(given.c.k))
        )
    )
    keys = {row.name: (row.id, row.type) for row in known}
    for parent, _, _ in links:
        if keys[parent][1] != "CHAINED":
            raise CollectionTypeError(
                f"'{parent}' is a {keys[parent][1]} collection; only a CHAINED one has children."
            )
    rows = [
        {"parent_id": keys[parent][0], "position": n, "child_id": keys[child][0]}
        for parent, n, child in links
    ]
    insert_rows(connection, collection_chain, rows)
    tops = rows_of(connection, [{"k": r["parent_id"]} for r in rows], {"k": sa.BigInteger})
    c = collection_chain.c
    begun = sa.select(c.parent_id.label("top"), c.child_id.label("below"))
    below = begun.where(c.parent_id.in_(sa.select(tops.c.k))).cte("below", recursive=True)
    step = sa.select(below.c.top, c.child_id).join_from(
        below, collection_chain, c.parent_id == below.c.below
    )
    below = below.union(step)
    ring = sa.select(collection.c.name).join(below, below.c.top == collection.c.id)
    found = connection.execute(ring.where(below.c.below == below.c.top).limit(1)).scalar()
    if found is not None:
        raise CollectionTypeError(f"The chain '{found}' would hold itself, in a ring of chains.")


class Search:
    """The statements that tell which collections a search goes through, with more about each.

    One for the collections of some names; one for the children of those that are chains; and, for
    chains of chains, a recursion, for which a server plans longer than it works.

    Parameters
    ----------
    *about : callable
        Each writes a further column, given the columns ``id``, ``name`` and ``type`` of a
        collection.
    """

    def __init__(self, *about: Callable[[Any], Any]) -> None:
        one = collection.c.name == sa.bindparam("name", type_=sa.String)
        several = collection.c.name.in_(sa.bindparam("names", expanding=True))
        self._of_one = _Steps(one, about, short=True)
        self._of_several = _Steps(several, about)

    def of(self, names: Sequence[str]) -> tuple[_Steps, dict[str, Any]]:
        """Give the statements that begin with some collections, and the values for these."""
        if len(names) == 1:  # nearly always, and a list is written into its statement each time
            return self._of_one, {"name": names[0]}
        return self._of_several, {"names": list(names)}


class _Steps:
    """The three statements of a `Search` that begins with collections on which a term holds."""

    def __init__(
        self, named: Any, about: Sequence[Callable[[Any], Any]], *, short: bool = False
    ) -> None:
        child, link = collection.alias("child"), collection_chain
        no_parent: Any = (
            sa.cast(None, sa.Integer).label("parent_id"),
            sa.literal_column("0").label("position"),
        )

        def columns(table: Any) -> list[Any]:
            return [table.c.id, table.c.name, table.c.type]

        def described(statement: Any, table: Any) -> sa.Select[Any]:
            whole: sa.Select[Any] = statement.add_columns(*(column(table.c) for column in about))
            return whole

        top = sa.select(*columns(collection), *no_parent).where(named)
        children = sa.select(*columns(child), link.c.parent_id, link.c.position)
        linked = child.c.id == link.c.child_id
        self._named = described(top, collection)
        self._short = ShortStatement(self._named) if short else None
        self.children = described(
            children.join_from(collection, link, link.c.parent_id == collection.c.id)
            .join(child, linked)
            .where(named),
            child,
        )
        below = top.cte("below", recursive=True)
        below = below.union(
            children.join_from(below, link, link.c.parent_id == below.c.id).join(child, linked)
        )
        self.below = described(sa.select(below), below)

    def ask_named(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """Ask for the collections themselves."""
        if self._short is not None:
            return self._short.rows(connection, values)
        return list(connection.execute(self._named, values))


_PLAINLY = Search()


def _below(connection: sa.Connection, names: Sequence[str]) -> set[str]:
    """Name everything at and below some collections."""
    steps, values = _PLAINLY.of(names)
    return {row.name for row in connection.execute(steps.below, values)}


def flatten(connection: sa.Connection, names: str | Iterable[str]) -> list[Collection]:
    """List the collections that a search goes through, in order: chains and globs opened.

    Parameters
    ----------
    names : str or iterable of str
        Names, or globs with ``*`` and ``?``.

    Raises
    ------
    UnknownCollection
        If a name does not exist.
    """
    return [Collection(*row[:3]) for row in search(connection, names, _PLAINLY, {})]


def search(
    connection: sa.Connection,
    names: str | Iterable[str],
    how: Search,
    parameters: Mapping[str, Any],
) -> list[tuple[Any, ...]]:
    """List the collections that `flatten` lists, with what a `Search` tells about each.

    Parameters
    ----------
    parameters : mapping
        Values that its further columns need.

    Returns
    -------
    list of tuple
        Key, name, type, and the further columns.

    Raises
    ------
    UnknownCollection
        If a name does not exist.
    """
    asked = [names] if isinstance(names, str) else list(names)
    if any(c in name for name in asked for c in "*?["):
        known = sorted(connection.execute(sa.select(collection.c.name)).scalars())
        asked = list(
            dict.fromkeys(
                found
                for name in asked
                for found in (
                    fnmatch.filter(known, name) if any(c in name for c in "*?[") else [name]
                )
            )
        )
    steps, values = how.of(asked)
    values |= parameters
    rows = steps.ask_named(connection, values)
    if any(type_ == "CHAINED" for _, _, type_, *_ in rows):
        linked = connection.execute(steps.children, values).all()
        rows += linked
        if any(row.type == "CHAINED" for row in linked):
            rows = list(connection.execute(steps.below, values))
    children: dict[int, set[tuple[int, str]]] = {}
    for _, name, _, parent_id, position, *_ in rows:
        if parent_id is not None:
            children.setdefault(parent_id, set()).add((position, name))
    by_name = {row[1]: (*row[:3], *row[5:]) for row in rows}
    ordered: dict[str, tuple[Any, ...]] = {}

    def visit(name: str) -> None:
        row = by_name.get(name)
        if row is None:
            raise UnknownCollection(
                name, connection.execute(sa.select(collection.c.name)).scalars()
            )
        if row[2] == "CHAINED":
            for _, child in sorted(children.get(row[0], ())):
                visit(child)
        else:
            ordered.setdefault(name, row)

    for name in asked:
        visit(name)
    return list(ordered.values())


def query(connection: sa.Connection, pattern: str = "*") -> list[Collection]:
    """List collections whose name matches a glob, with the children of chains."""
    rows = connection.execute(
        sa.select(collection.c.id, collection.c.name, collection.c.type, collection.c.doc).order_by(
            collection.c.name
        )
    ).all()
    links = connection.execute(
        sa.select(collection_chain.c.parent_id, collection.c.name)
        .join(collection, collection.c.id == collection_chain.c.child_id)
        .order_by(collection_chain.c.parent_id, collection_chain.c.position)
    ).all()
    return [
        Collection(
            r.id, r.name, r.type, r.doc, tuple(name for parent, name in links if parent == r.id)
        )
        for r in rows
        if fnmatch.fnmatchcase(r.name, pattern)
    ]


def tag(connection: sa.Connection, name: str, refs: Sequence[DatasetRef]) -> None:
    """Put datasets into a TAGGED collection; one of the same type and data ID in it is replaced.

    Raises
    ------
    CollectionTypeError
        If the collection is not a TAGGED one.
    UnknownDataset
        If one does not exist (any more).
    """
    target = get_collection(connection, name, lock=True)
    if target.type != "TAGGED":
        raise CollectionTypeError(f"'{name}' is a {target.type} collection; tag into a TAGGED one.")
    given = rows_of(connection, [{"id": r.id} for r in refs], {"id": sa.Uuid})
    there = sa.exists().where(dataset.c.id == given.c.id)
    gone = connection.execute(sa.select(given.c.n).where(~there).limit(1)).scalar()
    if gone is not None:
        raise UnknownDataset(str(refs[gone]))
    source = sa.select(
        sa.literal(target.id), dataset.c.dataset_type_id, dataset.c.data_id, dataset.c.id
    ).join_from(given, dataset, dataset.c.id == given.c.id)
    replaced = (
        sa.select(tagged.c.dataset_id)
        .join(
            dataset,
            (dataset.c.dataset_type_id == tagged.c.dataset_type_id)
            & (dataset.c.data_id == tagged.c.data_id),
        )
        .join(given, given.c.id == dataset.c.id)
        .where(tagged.c.collection_id == target.id)
    )
    old = [r[0] for r in connection.execute(replaced)]
    if old:
        _untag(connection, target.id, old)
    insert_missing(
        connection, tagged, source, ("collection_id", "dataset_type_id", "data_id", "dataset_id")
    )


def untag(connection: sa.Connection, name: str, refs: Sequence[DatasetRef]) -> None:
    """Take datasets out of a TAGGED collection; those not in it are passed over.

    Raises
    ------
    CollectionTypeError
        If the collection is not a TAGGED one.
    """
    target = get_collection(connection, name, lock=True)
    if target.type != "TAGGED":
        raise CollectionTypeError(
            f"'{name}' is a {target.type} collection, and only a TAGGED one lets datasets go."
        )
    _untag(connection, target.id, [r.id for r in refs])


def _untag(connection: sa.Connection, collection_id: int, ids: Sequence[uuid.UUID]) -> None:
    given = rows_of(connection, [{"id": i} for i in ids], {"id": sa.Uuid})
    delete_among(
        connection, tagged.c.dataset_id, given.c.id, tagged.c.collection_id == collection_id
    )


def remove(connection: sa.Connection, name: str) -> None:
    """Remove a collection: a RUN only when it is empty, any only when no chain holds it.

    Raises
    ------
    InUse
        With what still depends on it.
    """
    target = get_collection(connection, name, lock=True)
    parents = connection.execute(
        sa.select(collection.c.name)
        .join(collection_chain, collection_chain.c.parent_id == collection.c.id)
        .where(collection_chain.c.child_id == target.id)
    ).scalars()
    held = list(parents)
    if held:
        raise InUse(f"'{name}' is chained in {', '.join(held)}; take it out of there first.")
    for table, what, remedy in (
        (dataset, "datasets", "remove it with them: skyspine remove-runs, Butler.remove_runs"),
        (task, "tasks with provenance", "skyspine remove-runs removes it with them"),
    ):
        n = connection.execute(
            sa.select(sa.func.count()).select_from(table).where(table.c.run_id == target.id)
        ).scalar_one()
        if n:
            raise InUse(f"'{name}' still holds {n} {what}; {remedy}.")
    for table in (tagged, calibration):
        connection.execute(sa.delete(table).where(table.c.collection_id == target.id))
    connection.execute(sa.delete(collection_chain).where(collection_chain.c.parent_id == target.id))
    connection.execute(sa.delete(collection).where(collection.c.id == target.id))
