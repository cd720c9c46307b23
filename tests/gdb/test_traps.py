"""Traps around a core, on each rung of the sandbox: nothing that lies there runs, and nothing is opened."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.traps import SECRET, Trap, lay, plain_gdb
from triage.config import Limits
from triage.corefile import open_core
from triage.errors import EnvironmentLacks
from triage.gdb import sandbox
from triage.gdb.locate import find_gdb
from triage.gdb.sandbox import Level
from triage.gdb.session import GdbFailed, GdbSession, Target
from triage.symbols import Finder
from triage.symbols.proven import proven_files

pytestmark = [pytest.mark.gdb, pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")]

LEVELS = [pytest.param(level, id=level.value) for level in Level]
FRAMES = ["crash", "main"]


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Trap:
    return lay(tmp_path_factory.mktemp("trap"))


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Level:
    """One rung, chosen; skipped where this machine does not have it."""
    chosen: Level = request.param
    monkeypatch.setenv(sandbox.CHOICE, chosen)
    try:
        sandbox.isolation(None)
    except EnvironmentLacks as error:
        pytest.skip(error.message)
    return chosen


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A debuginfod server that the environment names; whoever connects waits in its queue."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield listening


def target(trap: Trap) -> Target:
    finder = Finder()
    with open_core(trap.core) as opened:
        opened.memory.use_files(finder.backing(opened.modules))
        return Target(core=trap.core, executable=trap.program, files=proven_files(opened, finder))


def names(session: GdbSession, wanted: Target) -> list[str]:
    frames = session.examine(wanted, None)["threads"][0]["frames"]
    return [frame["name"] for frame in frames][:2]


def test_the_traps_work(trap: Trap) -> None:
    plain_gdb(trap)
    assert trap.sprung() == [
        *("beside-gdb", "beside-python", "folder-gdbinit", "home-gdbinit", "section-file", "section-inline")
    ]
    trap.reset()


def test_no_script_runs_and_no_server_is_asked(
    trap: Trap, level: Level, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(trap.home))
    monkeypatch.setenv("PYTHONSTARTUP", str(trap.folder / "named.py"))
    monkeypatch.chdir(trap.folder)
    with GdbSession(find_gdb(), Limits()) as session:
        assert names(session, target(trap)) == FRAMES
        assert session.isolation is not None
        assert session.isolation.level is level
    assert trap.sprung() == []
    with pytest.raises(BlockingIOError):
        server.accept()


def linked(trap: Trap, folder: Path, name: str) -> Trap:
    """The program without debug information and with a .gnu_debuglink to `name`; the core names it."""
    program = folder / "prog"
    shutil.copy2(trap.program, program)
    subprocess.run(["strip", "-g", program], check=True)
    decoy = folder / ("d" * len(name))
    decoy.write_bytes(b"debug")
    subprocess.run(["objcopy", f"--add-gnu-debuglink={decoy}", program], check=True)
    decoy.unlink()
    raw = program.read_bytes()
    assert raw.count(decoy.name.encode() + b"\0") == 1
    program.write_bytes(raw.replace(decoy.name.encode(), name.encode()))
    return replace(trap, program=program)


def fifo_link(trap: Trap, folder: Path) -> Trap:
    """A debuglink to a FIFO beside the program: whoever opens it waits for ever."""
    os.mkfifo(folder / "prog.debug")
    return linked(trap, folder, "prog.debug")


def endless_link(trap: Trap, folder: Path) -> Trap:
    """A debuglink out of the folder to a file without end, whose checksum is never done."""
    return linked(trap, folder, "../" * 16 + "dev/zero")


def fifo_altlink(trap: Trap, folder: Path) -> Trap:
    """A FIFO where the debug information that several programs share (dwz) is said to be."""
    os.mkfifo(folder / "shared.debug")
    program, link = folder / "prog", folder / "link"
    shutil.copy2(trap.program, program)
    link.write_bytes(f"{folder / 'shared.debug'}".encode() + b"\0" + bytes(range(20)))
    subprocess.run(["objcopy", "--add-section", f".gnu_debugaltlink={link}", program], check=True)
    return replace(trap, program=program)


@pytest.mark.parametrize("hook", [fifo_link, endless_link, fifo_altlink])
def test_a_link_to_debug_information_that_never_ends_hangs_nobody(
    trap: Trap, level: Level, tmp_path: Path, hook: Callable[[Trap, Path], Trap]
) -> None:
    """Confined, GDB does not see where it leads; with limits only it hangs, and is ended."""
    hooked = hook(trap, tmp_path)
    begun = time.monotonic()
    with GdbSession(find_gdb(), replace(Limits(), gdb_seconds=40 if level is not Level.LIMITS else 4)) as session:
        if level is Level.LIMITS:
            with pytest.raises(GdbFailed, match="gave no answer within 4 s"):
                session.examine(replace(target(trap), executable=hooked.program), None)
        else:
            answer = session.examine(replace(target(trap), executable=hooked.program), None)
            assert answer["threads"][0]["frames"]
            assert "reduced" not in answer
    assert time.monotonic() - begun < 40


@pytest.fixture
def served(trap: Trap, tmp_path: Path) -> Trap:
    """The core with a FIFO's name in its list of mapped files, where the program's was."""
    path, fifo = str(trap.program).encode(), trap.program.with_name("fifo")
    raw = trap.core.read_bytes()
    assert raw.count(path + b"\0") >= 1
    core = tmp_path / "fifo.core"
    core.write_bytes(raw.replace(path + b"\0", (bytes(fifo) + b"\0").ljust(len(path) + 1, b"\0")))
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    return replace(trap, core=core)


def test_a_fifo_in_the_list_of_mapped_files_is_not_opened(served: Trap, level: Level) -> None:
    finder = Finder()
    begun = time.monotonic()
    with open_core(served.core) as opened:
        files = proven_files(opened, finder)
    assert not any("fifo" in str(path) for path in files.values())
    with GdbSession(find_gdb(), replace(Limits(), gdb_seconds=40)) as session:
        answer = session.examine(Target(core=served.core, executable=None, files=files), None)
    assert answer["threads"][0]["frames"]
    assert "reduced" not in answer
    assert time.monotonic() - begun < 40


def debug(trap: Trap, *arguments: str) -> str:
    command = [sys.executable, "-m", "triage", "debug", str(trap.core), *arguments]
    done = subprocess.run(
        command, cwd=trap.folder, env={**os.environ, "HOME": str(trap.home)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_debug_springs_no_trap_and_shows_no_file_nobody_named(
    trap: Trap, level: Level, server: socket.socket
) -> None:
    said = debug(trap, "-c", "bt 1", "-c", "list 1")
    assert "#0" in said
    assert "crash (place=" in said
    assert SECRET not in said
    assert trap.sprung() == []
    with pytest.raises(BlockingIOError):
        server.accept()


def test_debug_shows_sources_below_the_folders_it_was_given(trap: Trap, level: Level) -> None:
    said = debug(trap, "-c", "list 1", "--source-dir", str(trap.elsewhere))
    # Where only limits hold GDB it could be led to any file, so it opens none.
    assert (f"{SECRET} 1" in said) == (level is not Level.LIMITS)
    other = debug(trap, "-c", "list 1", "--source-dir", str(trap.marks))
    assert SECRET not in other
