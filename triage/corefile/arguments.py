"""The command line of the crashed process, from its own stack.

NT_PRPSINFO cuts the command line at 80 bytes. The kernel lays argc, argv[], NULL, envp[], NULL,
auxv[] out in a row at the top of the stack; the auxiliary vector's bytes are in a note, so the
row can be found by them and walked backwards.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.corefile.modules import AT_EXECFN
from triage.corefile.protocol import c_string
from triage.text import from_bytes

_SEARCH = 4 * 1024 * 1024
_NEAR = 16 * 1024  # between the two lie the arguments and the environment, which are seldom longer
_MOST = 4096
_TRIED = (64 * 8, 512 * 8)
_LONGEST = 131_072


def read_arguments(memory: CoreMemory, auxv: Mapping[int, int]) -> tuple[str, ...] | None:
    """The full argv, `None` when the stack's top is not in the core."""
    top = _top(memory, auxv)
    if top is None:
        return None
    pointers = _pointers(memory, top)
    if pointers is None:
        return None
    # Programs that set a title (php) point argv[1…] elsewhere; the strings themselves lie in a
    # row behind the first one, so they are read as a row. A title wipes the row's rest with NULs.
    texts = list(_row(memory, top, pointers[0] if pointers else 0, len(pointers)))
    while texts and not texts[-1]:
        texts.pop()
    return tuple(map(from_bytes, texts)) or None


class _Top(NamedTuple):
    """The top of the stack: what was read of it, from where on, how far in the auxiliary vector lies.

    The first pages of the stack, `bottom`, are not read.
    """

    bottom: int
    start: int
    stack: bytes
    vector: int


def _top(memory: CoreMemory, auxv: Mapping[int, int]) -> _Top | None:
    """Up to the program's name, which lies above the vector, the arguments and the environment."""
    name_at = auxv.get(AT_EXECFN)
    region = memory.region_at(name_at) if name_at else None
    words = [word for pair in islice(auxv.items(), 2) for word in pair]
    if region is None or name_at is None or len(words) < 4:
        return None
    pattern = struct.pack("<4Q", *words)
    for far in (_NEAR, _SEARCH):
        start = max(region.start, name_at - far)
        stack = memory.read(start, name_at - start)
        found = stack.rfind(pattern) if stack else -1
        if stack and found >= 0:
            return _Top(max(region.start, name_at - _SEARCH, start + found - _MOST * 16), start, stack, found)
    return None


def _pointers(memory: CoreMemory, top: _Top) -> tuple[int, ...] | None:
    """The argv pointers below the vector; few programs have so many variables that the first try is too short."""
    end = top.start + top.vector
    size = end - top.bottom
    for length in (*(length for length in _TRIED if length < size), size):
        there = top.stack[max(0, top.vector - length) : top.vector]
        part = there if len(there) == length else memory.read(end - length, length) or b""
        found = _argv(struct.unpack(f"<{len(part) // 8}Q", part[len(part) % 8 :]))
        if found is not None or length >= size:
            return found
    return None


def _row(memory: CoreMemory, top: _Top, at: int, count: int) -> Iterator[bytes]:
    """So many texts that lie one behind the other."""
    if top.start <= at < top.start + len(top.stack):
        texts = top.stack[at - top.start :].split(b"\0", count)
        if len(texts) > count:  # else the last one goes on
            yield from texts[:count]
            return
    for _ in range(count):
        text = c_string(memory, at, _LONGEST)
        if text is None:
            return
        yield text
        at += len(text) + 1


def _argv(words: tuple[int, ...]) -> tuple[int, ...] | None:
    """The argv pointers out of the words … argc, argv…, 0, envp…, 0."""
    if not words or words[-1] != 0 or 0 not in words[:-1]:
        return None
    last = len(words) - 2 - words[-2::-1].index(0) - 1  # below the environment
    at = last
    while at >= 0 and words[at] != last - at:
        at -= 1  # until the word that counts what follows it
    return words[at + 1 : last + 1] if at >= 0 else None
