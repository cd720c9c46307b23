"""The crashed process's memory, read out of the core a few bytes at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from mmap import ALLOCATIONGRANULARITY, MADV_WILLNEED, mmap
from operator import itemgetter
from typing import TypeVar

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Buffer, Columns, Row, turned
from triage.corefile.notes import FileMapping
from triage.corefile.protocol import Region

Backing = Callable[[FileMapping], Buffer | None]
"""Gives the contents of a mapped file, or `None` when the file is missing or not the same one."""

T = TypeVar("T")
MAX_READ = 64 * 1024 * 1024
_LARGE = 64 * 1024
_ADDRESS = itemgetter(Columns._fields.index("addresses"))
_START = itemgetter(FileMapping._fields.index("start"))


def _loaded(segments: Columns) -> Columns:
    """Those that are in memory, by address. The kernel writes them in that order, behind the notes."""
    first = segments.types.index(PT_LOAD) if PT_LOAD in segments.types else len(segments.types)
    found = Columns(*(column[first:] for column in segments))
    if found.types.count(PT_LOAD) < len(found.types) or 0 in found.memory_sizes:
        kept = [kind == PT_LOAD and size > 0 for kind, size in zip(found.types, found.memory_sizes, strict=True)]
        found = Columns(*(list(compress(column, kept)) for column in found))
    return found if sorted(found.addresses) == found.addresses else _with(found, [])


def _with(loads: Columns, more: list[Row]) -> Columns:
    """These and more, by address."""
    return turned(sorted([*zip(*loads, strict=True), *more], key=_ADDRESS))


def _in_order(some: list[int], of: list[int]) -> bool:
    """Whether all of some numbers are among others, in the same order."""
    rest = iter(of)
    return all(one in rest for one in some)


def _left_out(loads: Columns, files: Sequence[FileMapping]) -> Iterator[Row]:
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


class Words:
    """A stretch of memory as 64-bit words (`view[(address - start) >> 3]`) and as bytes (`raw[address - start]`)."""

    def __init__(self, start: int, raw: memoryview, view: memoryview[int]) -> None:
        self.start = start
        self.raw = raw
        self.end = start + 8 * len(view)
        self.view = view


class CoreMemory:
    """Reads across segments; pages the kernel left out come from the mapped file, if it is proven.

    The kernel leaves out file-backed pages that nobody wrote to (code, constants). A writable
    range is never filled from the file: its contents at the crash are unknown.
    """

    notes = False
    """Whether `note` does anything (evidence.py)."""

    def __init__(
        self,
        data: Buffer,
        segments: Columns,
        files: Sequence[FileMapping],
        backing: Backing | None = None,
    ) -> None:
        self._data = data
        self._size = len(data)
        self._files = sorted(files, key=_START)
        self._file_starts = list(map(_START, self._files))
        loads = _loaded(segments)
        if not _in_order(self._file_starts, loads.addresses):
            loads = _with(loads, list(_left_out(loads, self._files)))
        self._loads = loads
        self._starts = loads.addresses
        self._backing = backing
        self._regions: dict[int, Region] = {}
        self._filled: dict[int, tuple[int, int, int]] = {}
        self._recent = (0, 0, 0)

    def use_files(self, backing: Backing) -> None:
        """Set where the contents of mapped files come from."""
        self._backing = backing

    def read(self, address: int, size: int) -> bytes | None:
        """Return `size` bytes at `address`, `None` when any of them is not known."""
        # Reads come in runs from one place: most are answered by the segment that answered the last one.
        low, high, shift = self._recent
        at = address - shift
        stop = at + size
        if low <= at < stop <= high and size <= MAX_READ:
            found = self._data[at:stop]
            if len(found) == size:
                return found
        if size <= 0:
            return b"" if size == 0 else None
        if address < 0 or size > MAX_READ:
            return None
        segment = bisect_right(self._starts, address) - 1
        if segment >= 0:
            filled = self._filled.get(segment) or self._fill(segment)
            at = address - filled[2]
            if at + size <= filled[1]:
                self._recent = filled
                if size >= _LARGE:
                    self._expect(at, size)
                found = self._data[at : at + size]
                if len(found) == size:
                    return found
        first = self._piece(address, size)
        if first is None or len(first) == size:
            return first
        pieces, have = [first], len(first)
        while have < size:
            piece = self._piece(address + have, size - have)
            if not piece:
                return None
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def _fill(self, segment: int) -> tuple[int, int, int]:
        """What the file has of a segment: `(first place, end, distance of an address from its place)`."""
        loads = self._loads
        offset, size = loads.offsets[segment], min(loads.file_sizes[segment], loads.memory_sizes[segment])
        end = max(offset, min(offset + size, self._size))  # a core may be cut off
        self._filled[segment] = found = (offset, end, loads.addresses[segment] - offset)
        return found

    def agrees(self, pieces: Iterable[tuple[int, bytes]]) -> bool:
        """Whether exactly these bytes are at these addresses: `read` for each, in one go."""
        data, (low, high, shift) = self._data, self._recent
        for address, raw in pieces:
            at = address - shift
            stop = at + len(raw)
            if not low <= at <= stop <= high:
                if self.read(address, len(raw)) != raw:
                    return False
                low, high, shift = self._recent
            elif data[at:stop] != raw:
                return False
        return True

    def ask(self, question: Callable[..., T], *asked: Hashable) -> T:
        """`question(memory, *asked)`: where only its answer matters, and not what it is made of (evidence.py)."""
        return question(self, *asked)

    def note(self, addresses: Iterable[int], size: int) -> None:
        """Told by who reads from `words`: so many bytes at each of these addresses were looked at."""

    def _expect(self, offset: int, size: int) -> None:
        """Let the kernel fetch a stretch of the file at once: the map is made for short reads."""
        start = offset - offset % ALLOCATIONGRANULARITY
        end = min(offset + size, len(self._data))  # a core may be cut off
        if isinstance(self._data, mmap) and start < end:
            self._data.madvise(MADV_WILLNEED, start, end - start)

    @contextmanager
    def words(self, address: int) -> Iterator[Words | None]:
        """What the kernel dumped around `address`, not copied; for the length of a `with` block.

        `None` when nothing was dumped there, or where this is no mapped file.
        """
        at = self._load_at(address)
        low, high, shift = self._filled.get(at) or self._fill(at) if at is not None else (0, 0, 0)
        size = min(high - low, MAX_READ) // 8 * 8
        if not size or (low + shift) % 8 or not isinstance(self._data, mmap | bytes):
            yield None
            return
        with (
            memoryview(self._data) as whole,
            whole[low : low + size] as part,
            part.cast("Q") as view,
        ):
            yield Words(low + shift, part, view)

    def _piece(self, address: int, size: int) -> bytes | None:
        """As many bytes as one segment gives at `address`, at least one, else `None`."""
        at = self._load_at(address)
        if at is None:
            return None
        loads = self._loads
        inside = address - loads.addresses[at]
        if inside < min(loads.file_sizes[at], loads.memory_sizes[at]):
            self._recent = _, high, shift = self._filled.get(at) or self._fill(at)
            return self._data[address - shift : min(address - shift + size, high)] or None
        wanted = min(size, loads.memory_sizes[at] - inside)
        return None if loads.flags[at] & PF_W else self._from_file(address, wanted)

    def _load_at(self, address: int) -> int | None:
        """Which segment covers `address`."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        return at if address < self._starts[at] + self._loads.memory_sizes[at] else None

    def _from_file(self, address: int, size: int) -> bytes | None:
        mapping = self.file_at(address)
        if mapping is None or self._backing is None:
            return None
        contents = self._backing(mapping)
        if contents is None:
            return None
        at = mapping.offset + address - mapping.start
        return contents[at : at + min(size, mapping.end - address)] or None

    def file_at(self, address: int) -> FileMapping | None:
        """The NT_FILE entry that covers `address`."""
        index = bisect_right(self._file_starts, address) - 1
        if index < 0:
            return None
        mapping = self._files[index]
        return mapping if address < mapping.end else None

    def region_at(self, address: int) -> Region | None:
        """The mapped range that covers `address`, `None` when it was not mapped."""
        at = self._load_at(address)
        return self._region(at) if at is not None else None

    def region_after(self, address: int) -> Region | None:
        """The first mapped range that begins above `address`."""
        at = bisect_right(self._starts, address)
        return self._region(at) if at < len(self._starts) else None

    def regions(self) -> list[Region]:
        """All mapped ranges in address order."""
        return list(map(self._region, range(len(self._starts))))

    def _region(self, at: int) -> Region:
        found = self._regions.get(at)
        if found is None:
            start = self._starts[at]
            mapping = self.file_at(start)
            end = start + self._loads.memory_sizes[at]
            self._regions[at] = found = Region(start, end, self._loads.flags[at], mapping.path if mapping else None)
        return found

    def is_dumped(self, start: int, end: int) -> bool:
        """Whether the kernel dumped any byte of a range."""
        starts, sizes = self._starts, self._loads.file_sizes
        at = max(0, bisect_right(starts, start) - 1)
        while at < len(starts) and starts[at] < end:
            if sizes[at] and starts[at] + sizes[at] > start:
                return True
            at += 1
        return False

    def dumped(self, address: int, size: int) -> bytes | None:
        """What the kernel itself dumped of `size` bytes at `address`: never filled from a file."""
        at = self._load_at(address)
        if at is None:
            return None
        inside = address - self._starts[at]
        file_size = self._loads.file_sizes[at]
        place = self._loads.offsets[at] + inside
        return self._data[place : place + min(size, file_size - inside)] if inside < file_size else None
