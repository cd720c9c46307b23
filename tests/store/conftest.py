from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from triage.store import Store, open_store

from . import postgres_server

_names = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The socket folder of a running PostgreSQL."""
    lack = postgres_server.lacks()
    if lack is not None:
        pytest.skip(lack)
    with postgres_server.running() as folder:
        yield folder


@pytest.fixture
def postgres_url(postgres: Path) -> str:
    """The URL of a new, empty PostgreSQL database."""
    name = f"store{next(_names)}"
    engine = create_engine(f"postgresql+psycopg://triage@/postgres?host={postgres}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"postgresql://triage@/{name}?host={postgres}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'triage.db'}"


# Where no server can be started, the tests that ask for one by name are skipped and say why.
_KINDS = ["sqlite"] if postgres_server.lacks() else ["sqlite", "postgresql"]


@pytest.fixture(params=_KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a store that does not exist yet, on each kind of database in turn."""
    chosen: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return chosen


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    with open_store(url) as opened:
        yield opened
