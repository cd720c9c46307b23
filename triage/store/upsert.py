"""Insert-or-replace and insert-if-missing, which the two databases spell alike but SQLAlchemy does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Executable, Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def inserting(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that knows `on_conflict`; only the database that is there is loaded, as the other takes its time."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], *, key: str) -> None:
    """Insert the row, or replace the one with the same `key`."""
    connection.execute(_replacing(connection.dialect.name, table, tuple(row), key), dict(row))


def upsert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
    """The same for many rows of the same columns, in their order."""
    if rows:
        connection.execute(_replacing(connection.dialect.name, table, tuple(rows[0]), key), list(map(dict, rows)))


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose primary key is not there yet; returns how many, where it was one row that was given."""
    if not rows:
        return 0
    given = [dict(row) for row in rows]
    return connection.execute(
        _adding(connection.dialect.name, table), given[0] if len(given) == 1 else given
    ).rowcount


# Making a statement takes as long as carrying it out: there are few, and each is made once.
@cache
def _replacing(dialect: str, table: Table, columns: tuple[str, ...], key: str) -> Executable:
    statement = inserting(dialect, table)
    fresh = {name: statement.excluded[name] for name in columns if name != key}
    return statement.on_conflict_do_update(index_elements=[key], set_=fresh)


@cache
def _adding(dialect: str, table: Table) -> Executable:
    return inserting(dialect, table).on_conflict_do_nothing()
