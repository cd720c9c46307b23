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
    tells; `again` is true when the link leads to a block that is in the list already.
    """

    bin: int
    slot: int | None
    value: int
    expected: int | None
    again: bool = False


class FreeLists:
    """All free blocks, found by walking the lists. `free` holds their addresses."""

    def __init__(self, chunks: Chunks, shape: Shape, heads: tuple[int, ...]) -> None:
        self._chunks = chunks
        self._key = shape.key
        self._views: dict[int, memoryview[int]] = {}
        self.free: set[int] = set()
        self.counts = [0] * len(BINS)
        self.bad: list[BadLink] = []
        for number, head in enumerate(heads):
            found = self._walk(number, head)
            if found is not None:
                self.bad.append(found)

    def _walk(self, number: int, head: int) -> BadLink | None:
        mine: set[int] = set()
        found = self._follow(number, head, mine)
        self.free.update(mine)
        self.counts[number] = len(mine)
        return found

    def _follow(self, number: int, head: int, mine: set[int]) -> BadLink | None:
        """Go along one list; its blocks are added to `mine`. Heaps have thousands: nothing is called for each."""
        size, span = BINS[number].size, BINS[number].size * BINS[number].blocks
        before = self._key is None
        address, holder, low, high = head, None, 0, 0
        here, view = 0, None
        while address:
            if not low <= address < high:  # in another run of pages than the one before it
                run, here, view = self._at(address)
                low = run.start if run is not None and run.bin == number else address + 1
                high = low + span
            if address < low or address >= high or (address - low) % size:
                return BadLink(number, holder, address, self.shadow(holder, number))
            if address in mine:
                return BadLink(number, holder, address, self.shadow(holder, number), again=True)
            mine.add(address)
            link = view[(address - here) >> 3] if view is not None else self._chunks.word(address)
            broken = None if before else self._contradicts(address, link, number)
            if broken is not None:
                return broken
            address, holder = link, address
        return None

    def _at(self, address: int) -> tuple[Run | None, int, memoryview[int] | None]:
        """The small run that holds an address, where its chunk begins, and the chunk's words if they were kept."""
        base = address & _BASE
        chunk = self._chunks.by_address.get(base)
        if chunk is None:
            return None, base, None
        if base not in self._views and chunk.data is not None:
            self._views[base] = memoryview(chunk.data).cast("Q")
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
