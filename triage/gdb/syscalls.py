"""A seccomp filter as the kernel takes it: which system calls GDB is refused.

Classic BPF over `struct seccomp_data` (Linux, include/uapi/linux/seccomp.h): number at offset 0,
architecture at 4, arguments from 16, each read as its low 32 bits. The lists are in denied.json.
Imported by the jail, which starts on the standard library alone.
"""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x10000
_TYPE_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


def known() -> bool:
    """Whether there is a list for this machine's system calls."""
    return platform.machine() in _lists()


def program(*, forks: bool, own_pid: int | None = None) -> bytes:
    """The filter. Without `forks` no process may be started; with `own_pid` signals go to that process only."""
    calls = _lists()[platform.machine()]
    return b"".join(_program(calls, forks, own_pid))


def _lists() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("denied.json").read_text())
    return found


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, value)


def _program(calls: Mapping[str, Any], forks: bool, own_pid: int | None) -> Iterator[bytes]:  # noqa: FBT001
    yield _step(_LOAD, _ARCHITECTURE)
    yield _step(_EQUAL, calls["architecture"], 1, 0)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, _NUMBER)
    if calls["foreign"] is not None:  # x32: the same calls under other numbers
        yield _step(_AT_LEAST, calls["foreign"], 0, 1)
        yield _step(_RETURN, _REFUSE | _EPERM)
    for number in calls["never"].values():
        yield from _refuse(number, _EPERM)
    yield from _refuse_with(calls["ioctl"], 1, [_step(_EQUAL, value, 0, 1) for value in _TYPE_INTO_TERMINAL])
    if not forks:
        # At its start GDB runs `iconv -l`. Refused, it tries again after 1, 2, 4 and 8 s, unless it may not sleep.
        yield from (part for number in (*calls["forks"], *calls["sleeps"]) for part in _refuse(number, _EPERM))
        yield from _refuse_with(calls["clone"], 0, [_step(_SET, _CLONE_THREAD, 1, 0)])
        yield from _refuse(calls["clone3"], _ENOSYS)  # its flags cannot be seen; the C library then takes clone
    for number in calls["kill"] if own_pid is not None else ():
        yield from _refuse_with(number, 0, [_step(_EQUAL, own_pid or 0, 1, 0)])
    yield _step(_RETURN, _ALLOW)


def _refuse(number: int, error: int) -> Iterator[bytes]:
    yield _step(_EQUAL, number, 0, 1)
    yield _step(_RETURN, _REFUSE | error)


def _refuse_with(number: int, argument: int, tests: list[bytes]) -> Iterator[bytes]:
    """Refuse a call where a test of one argument goes on to the next line; the number is loaded anew then."""
    yield _step(_EQUAL, number, 0, 2 + 2 * len(tests))
    yield _step(_LOAD, _ARGUMENTS + 8 * argument)
    for test in tests:
        yield test
        yield _step(_RETURN, _REFUSE | _EPERM)
    yield _step(_LOAD, _NUMBER)
