"""The lists of free blocks, one a size class, and the first link of each that cannot be right."""

from __future__ import annotations

from dataclasses import dataclass

from triage.runtimes.php.heap.bins import BINS, CHUNK, PAGE
from triage.runtimes.php.heap.chunks import Chunks, Run
from triage.runtimes.php.heap.shape import Shape

_MASK = (1 << 64) - 1
_BASE = ~(CHUNK - 1)


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


class FreeLists:
    """All free blocks, found by walking the lists. `free` holds their addresses."""

    def __init__(self, chunks: Chunks, shape: Shape, heads: tuple[int, ...]) -> None:
        self._chunks = chunks
        self._key = shape.key
        self._views: dict[int, memoryview[int]] = {}
        self.counts = [0] * len(BINS)
        self.bad: list[BadLink] = []
        lists = [self._blocks(number, head) for number, head in enumerate(heads)]
        whole = [blocks for blocks in lists if blocks is not None]
        self.free = set[int]().union(*whole)
        # No list is broken and no block comes twice: that is so in nearly every heap, and is quickly seen.
        if len(whole) == len(lists) and len(self.free) == sum(map(len, whole)):
            self.counts = [len(blocks) for blocks in whole]
            return
        self.free = set()
        for number, head in enumerate(heads):
            found = self._walk(number, head)
            if found is not None:
                self.bad.append(found)

    def _blocks(self, number: int, head: int) -> list[int] | None:
        """The blocks of one list, `None` where a link cannot be right: thousands, so nothing is called for each."""
        size, span = BINS[number].size, BINS[number].size * BINS[number].blocks
        before = self._key is None
        address, low, high, here = head, 0, 0, 0
        view: memoryview[int] | None = None
        found: list[int] = []
        most = self._chunks.most
        while address:
            if not low <= address < high:  # in another run of pages than the one before it
                run, here, view = self._at(address)
                if run is None or run.bin != number or view is None:
                    return None
                low, high = run.start, run.start + span
            if (address - low) % size or len(found) > most or view is None:
                return None
            link = view[(address - here) >> 3]
            if link == address + size and link < high and before:
                # Much of a run was never used: free block after block, which is seen at one glance.
                links = view[(address - here) >> 3 : (high - here) >> 3 : size >> 3].tolist()
                ahead = _alike(links, range(link, high, size))
                found += range(address, address + ahead * size, size)
                address, link = address + ahead * size, links[ahead]
            found.append(address)
            if not before and self._contradicts(address, link, number) is not None:
                return None
            address = link
        return found

    def _walk(self, number: int, head: int) -> BadLink | None:
        mine: set[int] = set()
        found = self._follow(number, head, mine)
        self.free.update(mine)
        self.counts[number] = len(mine)
        return found

    def _follow(self, number: int, head: int, mine: set[int]) -> BadLink | None:
        """Go along one list up to the first link that cannot be right; its blocks are added to `mine`."""
        size, span = BINS[number].size, BINS[number].size * BINS[number].blocks
        before = self._key is None
        address, holder, via, low, high = head, None, None, 0, 0
        here, view = 0, None
        while address:
            if not low <= address < high:  # in another run of pages than the one before it
                run, here, view = self._at(address)
                low = run.start if run is not None and run.bin == number else address + 1
                high = low + span
            again = address in mine
            if again or address < low or address >= high or (address - low) % size:
                return BadLink(number, holder, address, self.shadow(holder, number), again, via)
            mine.add(address)
            link = view[(address - here) >> 3] if view is not None else self._chunks.word(address)
            broken = None if before else self._contradicts(address, link, number)
            if broken is not None:
                return broken
            address, holder, via = link, address, holder
        return None

    def _at(self, address: int) -> tuple[Run | None, int, memoryview[int] | None]:
        """The small run that holds an address, where its chunk begins, and the chunk's words if they were kept."""
        base = address & _BASE
        chunk = self._chunks.by_address.get(base)
        if chunk is None:
            return None, base, None
        if base not in self._views and base in self._chunks.data:
            self._views[base] = memoryview(self._chunks.data[base]).cast("Q")
        return chunk.runs.get((address - base) // PAGE), base, self._views.get(base)

    def _contradicts(self, address: int, link: int, number: int) -> BadLink | None:
        """The link of a block against its copy."""
        expected = self.shadow(address, number)
        # The last link of a list has no shadow of its own; zero over a link that had one is damage.
        wiped = link == 0 and expected and self.fits(expected, number)
        if expected is not None and ((link and link != expected) or wiped):
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
        coded = self._chunks.word(slot + BINS[number].size - 8) ^ self._key
        return int.from_bytes((coded & _MASK).to_bytes(8, "little"), "big")
