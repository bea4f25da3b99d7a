"""Which revision is a database at, and how is it brought to another one?

Alembic does the work; the revisions are in ``migrations/versions`` and the views that they install
in ``sql/views``. Opening a registry never migrates by itself: it refuses a database of another
revision (`require_head`).
"""

from __future__ import annotations

import functools
import io
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import site_migrations, views
from registry.database import (
    has_file,
    open_engine,
    parse_url,
    roles,
    safe_url,
    standard_strings,
    translated,
    utc_now,
    with_timestamps,
    with_types,
)
from registry.errors import (
    Conflict,
    DatabaseUnavailable,
    RegistryError,
    UnknownRevision,
    WrongRevision,
)
from registry.identity import uuid7
from registry.schema import metadata
from registry.schema.identity import repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config

__all__ = [
    "absent_roles",
    "check",
    "comment_view",
    "create_view",
    "current",
    "current_site",
    "downgrade",
    "downgrade_site",
    "drop_view",
    "head",
    "make_roles",
    "query_files",
    "require_head",
    "role_statements",
    "sql",
    "upgrade",
    "view_names",
    "view_sql",
]


def _home(name: str) -> Path:
    """Find ``migrations`` or ``sql``: in the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / name


def _config(site: Path | None = None, **attributes: Any) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_home("migrations")).replace("%", "%%"))
    if site is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(site).replace("%", "%%"))
        attributes["version_table"] = site_migrations.VERSION_TABLE
    config.attributes.update(attributes)
    return config


@functools.cache
def head() -> str:
    """Tell the newest revision that this code knows.

    Files of revisions begin with their numbers: a command need not load all of them to start.
    """
    found = [path.name[:4] for path in (_home("migrations") / "versions").glob("[0-9]*.py")]
    if not found:
        raise RegistryError("This installation carries no migrations; reinstall skyspine.")
    return max(found)


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _before(revision: str) -> set[str]:
    """List the revisions that come before one."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions("base", revision)} - {revision}


def _require_step(connection: sa.Connection, url: str, target: str, *, up: bool) -> None:
    """Refuse a revision that does not exist, or lies on the other side of the database's own."""
    from alembic.script import ScriptDirectory

    chain = [s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
    before = _stamped(connection)
    if before is not None and before not in chain:
        raise WrongRevision(safe_url(url), before, head(), ahead=True)
    end = "head" if up else "base"
    if target == end:
        return
    if target not in chain:
        raise UnknownRevision(target, [*chain, end])
    here = chain.index(before) if before is not None else -1
    if up and chain.index(target) < here:
        raise Conflict(
            f"The database is at revision {before}, which comes after {target}; "
            f"to go back: skyspine db downgrade {safe_url(url)} {target}"
        )
    if not up and chain.index(target) > here:
        shown = f"at revision {before}" if before else "empty"
        raise Conflict(
            f"The database is {shown}, and {target} comes after that; "
            f"to go there: skyspine db upgrade {safe_url(url)} {target}"
        )


@contextmanager
def _connected(url: str, *, make: bool = False) -> Iterator[sa.Connection]:
    """Connect; a file of SQLite is made only when asked for."""
    if not (make or has_file(url)):
        raise DatabaseUnavailable(
            f"There is no database {safe_url(url)}; create it with: "
            f"skyspine db create {safe_url(url)}"
        )
    engine = open_engine(url)
    try:
        with translated(url), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _stamped(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def current(url: str) -> str | None:
    """Tell the revision of a database, or None when it holds no schema."""
    if not has_file(url):
        return None
    with _connected(url) as connection:
        return _stamped(connection)


def require_head(connection: sa.Connection, url: str) -> None:
    """Refuse a database that is not at the newest revision.

    Raises
    ------
    WrongRevision
        With the command that brings it up.
    """
    try:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    except sa.exc.DBAPIError:
        connection.rollback()
        found = _stamped(connection)
    if found != head():
        raise WrongRevision(
            safe_url(url), found, head(), ahead=found is not None and found not in _revisions()
        )


def upgrade(url: str, revision: str = "head", *, site: Path | None = None) -> None:
    """Bring a database up to a revision, and give it its identity when it has none.

    Parameters
    ----------
    site : Path, optional
        Folder of a site's own migrations, all of which are run after the newest of ours.

    Raises
    ------
    UnknownRevision
        If there is no such revision.
    Conflict
        If the database is past it.
    WrongRevision
        If the database is at a revision that this code does not know.
    """
    from alembic import command

    if revision != "head" and revision not in _revisions():
        raise UnknownRevision(revision, [*_revisions(), "head"])
    with _connected(url, make=True) as connection:
        if revision != "head" or _stamped(connection) != head():
            _require_step(connection, url, revision, up=True)
            connection.rollback()
            command.upgrade(_config(connection=connection), revision)
        if _stamped(connection) == head():
            _give_identity(connection)
            if site is not None and site_migrations.revisions(site):
                connection.commit()
                command.upgrade(_config(site, connection=connection), "head")
        connection.commit()


def _give_identity(connection: sa.Connection) -> None:
    if connection.execute(sa.select(repository.c.id)).first() is None:
        connection.execute(sa.insert(repository).values(one=1, id=uuid7(), created_at=utc_now()))


def downgrade(url: str, revision: str) -> None:
    """Take a database down to a revision; ``base`` removes everything.

    Raises
    ------
    UnknownRevision, Conflict, WrongRevision
        As for `upgrade`.
    """
    from alembic import command

    with _connected(url) as connection:
        _require_step(connection, url, revision, up=False)
        if revision == "base":
            site_migrations.drop_all(connection)
            connection.commit()
        elif revision in _before(_ROWS_SINCE):
            site_migrations.require_none(connection, url)
        connection.rollback()
        command.downgrade(_config(connection=connection), revision)
        connection.commit()


def downgrade_site(url: str, revision: str, site: Path) -> None:
    """Take the tables of a site down to one of its own revisions; ``base`` drops them all.

    Raises
    ------
    UnknownRevision
        If the site has none of this number.
    Conflict
        If datasets lie in a table that would go.
    """
    from alembic import command

    site_migrations.require_known(site, revision, end="base")
    with _connected(url) as connection:
        command.downgrade(_config(site, connection=connection), revision)
        connection.commit()


def current_site(url: str) -> str | None:
    """Tell which of a site's own migrations was run last in a database."""
    if not has_file(url):
        return None
    with _connected(url) as connection:
        return site_migrations.stamped(connection)


_ROWS_SINCE = "0019"
"""Revision since which tables of rows are described."""


def check(url: str) -> list[str]:
    """List the differences between a database and the schema that the code declares.

    Returns
    -------
    list of str
        One line per difference; empty when they are equal.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with _connected(url) as connection, warnings.catch_warnings():
        # SQLAlchemy cannot reflect the period that MariaDB's constraint needs
        warnings.filterwarnings("ignore", "Unknown schema content: .*PERIOD FOR", sa.exc.SAWarning)
        require_head(connection, url)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": is_ours}
        )
        found = compare_metadata(context, metadata)
        found += site_migrations.differences(connection)
        return [_difference(item) for item in found]


NATIVE = {"no_overlap_calibration", "valid_begin_shadow", "valid_end_shadow"}
"""What a revision makes on one database only, by means that the metadata cannot express."""


def is_ours(_item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    """Tell Alembic which parts of a database to compare.

    All but what is native to one kind of database, and what a site's own migrations make.
    """
    if kind == "table" and reflected and other is None:
        return not site_migrations.is_of_site(str(name))
    return not (reflected and other is None and name in NATIVE)


def _difference(item: Any) -> str:
    parts = item if isinstance(item, tuple) else tuple(item[0])
    return " ".join(str(getattr(p, "name", None) or p) for p in parts)


def sql(url: str, revision: str = "head") -> str:
    """Write the SQL that creates the schema on the kind of database of a URL; run nothing."""
    from alembic import command

    output = io.StringIO()
    dialect = parse_url(url).get_dialect()().name
    command.upgrade(_config(dialect_name=dialect, output=output), revision, sql=True)
    return output.getvalue()


def role_statements(url: str) -> list[str]:
    """Write the SQL that makes the roles of readers and operators, for the database of a URL."""
    parsed = sa.make_url(url)
    return roles.statements(parsed.get_dialect()().name, parsed.database or "")


def make_roles(url: str) -> list[str]:
    """Make the roles and give them their rights; tell which could not be made."""
    with _connected(url) as connection:
        roles.create(connection)
        connection.commit()
        return list(roles.absent(connection))


def absent_roles(url: str) -> list[str]:
    """List the roles that lack their rights on a database of this version."""
    with _connected(url) as connection:
        return list(roles.absent(connection)) if _stamped(connection) == head() else []


def view_names() -> list[str]:
    """List the reporting views that this version ships."""
    return sorted({path.name.split(".")[0] for path in (_home("sql") / "views").glob("*.sql")})


def query_files() -> list[Path]:
    """List the files of the named questions that this version ships."""
    return sorted((_home("sql") / "queries").glob("*.sql"))


def view_sql(name: str, dialect: str, revision: str | None = None) -> str:
    """Read the SELECT of a view, in the form for one database.

    Parameters
    ----------
    name : str
        Name of the file below ``sql/views`` without ``.sql``; later versions of a view are files
        of their own, ``NAME.<revision>.sql``.
    dialect : str
        Name of the SQLAlchemy dialect; ``NAME.<dialect>.sql`` is taken where it exists.
    revision : str, optional
        The revision that installs the version wanted, an empty text for the first version;
        default the newest.
    """
    folder = _home("sql") / "views"
    dialect = "mariadb" if dialect == "mysql" else dialect
    if revision is None:
        numbers = (path.name.split(".")[1] for path in folder.glob(f"{name}.*.sql"))
        revision = max((n for n in numbers if n.isdigit()), default="")
    stem = f"{name}.{revision}" if revision else name
    native = folder / f"{stem}.{dialect}.sql"
    text = (native if native.exists() else folder / f"{stem}.sql").read_text(encoding="utf-8")
    return with_types(with_timestamps(text, dialect), dialect)


def create_view(name: str, revision: str = "") -> None:
    """Install a view, in place of its other versions; called by migrations.

    Parameters
    ----------
    revision : str
        The revision that brings this version of the view; empty for the first version.
    """
    from alembic import op

    dialect = op.get_context().dialect
    body = view_sql(name, dialect.name, revision)
    before, after = standard_strings(dialect.name)
    drop_view(name)
    for statement in before:
        op.execute(statement)
    op.execute(sa.text(f"CREATE VIEW {name} AS\n{body}".replace(":", r"\:")))
    for statement in after:
        op.execute(statement)
    comment_view(name, revision)


def comment_view(name: str, revision: str | None = None) -> None:
    """Tell the database what a view and its columns mean, where it keeps that; as `create_view`."""
    from alembic import op

    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        for statement in views.comments(views.parse(name, view_sql(name, dialect, revision))):
            op.execute(sa.text(statement.replace(":", r"\:")))


def drop_view(name: str) -> None:
    """Remove a view; called by migrations."""
    from alembic import op

    op.execute(f"DROP VIEW IF EXISTS {name}")
