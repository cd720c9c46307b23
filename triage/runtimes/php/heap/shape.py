"""Where the heap's private record keeps its fields, found on the data itself.

The record drifts inside patch releases (8.2.32 and 8.2.36 differ), so no table is trusted. What
is known of every version: a chunk is 2 MiB aligned and begins with a pointer to the heap; the
heap lies in the first ("main") chunk and points back to it; the page map's first entry says that
one page (the header) is taken, and the bitmap before the map agrees with the chunk's own count.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from triage.corefile.protocol import Memory
from triage.runtimes.php.heap.bins import BINS, CHUNK, PAGE, PAGES

HEADER = 64
"""Where the heap's record begins in the main chunk."""
_HEADER_PAGE = 0x4000_0001  # a large run of one page
_BITMAP = PAGES // 8
_SIZE, _PEAK, _AFTER_PEAK = 16, 24, 32
_MOST_REAL = 1 << 44


@dataclass(frozen=True, slots=True)
class Shape:
    """A calibrated heap: absolute address of its record, the rest are offsets in it or in a chunk.

    `key` is the secret that links are checked with (PHP 8.4 and newer), `None` before.
    """

    heap: int
    main: int
    bitmap: int
    map: int
    free_slots: int
    huge_list: int
    key: int | None
    size: int
    peak: int
    real_size: int
    limit: int


def calibrate(memory: Memory, anchor: int) -> Shape | str:
    """The heap that owns the block at `anchor`; a sentence why there is none that holds together."""
    chunk = anchor & ~(CHUNK - 1)
    heap = _word(memory, chunk)
    if heap is None or heap % 8 or heap & ~(CHUNK - 1) != heap - HEADER:
        return "PHP's blocks are in no heap of its own: its allocator is off (USE_ZEND_ALLOC=0) or replaced"
    main = heap - HEADER
    page = memory.read(main, PAGE)
    if page is None:
        return "the heap's first page is not in the core"
    pages = _page_map(page)
    if pages is None:
        return "the page map of the heap's first chunk contradicts itself"
    record = page[HEADER : pages - _BITMAP]
    slots = _free_slots(record)
    huge = _huge_list(record, main, slots) if slots else None
    if slots is None or huge is None:
        return "the heap's own record is damaged, or of a kind not known here"
    if struct.unpack_from("<I", record)[0]:
        return "PHP's allocator is replaced by another one (a debugging allocator, or USE_ZEND_ALLOC=0)"
    after = slots + 8 * len(BINS)
    size, peak, real, limit = (struct.unpack_from("<Q", record, at)[0] for at in (_SIZE, _PEAK, after, after + 16))
    key = struct.unpack_from("<Q", record, _AFTER_PEAK)[0] if slots > _AFTER_PEAK else None
    return Shape(heap, main, pages - _BITMAP, pages, slots, huge, key, size, peak, real, limit)


def _page_map(page: bytes) -> int | None:
    """Offset of the page map: its first entry and the bitmap before it must agree with `free_pages`."""
    (free,) = struct.unpack_from("<I", page, 24)
    for at in range(HEADER + 272 + _BITMAP, PAGE - 4 * PAGES + 1, 8):
        if struct.unpack_from("<I", page, at)[0] == _HEADER_PAGE:
            taken = int.from_bytes(page[at - _BITMAP : at], "little").bit_count()
            if PAGES - taken == free:
                return at
    return None


def _free_slots(record: bytes) -> int | None:
    """Offset of the heads of the free lists: straight after the peak, or after the key that 8.4 put there.

    Behind the heads comes the size taken from the system: whole pages, at least a chunk. Where a
    reading is wrong by one there is the last head: zero or an address, which is far larger.
    """
    for slots in (_AFTER_PEAK, _AFTER_PEAK + 8):
        after = slots + 8 * len(BINS)
        if len(record) < after + 24:
            return None
        real, peak = struct.unpack_from("<2Q", record, after)
        if CHUNK <= real <= peak < _MOST_REAL and real % PAGE == 0 and peak % PAGE == 0:
            return slots
    return None


def _huge_list(record: bytes, main: int, slots: int) -> int | None:
    """Offset of the list of huge blocks: it comes before the pointer to the main chunk."""
    for at in range(slots + 8 * len(BINS) + 24, min(len(record) - 7, 520), 8):
        if struct.unpack_from("<Q", record, at)[0] == main:
            return at - 8
    return None


def _word(memory: Memory, address: int) -> int | None:
    raw = memory.read(address, 8)
    return struct.unpack("<Q", raw)[0] if raw is not None else None
