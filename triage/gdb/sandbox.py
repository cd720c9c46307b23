"""What GDB is kept from, on this machine: a ladder, whose highest rung that works is found once.

    bubblewrap   own namespaces: it sees a few folders read-only, no network, no other process
    landlock     it may read below a few folders, write nowhere, speak to nobody
    limits       files of everybody stay within reach

On every rung: no new privileges, no capabilities, an environment of five variables, limits on memory,
CPU time, file size and cores, and, where the kernel filters system calls, no sockets and no processes.
GDB's own security policy says that it must be run like this on files one does not trust.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from triage.errors import EnvironmentLacks
from triage.gdb import syscalls
from triage.gdb.jail import Plan
from triage.gdb.users import User

CHOICE = "TRIAGE_ISOLATION"
_JAIL = Path(__file__).with_name("jail.py")
_PROBE_SECONDS = 10
# What a program needs to run at all. /etc itself stays out of sight.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/terminfo",
           "/etc/inputrc")  # fmt: skip
# Reads the first line of one file and fails to read that of another.
_TRY = 'read -r seen <"$1" && [ "$seen" = seen ] && ! { read -r hidden <"$2"; } 2>/dev/null'
_TRY_LIMITS = 'read -r seen <"$1" && [ "$seen" = seen ]'
# Folders that hold more than cores: of these, GDB is shown the core alone.
_BROAD = "/ /dev/shm /etc /home /mnt /opt /root /run /srv /tmp /usr /var /var/lib /var/tmp".split()


class Level(StrEnum):
    """A rung of the ladder."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What holds for one GDB. `filtered` tells whether system calls are filtered."""

    level: Level
    filtered: bool
    user: User | None = None

    def __str__(self) -> str:
        """`bubblewrap+seccomp as nobody`: how a crash records it."""
        return self.level + ("+seccomp" if self.filtered else "") + (f" as {self.user.name}" if self.user else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on one GDB; `None` for no limit. Sizes in bytes, `cpu` in seconds."""

    memory: int | None
    cpu: int | None
    file_size: int | None = 16 << 20
    forks: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What GDB is to see: its own folder and `readable`, resolved paths."""

    folder: Path
    readable: frozenset[Path]

    def shows(self, path: Path) -> bool:
        """Whether a path (resolved) is within sight."""
        return not self.readable.isdisjoint((path, *path.parents))


def scene(folder: Path, core: Path, files: Iterable[Path], extra: Iterable[Path]) -> Scene:
    """The scene for one core: each file by itself, and the core's folder when nothing else is in it.

    With the folder, a GDB that is kept for the next core of it need not be started again.
    """
    own = {path.resolve() for path in files}
    place = core.resolve()
    alone = str(place.parent) in _BROAD or place.parent == Path.home() or any(place.parent in f.parents for f in own)
    readable = {path.resolve() for path in (*map(Path, _SYSTEM), *extra) if path.exists()}
    return Scene(folder, frozenset({*readable, *own, place if alone else place.parent}))


def surroundings(argv: Sequence[str], env: Mapping[str, str]) -> tuple[Path, ...]:
    """Folders a GDB outside /usr needs: its own tree, and what its environment names."""
    program = Path(argv[0]).resolve()
    named = [Path(part) for value in env.values() for part in value.split(":") if part.startswith("/")]
    named += [Path(word) for word in argv[1:] if word.startswith("/")]
    own = (program.parent.parent,) if program.parent.name == "bin" else (program,)
    return tuple(path for path in (*own, *named) if str(path) != "/")


def isolation(user: User | None) -> Isolation:
    """The highest rung that works here as this user; `TRIAGE_ISOLATION` names the only one to take.

    Raises:
        EnvironmentLacks: when the one that was named does not work.
    """
    chosen = os.environ.get(CHOICE)
    if chosen and chosen not in list(Level):
        raise EnvironmentLacks(f"{CHOICE} is {chosen!r}", help=f"It may be {', '.join(Level)}.")
    for level in [Level(chosen)] if chosen else list(Level):
        for filtered in (True, False) if level is not Level.LANDLOCK else (True,):
            if (syscalls.known() or not filtered) and _works(level, filtered, user):
                return Isolation(level, filtered, user)
    raise EnvironmentLacks(
        f"GDB cannot be confined by {chosen or 'any means'} on this machine",
        help="apt install bubblewrap (its user namespaces may be switched off here), or unset " + CHOICE,
    )


@cache
def _works(level: Level, filtered: bool, user: User | None) -> bool:  # noqa: FBT001 — a cache's key
    """Try it on a shell that reads one file it may see, and one it may not."""
    shell = shutil.which("sh") or "/bin/sh"
    with tempfile.TemporaryDirectory(prefix="triage-probe-") as place:
        shown, hidden = Path(place, "shown"), Path(place, "hidden")
        for folder in (Path(place), shown, hidden):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
            (folder / "file").write_text("seen\n")
            (folder / "file").chmod(0o644)
        script = _TRY_LIMITS if level is Level.LIMITS else _TRY
        argv = [shell, "-c", script, "sh", f"{shown}/file", f"{hidden}/file"]
        bounds = Bounds(memory=1 << 30, cpu=5)
        command = launch(argv, {}, scene(shown, shown / "file", (), ()), Isolation(level, filtered, user), bounds)
        return _succeeds(command, shown)


def _succeeds(command: list[str], folder: Path) -> bool:
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=_PROBE_SECONDS, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def launch(argv: Sequence[str], env: Mapping[str, str], seen: Scene, held: Isolation, bounds: Bounds) -> list[str]:
    """The command line that runs `argv` confined. `argv[0]` is an absolute path."""
    wrap = held.level is Level.BUBBLEWRAP
    readable = sorted({*map(str, seen.readable), str(seen.folder)})
    plan = Plan(
        argv=[*(_bubblewrap(seen, readable, held) if wrap else ()), *argv],
        env=dict(env),
        limits=_limits(bounds),
        user=[held.user.uid, held.user.gid] if held.user else None,
        readable=readable if held.level is Level.LANDLOCK else None,
        filter=held.filtered,
        forks=bounds.forks,
        wrap=wrap,
    )
    return [sys.executable, "-I", "-S", str(_JAIL), json.dumps(plan)]


def _bubblewrap(seen: Scene, readable: Sequence[str], held: Isolation) -> list[str]:
    words = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    for path in _SYSTEM:
        if Path(path).is_symlink():  # /lib → usr/lib: resolved, it is seen under its other name only
            words += ["--symlink", str(Path(path).readlink()), path]
    for path in readable:
        if not any(path.startswith(above.rstrip("/") + "/") for above in readable):
            words += ["--ro-bind", path, path]
    words += ["--dev-bind", "/dev/null", "/dev/null", "--chdir", str(seen.folder)]
    return [*words, *(("--seccomp", "{filter}") if held.filtered else ()), "--"]


def _limits(bounds: Bounds) -> list[tuple[int, int]]:
    wanted = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, bounds.file_size),
        (resource.RLIMIT_AS, bounds.memory),
        (resource.RLIMIT_CPU, bounds.cpu),
    )
    return [(kind, value) for kind, value in wanted if value is not None]
