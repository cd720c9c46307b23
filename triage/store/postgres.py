"""Everything that only PostgreSQL has: the driver, advisory locks and error codes."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import URL, Connection, create_engine, event, func, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from triage.errors import Busy, EnvironmentLacks, TriageError, UsageError
from triage.store.backend import Engines, damaged_or_bug, first_line
from triage.store.flock import held_by

LOCK_SECONDS = 10
"""How long a writer waits for another before it gives up."""

# Any two numbers will do, so long as no later triage changes them.
_BATCH_KEY = 7216001
_SCHEMA_KEY = 7216002

_LOCK_NOT_AVAILABLE = "55P03"

_HOLDER = text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND classid = 0 AND objid = :key AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class PostgresBackend:
    """A store in a PostgreSQL database, which it may share with other programs."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url

    @property
    def name(self) -> str:
        """The URL without password and options."""
        return self._url.set(query={}).render_as_string()

    def engines(self) -> Engines:
        """Load the driver; nothing is connected yet."""
        who = f"triage pid {os.getpid()} on {socket.gethostname()}"
        try:
            engine = create_engine(self._url, pool_pre_ping=True, connect_args={"application_name": who})
        except ImportError as error:
            raise EnvironmentLacks(
                f"no PostgreSQL driver is installed ({error.name})",
                help="Install one beside triage: pip install 'psycopg[binary]'",
            ) from error
        except ArgumentError as error:
            raise UsageError(f"cannot use {self.name}: {error}", help="Write postgresql://…") from error
        event.listen(engine, "connect", _on_connect)
        return Engines(reader=engine.execution_options(isolation_level="REPEATABLE READ"), writer=engine)

    def serialize(self, connection: Connection) -> None:
        """Until the transaction ends, others who come here wait."""
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_KEY)))

    def settle(self, engines: Engines) -> None:
        """Nothing to do."""

    def lock(self, engines: Engines, what: str) -> AbstractContextManager[None]:
        """An advisory lock on a connection of its own; the server frees it when we are gone."""
        return _advisory(engines, self.name, _BATCH_KEY + zlib.crc32(what.encode()) % 1_000_000)

    def explain(self, error: DBAPIError) -> TriageError:
        """By SQLSTATE; an error without one is about the connection."""
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        if state == _LOCK_NOT_AVAILABLE:
            return Busy(
                f"the store {self.name} is locked by another program",
                help=f"Waited {LOCK_SECONDS} s. Try again once it is done.",
            )
        if state is None:
            return EnvironmentLacks(
                f"cannot reach the store {self.name}: {first_line(error)}",
                help="Is the server up, and are user, password and database in --store right?",
            )
        return damaged_or_bug(self.name, error)


def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    cursor.close()
    connection.commit()


@contextmanager
def _advisory(engines: Engines, name: str, key: int) -> Iterator[None]:
    with engines.writer.connect() as connection:
        held = connection.scalar(select(func.pg_try_advisory_lock(key)))
        holder = None if held else connection.scalar(_HOLDER, {"key": key})
        connection.commit()  # the lock is the session's; an open transaction would hinder vacuum
        if not held:
            raise held_by(holder, name)
        try:
            yield
        finally:
            connection.execute(select(func.pg_advisory_unlock(key)))
            connection.commit()
