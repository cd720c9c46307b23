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
from struct import Struct
from typing import NamedTuple

from triage.corefile.evidence import Evidence, Noting, joined
from triage.corefile.memory import CoreMemory
from triage.corefile.modules import MappedModule
from triage.corefile.protocol import Region

_GAP = 8192  # one longer read with what nobody looked at in it is sooner done than two
_STEP = 16  # what malloc() aligns to: nothing is moved by less
_MANY = 8
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
    ordered = sorted(modules, key=_by_name)
    same = tuple([(m.path, m.build_id, m.deleted, m.start - m.base, m.end - m.base) for m in ordered])
    return Files(same, tuple(ordered), tuple([module.base for module in ordered]))


def _by_name(module: MappedModule) -> tuple[str, int]:
    return module.path, module.start


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


class _Links(NamedTuple):
    """Many addresses in one piece that lead into one area."""

    area: int
    places: Struct
    addresses: tuple[int, ...]


class _Singles(NamedTuple):
    """All other addresses in a piece, each with the area it leads into."""

    areas: tuple[int, ...]
    places: Struct
    addresses: tuple[int, ...]


class _Piece(NamedTuple):
    """A stretch of memory: what in it is no address, and what is. `spans` of it were looked at, `(from, to)`."""

    area: int
    spans: tuple[tuple[int, int], ...]
    plain: Struct
    contents: tuple[bytes, ...]
    links: tuple[_Links, ...]
    singles: _Singles

    @property
    def leads_to(self) -> set[int]:
        """The areas whose shift this piece tells."""
        return {*self.singles.areas, *(one.area for one in self.links)}


class Movable(NamedTuple):
    """Evidence without the addresses it was found at."""

    bases: tuple[int, ...]
    areas: Areas
    pieces: tuple[_Piece, ...]
    lacking: tuple[tuple[int, int], ...]
    told: tuple[tuple[Callable[..., object], tuple[Hashable, ...], object], ...]

    def holds(self, memory: CoreMemory, files: Files) -> Shift | None:
        """By how much everything was moved, where a process with the same files has the same in its memory."""
        by: list[int | None] = [new - old for new, old in zip(files.bases, self.bases, strict=True)]
        by += [None] * (len(self.areas) - len(by))
        if not all(_fits(piece, memory, by) for piece in self.pieces):
            return None
        shift = Shift(self.areas, by)
        try:
            lacking = all(memory.read(shift.moved(at), size) is None for at, size in self.lacking)
            return shift if lacking and all(_says(memory, shift, *one) for one in self.told) else None
        except Unmoved:
            return None

    def there(self, memory: CoreMemory, shift: Shift) -> Evidence:
        """The same evidence with the addresses of the process it holds for."""
        spans = [(shift.moved(start), end - start) for piece in self.pieces for start, end in piece.spans]
        return Evidence(
            tuple((at, memory.read(at, size) or b"") for at, size in spans),
            tuple((shift.moved(at), size) for at, size in self.lacking),
            tuple((question, _asked(asked, shift), _moved(answer, shift)) for question, asked, answer in self.told),
        )

    @property
    def size(self) -> int:
        """Bytes it takes to keep, about."""
        return sum(_size(piece) for piece in self.pieces) + 100 * (len(self.lacking) + len(self.told))


def _size(piece: _Piece) -> int:
    addresses = len(piece.singles.addresses) + sum(len(one.addresses) for one in piece.links)
    return 300 + sum(40 + len(raw) for raw in piece.contents) + 100 * len(piece.links) + 40 * addresses


def _fits(piece: _Piece, memory: CoreMemory, by: list[int | None]) -> bool:
    """Whether this piece is there, moved; `by` learns how far the areas it leads into were moved."""
    area, spans, plain, contents, links, (areas, places, singles) = piece
    moved = by[area]
    raw = memory.read(spans[0][0] + moved, plain.size) if moved is not None else None
    if raw is None or plain.unpack(raw) != contents:
        return False
    for target, address, found in zip(areas, singles, places.unpack(raw), strict=True):
        if found - address != by[target] and not _is_news(by, target, found - address):
            return False
    for target, where, addresses in links:
        there = where.unpack(raw)
        off = by[target] or 0
        if by[target] is None and not _is_news(by, target, off := there[0] - addresses[0]):
            return False
        if there != tuple([address + off for address in addresses]):
            return False
    return True


def _is_news(by: list[int | None], area: int, off: int) -> bool:
    """Whether this is the first that is told of how far an area was moved."""
    if by[area] is not None or off % _STEP:
        return False
    by[area] = off
    return True


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
    return Movable(files.bases, areas, tuple(ordered), noting.lacking, told)


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
        known.update(area for piece in reached for area in piece.leads_to)
    return found


def _piece(areas: Areas, stretches: Sequence[tuple[int, bytes]]) -> _Piece | None:
    """What these neighbours hold, addresses apart from all else; `None` where nothing is mapped."""
    first, (last, rest) = stretches[0][0], stretches[-1]
    area, size = areas.at(first), last + len(rest) - first
    if area is None:
        return None
    plain, contents, links = list[tuple[int, str, int]](), list[bytes](), dict[int, list[tuple[int, int]]]()
    for start, raw in stretches:
        begun = 0
        for at in (*range(-start % 8, len(raw) - 7, 8), len(raw)):
            word = int.from_bytes(raw[at : at + 8], "little")
            target = areas.at(word) if at < len(raw) else None
            if target is not None:
                links.setdefault(target, []).append((start + at - first, word))
            if (target is not None or at == len(raw)) and at > begun:
                plain.append((start + begun - first, f"{at - begun}s", at - begun))
                contents.append(raw[begun:at])
            if target is not None:
                begun = at + 8
    many = {target: found for target, found in links.items() if len(found) >= _MANY}
    single = sorted((*one, target) for target, found in links.items() if target not in many for one in found)
    return _Piece(
        area,
        tuple((start, start + len(raw)) for start, raw in stretches),
        _struct(plain, size),
        tuple(contents),
        tuple(_Links(target, _words(found, size), _addresses(found)) for target, found in many.items()),
        _Singles(tuple(target for _, _, target in single), _words(single, size), _addresses(single)),
    )


def _addresses(found: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(address for _, address, *_ in found)


def _words(found: Sequence[tuple[int, ...]], size: int) -> Struct:
    return _struct([(at, "Q", 8) for at, *_ in found], size)


def _struct(fields: Sequence[tuple[int, str, int]], size: int) -> Struct:
    """What takes these fields `(place, format, size)` out of so many bytes."""
    format, at = ["<"], 0
    for place, code, length in fields:
        format.append(f"{place - at}x{code}")
        at = place + length
    return Struct("".join((*format, f"{size - at}x")))
