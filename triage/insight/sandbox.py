"""Running a program that is expected to crash where it can harm nothing: no network, another user, limits.

What cannot be had on this machine is told, never silently left out.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_NOTES_ONLY = 2 * 1024 * 1024
"""Enough of a core for its notes, which come first."""
_OUTPUT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Limits: `seconds` of a run, `memory` and `file` sizes in bytes, `core` bytes of a core kept.

    `user` is who runs it when we are root; `None` keeps us.
    """

    seconds: float = 20.0
    memory: int = 4 << 30
    file: int = 256 << 20
    core: int = _NOTES_ONLY
    user: int | None = None
    network: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended. `signal` is what killed it, `None` when it ended by itself or ran too long (`late`)."""

    pid: int
    signal: int | None
    late: bool
    output: str
    seconds: float


def run(argv: Sequence[str], folder: Path, environment: Mapping[str, str], sandbox: Sandbox) -> Ran:
    """Run a program in `folder` and wait for its end; it and all it started are gone afterwards.

    Raises:
        OSError: when it cannot be started.
    """
    begun = time.monotonic()
    log = folder / ".output"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [*argv], cwd=folder, env={**_plain_environment(), **environment}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=lambda: _enter(sandbox),
        )  # fmt: skip
        late = False
        try:
            child.wait(timeout=sandbox.seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(child)
    with log.open("rb") as said:
        output = said.read(_OUTPUT).decode("utf-8", "backslashreplace")
    log.unlink()
    killed = -child.returncode if child.returncode < 0 and not late else None
    return Ran(child.pid, killed, late, output, time.monotonic() - begun)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # everything in the group has ended
    child.wait()


def _plain_environment() -> dict[str, str]:
    """Ours without what makes Python and GDB differ, and without what could be a secret."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR") if name in os.environ}


def _enter(sandbox: Sandbox) -> None:
    """In the child, before the program begins."""
    if not sandbox.network and can_cut_network():
        _unshare(_NEW_NETWORK if os.geteuid() == 0 else _NEW_NETWORK | _NEW_USER)
    for kind, most in (
        (resource.RLIMIT_CORE, sandbox.core), (resource.RLIMIT_AS, sandbox.memory),
        (resource.RLIMIT_FSIZE, max(sandbox.file, sandbox.core)), (resource.RLIMIT_CPU, int(sandbox.seconds) + 1),
    ):  # fmt: skip
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    if sandbox.user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(pwd.getpwuid(sandbox.user).pw_gid)
        os.setuid(sandbox.user)


def _unshare(flags: int) -> bool:
    return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)


@cache
def can_cut_network() -> bool:
    """Whether this machine lets us start programs without a network; tried once in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _unshare(_NEW_NETWORK if os.geteuid() == 0 else _NEW_NETWORK | _NEW_USER) else 1)
    return os.waitpid(pid, 0)[1] == 0


def own_user() -> int | None:
    """The user to run strange programs as when we are root: `nobody`."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return None


def give(folder: Path, user: int | None) -> None:
    """Let `user` write into a folder of ours."""
    if user is not None and os.geteuid() == 0:
        os.chown(folder, user, -1)


def told(sandbox: Sandbox) -> tuple[str, ...]:
    """What of the sandbox could not be had here, in sentences."""
    missing = []
    if not sandbox.network and not can_cut_network():
        missing.append("this machine lets us start no program without a network: what runs can reach it")
    if os.geteuid() == 0 and sandbox.user is None:
        missing.append("it runs as root")
    return tuple(missing)
