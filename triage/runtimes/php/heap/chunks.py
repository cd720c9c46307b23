"""The heap's chunks and what each of their pages is used for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from triage.corefile.protocol import Memory
from triage.runtimes.php.heap.bins import BINS, CHUNK, PAGE, PAGES
from triage.runtimes.php.heap.shape import Shape

_MOST_CHUNKS = 65_536
_LARGE, _SMALL = 0x4000_0000, 0x8000_0000


class Run(NamedTuple):
    """A run of pages with blocks of one size class."""

    start: int
    bin: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk. `runs` are small runs by the number of each of their pages, `large` counts pages in use."""

    address: int
    runs: dict[int, Run]
    large: int
    broken: str | None


class Chunks:
    """All chunks of a heap by address. `trouble` says where the ring of chunks is broken."""

    def __init__(self, memory: Memory, shape: Shape) -> None:
        self._memory = memory
        self._shape = shape
        self.trouble: tuple[int, str] | None = None
        self.missing = False
        self.by_address: dict[int, Chunk] = {}
        for address in self._ring():
            head = memory.read(address, PAGE)
            if head is None or memory.read(address + CHUNK - 1, 1) is None:
                self.missing = True
                return
            self.by_address[address] = _chunk(address, head, shape)

    def _ring(self) -> Iterator[int]:
        address, before = self._shape.main, None
        while len(self.by_address) < _MOST_CHUNKS:
            head = self._memory.read(address, 24) if address % CHUNK == 0 else None
            if head is None:
                self.trouble = (before or address, f"its link to the next chunk leads to {address:#x}: none there")
                return
            heap, following, previous = struct.unpack("<3Q", head)
            if heap != self._shape.heap:
                self.trouble = (address, "it does not point back to its heap")
                return
            if before is not None and previous != before:
                self.trouble = (address, "its link to the chunk before it is wrong")
                return
            yield address
            if following == self._shape.main:
                return
            if following in self.by_address:
                self.trouble = (address, "the ring of chunks is closed at the wrong place")
                return
            address, before = following, address

    @property
    def most(self) -> int:
        """More small blocks than there can be."""
        return len(self.by_address) * CHUNK // BINS[0].size

    def run(self, address: int) -> Run | None:
        """The run of small blocks that holds `address`."""
        chunk = self.by_address.get(address & ~(CHUNK - 1))
        return chunk.runs.get((address % CHUNK) // PAGE) if chunk else None

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


def _chunk(address: int, data: bytes, shape: Shape) -> Chunk:
    """What the first page of a chunk says of all of them."""
    bitmap = int.from_bytes(data[shape.bitmap : shape.bitmap + PAGES // 8], "little")
    entries = struct.unpack_from(f"<{PAGES}I", data, shape.map)
    (free,) = struct.unpack_from("<I", data, 24)
    runs: dict[int, Run] = {}
    large, page, broken = 0, 1, None
    if PAGES - bitmap.bit_count() != free:
        broken = f"its bitmap says {PAGES - bitmap.bit_count()} free pages, its count says {free}"
    while page < PAGES and broken is None:
        rest = bitmap >> page
        if not rest & 1:
            if not rest:
                break
            page += (rest & -rest).bit_length() - 1  # over all free pages at once
            continue
        length = _length(entries, page)
        wanted = (1 << length) - 1 if length else 0
        if length is None or rest & wanted != wanted:
            broken = f"page {page} is in use, but its entry {entries[page]:#x} in the page map describes no run"
            break
        if entries[page] & _SMALL:
            run = Run(address + page * PAGE, entries[page] & 0x1F)
            runs.update(dict.fromkeys(range(page, page + length), run))
        else:
            large += length
        page += length
    return Chunk(address, runs, large, broken)


def _length(entries: tuple[int, ...], page: int) -> int | None:
    """The number of pages in the run that begins at `page`, `None` when the entries make no run."""
    entry = entries[page]
    kind = entry & (_LARGE | _SMALL)
    if kind == _LARGE:
        length = entry & 0x3FF
        return length if 0 < length <= PAGES - page else None
    if kind != _SMALL or entry & 0x1F >= len(BINS):
        return None
    number = entry & 0x1F
    pages = BINS[number].pages
    if pages == 1:
        return 1
    rest = entries[page + 1 : page + pages]
    sound = all(
        other & (_LARGE | _SMALL) == _LARGE | _SMALL and other & 0x1F == number and other >> 16 & 0x1FF == step
        for step, other in enumerate(rest, 1)
    )
    return pages if sound and len(rest) == pages - 1 else None
