"""Every place in a process's writable memory where a given word stands."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W


def places(core: CoreFile, word: int, *, most: int) -> Iterator[tuple[int, bytes, int]]:
    """`(address, bytes of its range, offset in them)` of each aligned occurrence of an eight-byte word.

    Of each range at most `most` bytes are searched.
    """
    pattern = struct.pack("<Q", word)
    for region in core.memory.regions():
        if not region.flags & PF_W:
            continue
        data = core.memory.dumped(region.start, min(region.end - region.start, most)) or b""
        at = data.find(pattern)
        while at >= 0:
            if at % 8 == 0:
                yield region.start + at, data, at
            at = data.find(pattern, at + 8)
