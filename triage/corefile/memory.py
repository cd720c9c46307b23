"""The crashed process's memory, read out of the core a few bytes at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from mmap import ALLOCATIONGRANULARITY, MADV_WILLNEED, mmap
from typing import TypeVar

from triage.corefile.elf import PF_W, Buffer, Columns
from triage.corefile.mapped import Mapped
from triage.corefile.mappings import FileMapping
from triage.corefile.pieces import Cluster
from triage.corefile.protocol import Region
from triage.corefile.space import space_of

Backing = Callable[[FileMapping], Buffer | None]
"""Gives the contents of a mapped file, or `None` when the file is missing or not the same one."""

T = TypeVar("T")
MAX_READ = 64 * 1024 * 1024
_LARGE = 64 * 1024
_RAW = mmap | bytes


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
        self._fetch = data.fetch if isinstance(data, Mapped) else lambda at, size: data[at : at + size]
        self._space = space = space_of(segments, files, len(data))
        self._loads, self._starts, self._spans = space.loads, space.starts, space.spans
        self._backing = backing
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
        segment = bisect_right(self._starts, address) - 1
        if segment < 0 or size > MAX_READ:
            return None
        span = self._spans.get(segment) or self._space.span(segment)
        at = address - span[2]
        stop = at + size
        if stop <= span[1]:
            self._recent = span
            if size >= _LARGE:
                self._expect(at, size)
            found = self._data[at:stop]
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

    def fetch(self, address: int, size: int) -> bytes | None:
        """`read` for what is looked at once, past the map."""
        segment = bisect_right(self._starts, address) - 1
        if segment >= 0 and 0 < size <= _LARGE:
            span = self._spans.get(segment) or self._space.span(segment)
            at = address - span[2]
            if at + size <= span[1]:
                found = self._fetch(at, size)
                return found if len(found) == size else None  # the file was cut off meanwhile
        return self.read(address, size)

    def heads(self, addresses: Iterable[int], size: int) -> list[bytes | None]:
        """The first bytes of segments at these addresses, lowest first; `None` where a core has not so many there."""
        fetch, loads, starts = self._fetch, self._loads, self._starts
        offsets, sizes = loads.offsets, loads.file_sizes
        found: list[bytes | None] = []
        at = 0
        for address in addresses:
            try:
                at = starts.index(address, at)
            except ValueError:
                found.append(None)
                continue
            place = offsets[at]
            head = fetch(place, size) if sizes[at] >= size else b""
            found.append(head if len(head) == size else None)
        return found

    def agrees(self, pieces: Iterable[Cluster]) -> bool:
        """Whether exactly these bytes are at these addresses."""
        starts, spans, fetch = self._starts, self._spans, self._fetch
        low = high = shift = 0
        for address, size, parts, contents, single in pieces:
            at = address - shift
            if not low <= at or at + size > high:
                segment = bisect_right(starts, address) - 1
                low, high, shift = (spans.get(segment) or self._space.span(segment)) if segment >= 0 else (0, 0, 0)
                at = address - shift
                if at + size > high:  # not all of it is in one segment
                    if any(self.read(place, len(raw)) != raw for place, raw in single):
                        return False
                    continue
            if parts(fetch(at, size)) != contents:
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
        at = self._space.at(address)
        low, high, shift = self._space.span(at) if at is not None else (0, 0, 0)
        size = min(high - low, MAX_READ) // 8 * 8
        if not size or (low + shift) % 8 or not isinstance(self._data, _RAW):
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
        at = self._space.at(address)
        if at is None:
            return None
        loads = self._loads
        inside = address - loads.addresses[at]
        if inside < min(loads.file_sizes[at], loads.memory_sizes[at]):
            self._recent = _, high, shift = self._space.span(at)
            return self._data[address - shift : min(address - shift + size, high)] or None
        wanted = min(size, loads.memory_sizes[at] - inside)
        return None if loads.flags[at] & PF_W else self._from_file(address, wanted)

    def _from_file(self, address: int, size: int) -> bytes | None:
        mapping = self.file_at(address) if self._backing is not None else None
        if mapping is None or self._backing is None:
            return None
        contents = self._backing(mapping)
        if contents is None:
            return None
        at = mapping.offset + address - mapping.start
        return contents[at : at + min(size, mapping.end - address)] or None

    def file_at(self, address: int) -> FileMapping | None:
        """The NT_FILE entry that covers `address`."""
        return self._space.mappings.at(address)

    def region_at(self, address: int) -> Region | None:
        """The mapped range that covers `address`, `None` when it was not mapped."""
        at = self._space.at(address)
        return self._space.region(at) if at is not None else None

    def region_after(self, address: int) -> Region | None:
        """The first mapped range that begins above `address`."""
        at = bisect_right(self._starts, address)
        return self._space.region(at) if at < len(self._starts) else None

    def regions(self) -> list[Region]:
        """All mapped ranges in address order."""
        return list(map(self._space.region, range(len(self._starts))))

    def is_dumped(self, start: int, end: int) -> bool:
        """Whether the kernel dumped any byte of a range."""
        return bool(self.dumped_among([(start, end)]))

    def dumped_among(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Of which of these ranges `(start, end)` the kernel dumped any byte, by their places in the list."""
        starts, sizes, found = self._starts, self._loads.file_sizes, list[int]()
        for place, (start, end) in enumerate(ranges):
            at = bisect_right(starts, start) - 1
            if at >= 0 and (size := sizes[at]) and starts[at] + size > start:
                found.append(place)
                continue
            at += 1
            while at < len(starts) and starts[at] < end:
                if sizes[at]:
                    found.append(place)
                    break
                at += 1
        return found

    def dumped(self, address: int, size: int) -> bytes | None:
        """What the kernel itself dumped of `size` bytes at `address`: never filled from a file."""
        at = self._space.at(address)
        if at is None:
            return None
        inside = address - self._starts[at]
        file_size = self._loads.file_sizes[at]
        place = self._loads.offsets[at] + inside
        return self._data[place : place + min(size, file_size - inside)] if inside < file_size else None
