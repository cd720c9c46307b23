"""What is mapped where in one process, as the core's segments and its list of mapped files tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from triage.corefile.elf import PF_R, PT_LOAD, Columns, Row, turned
from triage.corefile.mappings import FileMapping, Mappings, mappings_of
from triage.corefile.protocol import Region

_ADDRESS = itemgetter(3)
_MOST = 16
_MOST_GATHERS = 64
_GAP, _LONGEST = 4096, 1 << 16  # up to so many bytes between them two pieces are sooner read at once

Span = tuple[int, int, int]
"""What the file has of a segment: `(first place, end, distance of an address from its place)`."""


class Cluster(NamedTuple):
    """Neighbouring pieces, read at once: `size` bytes at `place` in the file, of which `parts` takes `contents`."""

    place: int
    size: int
    parts: Callable[[bytes], object]
    contents: object


class Gather(NamedTuple):
    """Pieces of memory `(address, bytes)` for `Space.gather`; `apart` are those that do not lie in one segment."""

    pieces: tuple[tuple[int, bytes], ...]
    clusters: tuple[Cluster, ...]
    apart: tuple[tuple[int, bytes], ...]


class Space:
    """The segments of a core of `size` bytes that are in memory, by address, and the files there.

    The workers of one master have one object: what is worked out for one of them holds for all.
    """

    def __init__(self, segments: Columns, files: Sequence[FileMapping], size: int) -> None:
        self._size = size
        self.mappings = mappings_of(files)
        loads = _loaded(segments)
        if not _have_segments(self.mappings, loads.addresses):
            loads = _with(loads, list(_left_out(loads, self.mappings)))
        self.loads = loads
        self.starts = loads.addresses
        self.spans: dict[int, Span] = {}
        """By segment, as far as somebody asked."""
        self._regions: dict[int, Region] = {}
        self._gathers: dict[int, Gather] = {}

    def span(self, segment: int) -> Span:
        """What the file has of a segment."""
        loads = self.loads
        offset, size = loads.offsets[segment], min(loads.file_sizes[segment], loads.memory_sizes[segment])
        end = max(offset, min(offset + size, self._size))  # a core may be cut off
        self.spans[segment] = found = (offset, end, loads.addresses[segment] - offset)
        return found

    def at(self, address: int) -> int | None:
        """Which segment covers `address`."""
        at = bisect_right(self.starts, address) - 1
        return at if at >= 0 and address < self.starts[at] + self.loads.memory_sizes[at] else None

    def region(self, segment: int) -> Region:
        """A segment as a mapped range."""
        found = self._regions.get(segment)
        if found is None:
            start = self.starts[segment]
            mapping = self.mappings.at(start)
            end = start + self.loads.memory_sizes[segment]
            path = mapping.path if mapping else None
            self._regions[segment] = found = Region(start, end, self.loads.flags[segment], path)
        return found

    def gather(self, pieces: tuple[tuple[int, bytes], ...]) -> Gather:
        """How to take these very pieces out of a core in one go. They are asked for with each process alike."""
        found = self._gathers.get(id(pieces))
        if found is None:
            if len(self._gathers) >= _MOST_GATHERS:
                self._gathers.clear()
            self._gathers[id(pieces)] = found = self._gather(pieces)  # has the pieces: nothing else gets their id
        return found

    def _gather(self, pieces: tuple[tuple[int, bytes], ...]) -> Gather:
        placed: list[tuple[int, bytes]] = []
        apart: list[tuple[int, bytes]] = []
        for address, raw in pieces:
            segment = bisect_right(self.starts, address) - 1
            _, high, shift = (self.spans.get(segment) or self.span(segment)) if segment >= 0 else (0, 0, 0)
            place = address - shift
            if place + len(raw) <= high:
                placed.append((place, raw))
            else:
                apart.append((address, raw))
        return Gather(pieces, tuple(map(_cluster, _neighbours(sorted(placed)))), tuple(apart))


def _neighbours(placed: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Pieces by their place in the file, as many together as are sooner read at once."""
    several: list[tuple[int, bytes]] = []
    end = 0
    for place, raw in placed:
        if several and (place > end + _GAP or place + len(raw) > several[0][0] + _LONGEST):
            yield several
            several = []
        several.append((place, raw))
        end = max(end, place + len(raw))
    if several:
        yield several


def _cluster(several: Sequence[tuple[int, bytes]]) -> Cluster:
    start, end = several[0][0], max(place + len(raw) for place, raw in several)
    parts = itemgetter(*(slice(place - start, place - start + len(raw)) for place, raw in several))
    contents = several[0][1] if len(several) == 1 else tuple(raw for _, raw in several)
    return Cluster(start, end - start, parts, contents)


_RECENT: list[tuple[Columns, Mappings, int, Space]] = []


def space_of(segments: Columns, files: Sequence[FileMapping], size: int) -> Space:
    """The space of a core, the very same object for the same two objects."""
    for own, listed, length, space in _RECENT:
        if own is segments and listed is files and length == size:
            return space
    found = Space(segments, files, size)
    if isinstance(files, Mappings):  # which nobody changes
        _RECENT.insert(0, (segments, files, size, found))
        del _RECENT[_MOST:]
    return found


def _loaded(segments: Columns) -> Columns:
    """Those that are in memory, by address. The kernel writes them in that order, behind the notes."""
    first = segments.types.index(PT_LOAD) if PT_LOAD in segments.types else len(segments.types)
    found = segments.chosen(lambda column: column[first:])
    if found.types.count(PT_LOAD) < len(found.types) or not all(found.memory_sizes):
        kept = [kind == PT_LOAD and size > 0 for kind, size in zip(found.types, found.memory_sizes, strict=True)]
        found = found.chosen(lambda column: list(compress(column, kept)))
    return found if sorted(found.addresses) == found.addresses else _with(found, [])


def _with(loads: Columns, more: list[Row]) -> Columns:
    """These and more, by address."""
    return turned(sorted([*loads.rows(), *more], key=_ADDRESS))


def _have_segments(files: Mappings, addresses: list[int]) -> bool:
    """Whether each mapping of a file begins where a segment does: nearly always one follows the other in both."""
    starts, at = files.starts, 0
    for _, first, stop in files.groups:
        try:
            at = addresses.index(starts[first], at)
        except ValueError:
            return False
        behind = at + stop - first
        if addresses[at:behind] != starts[first:stop]:
            return set(addresses).issuperset(starts)
        at = behind
    return True


def _left_out(loads: Columns, files: Mappings) -> Iterator[Row]:
    """Mapped files without a segment of their own.

    The kernel announces every mapping; GDB's generate-core-file (gcore) leaves out those that hold
    nothing but the file's own bytes, and names them in NT_FILE only.
    """
    starts = loads.addresses
    own = set(starts)
    for mapping in [mapping for mapping in files if mapping.start not in own]:
        before = bisect_right(starts, mapping.start) - 1
        inside = before >= 0 and mapping.start < starts[before] + loads.memory_sizes[before]
        follows = before + 1 < len(starts) and starts[before + 1] < mapping.end
        if mapping.start < mapping.end and not inside and not follows:
            yield PT_LOAD, PF_R, 0, mapping.start, 0, mapping.end - mapping.start
