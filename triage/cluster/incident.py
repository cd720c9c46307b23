"""What links victims of one memory corruption, which die all over the program.

Their stacks do not lead to the culprit: the damaged block's size class and what was written there do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from triage.cluster.signature import signature_of
from triage.model import Crash

_SIZE_CLASS = re.compile(r"heap:_?_?(?:emalloc|efree)_(\d+)")
_BYTES = 8
_SAME = 6
_TEXT = frozenset(range(0x20, 0x7F))


def incident_of(crash: Crash) -> str | None:
    """What is known of the corruption the crash is a victim of: build, size class, what was written, configuration.

    `None` for a crash that shows no corruption, and for one that shows nothing to link it by.
    """
    signature = crash.signature or signature_of(crash)
    if "heap-corrupted" not in signature.markers:
        return None
    told = [part for part in (_size_class(crash, signature.markers), garbage(crash.registers)) if part]
    if not told:
        return None
    runtime = crash.runtime
    jit = "JIT on" if runtime is not None and runtime.jit else "JIT off"
    return "; ".join((*told, jit, f"build {(crash.build_id or 'unknown')[:12]}"))


def _size_class(crash: Crash, markers: Iterable[str]) -> str | None:
    """The size class of the block that is damaged: found by a walk through the heap, or named by the allocator."""
    heap = crash.runtime.heap if crash.runtime else None
    found = next((fault.bin for fault in heap.faults if fault.bin), None) if heap else None
    if found is None:
        named = (_SIZE_CLASS.fullmatch(marker) for marker in markers)
        found = next((int(match[1]) for match in named if match), None)
    return None if found is None else f"blocks of {found} bytes"


def garbage(registers: Mapping[str, int]) -> str | None:
    """The kind of value in a register that no program makes: one byte over and over, or text."""
    for value in registers.values():
        data = value.to_bytes(_BYTES, "little", signed=False) if 0 <= value < 1 << 64 else b""
        most = max(set(data), key=data.count, default=0)
        if data.count(most) >= _SAME and most not in (0x00, 0xFF):
            return f"the byte {most:#04x} over and over"
    for value in registers.values():
        data = value.to_bytes(_BYTES, "little", signed=False) if 0 <= value < 1 << 64 else b""
        if len(data) == _BYTES and set(data) <= _TEXT:
            return "text in place of a pointer"
    return None
