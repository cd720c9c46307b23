"""Stores that are locked, damaged, of another schema, or not stores at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from triage.errors import Busy, EnvironmentLacks, TriageError, UsageError
from triage.store import migrations, open_store, postgres, sqlite

from .samples import STAMP, crash, triaged


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A store with some crashes, closed."""
    path = tmp_path / "triage.db"
    with open_store(f"sqlite:///{path}") as store:
        for number in range(50):
            store.save(triaged(crash(f"aa{number:02}", key=f"v1:{number % 5}")), STAMP)
    return path


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)


@pytest.mark.parametrize("content", [b"not a database\n" * 500, b"x", bytes(range(256)) * 64])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    path.chmod(0o644)

    with pytest.raises(UsageError) as caught:
        open_store(f"sqlite:///{path}")
    assert caught.value.message == f"{path} is not a triage store: it is no SQLite database"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()

    with pytest.raises(UsageError, match=r"is not a triage store \(it holds bookmarks\)"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scribbled_over(content: bytes) -> bytes:
    return content[:4096] + b"\xa5" * (len(content) - 4096)


def schema_lost(content: bytes) -> bytes:
    return content[:100] + b"\xa5" * 3996 + content[4096:]


def read_all(database: Path) -> None:
    with open_store(f"sqlite:///{database}") as store:
        store.crash_rows()
        store.clusters()


@pytest.mark.parametrize("harm", [cut_short, scribbled_over, schema_lost])
def test_damage_is_told_with_a_remedy(database: Path, harm: Callable[[bytes], bytes]) -> None:
    database.write_bytes(harm(database.read_bytes()))

    with pytest.raises(EnvironmentLacks) as caught:
        read_all(database)
    assert caught.value.message == f"the store {database} is damaged: database disk image is malformed"
    assert caught.value.help is not None
    assert ".recover" in caught.value.help


def test_a_table_that_is_gone_is_an_error_for_people(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("DROP TABLE triage_inputs")

    with open_store(f"sqlite:///{database}") as store, pytest.raises(TriageError) as caught:
        store.failures()
    assert caught.value.message == f"the store {database} failed: no such table: triage_inputs"


def set_schema(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute(statement)
        other.commit()


def test_a_newer_schema_is_not_touched(database: Path) -> None:
    set_schema(database, "UPDATE triage_meta SET value = 99 WHERE key = 'schema'")

    with pytest.raises(EnvironmentLacks) as caught:
        open_store(f"sqlite:///{database}")
    assert (
        caught.value.message == f"a newer triage wrote this store (schema 99; this triage knows {migrations.VERSION})"
    )
    assert caught.value.help == "Upgrade triage, or choose another store with --store."


def test_a_lost_schema_number_is_damage(database: Path) -> None:
    set_schema(database, "DELETE FROM triage_meta")

    with pytest.raises(EnvironmentLacks, match="lost its schema version"):
        open_store(f"sqlite:///{database}")


def add_colour(connection: Connection, say: object) -> None:
    connection.execute(text("ALTER TABLE triage_clusters ADD COLUMN colour TEXT"))


def fail(_connection: Connection, say: object) -> None:
    raise RuntimeError("no")


@pytest.fixture
def older(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store to which this program has two steps to add."""
    now = migrations.VERSION
    monkeypatch.setattr(migrations, "VERSION", now + 2)
    monkeypatch.setattr(migrations, "STEPS", {now + 1: add_colour, now + 2: lambda connection, say: None})
    return database


def columns(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as other:
        return [row[1] for row in other.execute("PRAGMA table_info(triage_clusters)")]


def test_an_older_schema_is_brought_forward_once(older: Path) -> None:
    for _ in range(2):
        with open_store(f"sqlite:///{older}") as store:
            assert sum(cluster.count for cluster in store.clusters()) == 50
            with store._engines.reader.connect() as connection:
                assert migrations.is_current(connection)
    assert columns(older)[-1] == "colour"


def test_a_step_that_fails_leaves_the_older_schema(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = migrations.VERSION - 2
    monkeypatch.setattr(migrations, "STEPS", {now + 1: add_colour, now + 2: fail})
    with pytest.raises(RuntimeError):
        open_store(f"sqlite:///{older}")

    assert "colour" not in columns(older)


@pytest.mark.usefixtures("_impatient")
def test_a_writer_that_waits_too_long_says_so_and_readers_go_on(database: Path) -> None:
    with open_store(f"sqlite:///{database}") as store, closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy) as caught:
            store.save(triaged(crash()), STAMP)
        assert len(store.clusters()) == 5
        other.rollback()
        store.save(triaged(crash()), STAMP)

    assert caught.value.message == f"the store {database} is locked by another program"


def test_a_writer_at_postgresql_waits_no_longer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    with open_store(postgres_url) as store, store._engines.writer.connect() as other:
        other.execute(text("LOCK TABLE triage_meta IN SHARE MODE"))
        with pytest.raises(Busy, match="is locked by another program"):
            store.save(triaged(crash()), STAMP)
        other.rollback()
        store.save(triaged(crash()), STAMP)


@pytest.mark.usefixtures("_impatient")
def test_a_store_that_is_locked_whole_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "triage.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy, match="is locked by another program"):
            open_store(f"sqlite:///{path}")


def test_a_write_where_none_is_allowed_is_told(database: Path) -> None:
    with open_store(f"sqlite:///{database}") as store:
        with store._engines.reader.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(EnvironmentLacks, match=r"cannot use the store .*readonly"):
            store.save(triaged(crash()), STAMP)
