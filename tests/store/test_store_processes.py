"""Several processes at one store, some of which die."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from triage.errors import Busy
from triage.store import open_store

from . import workers
from .samples import STAMP, crash, triaged

_SPAWN = get_context("spawn")


@contextmanager
def started(target: Callable[..., None], *arguments: object) -> Iterator[SpawnProcess]:
    """A process that is gone, killed if need be, when the block ends."""
    process = _SPAWN.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_for(path: Path, process: SpawnProcess) -> str:
    """The content of `path` once there is some."""
    for _ in range(3000):
        if path.exists() and (content := path.read_text()):
            return content
        assert process.is_alive(), "the process ended before it told anything"
        time.sleep(0.01)
    raise AssertionError(f"nothing in {path} after 30 s")


def test_writers_at_once_lose_nothing(url: str) -> None:
    names, each = ["a", "b", "c"], 60
    with (
        started(workers.save_some, url, "a", each) as a,
        started(workers.save_some, url, "b", each) as b,
        started(workers.save_some, url, "c", each) as c,
    ):
        for process in (a, b, c):
            process.join()
        assert [a.exitcode, b.exitcode, c.exitcode] == [0, 0, 0]

    with open_store(url) as store:
        found = {cluster.signature: sorted(cluster.crashes) for cluster in store.clusters()}
        assert store.revision() == each * len(names)
    own = {f"v1:{name}": [f"{name}-{i:04}" for i in range(0, each, 2)] for name in names}
    shared = {
        f"v1:shared-{rest}": [f"{name}-{i:04}" for name in names for i in range(1, each, 2) if i % 3 == rest]
        for rest in range(3)
    }
    assert found == own | shared


def stored_ids(database: Path) -> set[str]:
    """The ids of all crashes, after checking that the store is whole and agrees with itself."""
    with open_store(f"sqlite:///{database}") as store:
        ids = {row.id for row in store.crash_rows(limit=1_000_000)}
        in_clusters = [id_ for cluster in store.clusters() for id_ in cluster.crashes]
        assert all(cluster.count == len(cluster.crashes) for cluster in store.clusters())
        assert sorted(in_clusters) == sorted(ids)
        assert store.revision() == len(ids)
    with closing(sqlite3.connect(database)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
        assert plain.execute("SELECT count(*) FROM triage_inputs").fetchone() == (len(ids),)
    return ids


def test_kill_9_loses_nothing_committed_and_leaves_nothing_half(tmp_path: Path) -> None:
    database = tmp_path / "triage.db"
    dice = random.Random(9)
    told: set[str] = set()
    for turn in range(5):
        names = [f"{turn}{letter}" for letter in "ab"]
        files = [tmp_path / name for name in names]
        with (
            started(workers.save_for_ever, f"sqlite:///{database}", names[0], files[0]) as first,
            started(workers.save_for_ever, f"sqlite:///{database}", names[1], files[1]) as second,
        ):
            for process, file in ((first, files[0]), (second, files[1])):
                wait_for(file, process)
            for process in (first, second):
                time.sleep(dice.random() / 20)
                process.kill()
        for file in files:
            told |= set(file.read_text().splitlines())

        stored = stored_ids(database)
        assert told <= stored
        assert len(stored - told) <= 2 * (turn + 1)  # committed, and killed before it was told


def test_opening_a_new_store_together_makes_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'triage.db'}"
    with (
        started(workers.save_some, url, "a", 1) as a,
        started(workers.save_some, url, "b", 1) as b,
        started(workers.save_some, url, "c", 1) as c,
    ):
        for process in (a, b, c):
            process.join()
        assert [a.exitcode, b.exitcode, c.exitcode] == [0, 0, 0]

    assert stored_ids(tmp_path / "new" / "triage.db") == {"a-0000", "b-0000", "c-0000"}


def test_the_lock_names_its_holder_and_is_free_once_that_is_killed(url: str, tmp_path: Path) -> None:
    with open_store(url) as store:
        with started(workers.hold_lock, url, tmp_path / "told") as holder:
            wait_for(tmp_path / "told", holder)
            with (
                pytest.raises(Busy, match=rf"\(.*pid {holder.pid}\b.*\) holds the lock") as caught,
                store.lock(),
            ):
                pass
            holder.kill()
            holder.join()
        assert caught.value.exit_status == 75
        assert acquired_within_seconds(store.lock)


def acquired_within_seconds(lock: Callable[[], object]) -> bool:
    # A server takes a moment to notice that its client died.
    for _ in range(500):
        try:
            with lock():  # type: ignore[attr-defined]
                return True
        except Busy:
            time.sleep(0.01)
    return False


def test_a_forked_child_does_not_keep_the_lock(sqlite_url: str, tmp_path: Path) -> None:
    with started(workers.hold_lock_and_fork, sqlite_url, tmp_path / "told") as holder:
        child = int(wait_for(tmp_path / "told", holder))
        holder.kill()
        holder.join()
    try:
        with open_store(sqlite_url) as store, store.lock():
            os.kill(child, 0)  # still there
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_lock_holds_within_one_process_too_and_can_be_taken_again(url: str) -> None:
    with open_store(url) as one, open_store(url) as two:
        with one.lock():
            with pytest.raises(Busy, match=f"pid {os.getpid()}"), two.lock():
                pass
            one.save(triaged(crash()), STAMP)
        with two.lock():
            assert len(two.clusters()) == 1


def test_the_lock_is_freed_by_an_exception(url: str) -> None:
    with open_store(url) as store:
        with pytest.raises(KeyError), store.lock():
            raise KeyError
        with store.lock():
            pass
