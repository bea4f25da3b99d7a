"""Who may read a database, who may work with it, and what has an administrator to run for that?

Two roles stand for the two kinds of people: a reader asks questions, an operator runs the verbs,
and neither changes the schema.  Migrations make them where the deploying account may; elsewhere
`statements` says what an administrator runs.  SQLite has no accounts: file permissions decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OPERATOR", "READER", "absent", "create", "drop", "statements"]

READER = "skyspine_reader"
OPERATOR = "skyspine_operator"

_DENIED = {1044, 1045, 1142, 1227, 1410, 1698}
"""Errors of MariaDB that say: this account may not."""
_NO_GRANT = {1141, 1147}

_POSTGRESQL = """
DO $roles$
DECLARE
    place text = quote_ident(current_schema());
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['{reader}', '{operator}'] LOOP
        BEGIN
            EXECUTE 'CREATE ROLE ' || role || ' NOLOGIN';
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
        END;
    END LOOP;
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('{reader}', '{operator}')) < 2 THEN
        RAISE WARNING 'roles {reader} and {operator} are missing: see skyspine db roles';
        RETURN;
    END IF;
    EXECUTE 'GRANT USAGE ON SCHEMA ' || place || ' TO {reader}, {operator}';
    EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA ' || place || ' TO {reader}, {operator}';
    EXECUTE 'GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ' || place || ' TO {operator}';
    EXECUTE 'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA ' || place || ' TO {operator}';
    EXECUTE 'REVOKE INSERT, UPDATE, DELETE ON ' || place || '.alembic_version FROM {operator}';
    EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
        || ' GRANT SELECT ON TABLES TO {reader}';
    EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
        || ' GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {operator}';
    EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
        || ' GRANT USAGE, SELECT ON SEQUENCES TO {operator}';
    IF current_setting('server_version_num')::int >= 170000 THEN  -- before, owners alone ANALYZE
        EXECUTE 'GRANT MAINTAIN ON ALL TABLES IN SCHEMA ' || place || ' TO {operator}';
        EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
            || ' GRANT MAINTAIN ON TABLES TO {operator}';
    END IF;
END
$roles$
"""

_POSTGRESQL_DROP = """
DO $roles$
DECLARE
    place text = quote_ident(current_schema());
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['{reader}', '{operator}'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role);
        EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA ' || place || ' FROM ' || role;
        EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA ' || place || ' FROM ' || role;
        EXECUTE 'REVOKE ALL ON SCHEMA ' || place || ' FROM ' || role;
        EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
            || ' REVOKE ALL ON TABLES FROM ' || role;
        EXECUTE 'ALTER DEFAULT PRIVILEGES IN SCHEMA ' || place
            || ' REVOKE ALL ON SEQUENCES FROM ' || role;
        BEGIN
            IF NOT EXISTS (
                SELECT 1 FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid
                WHERE r.rolname = role
            ) THEN
                EXECUTE 'DROP ROLE ' || role;
            END IF;
        EXCEPTION
            WHEN dependent_objects_still_exist OR insufficient_privilege OR undefined_object
            THEN NULL;
        END;
    END LOOP;
END
$roles$
"""


def statements(dialect: str, database: str) -> list[str]:
    """Write what makes the roles and gives them their rights; each may be run again.

    Parameters
    ----------
    dialect : str
        Name of the SQLAlchemy dialect.
    database : str
        Name of the database.  On PostgreSQL the statements act on the one connected to.
    """
    if dialect == "postgresql":
        return [_POSTGRESQL.format(reader=READER, operator=OPERATOR).strip()]
    if dialect not in ("mysql", "mariadb"):
        return []
    place = _place(database)
    return [
        f"CREATE ROLE IF NOT EXISTS {READER}",
        f"CREATE ROLE IF NOT EXISTS {OPERATOR}",
        f"GRANT SELECT, SHOW VIEW ON {place} TO {READER}",
        f"GRANT SELECT, SHOW VIEW, INSERT, UPDATE, DELETE ON {place} TO {OPERATOR}",
    ]


def _place(database: str) -> str:
    """Name all tables of a database of MariaDB, where _ and % stand for other letters."""
    escaped = database.replace("\\", "\\\\").replace("_", r"\_").replace("%", r"\%")
    return "`" + escaped.replace("`", "``") + "`.*"


def create(connection: sa.Connection) -> None:
    """Make the roles and give them their rights, as far as this account may.

    What could not be done, `absent` tells.
    """
    dialect = connection.dialect.name
    for statement in statements(dialect, str(connection.engine.url.database)):
        if not _allowed(connection, statement, _DENIED):
            return


def drop(connection: sa.Connection) -> None:
    """Take the roles' rights on this database, and the roles where nobody else needs them.

    A role that has members, or rights on other databases, stays.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        sql = _POSTGRESQL_DROP.format(reader=READER, operator=OPERATOR)
        connection.exec_driver_sql(sql.strip())
    elif dialect in ("mysql", "mariadb"):
        place = _place(str(connection.engine.url.database))
        for role in (READER, OPERATOR):
            revoke = f"REVOKE ALL PRIVILEGES ON {place} FROM {role}"
            if _allowed(connection, revoke, _DENIED | _NO_GRANT) and _unused(connection, role):
                _allowed(connection, f"DROP ROLE IF EXISTS {role}", _DENIED)


def _allowed(connection: sa.Connection, statement: str, refusals: set[int]) -> bool:
    """Run a statement and tell whether the account was allowed to."""
    try:
        connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "errno", None) not in refusals:
            raise
        return False
    return True


def _unused(connection: sa.Connection, role: str) -> bool:
    question = (
        f"SELECT (SELECT COUNT(*) FROM mysql.db WHERE User = '{role}')"  # noqa: S608 (names are ours)
        " + (SELECT COUNT(*) FROM mysql.roles_mapping"
        f" WHERE Role = '{role}' AND Admin_option = 'N')"
    )
    try:
        return bool(connection.exec_driver_sql(question).scalar_one() == 0)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "errno", None) not in _DENIED:
            raise
        return False


def absent(connection: sa.Connection) -> Sequence[str]:
    """List the roles that lack their rights on this database; empty where there are no accounts."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        question = (
            "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :role) AND EXISTS ("
            "SELECT 1 FROM pg_class AS c, aclexplode(c.relacl) AS a JOIN pg_roles AS r"
            " ON r.oid = a.grantee WHERE c.oid = CAST('dataset' AS regclass) AND r.rolname = :role)"
        )
    elif dialect in ("mysql", "mariadb"):
        question = (
            "SELECT COUNT(*) FROM information_schema.schema_privileges"
            " WHERE grantee LIKE CONCAT('''', :role, '''%') AND privilege_type = 'SELECT'"
            " AND REPLACE(table_schema, '\\\\', '') = DATABASE()"
        )
    else:
        return []
    return [
        role
        for role in (READER, OPERATOR)
        if not connection.execute(sa.text(question), {"role": role}).scalar()
    ]
