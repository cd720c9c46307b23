"""Several workers give what one gives: processes of this machine, and a Dask cluster with PostgreSQL."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.crashes.conftest import Maker
from tests.store import postgres_server
from triage import workers
from triage.cli.main import triage
from triage.config import Settings
from triage.gdb.locate import find_gdb
from triage.workers import Done, Job, groups, processes, triage_all, triage_one, worker_count

pytestmark = [pytest.mark.gdb, pytest.mark.php]
NAMES = ("kill-main", "callbacks", "generator", "abort", "magic")


def _batch(paths: list[Path], store: str, *options: str) -> list[dict[str, Any]]:
    arguments = ["batch", *map(str, paths), "--store", store, "--json", *options]
    result = CliRunner().invoke(triage, arguments, catch_exceptions=False)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    for line in lines:
        if line["crash"]:
            del line["crash"]["timing"], line["crash"]["cluster"]  # a cluster's name is made up in each store
    return lines


@pytest.fixture
def cores(made: Maker, tmp_path: Path) -> list[Path]:
    broken = tmp_path / "broken.core"
    broken.write_bytes(b"not a core")
    return [*(made(name).core for name in NAMES), broken]


def test_two_processes_give_what_one_gives(cores: list[Path], tmp_path: Path) -> None:
    one = _batch(cores, str(tmp_path / "one.db"), "--jobs", "1")
    assert [line["status"] for line in one] == ["ok"] * len(NAMES) + ["error"]
    assert _batch(cores, str(tmp_path / "two.db"), "--jobs", "2") == one


def test_a_store_in_postgresql_gives_what_a_file_gives(cores: list[Path], tmp_path: Path) -> None:
    lack = postgres_server.lacks()
    if lack is not None:
        pytest.skip(lack)
    one = _batch(cores, str(tmp_path / "one.db"), "--jobs", "1")
    with postgres_server.running() as folder:
        assert _batch(cores, f"postgresql://triage@/postgres?host={folder}", "--jobs", "2") == one


def test_a_killed_worker_takes_one_core_with_it(cores: list[Path]) -> None:
    job = Job(Settings(), find_gdb(), None)
    with processes(1) as executor, closing(triage_all(executor, job, cores, 1)) as results:
        found: list[Done] = next(results)
        for pid in executor._processes:  # type: ignore[attr-defined]
            os.kill(pid, signal.SIGKILL)
        found += chain.from_iterable(results)
    assert [done.outcome.status for done in found] == ["ok"] * len(NAMES) + ["error"]


def _dying(job: Job, path: Path) -> Done:
    """As `triage_one`, with a core that kills whoever reads it."""
    if path.name.startswith("generator"):
        os.kill(os.getpid(), signal.SIGKILL)
    return triage_one(job, path)


@contextmanager
def _forked(count: int) -> Iterator[Executor]:
    """As `processes`; they have what was put in place of something here."""
    with ProcessPoolExecutor(count, multiprocessing.get_context("fork")) as executor:
        yield executor


def test_a_core_that_kills_its_worker_takes_none_of_its_group_along(
    cores: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "triage_one", _dying)
    monkeypatch.setattr(workers, "processes", _forked)
    monkeypatch.setattr(workers, "groups", lambda paths, _workers: iter([paths[:4], paths[4:]]))
    job = Job(Settings(), find_gdb(), None)
    with _forked(1) as executor, closing(triage_all(executor, job, cores, 1)) as results:
        found = list(chain.from_iterable(results))
    codes = [done.outcome.failure.code if done.outcome.failure else None for done in found]
    assert codes == [None, None, "worker-died", None, None, "not-a-core"]
    assert [done.outcome.core for done in found] == list(map(str, cores))


def test_small_cores_travel_together_large_ones_alone(tmp_path: Path) -> None:
    def made(count: int, size: int) -> list[Path]:
        found = [tmp_path / f"{size}-{number}" for number in range(count)]
        for path in found:
            path.touch()
            os.truncate(path, size)
        return found

    small, large = made(200, 7 << 20), made(3, 10 << 30)
    together = [len(group) for group in groups([*small, *large, tmp_path / "gone"], 2)]
    assert together == [6] * 33 + [2, 1, 1, 1, 1]
    assert [len(group) for group in groups(small[:20], 2)] == [1] * 20
    assert list(groups([], 2)) == []


def test_as_many_processes_as_are_worth_it() -> None:
    assert worker_count(7, 1) == 7
    assert worker_count(None, 10) == 1
    assert 1 <= worker_count(None, 100_000) <= (os.cpu_count() or 1)


@contextmanager
def _started(*arguments: str, ready: str) -> Iterator[str]:
    """A program, and what followed `ready` on the line that told it had begun."""
    argv = [sys.executable, "-m", *arguments]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            line = next((line for line in process.stderr if ready in line), "")
            yield line.split(ready, 1)[-1].strip()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_dask_cluster_gives_what_this_machine_gives(cores: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    one = _batch(cores, str(tmp_path / "one.db"), "--jobs", "1")
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    with _started(*scheduler, ready="Scheduler at:") as address:
        assert re.match(r"tcp://127\.0\.0\.1:\d+$", address)
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory")
        with (
            _started(*worker, str(tmp_path / "a"), ready="Registered to:"),
            _started(*worker, str(tmp_path / "b"), ready="Registered to:"),
        ):
            assert _batch(cores, str(tmp_path / "dask.db"), "--dask", address) == one


def test_no_cluster_there_is_said(cores: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    arguments = ["batch", str(cores[0]), "--store", str(tmp_path / "x.db"), "--dask", "tcp://127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-m", "triage", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in done.stderr
