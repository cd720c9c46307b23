"""Crashes told by the kernel's log alone: the same place as GDB says of their cores."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab.kernellog import made, said
from tests.lab.native import SOURCES
from triage.cli.main import triage
from triage.config import Settings
from triage.corefile import open_core
from triage.demo.lab import Process, crash
from triage.klog.fpm import exits
from triage.klog.kernel import faults
from triage.model import Crash
from triage.pipeline import Pipeline

pytestmark = [pytest.mark.gdb]
CASES = (
    "null_read", "null_write", "null_field", "null_below", "null_strlen", "null_memcpy", "small_integer", "wild_read",
    "wild_write", "non_canonical_read", "write_constant", "guard_page", "call_null", "call_wild", "trap", "divide",
    "text_pointer", "poison_pointer", "recursion", "privileged",
)  # fmt: skip


def _batch(store: Path, *paths: str) -> tuple[int, dict[int, dict[str, Any]], str]:
    command = ["batch", "--json", "--store", str(store), "--debug-dir", str(store.parent), *paths]
    result = CliRunner().invoke(triage, command, catch_exceptions=False)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {record["crash"]["pid"]: record["crash"] for record in records}, result.stderr


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Crash, list[str], Path]]:
    """By case: what GDB and the core say, the kernel's lines, the core."""
    folder = tmp_path_factory.mktemp("kernel")
    program = folder / "faults"
    source = SOURCES / "faults.c"
    subprocess.run(["gcc", "-O1", "-g", "-w", "-o", str(program), str(source), "-pthread", "-lm"], check=True)
    found = {}
    with Pipeline(Settings()) as pipeline:
        for number, name in enumerate(CASES):
            run = folder / name
            run.mkdir()
            stack = 1 << 20 if name == "recursion" else None
            core = crash(Process(argv=(str(program), name), folder=run, env={}, stack=stack), folder / f"{name}.core")
            with open_core(core) as opened:
                pid = opened.notes.threads[0].id
            outcome = pipeline.triage(core)
            assert outcome.crash is not None
            time.sleep(0.2)  # the kernel says ten such lines in five seconds and drops the others
            found[name] = (outcome.crash, said(pid) or made(core, number), core)
    return found


def test_the_log_says_where_gdb_says(crashes: dict[str, tuple[Crash, list[str], Path]], tmp_path: Path) -> None:
    program = next(iter(crashes.values()))[2].parent
    log = tmp_path / "kern.log"
    log.write_text("".join(f"{line}\n" for _, lines, _ in crashes.values() for line in lines))
    store = program / "log.db"
    status, told, errors = _batch(store, str(log))
    assert status == 0, errors
    differing, named = [], 0
    for name, (whole, _, _) in crashes.items():
        assert whole.pid is not None
        assert whole.crashed_thread is not None
        gdb = next(frame for frame in whole.crashed_thread.frames if frame.kind == "native")
        mine = told[whole.pid]["threads"][0]["frames"][0]
        if (int(mine["address"], 16), mine["function"]) != (gdb.address, gdb.function) and not _same(mine, gdb):
            differing.append((name, mine, gdb))
        named += mine["function"] is not None
    assert differing == []
    assert len(told) == len(CASES) >= 15
    assert named >= 12  # the others jumped to no code, or died where the C library has no name


def _same(mine: dict[str, Any], gdb: Any) -> bool:
    """The same place, where one of the two has no name for it, or the C library has several."""
    return int(mine["address"], 16) == gdb.address and (
        mine["function"] is None or gdb.function is None or "libc" in (gdb.module or "") or gdb.inlined
    )


def test_a_replaced_program_is_not_taken_for_the_one_that_crashed(
    crashes: dict[str, tuple[Crash, list[str], Path]], tmp_path: Path
) -> None:
    whole, _, core = crashes["null_write"]
    log = tmp_path / "kern.log"
    head, code = made(core, 1)
    other = " ".join("<cc>" if word.startswith("<") else "90" for word in code.partition("Code: ")[2].split())
    log.write_text(f"{head}\nCode: {other}\n")
    _, told, _ = _batch(core.parent / "replaced.db", str(log))
    record = told[whole.pid or 0]
    assert record["threads"][0]["frames"][0]["function"] is None
    assert "no file faults on this machine has the code the kernel printed" in record["warnings"][1]


def test_a_core_that_comes_later_takes_the_records_place(
    crashes: dict[str, tuple[Crash, list[str], Path]], tmp_path: Path
) -> None:
    whole, _, core = crashes["wild_write"]
    store, log = core.parent / "twins.db", tmp_path / "kern.log"
    stamp = datetime.fromtimestamp(core.stat().st_mtime).astimezone()
    head, code = (line.partition("] ")[2] for line in made(core, 1))
    lines = [f"{stamp.isoformat(timespec='microseconds')} web7 kernel: [  12.3] {text}\n" for text in (head, code)]
    lines.append(f"[{stamp:%d-%b-%Y %H:%M:%S}] WARNING: [pool shop] child {whole.pid} exited on signal 11 "
                 "(SIGSEGV - core dumped) after 71.5 seconds from start\n")  # fmt: skip
    log.write_text("".join(lines))
    _, told, _ = _batch(store, str(log))
    first = told[whole.pid or 0]
    assert (first["host"], first["runtime"]["worker"]["pool"]) == ("web7", "shop")
    assert _listed(store) == [first["id"]]
    assert _batch(store, str(log))[1].keys() == told.keys()  # the same line is the same crash
    assert _batch(store, str(core))[0] == 0
    assert _listed(store) == [whole.id]
    assert _batch(store, str(log))[1] == {}
    assert _listed(store) == [whole.id]


def _listed(store: Path) -> list[str]:
    result = CliRunner().invoke(triage, ["list", "--json", "--store", str(store)], catch_exceptions=False)
    return [row["id"] for row in json.loads(result.stdout)]


def test_forms_of_lines() -> None:
    code = "Code: 48 8b <48> 8b 00"
    lines = [
        (None, None, "php-fpm: pool[42]: segfault at 8 ip 00005581 sp 00007ffd error 6 in php8.2[5580+29d000]"),
        (None, None, code),
        (
            None,
            None,
            "traps: php[7] general protection fault ip:7f01 sp:7ffc error:0 in libc.so.6[26d90,7f00+155000]",
        ),
        (None, None, "php[8]: segfault at 0 ip 0000000000000000 sp 00007ffc error 14"),
        (None, None, "Code: Unable to access opcode bytes at RIP 0xffffffffffffffd6."),
        (None, None, "php[9]: segfault at zz ip nothing"),
    ]
    found = list(faults(lines))
    assert [(one.name, one.pid, one.module, one.offset, one.size) for one in found] == [
        ("php-fpm: pool", 42, "php8.2", None, 0x29D000),
        ("php", 7, "libc.so", 0x26D90, 0x155000),
        ("php", 8, None, None, None),
    ]
    assert (found[0].code, found[0].code_at, found[0].error) == (bytes.fromhex("488b488b00"), 2, 6)


def test_workers_that_somebody_stopped_are_no_crashes() -> None:
    lines = [
        "[24-Nov-2026 06:00:01] WARNING: [pool w] child 10 exited on signal 15 (SIGTERM) after 1.5 seconds from x",
        "[24-Nov-2026 06:00:02] WARNING: [pool w] child 11 exited on signal 6 (SIGABRT) after 2.5 seconds from start",
        "[24-Nov-2026 06:00:02] NOTICE: [pool www] child 12 started",
    ]
    assert [(end.pid, end.name, end.pool, end.age, end.dumped) for end in exits(lines)] == [
        (11, "SIGABRT", "w", 2.5, False)
    ]


def test_a_log_of_php_fpm_alone_still_counts(tmp_path: Path) -> None:
    log = tmp_path / "php8.2-fpm.log"
    log.write_text(
        "".join(
            f"[24-Nov-2026 06:0{minute}:01] WARNING: [pool www] child {minute + 10} exited on signal 6 (SIGABRT) "
            "after 1.5 seconds from start\n"
            for minute in range(5)
        )
    )
    status, told, _ = _batch(tmp_path / "db", str(log))
    assert (status, len(told)) == (0, 5)
    assert len({crash["cluster"] for crash in told.values()}) == 1
