"""Started in place of GDB: gives up everything GDB does not need, then becomes GDB (or bubblewrap).

    python -I jail.py PLAN

PLAN is JSON: see `Plan`. Nothing is given up in the parent between fork and exec, which is unsafe
where threads run. Standard library only, and every step that fails ends with status 97 and the
reason on stderr: a sandbox that is not there must not look like one.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Sequence
from typing import TypedDict

FAILED = 97
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many access rights each version of Landlock knows (Linux, Documentation/userspace-api/landlock.rst)."""


class Plan(TypedDict):
    """What to give up, and what to become.

    `limits` are (RLIMIT_… number, value); `user` is `[uid, gid]` or null; `readable` the paths that may
    still be read, null for no rule; `filter` whether system calls are filtered; `wrap` whether `argv` is
    bubblewrap, which then installs the filter itself after a `{filter}` in argv has become a descriptor.
    """

    argv: list[str]
    env: dict[str, str]
    limits: list[tuple[int, int]]
    user: list[int] | None
    readable: list[str] | None
    filter: bool
    forks: bool
    wrap: bool


class Refused(Exception):
    """A step that the kernel refused."""


def main(raw: str) -> None:
    """Do as the plan says. Returns only by failing."""
    plan: Plan = json.loads(raw)
    try:
        _give_up(plan)
        argv = [os.fsencode(word) for word in plan["argv"]]
        os.execve(argv[0], argv, {os.fsencode(k): os.fsencode(v) for k, v in plan["env"].items()})  # noqa: S606
    except (OSError, ValueError, Refused) as error:
        print(f"the sandbox could not be set up: {error}", file=sys.stderr)
        os._exit(FAILED)


def _give_up(plan: Plan) -> None:
    for kind, value in plan["limits"]:
        hard = resource.getrlimit(kind)[1]
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lower, lower))
    _first_to_go()
    steps = _steps(plan) if plan["filter"] else b""  # read while files can still be read
    _become(plan["user"], plan["wrap"])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # set after the user changes: that clears it
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if plan["readable"] is not None:
        _restrict(plan["readable"])
    if steps and plan["wrap"]:
        _hand_over(plan, steps)
    elif steps:
        _install(steps)


def _first_to_go() -> None:
    """Let the kernel take GDB, not the web server, when memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 — pathlib costs start time
            score.write("500")
    except OSError:
        return  # no /proc here: nothing depends on it


def _become(user: list[int] | None, wrap: bool) -> None:  # noqa: FBT001
    if user is not None:
        os.setgroups([])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])
    elif os.geteuid() == 0 and not wrap:  # bubblewrap needs them for a moment, and drops them itself
        for capability in range(64):
            if ctypes.CDLL(None, use_errno=True).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break  # beyond the last one this kernel knows


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise Refused(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _syscall(number: int, *words: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    found = int(library.syscall(ctypes.c_long(number), *words))
    if found < 0:
        raise Refused(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return found


def _restrict(readable: Sequence[str]) -> None:
    """Landlock: reading below `readable` only, no writing but to /dev/null, no TCP, no signals to others."""
    version = _syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    rights = (1 << _ALL_RIGHTS.get(min(version, 5), 13)) - 1
    ports = 3 if version >= 4 else 0
    scopes = 3 if version >= 6 else 0
    body = struct.pack("<QQQ", rights, ports, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _syscall(_LANDLOCK_CREATE, body, ctypes.c_size_t(len(body)), ctypes.c_uint32(0))
    for path in readable:
        _allow(rules, path, _EXECUTE | _READ_FILE | _READ_DIR)
    _allow(rules, "/dev/null", _READ_FILE | _WRITE_FILE)
    _syscall(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(os.fsencode(path), os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or not for this user: then it is not readable
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= ~_READ_DIR  # a rule for a file may not speak of folders
    _syscall(
        _LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), struct.pack("<Qi", rights, place), ctypes.c_uint32(0)
    )
    os.close(place)


def _steps(plan: Plan) -> bytes:
    """The filter; signals to oneself only where no namespace hides the others."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    import syscalls  # type: ignore[import-not-found]  # triage.gdb.syscalls, without its package

    found: bytes = syscalls.program(forks=plan["forks"], own_pid=None if plan["wrap"] else os.getpid())
    return found


def _install(steps: bytes) -> None:
    held = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("@HP", len(steps) // 8, ctypes.addressof(held))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise Refused(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _hand_over(plan: Plan, steps: bytes) -> None:
    """Give bubblewrap the filter through a pipe: it installs it when its own work is done."""
    read, write = os.pipe()
    os.write(write, steps)
    os.close(write)
    os.set_inheritable(read, True)  # noqa: FBT003
    plan["argv"] = [str(read) if word == "{filter}" else word for word in plan["argv"]]


if __name__ == "__main__":
    main(sys.argv[1])
