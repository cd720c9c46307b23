"""What is mapped where in one process, as the core's segments and its list of mapped files tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import compress
from operator import itemgetter

from triage.corefile.elf import PF_R, PT_LOAD, Columns, Row, turned
from triage.corefile.mappings import FileMapping, Mappings, mappings_of
from triage.corefile.protocol import Region

_ADDRESS = itemgetter(3)
_MOST = 16

Span = tuple[int, int, int]
"""What the file has of a segment: `(first place, end, distance of an address from its place)`."""


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
