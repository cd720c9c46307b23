"""Makes a process crash and finds the core it left.

The kernel writes cores where core_pattern says: into the process's folder, into some other
folder, or into another program (systemd-coredump, apport). In that last case, or when none
appears, the process is run once more under GDB, which writes the core itself.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.corefile import open_core
from triage.errors import InputError, TriageError
from triage.gdb.locate import Gdb

_SECONDS = 60
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


class NoCrash(TriageError):
    """The program did not crash, or left no core. The message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What to run. `folder` is its working folder, empty and its own; `env` is added to ours."""

    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str]
    stack: int | None = None
    """A limit for its stack in bytes, so that endless recursion ends soon."""


def crash(process: Process, target: Path, gdb: Gdb | None = None) -> Path:
    """Run the process until it dies and put its core at `target`.

    `gdb` allows the second way, for machines whose kernel hands cores to another program.

    Raises:
        NoCrash: when it ended by itself, or no core could be had.
    """
    begun = time.time()
    pid, status, said = _run(process, process.argv)
    if status >= 0:
        raise NoCrash(f"it ended by itself with status {status}: {said[-300:].strip()}")
    core = find_core(process.folder, pid, begun)
    if core is not None:
        shutil.move(core, target)
        return target
    if gdb is None:
        raise NoCrash(f"it died of signal {-status}, but no core was found (core_pattern is {core_pattern()!r})")
    return _under_gdb(process, target, gdb)


def core_pattern() -> str:
    """The kernel's core_pattern, empty where it cannot be read."""
    try:
        return _CORE_PATTERN.read_text().strip()
    except OSError:
        return ""


def find_core(folder: Path, pid: int, since: float) -> Path | None:
    """The core of process `pid`: beside it, or in the folder that core_pattern names."""
    pattern = core_pattern()
    places = [folder]
    if pattern.startswith("/"):
        places.append(Path(pattern).parent)
    for place in places:
        for path in sorted(place.glob("*")) if place.is_dir() else ():
            if _is_core_of(path, pid, since):
                return path
    return None


def _is_core_of(path: Path, pid: int, since: float) -> bool:
    try:
        status = path.lstat()
        if status.st_mtime < since - 5 or not path.is_file():
            return False
        with open_core(path) as core:
            process = core.notes.process
            return process is not None and process.pid == pid
    except (OSError, InputError):
        return False  # some other file


def _run(process: Process, argv: Sequence[str]) -> tuple[int, int, str]:
    """`(pid, status, output)`; the status is negative for a signal."""
    child = subprocess.Popen(
        argv,
        cwd=process.folder,
        env={**os.environ, **process.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: _limits(process.stack),
    )
    try:
        output, _ = child.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise NoCrash(f"it was still running after {_SECONDS} s") from error
    return child.pid, child.returncode, output.decode("utf-8", "backslashreplace")


def _limits(stack: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if stack is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))


def _under_gdb(process: Process, target: Path, gdb: Gdb) -> Path:
    """Let GDB run the process and write its core."""
    argv = [*gdb.argv, "-nx", "-nh", "-q", "-batch", "-iex", "set auto-load off"]
    for command in (
        "set debuginfod enabled off",
        "set disable-randomization off",
        *(f"unset environment {name}" for name in gdb.env),  # meant for GDB's own Python, not for the process
        *(
            (f'set exec-wrapper sh -c \'ulimit -s {process.stack // 1024}; exec "$0" "$@"\'',)
            if process.stack
            else ()
        ),
        "run",
        f"generate-core-file {target}",
    ):
        argv += ["-ex", command]
    # GDB itself keeps its whole stack, and starts the process through a shell it knows how to quote for.
    around = Process(argv=(), folder=process.folder, env={**process.env, **gdb.env, "SHELL": "/bin/sh"})
    _, _, said = _run(around, [*argv, "--args", *process.argv])
    if not target.exists():
        raise NoCrash(f"no core was left, and GDB wrote none either: {said[-300:].strip()}")
    target.chmod(0o600)
    return target
