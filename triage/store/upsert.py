"""Insert-or-replace and insert-if-missing, which the two databases spell alike but SQLAlchemy does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], *, key: str) -> None:
    """Insert the row, or replace the one with the same `key`."""
    statement = _INSERTS[connection.dialect.name](table).values(dict(row))
    fresh = {name: statement.excluded[name] for name in row if name != key}
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=fresh))


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if rows:
        statement = _INSERTS[connection.dialect.name](table)
        connection.execute(statement.on_conflict_do_nothing(), [dict(row) for row in rows])
