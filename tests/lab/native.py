"""C programs and Python processes that crash, and what plain GDB says of a core."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.php import FIXTURES
from triage.demo.crashes import PYTHON_CODE
from triage.demo.lab import Process, crash

SOURCES = FIXTURES.parent / "c"
_FRAME = re.compile(r"^#(\d+)\s+(?:0x([0-9a-f]+) in )?(\S+|<signal handler called>)(?: \(| *$)", re.M)
_UNNAMED = "??"
_BEGIN = "THE-BACKTRACE"  # opening a core prints its innermost frame as well


@dataclass(frozen=True, slots=True)
class PlainFrame:
    """A frame as `bt` prints it; no address at the very start of a source line, no name for `??`."""

    name: str | None
    address: int | None


def c_crash(name: str, folder: Path, *flags: str) -> Path:
    """Compile fixtures/c/NAME.c with `flags`, let it crash, return the core."""
    return c_crashes(name, folder, ((),), *flags)[0]


def c_crashes(name: str, folder: Path, arguments: Sequence[Sequence[str]], *flags: str) -> list[Path]:
    """The same, once with each of these arguments."""
    program = folder / name
    source = SOURCES / f"{name}.c"
    subprocess.run(["gcc", *flags, "-o", str(program), str(source), "-pthread"], check=True)
    cores = []
    for given in arguments:
        run = folder / "-".join(("run", *given))
        run.mkdir()
        core = folder / f"{'-'.join((name, *given))}.core"
        cores.append(crash(Process(argv=(str(program), *given), folder=run, env={}), core))
    return cores


def python_crash(folder: Path) -> Path:
    """A core of this Python, dead inside ctypes."""
    run = folder / "run"
    run.mkdir()
    argv = (sys.executable, "-c", PYTHON_CODE)
    return crash(Process(argv=argv, folder=run, env={}), folder / "python.core")


def backtrace(core: Path, executable: str, limit: int | None = None) -> list[PlainFrame]:
    """What `gdb -batch -ex bt EXECUTABLE CORE` prints, as frames."""
    settings = ("set auto-load off", "set debuginfod enabled off", "set width 0")
    command = ["gdb", "-nx", "-nh", "-batch", *(part for setting in settings for part in ("-iex", setting))]
    command += ["-ex", f"echo {_BEGIN}\\n", "-ex", f"bt {limit or ''}", executable, str(core)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True, text=True, errors="replace"
    )
    return [
        PlainFrame(None if name == _UNNAMED else name, int(address, 16) if address else None)
        for _, address, name in _FRAME.findall(done.stdout.split(_BEGIN)[1])
    ]
