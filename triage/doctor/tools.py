"""What this machine needs to read cores: a GDB, and names for the programs that crash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from triage.doctor.check import Check, Grade
from triage.doctor.processes import Process
from triage.errors import EnvironmentLacks, InputError
from triage.gdb.locate import find_gdb
from triage.gdb.sandbox import Level, isolation
from triage.symbols import ElfFile
from triage.symbols.finder import DEBUG_FOLDER


def tools(processes: Sequence[Process], gdb: str | None) -> tuple[Check, ...]:
    """GDB, what confines it, then each program once."""
    return (_gdb(gdb), _sandbox(), *_programs(processes))


def _gdb(chosen: str | None) -> Check:
    try:
        found = find_gdb(chosen)
    except EnvironmentLacks as error:
        return Check(name="gdb", grade=Grade.FAIL, says=error.message, fix=(error.help or "apt install gdb",))
    return Check(name="gdb", grade=Grade.PASS, says=found.version_text)


def _sandbox() -> Check:
    """How far GDB can be confined: cores and what lies around them may have been made to attack it."""
    try:
        held = isolation(None)
    except EnvironmentLacks as error:
        return Check(name="sandbox", grade=Grade.FAIL, says=error.message, fix=(error.help or "",))
    if held.level is Level.BUBBLEWRAP and held.filtered:
        return Check(name="sandbox", grade=Grade.PASS, says=f"GDB is confined by {held}")
    weaker = "it can read what this user can read" if held.level is Level.LIMITS else "it sees other processes"
    return Check(
        name="sandbox",
        grade=Grade.WARN,
        says=f"GDB is confined by {held} only: {weaker}",
        fix=("apt install bubblewrap   # in a container it may not be able to make namespaces",),
    )


def _programs(processes: Sequence[Process]) -> Iterator[Check]:
    seen = set()
    for process in processes:
        if process.executable in seen:
            continue
        seen.add(process.executable)
        yield _names(process)


def _package(program: str) -> str:
    """Debian's name of the package a PHP program is in."""
    fpm, cli = re.fullmatch(r"php-fpm(\d.*)", program), re.fullmatch(r"php(\d.*)", program)
    return f"php{fpm[1]}-fpm" if fpm else f"php{cli[1]}-cli" if cli else program


def _names(process: Process) -> Check:
    name = process.executable.rsplit("/", 1)[-1]
    try:
        file = ElfFile(Path(f"/proc/{process.pid}/exe"))
    except InputError as error:
        return Check(name="names", grade=Grade.WARN, says=f"{process.executable}: {error.message}")
    build = file.build_id or ""
    separate = DEBUG_FOLDER / ".build-id" / build[:2] / f"{build[2:]}.debug"
    if file.has_debug_info or (build and separate.exists()):
        return Check(name="names", grade=Grade.PASS, says=f"{name} has its debug symbols")
    return Check(
        name="names",
        grade=Grade.WARN,
        says=f"{name} (build-id {build or 'none'}) has no debug symbols here: PHP stacks come out whole all the "
        "same, C frames without lines and some without names",
        fix=(f"apt install {_package(name)}-dbgsym   # from the archive debian-debug; optional",),
    )
