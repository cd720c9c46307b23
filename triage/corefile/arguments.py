"""The command line of the crashed process, from its own stack.

NT_PRPSINFO cuts the command line at 80 bytes. The kernel lays argc, argv[], NULL, envp[], NULL,
auxv[] out in a row at the top of the stack; the auxiliary vector's bytes are in a note, so the
row can be found by them and walked backwards.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from triage.corefile.memory import CoreMemory
from triage.corefile.modules import AT_EXECFN
from triage.corefile.protocol import c_string
from triage.text import from_bytes

_SEARCH = 4 * 1024 * 1024
_NEAR = 16 * 1024  # between the two lie the arguments and the environment, which are seldom longer
_MOST = 4096
_FEW = 256


def read_arguments(memory: CoreMemory, auxv: Mapping[int, int]) -> tuple[str, ...] | None:
    """The full argv, `None` when the stack's top is not in the core."""
    below = _below_auxv(memory, auxv)
    if below is None:
        return None
    pointers = _pointers(memory, *below)
    if pointers is None:
        return None
    # Programs that set a title (php) point argv[1…] elsewhere; the strings themselves lie in a
    # row behind the first one, so they are read as a row. A title wipes the row's rest with NULs.
    texts: list[bytes] = []
    at = pointers[0] if pointers else 0
    for _ in pointers:
        text = c_string(memory, at, 131072)
        if text is None:
            break
        texts.append(text)
        at += len(text) + 1
    while texts and not texts[-1]:
        texts.pop()
    return tuple(from_bytes(text) for text in texts) or None


def _below_auxv(memory: CoreMemory, auxv: Mapping[int, int]) -> tuple[int, int] | None:
    """`(address, size)` of the stack just below the auxiliary vector."""
    name_at = auxv.get(AT_EXECFN)
    region = memory.region_at(name_at) if name_at else None
    words = [word for pair in list(auxv.items())[:2] for word in pair]
    if region is None or name_at is None or len(words) < 4:
        return None
    pattern = struct.pack("<4Q", *words)
    for far in (_NEAR, _SEARCH):
        start = max(region.start, name_at - far)
        stack = memory.read(start, name_at - start)
        found = stack.rfind(pattern) if stack else -1
        if found >= 0:
            begin = max(region.start, name_at - _SEARCH, start + found - _MOST * 16)
            return begin, start + found - begin
    return None


def _pointers(memory: CoreMemory, start: int, size: int) -> tuple[int, ...] | None:
    """The argv pointers at a block's end; few programs have so many variables that the first try is too short."""
    for length in (min(_FEW * 8, size), size):
        part = memory.read(start + size - length, length) or b""
        found = _argv(struct.unpack(f"<{len(part) // 8}Q", part[len(part) % 8 :]))
        if found is not None or length >= size:
            return found
    return None


def _argv(words: tuple[int, ...]) -> tuple[int, ...] | None:
    """The argv pointers out of the words … argc, argv…, 0, envp…, 0."""
    if not words or words[-1] != 0:
        return None
    at = len(words) - 2
    while at >= 0 and words[at] != 0:
        at -= 1  # over the environment
    last = at - 1
    at = last
    while at >= 0 and words[at] != last - at:
        at -= 1  # until the word that counts what follows it
    return words[at + 1 : last + 1] if at >= 0 else None
