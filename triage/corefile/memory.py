"""The crashed process's memory, read out of the core a few bytes at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from mmap import ALLOCATIONGRANULARITY, MADV_WILLNEED, mmap
from operator import itemgetter
from typing import TypeVar

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Buffer, Segment
from triage.corefile.notes import FileMapping
from triage.corefile.protocol import Region

Backing = Callable[[FileMapping], Buffer | None]
"""Gives the contents of a mapped file, or `None` when the file is missing or not the same one."""

T = TypeVar("T")
MAX_READ = 64 * 1024 * 1024
_LARGE = 64 * 1024
_ADDRESS = itemgetter(Segment._fields.index("address"))
_MEMORY_SIZE = itemgetter(Segment._fields.index("memory_size"))
_START = itemgetter(FileMapping._fields.index("start"))


def _left_out(loads: Sequence[Segment], files: Sequence[FileMapping]) -> Iterator[Segment]:
    """Mapped files without a segment of their own.

    The kernel announces every mapping; GDB's generate-core-file (gcore) leaves out those that hold
    nothing but the file's own bytes, and names them in NT_FILE only.
    """
    starts = list(map(_ADDRESS, loads))
    own = set(starts)
    if own.issuperset(map(_START, files)):
        return
    for mapping in [mapping for mapping in files if mapping.start not in own]:
        before = bisect_right(starts, mapping.start) - 1
        inside = before >= 0 and mapping.start < loads[before].address + loads[before].memory_size
        follows = before + 1 < len(loads) and loads[before + 1].address < mapping.end
        if mapping.start < mapping.end and not inside and not follows:
            yield Segment(PT_LOAD, PF_R, 0, mapping.start, 0, mapping.end - mapping.start, 0)


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
        loads: Sequence[Segment],
        files: Sequence[FileMapping],
        backing: Backing | None = None,
    ) -> None:
        self._data = data
        self._loads = sorted(filter(_MEMORY_SIZE, loads), key=_ADDRESS)
        more = list(_left_out(self._loads, files))
        if more:
            self._loads = sorted([*self._loads, *more], key=_ADDRESS)
        self._starts = list(map(_ADDRESS, self._loads))
        self._files = sorted(files, key=_START)
        self._file_starts = list(map(_START, self._files))
        self._backing = backing
        self._regions: list[Region] | None = None
        self._recent = (0, 0, 0)

    def use_files(self, backing: Backing) -> None:
        """Set where the contents of mapped files come from."""
        self._backing = backing

    def read(self, address: int, size: int) -> bytes | None:
        """Return `size` bytes at `address`, `None` when any of them is not known."""
        # Reads come in runs from one place: most are answered by the segment that answered the last one.
        start, end, shift = self._recent
        if start <= address and address + size <= end and 0 < size <= MAX_READ:
            at = address - shift
            found = self._data[at : at + size]
            if len(found) == size:
                return found
        if size <= 0:
            return b"" if size == 0 else None
        if address < 0 or size > MAX_READ:
            return None
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            _, _, offset, start, file_size, memory_size, _ = self._loads[at]
            end = start + min(file_size, memory_size)
            if address + size <= end:
                self._recent = start, end, start - offset
                at = address - start + offset
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

    def agrees(self, pieces: Iterable[tuple[int, bytes]]) -> bool:
        """Whether exactly these bytes are at these addresses: `read` for each, in one go."""
        data, start, end, shift = self._data, 0, 0, 0
        for address, raw in pieces:
            size = len(raw)
            if not start <= address or address + size > end:
                if self.read(address, size) != raw:
                    return False
                start, end, shift = self._recent
                continue
            at = address - shift
            if data[at : at + size] != raw:
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
        load = self._load_at(address)
        dumped = min(load.file_size, load.memory_size, MAX_READ) if load is not None else 0
        if load is None or load.address % 8 or not isinstance(self._data, mmap | bytes):
            yield None
            return
        size = max(0, min(dumped, len(self._data) - load.offset)) // 8 * 8
        with (
            memoryview(self._data) as whole,
            whole[load.offset : load.offset + size] as part,
            part.cast("Q") as view,
        ):
            yield Words(load.address, part, view) if size else None

    def _piece(self, address: int, size: int) -> bytes | None:
        """As many bytes as one segment gives at `address`, at least one, else `None`."""
        load = self._load_at(address)
        if load is None:
            return None
        inside = address - load.address
        dumped = min(load.file_size, load.memory_size)
        if inside < dumped:
            at = load.offset + inside
            self._recent = (load.address, load.address + dumped, load.address - load.offset)
            return self._data[at : at + min(size, dumped - inside)] or None
        wanted = min(size, load.memory_size - inside)
        return None if load.flags & PF_W else self._from_file(address, wanted)

    def _load_at(self, address: int) -> Segment | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        load = self._loads[index]
        return load if address < load.address + load.memory_size else None

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
        load = self._load_at(address)
        return self._region(load) if load is not None else None

    def region_after(self, address: int) -> Region | None:
        """The first mapped range that begins above `address`."""
        index = bisect_right(self._starts, address)
        return self._region(self._loads[index]) if index < len(self._loads) else None

    def regions(self) -> list[Region]:
        """All mapped ranges in address order."""
        if self._regions is None:
            self._regions = [self._region(load) for load in self._loads]
        return list(self._regions)

    def _region(self, load: Segment) -> Region:
        mapping = self.file_at(load.address)
        path = mapping.path if mapping else None
        return Region(load.address, load.address + load.memory_size, load.flags, path)

    def is_dumped(self, start: int, end: int) -> bool:
        """Whether the kernel dumped any byte of a range."""
        at = max(0, bisect_right(self._starts, start) - 1)
        while at < len(self._loads) and self._starts[at] < end:
            load = self._loads[at]
            if load.file_size and load.address + load.file_size > start:
                return True
            at += 1
        return False

    def dumped(self, address: int, size: int) -> bytes | None:
        """What the kernel itself dumped of `size` bytes at `address`: never filled from a file."""
        load = self._load_at(address)
        if load is None:
            return None
        inside = address - load.address
        at = load.offset + inside
        return self._data[at : at + min(size, load.file_size - inside)] if inside < load.file_size else None
