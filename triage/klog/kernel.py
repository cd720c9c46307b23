"""Lines the kernel writes about a process it stops (arch/x86/mm/fault.c, arch/x86/kernel/traps.c).

    php[42]: segfault at 8 ip 000055d0… sp 00007ffc… error 4 in php8.2[3a1c2,55d0…+29d000] likely on CPU 1 …
    traps: php[42] general protection fault ip:7f… sp:7ffc… error:0 in libc.so.6[26d90,7f…+155000]
    Code: 48 8b 47 08 … <48> 8b 00 …

Since 6.0 the first number in brackets is the place in the file; before, only where the mapping begins
and its size are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

_WHERE = (
    r"(?: in (?P<module>.+?)\[(?:(?P<offset>[0-9a-f]{1,16}),)?(?P<base>[0-9a-f]{1,16})\+(?P<size>[0-9a-f]{1,16})\])?"
)
_SEGFAULT = re.compile(
    r"(?P<name>.{1,64})\[(?P<pid>\d{1,10})\]: segfault at (?P<address>[0-9a-f]{1,16}) ip (?P<ip>[0-9a-f]{1,16}) "
    r"sp (?P<sp>[0-9a-f]{1,16}) error (?P<error>[0-9a-f]{1,16})" + _WHERE
)
_TRAP = re.compile(
    r"traps: (?P<name>.{1,64})\[(?P<pid>\d{1,10})\] (?P<what>(?:trap )?[a-z][a-z0-9 ]*?) ?ip:(?P<ip>[0-9a-f]{1,16}) "
    r"sp:(?P<sp>[0-9a-f]{1,16}) error:(?P<error>[0-9a-f]{1,16})" + _WHERE
)
_CODE = re.compile(r"Code: ((?:Bad RIP value|(?:[0-9a-f]{2}|<[0-9a-f]{2}>| |\?\?)+))")
_TRAPS = {
    "general protection fault": (11, "SEGV"),
    "general protection": (11, "SEGV"),
    "trap invalid opcode": (4, "ILL"),
    "trap divide error": (8, "FPE"),
    "trap int3": (5, "TRAP"),
    "trap stack segment": (7, "BUS"),
    "trap alignment check": (7, "BUS"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFault:
    """One fault as the kernel told it.

    `offset` is the place in the file, `None` in older kernels; `base` and `size` are those of the mapping.
    `code` are the bytes around the instruction, which is at `code_at` in them. `error` are the bits of the
    page fault (bit 0: page was there, 1: write, 4: execution), `None` for other traps.
    """

    time: datetime | None
    host: str | None
    name: str
    pid: int
    signal: int
    trap: str | None
    ip: int
    sp: int
    address: int | None
    error: int | None
    module: str | None = None
    offset: int | None = None
    base: int | None = None
    size: int | None = None
    code: bytes = b""
    code_at: int = 0


def faults(lines: Iterable[tuple[datetime | None, str | None, str]]) -> Iterator[KernelFault]:
    """The faults in `(time, host, message)` lines; each with the code bytes that follow it."""
    waiting: KernelFault | None = None
    for time, host, message in lines:
        code = _CODE.search(message)
        if code is not None and waiting is not None:
            raw, at = _bytes(code[1])
            yield replace(waiting, code=raw, code_at=at)
            waiting = None
            continue
        found = _segfault(time, host, message) or _trap(time, host, message)
        if found is not None:
            if waiting is not None:
                yield waiting
            waiting = found
    if waiting is not None:
        yield waiting


def _segfault(time: datetime | None, host: str | None, message: str) -> KernelFault | None:
    found = _SEGFAULT.search(message)
    if found is None:
        return None
    return KernelFault(
        time=time, host=host, name=found["name"].strip(), pid=int(found["pid"]), signal=11, trap=None,
        ip=int(found["ip"], 16), sp=int(found["sp"], 16), address=int(found["address"], 16),
        error=int(found["error"], 16), **_where(found),
    )  # fmt: skip


def _trap(time: datetime | None, host: str | None, message: str) -> KernelFault | None:
    found = _TRAP.search(message)
    if found is None:
        return None
    return KernelFault(
        time=time, host=host, name=found["name"].strip(), pid=int(found["pid"]),
        signal=_TRAPS.get(found["what"], (11, ""))[0], trap=found["what"].removeprefix("trap "),
        ip=int(found["ip"], 16), sp=int(found["sp"], 16), address=None, error=None, **_where(found),
    )  # fmt: skip


def _where(found: re.Match[str]) -> dict[str, Any]:
    if found["module"] is None:
        return {}
    offset = found["offset"]
    return {
        "module": found["module"],
        "offset": int(offset, 16) if offset else None,
        "base": int(found["base"], 16),
        "size": int(found["size"], 16),
    }


def _bytes(text: str) -> tuple[bytes, int]:
    """The code bytes and where the instruction begins in them."""
    words = text.split()
    if not all(re.fullmatch(r"<?[0-9a-f]{2}>?", word) for word in words):
        return b"", 0  # the kernel could not read them
    at = next((index for index, word in enumerate(words) if word.startswith("<")), 0)
    return bytes(int(word.strip("<>"), 16) for word in words), at


def access(error: int) -> str:
    """What was tried, by the error bits."""
    if error & 16:
        return "to run"
    return "to write to" if error & 2 else "to read"
