"""What an answer was made of in one process, held against another process whose files and heaps lie elsewhere.

Where a process's files, heaps and stacks lie is drawn by lot (address space layout randomisation). What was
read there is the same in every process but for the addresses in it, each of which is off by as much as the area
it leads into was moved. Files tell by how much themselves; any other area by the first address that leads into
it. One word that does not fit, and the evidence does not hold.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from triage.corefile.evidence import Evidence, Noting, joined
from triage.corefile.memory import CoreMemory
from triage.corefile.modules import MappedModule
from triage.corefile.protocol import Region

_GAP = 8192  # one longer read with what nobody looked at in it is sooner done than two
_NO_ADDRESS = 1 << 64
_STEP = 16  # what malloc() aligns to: nothing is moved by less
_LARGEST = 1 << 16  # bytes: each word of them is looked at, once


class Files(NamedTuple):
    """Which files a process has, one object for all processes that have the same, and where each lies.

    Of a file `same` has path, build-id, whether it was removed, and its bounds relative to its base.
    """

    same: tuple[tuple[str, str | None, bool, int, int], ...]
    modules: tuple[MappedModule, ...]
    bases: tuple[int, ...]


def files_of(modules: Sequence[MappedModule]) -> Files:
    """The files, in an order that does not depend on where they lie."""
    ordered = sorted(modules)  # by path, then by where they begin
    same = [(path, build, deleted, start - base, end - base) for path, start, end, base, build, deleted in ordered]
    return Files(tuple(same), tuple(ordered), tuple([base for _, _, _, base, _, _ in ordered]))


class Areas:
    """Where one process has what: its files, in the order of `Files`, then everything else that is mapped."""

    def __init__(self, memory: CoreMemory, files: Files) -> None:
        spans = [
            (base + start, base + end, number)
            for number, (base, (_, _, _, start, end)) in enumerate(zip(files.bases, files.same, strict=True))
        ]
        self.files = len(spans)
        taken = sorted(spans)
        starts = [start for start, _, _ in taken]
        for region in memory.regions():
            before = bisect_right(starts, region.start) - 1
            if before < 0 or region.start >= taken[before][1]:
                spans.append((region.start, region.end, len(spans)))
        self._spans = sorted(spans)
        self._starts = [start for start, _, _ in self._spans]
        self.at = lru_cache(maxsize=4096)(self._at)
        """The number of the area that holds an address. The same ones are asked for with each process."""

    def _at(self, address: int) -> int | None:
        before = bisect_right(self._starts, address) - 1
        if before < 0 or address >= self._spans[before][1]:
            return None
        return self._spans[before][2]

    def __len__(self) -> int:
        return len(self._spans)


class Unmoved(LookupError):
    """Where an address lies in the other process is not known."""


class Shift:
    """By how much each area of one process lies elsewhere in another; `None` where that is not known."""

    def __init__(self, areas: Areas, by: list[int | None]) -> None:
        self._areas = areas
        self._by = by

    def moved(self, address: int) -> int:
        """Where this address of the one process lies in the other; what is no address stays as it is.

        Raises:
            Unmoved: when nothing that was read led into its area.
        """
        area = self._areas.at(address)
        if area is None:
            return address
        by = self._by[area]
        if by is None:
            raise Unmoved(hex(address))
        return address + by


class _Link(NamedTuple):
    """An address `place` bytes into its piece, and the area it leads into."""

    place: int
    area: int
    address: int


class _Piece(NamedTuple):
    """Neighbouring stretches of memory, read at once. `spans` of it were looked at, `(from, to)`.

    `parts` are what they hold, in order: addresses, and what is none.
    """

    area: int
    spans: tuple[tuple[int, int], ...]
    parts: tuple[bytes | _Link, ...]

    @property
    def links(self) -> Iterator[_Link]:
        """The addresses in it."""
        return (part for part in self.parts if isinstance(part, _Link))


class _Read(NamedTuple):
    """How a piece is read in another process: `looked` takes the stretches out of it.

    `tells` are the first addresses to lead into an area that nothing read before leads into.
    """

    area: int
    start: int
    size: int
    looked: Struct
    tells: tuple[_Link, ...]


class _Addresses(NamedTuple):
    """Addresses that lead into one area, from `low` to `high`, as one number of 64 bits each.

    `ones` has a one in the place of each: that many times a distance moves all of them at once.
    """

    area: int
    low: int
    high: int
    together: int
    ones: int
    words: Struct

    @classmethod
    def of(cls, area: int, addresses: Sequence[int]) -> _Addresses:
        """All of these."""
        together = int.from_bytes(b"".join(one.to_bytes(8, "little") for one in addresses), "little")
        ones = int.from_bytes((1).to_bytes(8, "little") * len(addresses), "little")
        return cls(area, min(addresses), max(addresses), together, ones, Struct("8s" * len(addresses)))


class _Contents:
    """All that pieces hold, put together for a process in which all lies elsewhere: at once, and each value once."""

    def __init__(self, pieces: Iterable[_Piece]) -> None:
        parts = [part for piece in pieces for part in piece.parts]
        parts.append(b"")  # one item alone would come without its tuple
        self._plain = [*dict.fromkeys(part for part in parts if isinstance(part, bytes))]
        links = dict.fromkeys(part[1:] for part in parts if isinstance(part, _Link))
        by_area: dict[int, list[int]] = {}
        for area, address in links:
            by_area.setdefault(area, []).append(address)
        self._addresses = [_Addresses.of(area, addresses) for area, addresses in by_area.items()]
        keys: list[object] = [*self._plain, *((area, one) for area, found in by_area.items() for one in found)]
        numbers = {key: number for number, key in enumerate(keys)}
        self._in_order = itemgetter(*(numbers[part if isinstance(part, bytes) else part[1:]] for part in parts))
        self.size = sum(40 + len(raw) for raw in self._plain) + 60 * len(links) + 24 * len(parts)
        """Bytes it takes to keep, about."""

    def moved(self, by: Sequence[int | None]) -> bytes | None:
        """The bytes, each area's addresses moved by so much; `None` where one is then no address."""
        values = [*self._plain]
        for area, low, high, together, ones, words in self._addresses:
            off = by[area] or 0
            if low + off < 0 or high + off >= _NO_ADDRESS:
                return None
            values += words.unpack((together + off * ones).to_bytes(words.size, "little"))
        return b"".join(self._in_order(values))


class Movable(NamedTuple):
    """Evidence without the addresses it was found at."""

    bases: tuple[int, ...]
    areas: Areas
    spans: tuple[tuple[int, int], ...]
    reads: tuple[_Read, ...]
    contents: _Contents
    lacking: tuple[tuple[int, int], ...]
    told: tuple[tuple[Callable[..., object], tuple[Hashable, ...], object], ...]

    def holds(self, memory: CoreMemory, files: Files) -> Shift | None:
        """By how much everything was moved, where a process with the same files has the same in its memory."""
        by: list[int | None] = [new - old for new, old in zip(files.bases, self.bases, strict=True)]
        by += [None] * (len(self.areas) - len(by))
        found = self._read(memory, by)
        if found is None or found != self.contents.moved(by):
            return None
        shift = Shift(self.areas, by)
        try:
            lacking = all(memory.read(shift.moved(at), size) is None for at, size in self.lacking)
            return shift if lacking and all(_says(memory, shift, *one) for one in self.told) else None
        except Unmoved:
            return None

    def _read(self, memory: CoreMemory, by: list[int | None]) -> bytes | None:
        """The bytes that were looked at; `by` learns how far areas were moved, where addresses lead into them."""
        found = list[bytes]()
        for area, start, size, looked, tells in self.reads:
            raw = memory.fetch(start + (by[area] or 0), size)
            if raw is None:
                return None
            for place, target, address in tells:
                by[target] = off = int.from_bytes(raw[place : place + 8], "little") - address
                if off % _STEP:
                    return None
            found += looked.unpack(raw)
        return b"".join(found)

    def there(self, memory: CoreMemory, shift: Shift) -> Evidence:
        """The same evidence with the addresses of the process it holds for."""
        spans = [(shift.moved(start), end - start) for start, end in self.spans]
        return Evidence(
            tuple((at, memory.read(at, size) or b"") for at, size in spans),
            tuple((shift.moved(at), size) for at, size in self.lacking),
            tuple((question, _asked(asked, shift), _moved(answer, shift)) for question, asked, answer in self.told),
        )

    @property
    def size(self) -> int:
        """Bytes it takes to keep, about."""
        rest = 300 * len(self.reads) + 100 * (len(self.spans) + len(self.lacking) + len(self.told))
        return self.contents.size + rest


def _says(
    memory: CoreMemory, shift: Shift, question: Callable[..., object], asked: tuple[Hashable, ...], answer: object
) -> bool:
    return question(memory, *_asked(asked, shift)) == _moved(answer, shift)


def _asked(asked: tuple[Hashable, ...], shift: Shift) -> tuple[Hashable, ...]:
    return tuple([shift.moved(one) if type(one) is int else one for one in asked])


def _moved(answer: object, shift: Shift) -> object:
    """What is told in the other process: of all that can be asked only regions have addresses in them."""
    if not isinstance(answer, Region):
        return answer
    start = shift.moved(answer.start)
    return answer._replace(start=start, end=start + answer.end - answer.start)


def movable(noting: Noting, files: Files) -> Movable | None:
    """What was noted in a process with these files; `None` where it leads nowhere without its addresses.

    The core may be closed by now.
    """
    answers, told = noting.answers, noting.told
    if sum(map(len, answers.values())) > _LARGEST or not all(_can_move(answer) for _, _, answer in told):
        return None
    areas = Areas(noting.plain, files)
    pieces = [_piece(areas, several) for several in _together(_apart(answers))]
    ordered = _in_order([piece for piece in pieces if piece is not None], areas)
    if None in pieces or ordered is None:
        return None
    spans = tuple(span for piece in ordered for span in piece.spans)
    reads = tuple(_reads(ordered, areas))
    return Movable(files.bases, areas, spans, reads, _Contents(ordered), noting.lacking, told)


def _can_move(answer: object) -> bool:
    return answer is None or isinstance(answer, bool | bytes | Region)


def _apart(answers: Mapping[tuple[int, int], bytes]) -> Iterator[tuple[int, bytes]]:
    """What was read, in stretches that do not touch."""
    ordered = sorted(answers)
    for start, end in joined(ordered, 0):
        raw = bytearray(end - start)
        for at, size in ordered[bisect_left(ordered, (start,)) : bisect_left(ordered, (end,))]:
            raw[at - start : at - start + size] = answers[at, size]
        yield start, bytes(raw)


def _together(stretches: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Neighbours that are to be read at once."""
    several: list[tuple[int, bytes]] = []
    for start, raw in stretches:
        if several and start > several[-1][0] + len(several[-1][1]) + _GAP:
            yield several
            several = []
        several.append((start, raw))
    if several:
        yield several


def _in_order(pieces: Sequence[_Piece], areas: Areas) -> list[_Piece] | None:
    """The pieces, each behind one that tells where its area is; `None` where a piece cannot be reached so."""
    known = set(range(areas.files))
    left, found = list(pieces), list[_Piece]()
    while left:
        reached = [piece for piece in left if piece.area in known]
        if not reached:
            return None
        left = [piece for piece in left if piece.area not in known]
        found += reached
        known.update(link.area for piece in reached for link in piece.links)
    return found


def _reads(pieces: Iterable[_Piece], areas: Areas) -> Iterator[_Read]:
    """How these pieces are read one after another."""
    known = set(range(areas.files))
    for piece in pieces:
        start, end = piece.spans[0][0], piece.spans[-1][1]
        first = {link.area: link for link in (*piece.links,)[::-1] if link.area not in known}
        known.update(first)
        yield _Read(piece.area, start, end - start, _taking(piece.spans), tuple(first.values()))


def _taking(spans: Sequence[tuple[int, int]]) -> Struct:
    """What takes these stretches out of all that lies between the first and the last."""
    format, at = ["<"], spans[0][0]
    for start, end in spans:
        format.append(f"{start - at}x{end - start}s")
        at = end
    return Struct("".join(format))


def _piece(areas: Areas, stretches: Sequence[tuple[int, bytes]]) -> _Piece | None:
    """What these neighbours hold, addresses apart from all else; `None` where nothing is mapped."""
    first = stretches[0][0]
    area, parts = areas.at(first), list[bytes | _Link]()
    if area is None:
        return None
    for start, raw in stretches:
        begun = 0
        for at in range(-start % 8, len(raw) - 7, 8):
            word = int.from_bytes(raw[at : at + 8], "little")
            target = areas.at(word)
            if target is not None:
                parts += [raw[begun:at], _Link(start + at - first, target, word)]
                begun = at + 8
        parts.append(raw[begun:])
    spans = tuple((start, start + len(raw)) for start, raw in stretches)
    return _Piece(area, spans, tuple(part for part in parts if part))
