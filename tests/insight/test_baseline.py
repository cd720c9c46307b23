"""Snapshots of real php-fpm workers, read while they run."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.fpm import find_fpm
from tests.lab.worker import serving
from triage.insight import baseline

PROGRAM = find_fpm()

pytestmark = [
    pytest.mark.php,
    pytest.mark.skipif(PROGRAM is None or os.geteuid() != 0, reason="needs php-fpm and root"),
]


def children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


def test_a_worker_is_read_as_it_runs_and_goes_on(tmp_path: Path) -> None:
    assert PROGRAM is not None
    pool = "php_admin_value[memory_limit] = 99M\nphp_value[precision] = 11\n"
    with serving(PROGRAM, tmp_path, None, ("-d", "opcache.jit_buffer_size=16M"), pool) as workers:
        end = time.monotonic() + 20
        while not children(workers.server.pid) and time.monotonic() < end:
            time.sleep(0.05)
        before = children(workers.server.pid)
        taken = baseline.take()
        after = children(workers.server.pid)

    # Other servers may run on this machine, and end meanwhile.
    assert [failure for failure in taken.failures if f"of {workers.server.pid}:" in failure] == []
    (found,) = [one for one in taken.snapshots if one.options.get("memory_limit") == "99M"]
    assert before == after
    assert len(before) == 1
    assert (found.pool, found.sapi, found.workers, found.requests) == ("www", "fpm-fcgi", 1, (0,))
    assert found.options["precision"] == "11"
    assert found.options["opcache.jit_buffer_size"] == "16M"
    assert found.extensions["Zend OPcache"] == found.version
    assert len(found.libraries["opcache.so"]) == 40
    assert 0 <= found.ages[0] < 60


def test_without_workers_nothing_is_kept(tmp_path: Path) -> None:
    assert baseline.take(tmp_path) == baseline.Taken(())
