"""A crashed program in a folder where everything wants to be run or opened."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.native import SOURCES
from triage.demo.lab import Process, crash

SECRET = "the-secret-of-another-file"


@dataclass(frozen=True, slots=True)
class Trap:
    """The program and its core; `marks` is where a trap that was sprung leaves a file, `home` a user's folder."""

    folder: Path
    program: Path
    core: Path
    marks: Path
    home: Path
    elsewhere: Path

    def sprung(self) -> list[str]:
        """Names of the traps that went off."""
        return sorted(path.name for path in self.marks.iterdir())

    def reset(self) -> None:
        """Take the marks away."""
        for path in self.marks.iterdir():
            path.unlink()


def lay(folder: Path, *flags: str) -> Trap:
    """Compile the program with traps, let it crash, and lay scripts beside it, in the folder and at home."""
    marks, home, elsewhere = folder / "marks", folder / "home", folder / "elsewhere"
    for place in (marks, home, home / ".config" / "gdb", elsewhere):
        place.mkdir(parents=True)
    secret = elsewhere / "secret"
    secret.write_text(f"{SECRET} 1\n{SECRET} 2\n{SECRET} 3\n")
    program = folder / "prog"
    subprocess.run(
        [
            "gcc",
            "-g",
            "-O0",
            f"-DMARKS={marks}",
            f'-DELSEWHERE="{secret}"',
            *flags,
            "-o",
            program,
            SOURCES / "trap.c",
        ],
        check=True,
    )
    run = folder / "run"
    run.mkdir()
    core = crash(Process(argv=(str(program),), folder=run, env={}), folder / "cores.core")
    _scripts(folder, marks, home)
    return Trap(folder, program, core, marks, home, elsewhere)


def _scripts(folder: Path, marks: Path, home: Path) -> None:
    trusting = "set auto-load safe-path /\n"
    python = "open('{}', 'w')\n"
    shell = "{}shell touch {}\n"
    (folder / "named.py").write_text(python.format(marks / "section-file"))
    (folder / "prog-gdb.py").write_text(python.format(marks / "beside-python"))
    (folder / "prog-gdb.gdb").write_text(shell.format("", marks / "beside-gdb"))
    (folder / ".gdbinit").write_text(shell.format("", marks / "folder-gdbinit"))
    (home / ".gdbinit").write_text(shell.format(trusting, marks / "home-gdbinit"))
    (home / ".config" / "gdb" / "gdbearlyinit").write_text("set startup-quietly on\n")


def plain_gdb(trap: Trap) -> None:
    """GDB as a person would start it, told to trust every folder: the traps go off."""
    command = [
        "gdb",
        "-batch",
        "-iex",
        "set auto-load safe-path /",
        "-ex",
        "list 1",
        str(trap.program),
        str(trap.core),
    ]
    subprocess.run(
        command, cwd=trap.folder, env={**os.environ, "HOME": str(trap.home)}, stdin=subprocess.DEVNULL,
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
