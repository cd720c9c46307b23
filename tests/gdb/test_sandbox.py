"""What GDB could do if something hostile took it over: code runs inside it on purpose, and tries."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gdb.test_traps import level, names, target, trap
from tests.lab.traps import Trap, lay
from triage.config import Limits
from triage.errors import EnvironmentLacks
from triage.gdb import sandbox, syscalls
from triage.gdb.locate import find_gdb
from triage.gdb.sandbox import Bounds, Level
from triage.gdb.session import GdbFailed, GdbSession
from triage.gdb.users import User, may_read, unprivileged

__all__ = ["level", "trap"]  # fixtures
pytestmark = [pytest.mark.gdb, pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

ATTACK = """
import ctypes, json, os, socket
def attempt(work):
    try:
        work()
        return True
    except OSError:
        return False
def fork():
    if os.fork() == 0:
        os._exit(0)
print("FOUND " + json.dumps({
    "reads another core": attempt(lambda: open(OTHER).read()),
    "reads /etc/passwd": attempt(lambda: open("/etc/passwd").read()),
    "writes beside the core": attempt(lambda: open(OTHER + ".new", "w")),
    "writes in its own folder": attempt(lambda: open("mark", "w")),
    "makes a socket": attempt(lambda: socket.socket()),
    "speaks to a server": attempt(lambda: socket.create_connection(("127.0.0.1", PORT), 2)),
    "starts a process": attempt(fork),
    "signals others": attempt(lambda: os.kill(PARENT, 0)),
    "may gain privileges": ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) != 1,
    "environment": sorted(os.environ),
}))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may pass through: pytest's own is root's alone."""
    with tempfile.TemporaryDirectory(prefix="triage-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def within(
    gdb_command: str, folder: Path, held: sandbox.Isolation, bounds: Bounds
) -> subprocess.CompletedProcess[str]:
    """Run one command in a confined GDB that is shown its own folder."""
    gdb = find_gdb()
    script = folder / "script.py"
    script.write_text(gdb_command)
    argv = [*gdb.argv, "-nx", "-nh", "-q", "-batch", "-x", str(script)]
    env = {"LC_ALL": "C.UTF-8", "HOME": str(folder), **gdb.env}
    seen = sandbox.scene(folder, script, (), sandbox.surroundings(gdb.argv, gdb.env))
    return subprocess.run(
        sandbox.launch(argv, env, seen, held, bounds), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def attack(place: Path, held: sandbox.Isolation, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    folder, other = place / "own", place / "elsewhere" / "other.core"
    for made in (folder, other.parent):
        made.mkdir(mode=0o755)
    other.write_text("another core")
    with socket.create_server(("127.0.0.1", 0)) as server:
        known = f"OTHER, PORT, PARENT = {str(other)!r}, {server.getsockname()[1]}, {os.getpid()}\n"
        done = within(known + ATTACK, folder, held, Bounds(memory=4 << 30, cpu=60))
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done
    found: dict[str, object] = json.loads(line[6:])
    return found


def test_code_inside_gdb_reaches_nothing(place: Path, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    held = sandbox.isolation(None)
    assert (held.level, held.filtered) == (level, True)
    found = attack(place, held, monkeypatch)
    variables = found.pop("environment")
    assert isinstance(variables, list)
    assert set(variables) <= {"HOME", "LC_ALL", "LINES", "COLUMNS", "PWD", *find_gdb().env}
    open_files = {"reads another core", "reads /etc/passwd", "writes beside the core", "writes in its own folder"}
    allowed = open_files if level is Level.LIMITS else set()
    assert {name for name, can in found.items() if can} == allowed


def test_without_any_confinement_it_would(place: Path) -> None:
    """The attack itself works: otherwise the test above says nothing."""
    other = place / "other.core"
    other.write_text("another core")
    script = place / "script.py"
    with socket.create_server(("127.0.0.1", 0)) as server:
        known = f"OTHER, PORT, PARENT = {str(other)!r}, {server.getsockname()[1]}, {os.getpid()}\n"
        script.write_text(known + ATTACK)
        done = subprocess.run(
            [*find_gdb().argv, "-nx", "-batch", "-x", str(script)], cwd=place, env={**os.environ, **find_gdb().env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    found = json.loads(done.stdout.split("FOUND ")[1].splitlines()[0])
    assert all(found.values())


@pytest.mark.parametrize(
    ("code", "bounds", "ends"),
    [
        ("x = bytearray(3 << 30)", Bounds(memory=1 << 30, cpu=60), "MemoryError"),
        ("while True: pass", Bounds(memory=2 << 30, cpu=1), ""),
    ],
)
def test_memory_and_time_are_bounded(place: Path, level: Level, code: str, bounds: Bounds, ends: str) -> None:
    folder = place / "own"
    folder.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = within(code, folder, sandbox.isolation(None), bounds)
    assert ends in done.stdout + done.stderr
    if not ends:
        assert done.returncode != 0
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5


@ROOT
def test_root_lets_nobody_do_it_where_nobody_can_read_the_files(place: Path, level: Level) -> None:
    made = lay(place / "trap")
    for path in (made.folder, made.core):
        path.chmod(0o755)
    with GdbSession(find_gdb(), Limits()) as session:
        assert names(session, target(made)) == ["crash", "main"]
        assert str(session.isolation) == f"{level}+seccomp as nobody"
        folder = session._folder
        assert folder is not None
        assert folder.stat().st_uid == 0
        assert not any(path.lstat().st_mode & 0o022 for path in folder.rglob("*") if not path.is_symlink())
    assert not folder.exists()


@ROOT
def test_who_may_read_decides_who_reads(place: Path) -> None:
    core, other = place / "core", place / "program"
    for path in (core, other):
        path.write_bytes(b"")
        path.chmod(0o644)
    assert unprivileged(core, [other]) == User(65534, 65534, "nobody")
    core.chmod(0o600)
    assert unprivileged(core, [other]) is None
    os.chown(core, 33, 33)
    owner = unprivileged(core, [other])
    assert owner is not None
    assert (owner.uid, owner.gid) == (33, 33)
    other.chmod(0o600)
    assert unprivileged(core, [other]) is None
    (place / "closed").mkdir(mode=0o700)
    (place / "closed" / "file").write_text("x")
    assert not may_read(owner, place / "closed" / "file")
    assert not may_read(owner, place / "not-there")


def test_a_rung_that_does_not_work_is_an_error_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.CHOICE, "armour")
    with pytest.raises(EnvironmentLacks, match="TRIAGE_ISOLATION is 'armour'"):
        sandbox.isolation(None)


def test_a_sandbox_that_cannot_be_set_up_stops_gdb(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not run unconfined instead."""
    held = replace(sandbox.isolation(None), level=Level.BUBBLEWRAP)
    monkeypatch.setattr(sandbox, "isolation", lambda user: held)
    monkeypatch.setattr(shutil, "which", lambda name: "/nowhere/bwrap")
    with GdbSession(find_gdb(), Limits()) as session, pytest.raises(GdbFailed) as caught:
        session.examine(target(trap), None)
    assert "GDB ended with status 97: the sandbox could not be set up" in caught.value.message


def test_the_filter_is_well_formed() -> None:
    """Every jump stays inside, and the last step is reached by calls nobody lists."""
    for forks in (True, False):
        steps = syscalls.program(forks=forks, own_pid=42)
        assert len(steps) % 8 == 0
        count = len(steps) // 8
        for at in range(count):
            then, otherwise = steps[at * 8 + 2], steps[at * 8 + 3]
            assert at + 1 + max(then, otherwise) < count or steps[at * 8] == 0x06
    assert len(syscalls.program(forks=False)) > len(syscalls.program(forks=True))
