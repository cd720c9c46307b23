"""What opcache's shared memory tells, and what the reader is told when the kernel left it out of the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crashes.conftest import Maker, show
from tests.lab.php import FIXTURES, Case, Made
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.php, pytest.mark.gdb]


def test_counters_and_settings(made: Maker) -> None:
    runtime = show(made("opcache"))["runtime"]
    state = runtime["opcache"]
    assert (state["scripts"], state["most_scripts"], state["shared"], state["dumped"]) == (2, 16229, 16 << 20, True)
    assert (state["hits"], state["misses"]) == (0, 2)
    restarts = [state[f"{why}_restarts"] for why in ("memory", "hash", "manual")]
    assert (restarts, state["restart_pending"], state["restart_in_progress"]) == ([0, 0, 0], False, False)
    assert runtime["options"]["opcache.memory_consumption"] == "16"


def test_a_restart_that_waits_for_the_next_request(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    options = ("opcache.enable_cli=1", "opcache.memory_consumption=16", "opcache.file_update_protection=0")
    code = "opcache_reset(); posix_kill(posix_getpid(), 11);"
    argv = ("php", *(part for option in options for part in ("-d", option)), "-r", code)
    core = crash(Process(argv=argv, folder=run, env={}), tmp_path / "reset.core")
    state = show(Made(Case(name="reset", script=""), core, ()))["runtime"]["opcache"]
    assert (state["manual_restarts"], state["restart_pending"], state["restart_in_progress"]) == (0, True, False)


def test_shared_memory_that_the_kernel_left_out_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    options = "-d opcache.enable_cli=1 -d opcache.memory_consumption=16 -d opcache.file_update_protection=0"
    shell = f"echo 0x31 > /proc/self/coredump_filter; exec php {options} {FIXTURES}/callbacks.php"
    process = Process(argv=("sh", "-c", shell), folder=run, env={"TRIAGE_ORACLE": str(run / "oracle.json")})
    core = crash(process, tmp_path / "filtered.core")
    crash_json = show(Made(Case(name="filtered", script=""), core, ()))
    assert crash_json["status"] == "partial"
    assert crash_json["runtime"]["opcache"]["dumped"] is False
    (warning,) = [text for text in crash_json["warnings"] if "coredump_filter" in text]
    assert warning.startswith("opcache's shared memory is not in the core")
