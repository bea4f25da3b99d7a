"""How is each database opened, what can it do, and how are its errors told?

The only package that knows differences between SQLite, PostgreSQL and MariaDB in statements and
transactions: product code asks for a capability by name (`rows_of`, `insert_missing`,
`with_timestamps`) and never for a dialect. `opening` has the engine, `transactions` the `Database`,
`patience` and `waiting` how long a verb waits and what it says, `failures` the translation of
errors, `attending` what is done before a statement, `statements` what Python composes, `sending`
the values that it takes along, `expressions` what stands within statements, `answers` large
answers, `short` statements that are executed again and again, and `texts` what stands in files of
SQL.
"""

from __future__ import annotations

from registry.database.answers import many_objects, whole_columns
from registry.database.attending import attended
from registry.database.expressions import JsonNumber, JsonText, NewUuid, joined
from registry.database.failures import (
    insert_new,
    kind_of,
    may_be_repeated,
    translated,
    violated,
    was_lost,
)
from registry.database.loading import load_batches
from registry.database.opening import (
    file_of,
    has_file,
    may_write,
    open_engine,
    parse_url,
    remembered,
    safe_url,
)
from registry.database.plans import plan_of, shown_sql
from registry.database.sending import rows_of, table_of
from registry.database.short import ShortStatement, inserted, writes_within
from registry.database.statements import (
    CHUNK,
    absent_from,
    canonical_json,
    check_by_index,
    delete_among,
    delete_rows,
    hold_rows,
    in_written_order,
    insert_missing,
    insert_rows,
    json_field,
    lock_rows,
)
from registry.database.statistics import analyze, analyze_grown, analyze_outgrown
from registry.database.texts import standard_strings, with_timestamps, with_types
from registry.database.transactions import Database, account, question, utc_now

__all__ = [
    "CHUNK",
    "Database",
    "JsonNumber",
    "JsonText",
    "NewUuid",
    "ShortStatement",
    "absent_from",
    "account",
    "analyze",
    "analyze_grown",
    "analyze_outgrown",
    "attended",
    "canonical_json",
    "check_by_index",
    "delete_among",
    "delete_rows",
    "file_of",
    "has_file",
    "hold_rows",
    "in_written_order",
    "insert_missing",
    "insert_new",
    "insert_rows",
    "inserted",
    "joined",
    "json_field",
    "kind_of",
    "load_batches",
    "lock_rows",
    "many_objects",
    "may_be_repeated",
    "may_write",
    "open_engine",
    "parse_url",
    "plan_of",
    "question",
    "remembered",
    "rows_of",
    "safe_url",
    "shown_sql",
    "standard_strings",
    "table_of",
    "translated",
    "utc_now",
    "violated",
    "was_lost",
    "whole_columns",
    "with_timestamps",
    "with_types",
    "writes_within",
]
