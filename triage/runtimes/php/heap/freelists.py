"""The lists of free blocks, one a size class, and the first link of each that cannot be right."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass
from operator import attrgetter

from triage.runtimes.php.heap.bins import BINS
from triage.runtimes.php.heap.chunks import Chunks
from triage.runtimes.php.heap.shape import Shape

_MASK = (1 << 64) - 1
_KEPT = 8192
_NOTHING = memoryview(b"").cast("Q")


@dataclass(frozen=True, slots=True)
class BadLink:
    """A list's first broken link. `slot` holds it (`None`: the list's head itself is broken).

    `value` is what stands there; `expected` what stood there before, where the heap's shadow copy
    tells; `again` is true when the link leads to a block that is in the list already. `via` is the block whose
    link led to `slot`, `None` when that is the list's head.
    """

    bin: int
    slot: int | None
    value: int
    expected: int | None
    again: bool = False
    via: int | None = None


def _alike(links: list[int], expected: range) -> int:
    """How many of the first links are as expected."""
    if links[:-1] == [*expected]:
        return len(expected)
    places = enumerate(zip(links, expected, strict=False))
    return next((at for at, (link, other) in places if link != other), len(links) - 1)


class FreeBlocks(Container[int]):
    """The addresses of free blocks: single ones, and rows of blocks side by side, as in pages never used so far."""

    def __init__(self, single: set[int], rows: list[range]) -> None:
        self._single = single
        self._rows = sorted(rows, key=attrgetter("start"))
        self._starts = [row.start for row in self._rows]

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, int) or address in self._single:
            return isinstance(address, int)
        at = bisect_right(self._starts, address) - 1
        return at >= 0 and address in self._rows[at]


class FreeLists:
    """All free blocks, found by walking the lists: `free`. `missing` tells that a part of them is not in the core."""

    def __init__(self, chunks: Chunks, shape: Shape, heads: tuple[int, ...]) -> None:
        self._chunks = chunks
        self._key = shape.key
        self._most = chunks.most
        self._views: dict[int, memoryview[int]] = {}
        self.missing = False
        self.bad: list[BadLink] = []
        single, rows = set[int](), list[range]()
        counts = [self._blocks(number, head, single, rows) for number, head in enumerate(heads)]
        whole = [count for count in counts if count is not None]
        if len(whole) == len(heads) or self.missing:  # nearly every heap has no broken list
            self.counts = whole
            self.free: Container[int] = FreeBlocks(single, rows)
            return
        found = [self._walk(number, head) for number, head in enumerate(heads)]
        self.counts = [len(blocks) for blocks in found]
        self.free = set[int]().union(*found)

    def _blocks(self, number: int, head: int, single: set[int], rows: list[range]) -> int | None:
        """Add the blocks of one list to both; their number, `None` where a link cannot be right.

        There are thousands, so nothing is called for each. A list that ends has no block twice.
        """
        size, before, most = BINS[number].size, self._key is None, self._most
        count = 0
        address, low, high, view = head, 0, 0, _NOTHING
        while address:
            if not low <= address < high:  # in another run of pages than the one before it
                low, high, view = self._run_at(address, number)
            if address >= high or (address - low) % size or count > most:
                return None
            link = view[(address - low) >> 3]
            if before and link == address + size < high and view[(link - low) >> 3] == link + size:
                # Much of a run was never used: free block after block, which is seen at one glance.
                links = view[(address - low) >> 3 :: size >> 3].tolist()
                ahead = _alike(links, range(link, high, size))
                rows.append(range(address, address + ahead * size, size))
                count += ahead
                address, link = address + ahead * size, links[ahead]
            single.add(address)
            count += 1
            if not before and self._contradicts(address, link, number, view[(address - low + size - 8) >> 3]):
                return None
            address = link
        return count

    def _walk(self, number: int, head: int) -> set[int]:
        """The blocks of one list up to the first link that cannot be right, which is noted."""
        mine: set[int] = set()
        found = self._follow(number, head, mine)
        if found is not None:
            self.bad.append(found)
        return mine

    def _follow(self, number: int, head: int, mine: set[int]) -> BadLink | None:
        """Go along one list up to the first link that cannot be right; its blocks are added to `mine`."""
        size, before = BINS[number].size, self._key is None
        address, holder, via = head, None, None
        low, high, view = 0, 0, _NOTHING
        while address:
            if not low <= address < high:
                low, high, view = self._run_at(address, number)
            again = address in mine
            if again or address >= high or (address - low) % size:
                return BadLink(number, holder, address, self.shadow(holder, number), again, via)
            mine.add(address)
            link = view[(address - low) >> 3]
            coded = view[(address - low + size - 8) >> 3]
            broken = None if before else self._contradicts(address, link, number, coded)
            if broken is not None:
                return broken
            address, holder, via = link, address, holder
        return None

    def _run_at(self, address: int, number: int) -> tuple[int, int, memoryview[int]]:
        """Where the run of that class begins and ends which holds an address, and its words; all empty for none."""
        run = self._chunks.run(address)
        if run is None or run.bin != number:
            return 0, 0, _NOTHING
        span = BINS[number].size * BINS[number].blocks
        if run.start not in self._views:
            raw = self._chunks.read(run.start, span)
            if len(raw) != span:
                self.missing = True
                return 0, 0, _NOTHING
            if len(self._views) == _KEPT:
                self._views.clear()
            self._views[run.start] = memoryview(raw).cast("Q")
        return run.start, run.start + span, self._views[run.start]

    def _contradicts(self, address: int, link: int, number: int, coded: int) -> BadLink | None:
        """The link of a block against its copy, which is `coded`."""
        expected = self._decoded(coded)
        # The last link of a list has no shadow of its own; zero over a link that had one is damage.
        wiped = link == 0 and expected and self.fits(expected, number)
        if (link and link != expected) or wiped:
            return BadLink(number, address, link, expected if self._plausible(expected, number) else None)
        return None

    def fits(self, address: int, number: int) -> bool:
        """Whether there is a block of that class which begins exactly at `address`."""
        slot = self._chunks.slot(address)
        return slot is not None and slot[0] == address and slot[1] == number

    def _plausible(self, address: int, number: int) -> bool:
        return address == 0 or self.fits(address, number)

    def shadow(self, slot: int | None, number: int) -> int | None:
        """The copy of a free block's link at its end (PHP 8.4 and newer), decoded."""
        if slot is None or self._key is None:
            return None
        return self._decoded(self._chunks.word(slot + BINS[number].size - 8))

    def _decoded(self, coded: int) -> int:
        return int.from_bytes(((coded ^ (self._key or 0)) & _MASK).to_bytes(8, "little"), "big")
