"""The garbage collector's list of roots against the heap: what waits to be looked at must still be in use.

The list's record is private and not exported; it is found in PHP's own data by its two sizes,
which are 10,001 and 16,384 until more roots than that waited at once, and by a list that fits them. Source:
php-src, Zend/zend_gc.c (7.3 and newer; before, the list had another form).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from triage.model import Confidence, HeapFault
from triage.runtimes.php.heap.bins import BINS
from triage.runtimes.php.heap.check import Walked
from triage.runtimes.php.reader import Reader

Block = tuple[int, bytes]
_FIRST_SIZE = 16_384
_STEP = 10_000
_RECORD = 28
_SINCE = 70_300
_MOST_FAULTS = 5
_TAG = 7  # low bits: 0 a root, others for slots that are free or are being collected
_COLLECTABLE = (7, 8)  # arrays and objects


class KnownPlaces:
    """Where the list's record was found, as the distance from where PHP's file begins, by build."""

    def __init__(self) -> None:
        self.distances: dict[str, int] = {}


def find_roots(
    reader: Reader, data: Callable[[], Sequence[Block]], known: KnownPlaces, build: str | None, base: int
) -> list[int]:
    """What waits to be looked at; empty when the list was not found or is being worked on.

    `data` gives PHP's data as `(address, bytes)`; `build` and `base` are of PHP's file.
    """
    if reader.layout.version_id < _SINCE:
        return []
    if build in known.distances:
        head = reader.memory.read(base + known.distances[build], _RECORD)
        roots = _record(reader, head, 0) if head is not None else None
        if roots is not None:
            return roots
    place, roots = next(_lists(reader, data()), (0, []))
    if build is not None and place:
        known.distances[build] = place - base
    return roots


def check_roots(reader: Reader, roots: Sequence[int], walked: Walked) -> tuple[HeapFault, ...]:
    """Roots that are in no block in use, at most five."""
    found: list[HeapFault] = []
    for root in roots:
        fault = _examine(reader, root, walked)
        if fault is not None:
            found.append(fault)
            if len(found) == _MOST_FAULTS:
                break
    return tuple(found)


def _lists(reader: Reader, data: Sequence[Block]) -> Iterator[tuple[int, list[int]]]:
    """`(address, roots)` of each record that verifies."""
    size = struct.pack("<2I", _STEP + 1, _FIRST_SIZE)
    for start, block in data:
        at = block.find(size)
        while at >= 0:
            if at >= 20 and at % 8 == 4:
                roots = _record(reader, block, at - 20)
                if roots is not None:
                    yield start + at - 20, roots
            at = block.find(size, at + 1)


def _record(reader: Reader, block: bytes, start: int) -> list[int] | None:
    """The list of a record at `start`: the list itself, four switches, and its figures."""
    buffer, enabled, active, guarded, full = struct.unpack_from("<Q4B", block, start)
    unused, end, threshold, size = struct.unpack_from("<4I", block, start + 12)
    sound = enabled == 1 and max(active, guarded, full) <= 1 and threshold == _STEP + 1 and size == _FIRST_SIZE
    if not sound or active or not 1 <= end <= size or unused >= size:
        return None
    raw = reader.memory.read(buffer, end * 8) if buffer else None
    if raw is None:
        return None
    words = struct.unpack(f"<{end}Q", raw)[1:]  # the first place is never used
    return [word for word in words if not word & _TAG and word]


def _examine(reader: Reader, root: int, walked: Walked) -> HeapFault | None:
    slot = walked.chunks.slot(root)
    kind = reader.number(root + 4, 4)
    size = BINS[slot[1]].size if slot else None
    if slot is not None and slot[0] in walked.lists.free:
        return _fault("use-after-free", root, size, "the garbage collector has it on its list, but its block is free")
    if kind is None:
        return _fault(None, root, size, "the garbage collector's list leads to memory that is not there")
    if kind & 0xF not in _COLLECTABLE:
        return _fault(None, root, size, f"the garbage collector's list leads to a value of type {kind & 0xF}")
    return None


def _fault(verdict: str | None, slot: int, size: int | None, text: str) -> HeapFault:
    return HeapFault(
        what="gc-buffer", verdict=verdict, confidence=Confidence.LIKELY, slot=slot, bin=size, evidence=(text,)
    )
