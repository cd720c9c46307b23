"""Where the store puts its files, and who may read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from triage.errors import EnvironmentLacks, UsageError
from triage.store import open_store

from .samples import STAMP, crash, triaged


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.mark.usefixtures("_umask")
def test_only_the_owner_reads_what_the_store_makes(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/share/triage/triage.db") as store, store.lock():
        store.save(triaged(crash()), STAMP)
        while_open = modes(tmp_path / "share" / "triage")

    assert while_open == {
        "triage.db": "0o600",
        "triage.db-wal": "0o600",
        "triage.db-shm": "0o600",
        "triage.db.lock": "0o600",
    }
    assert modes(tmp_path) == {"share": "0o700"}
    assert modes(tmp_path / "share") == {"triage": "0o700"}


def test_a_store_restored_with_a_lax_mode_is_tightened_and_a_folder_that_was_there_is_not(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    database = tmp_path / "triage.db"
    open_store(f"sqlite:///{database}").close()
    database.chmod(0o664)

    with open_store(f"sqlite:///{database}") as store:
        store.save(triaged(crash()), STAMP)
        found = modes(tmp_path)

    assert found == {"triage.db": "0o600", "triage.db-wal": "0o600", "triage.db-shm": "0o600"}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["what?mode=ro&x#y %41.db", "ünï.db", os.fsdecode(b"bad\xff.db")])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    with open_store(f"sqlite:///{tmp_path / name}") as store:
        store.save(triaged(crash()), STAMP)

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "triage.db").touch()

    with open_store(f"sqlite:///{tmp_path / 'triage.db'}") as store:
        assert store.clusters() == []


def test_a_link_to_a_store_locks_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "triage.db")

    with open_store(f"sqlite:///{tmp_path / 'link.db'}") as store, store.lock():
        store.save(triaged(crash()), STAMP)
        assert sorted(modes(tmp_path / "real")) == [
            "triage.db",
            "triage.db-shm",
            "triage.db-wal",
            "triage.db.lock",
        ]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match="is not a file"):
            open_store(f"sqlite:///{path}")


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EnvironmentLacks) as caught:
        open_store(f"sqlite:///{tmp_path}/file/triage.db")
    assert caught.value.message == f"cannot create the store {tmp_path}/file/triage.db: Not a directory"
    assert caught.value.help == "Choose a writable place with --store PATH or TRIAGE_STORE."


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x/y", "postgresql://h:port/db", "nonsense"],
)
def test_a_url_that_names_no_store_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url)


def test_an_unknown_postgresql_driver_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot use postgresql"):
        open_store("postgresql+nonsense://user:secret@host/db")


def test_a_missing_driver_is_named_with_its_remedy() -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        open_store("postgresql+pg8000://user:secret@host/db")
    assert caught.value.message == "no PostgreSQL driver is installed (pg8000)"
    assert caught.value.help == "Install one beside triage: pip install 'psycopg[binary]'"


def test_an_unreachable_server_is_told_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(EnvironmentLacks) as caught:
        open_store(f"postgresql://user:secret@/db?host={tmp_path}")
    assert caught.value.message.startswith("cannot reach the store postgresql+psycopg://user:***@/db: ")
    assert "secret" not in caught.value.message
