"""Everything that only SQLite has: its file, pragmas, ways to begin and error codes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from triage.clock import deadline
from triage.errors import Busy, EnvironmentLacks, TriageError
from triage.store import files
from triage.store.backend import Engines, damaged_or_bug, first_line
from triage.store.flock import exclusive

BUSY_SECONDS = 10.0
"""How long a writer waits for another before it gives up."""


class SqliteBackend:
    """A store in one file, with `-wal`, `-shm` and `.lock` beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # SQLite follows links too, and puts -wal beside the target

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def engines(self) -> Engines:
        """Make the file if missing, 0600, in a folder 0700; nothing is written to it yet."""
        files.prepare(self._path)
        engine = create_engine(URL.create("sqlite", database=str(self._path)), connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        return Engines(reader=engine, writer=engine.execution_options(begin="BEGIN IMMEDIATE"))

    def serialize(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE already keeps every other writer out."""

    def settle(self, engines: Engines) -> None:
        """Switch to WAL, so that readers and the writer do not wait for each other."""
        _use_wal(engines.reader.execution_options(begin=None))
        files.tighten(self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal", "-shm"))

    def lock(self, engines: Engines, what: str) -> AbstractContextManager[None]:
        """An flock on a file beside the database."""
        suffix = f".{what}.lock" if what else ".lock"
        return exclusive(self._path.with_name(self._path.name + suffix), store=self.name)

    def explain(self, error: DBAPIError) -> TriageError:
        """By SQLite's primary result code."""
        code = _code(error)
        make = _MEANINGS.get(code) if code is not None else None
        return make(self.name, first_line(error)) if make else damaged_or_bug(self.name, error)


def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # None: Python's own guess at when a transaction begins is off; _on_begin says it.
    connection.isolation_level = None
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # A commit survives the death of this process; a power cut may take the last few, whole,
        # and the next batch triages those cores again. Worth not waiting for the disk each time.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()  # the pool has not taken it over yet
        raise


def _on_begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _use_wal(engine: Engine) -> None:
    # The change needs the file for itself and does not always wait for it: hence our own waiting.
    left = deadline(BUSY_SECONDS)
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or not left():
                raise
        time.sleep(0.02)


def _code(error: DBAPIError) -> int | None:
    extended = getattr(error.orig, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _not_a_database(name: str, _words: str) -> TriageError:
    return files.not_a_database(name)


def _locked(name: str, _words: str) -> TriageError:
    return Busy(
        f"the store {name} is locked by another program",
        help=f"Waited {BUSY_SECONDS:.0f} s. `fuser {name}` names the program; try again once it is done.",
    )


def _corrupt(name: str, words: str) -> TriageError:
    return EnvironmentLacks(
        f"the store {name} is damaged: {words}",
        help=f"Save what can be read with `sqlite3 {name} .recover | sqlite3 new.db`, "
        "or move it aside and triage the cores again.",
    )


def _refused(name: str, words: str) -> TriageError:
    return EnvironmentLacks(
        f"cannot use the store {name}: {words}",
        help="The file and its folder must be writable for this user, on a disk with room left.",
    )


_MEANINGS: Mapping[int, Callable[[str, str], TriageError]] = {
    sqlite3.SQLITE_NOTADB: _not_a_database,
    sqlite3.SQLITE_BUSY: _locked,
    sqlite3.SQLITE_LOCKED: _locked,
    sqlite3.SQLITE_CORRUPT: _corrupt,
    sqlite3.SQLITE_READONLY: _refused,
    sqlite3.SQLITE_CANTOPEN: _refused,
    sqlite3.SQLITE_PERM: _refused,
    sqlite3.SQLITE_FULL: _refused,
    sqlite3.SQLITE_IOERR: _refused,
}
