"""php-fpm pools set up in every way that decides about a core, for the doctor to judge and the kernel to answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from triage.demo.lab import NoCrash
from triage.doctor import Process, read_process

_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One row of the table: the pool's user and settings, the limits it inherits, whether its folder is writable.

    `inherited` is given to prlimit (`soft:hard`). `wrap` is put before php-fpm: commands that change what it
    may do or sees, in which {folder} stands for the pool's folder.
    """

    name: str
    user: str = "www-data"
    rlimit_core: str | None = None
    dumpable: bool = False
    writable: bool = True
    inherited: str | None = None
    wrap: tuple[str, ...] = ()


@contextmanager
def running(program: str, setup: Setup, folder: Path) -> Iterator[tuple[Process, Path]]:
    """The pool's idle worker and php-fpm's log.

    Raises:
        NoCrash: when php-fpm does not start.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    for path in (folder, *folder.parents):  # the worker has to reach its folder
        if path.stat().st_uid == 0 and path != Path("/") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    if setup.writable:
        shutil.chown(home, setup.user)
    lines = [
        "[global]", f"error_log = {folder}/log", "daemonize = no", "[row]", f"user = {setup.user}",
        f"listen = {folder}/socket", "pm = static", "pm.max_children = 1", f"chdir = {home}",
        f"process.dumpable = {'yes' if setup.dumpable else 'no'}",
        *([f"rlimit_core = {setup.rlimit_core}"] if setup.rlimit_core else []),
    ]  # fmt: skip
    (folder / "fpm.conf").write_text("\n".join(lines) + "\n")
    limits = ["prlimit", f"--core={setup.inherited}"] if setup.inherited else []
    wrap = [part.format(folder=folder) for part in setup.wrap]
    as_root = ["-R"] if setup.user == "root" else []
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [*limits, *wrap, program, "-F", *as_root, "-y", str(folder / "fpm.conf")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    master = server.pid
    try:
        worker = _worker(server, folder / "log")
        master = worker.parent  # not `server`, where a shell stands between
        yield worker, folder / "log"
    finally:
        for pid in {master, server.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the workers see their master gone and end
        server.wait()


def _worker(server: subprocess.Popen[bytes], log: Path) -> Process:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                process = read_process(int(entry.name))
                if process is not None and process.role == "worker" and _descends(process.pid, server.pid):
                    return process
        time.sleep(0.05)
    raise NoCrash("php-fpm did not start: " + log.read_text()[-500:])


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        found = re.search(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        pid = int(found[1]) if found else 0
    return False


def what_the_kernel_did(worker: Process, log: Path) -> bool:
    """Kill the worker with SIGSEGV; whether the kernel dumped it, by the status php-fpm got (WCOREDUMP)."""
    os.kill(worker.pid, signal.SIGSEGV)
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        found = re.search(rf"child {worker.pid} exited on signal 11 \(SIGSEGV( - core dumped)?\)", log.read_text())
        if found:
            return found[1] is not None
        time.sleep(0.02)
    raise NoCrash("the worker did not die: " + log.read_text()[-500:])
