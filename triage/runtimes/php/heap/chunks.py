"""The heap's chunks and what each of their pages is used for."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, reduce
from operator import add
from typing import NamedTuple

from triage.corefile.memory import CoreMemory, Words
from triage.corefile.protocol import Memory
from triage.runtimes.php.heap.bins import BINS, CHUNK, PAGE, PAGES
from triage.runtimes.php.heap.shape import Shape

_MOST_CHUNKS = 65_536
_BITMAP = PAGES // 8
_LARGE, _SMALL = 0x4000_0000, 0x8000_0000
_FURTHER = tuple(
    struct.pack(f"<{row.pages - 1}I", *(_LARGE | _SMALL | step << 16 | number for step in range(1, row.pages)))
    for number, row in enumerate(BINS)
)
"""The entries of a run's pages behind its first, by size class, as PHP writes them."""


class Run(NamedTuple):
    """A run of pages with blocks of one size class."""

    start: int
    bin: int


class PageMap(NamedTuple):
    """What the pages of a chunk are used for.

    `runs` are `(start in the chunk, bytes of all blocks, size class)` of small runs by the number of each of their
    pages; `made` the number of blocks in them by size class; `large` counts
    pages of large blocks; `broken` says what contradicts itself.
    """

    runs: dict[int, tuple[int, int, int]]
    made: list[int]
    large: int
    broken: str | None


class Chunks:
    """All chunks of a heap by address. `trouble` says where the ring of chunks is broken."""

    def __init__(self, memory: Memory, shape: Shape) -> None:
        self._memory = memory
        self._shape = shape
        self.trouble: tuple[int, str] | None = None
        self.missing = False
        self.by_address: dict[int, PageMap] = {}
        for address, page in self._ring():
            if page is None or memory.read(address + CHUNK - 1, 1) is None:
                self.missing = True
                return
            bitmap, entries = page[shape.bitmap : shape.bitmap + _BITMAP], page[shape.map : shape.map + 4 * PAGES]
            self.by_address[address] = _page_map(int.from_bytes(page[24:28], "little"), bitmap, entries)

    def _ring(self) -> Iterator[tuple[int, bytes | None]]:
        """`(address, first page)` of each chunk; `None` for a page that is not whole in the core."""
        address, before, shape, read = self._shape.main, None, self._shape, self._memory.read
        while len(self.by_address) < _MOST_CHUNKS:
            page = read(address, PAGE) if address % CHUNK == 0 else None
            head = page or (read(address, 24) if address % CHUNK == 0 else None)
            if head is None:
                self.trouble = (before or address, f"its link to the next chunk leads to {address:#x}: none there")
                return
            heap, following, previous = struct.unpack_from("<3Q", head)
            if heap != shape.heap:
                self.trouble = (address, "it does not point back to its heap")
                return
            if before is not None and previous != before:
                self.trouble = (address, "its link to the chunk before it is wrong")
                return
            yield address, page
            if following == shape.main:
                return
            if following in self.by_address:
                self.trouble = (address, "the ring of chunks is closed at the wrong place")
                return
            address, before = following, address

    @property
    def made(self) -> list[int]:
        """How many blocks of each size class there are, in use or free."""
        first, *others = (pages.made for pages in self.by_address.values())
        return list(reduce(lambda some, more: list(map(add, some, more)), others, first))

    def words(self) -> AbstractContextManager[Words | None]:
        """The memory around the first chunk, and as a rule around all, for the length of a `with` block."""
        return self._memory.words(self._shape.main) if isinstance(self._memory, CoreMemory) else nullcontext()

    def run(self, address: int) -> Run | None:
        """The run of small blocks that holds `address`."""
        chunk = address & -CHUNK
        pages = self.by_address.get(chunk)
        found = pages.runs.get((address - chunk) // PAGE) if pages is not None else None
        return Run(chunk + found[0], found[2]) if found is not None else None

    def slot(self, address: int) -> tuple[int, int, int] | None:
        """`(start, bin, index)` of the small block that holds `address`, `None` when there is none."""
        run = self.run(address)
        if run is None:
            return None
        index = (address - run.start) // BINS[run.bin].size
        if index >= BINS[run.bin].blocks:
            return None
        return run.start + index * BINS[run.bin].size, run.bin, index

    def read(self, address: int, size: int) -> bytes:
        """Bytes of a chunk; fewer where it ends."""
        base, at = address & ~(CHUNK - 1), address % CHUNK
        if base not in self.by_address:
            return b""
        return self._memory.read(address, min(size, CHUNK - at)) or b""

    def word(self, address: int) -> int:
        """Eight bytes of a chunk as a number."""
        return int.from_bytes(self.read(address, 8), "little")


@lru_cache(maxsize=64)  # processes that do the same work fill their chunks in the same order
def _page_map(free: int, bitmap: bytes, map_: bytes) -> PageMap:
    """What the first page of a chunk says of all of them: its count of free pages, its bitmap, its page map."""
    taken = int.from_bytes(bitmap, "little")
    count, made = PAGES - taken.bit_count(), [0] * len(BINS)
    if count != free:
        return PageMap({}, made, 0, f"its bitmap says {count} free pages, its count says {free}")
    entries = struct.unpack(f"<{PAGES}I", map_)
    runs: dict[int, tuple[int, int, int]] = {}
    large, page, broken = 0, 1, None
    while (rest := taken >> page) and broken is None:
        if not rest & 1:
            page += (rest & -rest).bit_length() - 1  # over all free pages at once
            continue
        entry = entries[page]
        length = _length(entries, map_, page)
        wanted = (1 << length) - 1
        if not length or rest & wanted != wanted:
            broken = f"page {page} is in use, but its entry {entry:#x} in the page map describes no run"
        elif entry & _SMALL:
            number, start = entry & 0x1F, page * PAGE
            size, blocks, _ = BINS[number]
            made[number] += blocks
            runs.update(dict.fromkeys(range(page, page + length), (start, size * blocks, number)))
        else:
            large += length
        page += length
    return PageMap(runs, made, large, broken)


def _length(entries: Sequence[int], map_: bytes, page: int) -> int:
    """The number of pages in the run that begins at `page`, 0 when the entries make no run."""
    entry = entries[page]
    kind = entry & (_LARGE | _SMALL)
    if kind == _LARGE:
        length = entry & 0x3FF
        return length if length <= PAGES - page else 0
    number = entry & 0x1F
    if kind != _SMALL or number >= len(BINS):
        return 0
    pages = BINS[number].pages
    if map_[4 * (page + 1) : 4 * (page + pages)] == _FURTHER[number]:
        return pages
    rest = entries[page + 1 : page + pages]
    sound = all(
        other & (_LARGE | _SMALL) == _LARGE | _SMALL and other & 0x1F == number and other >> 16 & 0x1FF == step
        for step, other in enumerate(rest, 1)
    )
    return pages if sound and len(rest) == pages - 1 else 0
