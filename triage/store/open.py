"""From a URL to a store that is ready to use."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from triage.errors import UsageError
from triage.store import migrations
from triage.store.backend import Backend, Engines, explained
from triage.store.backfill import Say
from triage.store.postgres import PostgresBackend
from triage.store.sqlite import SqliteBackend
from triage.store.store import Store


def open_store(url: str, say: Say = lambda _text: None) -> Store:
    """Open the store at `url` (as `config.store_url` gives it), making it if it is not there.

    One of an older triage is brought up to date; `say` is told so, and how far that is.

    Raises:
        UsageError: for a wrong URL, or a file that is something else.
        EnvironmentLacks: a driver is missing, the store is damaged, unreachable, not
            writable or of a newer schema.
        Busy: another program keeps it locked.
    """
    backend = _backend(url)
    engines = backend.engines()
    with ExitStack() as on_failure, explained(backend):
        on_failure.callback(engines.reader.dispose)
        _update(backend, engines, say)
        backend.settle(engines)
        on_failure.pop_all()
    return Store(backend, engines)


def _update(backend: Backend, engines: Engines, say: Say) -> None:
    with engines.reader.connect() as connection:
        if migrations.is_current(connection):
            return  # the common case takes no write lock
    with engines.writer.begin() as connection:
        backend.serialize(connection)
        migrations.migrate(connection, say)


def _backend(url: str) -> Backend:
    if url.startswith("sqlite"):
        return _sqlite(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise UsageError("the store's URL cannot be read", help="Write postgresql://USER@HOST/DB") from error
    if parsed.get_backend_name() == "postgresql":
        return PostgresBackend(parsed)
    raise UsageError(
        f"no store speaks {parsed.drivername!r}", help="Use --store PATH, sqlite:///PATH or postgresql://…"
    )


def _sqlite(url: str) -> Backend:
    # Not make_url(): it would take a `?` in a file name for the start of options.
    _, _, path = url.partition(":///")
    if path in ("", ":memory:"):
        raise UsageError(f"{url!r} names no file", help="Use --store PATH or sqlite:///PATH")
    return SqliteBackend(Path(path))
