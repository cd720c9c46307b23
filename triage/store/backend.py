"""What the store asks of a database beyond portable SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from triage.errors import TriageError


@dataclass(frozen=True, slots=True)
class Engines:
    """Two views of one connection pool.

    A transaction of `reader` sees one state of the store throughout; one of `writer` keeps
    other writers out from its first statement on.
    """

    reader: Engine
    writer: Engine


class Backend(Protocol):
    """One kind of database."""

    @property
    def name(self) -> str:
        """How messages call this store: a path, or a URL without its password."""
        ...

    def engines(self) -> Engines:
        """Make the engines. Raises EnvironmentLacks or UsageError when that cannot be."""
        ...

    def serialize(self, connection: Connection) -> None:
        """Within a `writer` transaction: keep out others who would change the schema."""
        ...

    def settle(self, engines: Engines) -> None:
        """Called once the database is known to be a triage store."""
        ...

    def lock(self, engines: Engines, what: str) -> AbstractContextManager[None]:
        """The lock of that name; the batch lock has none. Raises Busy when another process holds it."""
        ...

    def explain(self, error: DBAPIError) -> TriageError:
        """What a database error means for the user."""
        ...


@contextmanager
def explained(backend: Backend) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except DBAPIError as error:
        raise backend.explain(error) from error


def damaged_or_bug(name: str, error: DBAPIError) -> TriageError:
    """For database errors that nothing better is known of."""
    return TriageError(
        f"the store {name} failed: {first_line(error)}",
        help="If it says so again, move the store aside and triage the cores again.",
    )


def first_line(error: DBAPIError) -> str:
    """The driver's own words, without SQLAlchemy's statement and parameters."""
    return str(error.orig).strip().partition("\n")[0]
