"""The lists of free blocks, one a size class, and the first link of each that cannot be right."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

from triage.corefile.memory import Words
from triage.runtimes.php.heap.bins import BINS, CHUNK
from triage.runtimes.php.heap.chunks import Chunks
from triage.runtimes.php.heap.shape import Shape

_MASK = (1 << 64) - 1
_KEPT = 8192
_NOTHING, _NOWHERE = memoryview(b"").cast("Q"), frozenset[int]()
_PLACES = tuple(frozenset(range(0, row.size * row.blocks, row.size)) for row in BINS)
"""Where in a run of each size class its blocks begin, in bytes."""
_MARKS = (b"\1\2\3\4\5\6", b"\xf1\xf2\xf3\xf4\xf5\xf6")


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


class _Pattern(NamedTuple):
    """The links of a run never used, each to the next block, with marks for the six upper bytes of all of them."""

    links: bytes
    marks: bytes


@lru_cache(maxsize=512)  # at most sixteen a size class
def _pattern(number: int, low: int) -> _Pattern | None:
    """That of a run whose own address ends with `low` (16 bits); `None` where the upper bytes are not the same."""
    size, blocks, _ = BINS[number]
    links = range(low + size, low + size * blocks, size)
    if links[-1] >> 16:
        return None
    # No byte of an address is a mark: the lowest is a multiple of 8, the second one of a few in a row.
    marks = _MARKS[0] if low >> 8 > max(_MARKS[0]) else _MARKS[1]
    return _Pattern(b"".join(link.to_bytes(2, "little") + marks for link in links), marks)


def _row(number: int, start: int, view: memoryview, at: int) -> int:
    """How many blocks in a row follow each other in the list, from the one at `at` bytes in a run on: mostly all."""
    size = BINS[number].size
    step = size >> 3
    links = view[at >> 3 : -step : step]
    pattern = _pattern(number, start & 0xFFFF)
    if pattern is not None:
        upper = bytes.maketrans(pattern.marks, (start >> 16).to_bytes(6, "little"))
        if links.tobytes() == pattern.links[at // size * 8 :].translate(upper):
            return len(links) + 1
    expected = range(start + at + size, start + at + (len(links) + 1) * size, size)
    places = enumerate(zip(links, expected, strict=True), 1)
    return next((place for place, (link, other) in places if link != other), len(links) + 1)


def _vouched(view: memoryview, at: int, size: int, count: int, key: int) -> bool:
    """Whether the copies that PHP (8.4 and newer) keeps of so many links in a row say the same as they do."""
    first, step = at >> 3, size >> 3
    links = array("Q", view[first : first + count * step : step].tobytes())
    links.byteswap()
    copies = view[first + step - 1 : first + count * step : step].tobytes()
    keys = int.from_bytes(key.to_bytes(8, "little") * count, "little")
    return int.from_bytes(links.tobytes(), "little") ^ keys == int.from_bytes(copies, "little")


class FreeBlocks(Container[int]):
    """The addresses of free blocks: single ones, and rows of blocks side by side, as in pages never used so far."""

    def __init__(self, single: set[int], rows: list[range]) -> None:
        self._single = single
        self._rows = {row.start: row for row in rows}
        self._starts = sorted(self._rows)

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, int) or address in self._single:
            return isinstance(address, int)
        at = bisect_right(self._starts, address) - 1
        return at >= 0 and address in self._rows[self._starts[at]]


class FreeLists:
    """All free blocks, found by walking the lists: `free`. `missing` tells that a part of them is not in the core."""

    def __init__(self, chunks: Chunks, shape: Shape, heads: tuple[int, ...]) -> None:
        self._chunks = chunks
        self._key = shape.key
        self._words: Words | None = None
        self._views: dict[int, memoryview] = {}
        self.missing = False
        self.bad: list[BadLink] = []
        with chunks.words() as words:
            self._words = words
            self._find(heads)
        self._words = None
        self._views.clear()

    def _find(self, heads: tuple[int, ...]) -> None:
        single, rows = set[int](), list[range]()
        made = self._chunks.made
        counts = [self._blocks(number, head, made[number], single, rows) for number, head in enumerate(heads)]
        whole = [count for count in counts if count is not None]
        if len(whole) == len(heads) or self.missing:  # nearly every heap has no broken list
            self.counts = whole
            self.free: Container[int] = FreeBlocks(single, rows)
            return
        found = [self._walk(number, head) for number, head in enumerate(heads)]
        self.counts = [len(blocks) for blocks in found]
        self.free = set[int]().union(*found)

    def _blocks(self, number: int, head: int, most: int, single: set[int], rows: list[range]) -> int | None:
        """Add the blocks of one list to both; their number, `None` where a link cannot be right.

        There are thousands, so nothing is called for each. A list that ends has no block twice, and not more than
        `most`, which are all of its size class.
        """
        size, key, add, singles = BINS[number].size, self._key, single.add, len(single)
        address, in_rows = head, 0
        start, view, places = self._run_at(head, number)
        for _ in repeat(None, most if head else 0):
            at = address - start
            if at not in places:  # in another run of pages than the one before it
                start, view, places = self._run_at(address, number)
                at = address - start
                if at not in places:
                    return None
            link = view[at >> 3]
            row = 0
            if link - address == size and at + size in places and view[at + size >> 3] - link == size:
                # Much of a run was never used: free block after block, which is seen at one glance.
                row = _row(number, start, view, at)
            if row and (key is None or _vouched(view, at, size, row - 1, key)):
                rows.append(range(address, address + row * size, size))
                in_rows += row
                if in_rows > most:
                    return None
                at += (row - 1) * size
                address, link = at + start, view[at >> 3]
            else:
                add(address)
            if key is not None and self._contradicts(address, link, number, view[at + size - 8 >> 3]):
                return None
            if not link:
                return in_rows + len(single) - singles
            address = link
        return None if head else 0

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
        start, view, places = self._run_at(head, number)
        while address:
            if address - start not in places:
                start, view, places = self._run_at(address, number)
            again, at = address in mine, address - start
            if again or at not in places:
                return BadLink(number, holder, address, self.shadow(holder, number), again, via)
            mine.add(address)
            link, coded = view[at >> 3], view[at + size - 8 >> 3]
            broken = None if before else self._contradicts(address, link, number, coded)
            if broken is not None:
                return broken
            address, holder, via = link, address, holder
        return None

    def _run_at(self, address: int, number: int) -> tuple[int, memoryview, frozenset[int]]:
        """Where the run of that class begins which holds an address, its words, and where in it blocks begin.

        Nowhere, where there is none.
        """
        chunk = address & -CHUNK
        pages = self._chunks.by_address.get(chunk)
        run = pages.runs.get(address - chunk >> 12) if pages is not None else None
        if run is None or run[2] != number:
            return 0, _NOTHING, _NOWHERE
        start, size, words = chunk + run[0], run[1], self._words
        if words is not None and words.start <= start and start + size <= words.end:
            at = start - words.start >> 3
            return start, words.view[at : at + (size >> 3)], _PLACES[number]
        view = self._views.get(start) or self._read(start, size)
        return start, view, _PLACES[number] if view else _NOWHERE

    def _read(self, start: int, size: int) -> memoryview:
        """The words of a run that does not lie with the others; empty where they are not all there."""
        raw = self._chunks.read(start, size)
        if len(raw) != size:
            self.missing = True
            return _NOTHING
        if len(self._views) == _KEPT:
            self._views.clear()
        self._views[start] = view = memoryview(raw).cast("Q")
        return view

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
