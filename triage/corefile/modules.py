"""Which ELF files were mapped into the process, and which build of each.

The kernel dumps the first page of every mapped ELF file (coredump_filter bit 4, on by default);
the build-id there is the truth about what was running, whatever lies on the disk today.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, le
from typing import NamedTuple

from triage.corefile import elf
from triage.corefile.evidence import Evidence, Recalled, recall
from triage.corefile.memory import CoreMemory
from triage.corefile.notes import FileMapping

AT_PHDR, AT_ENTRY, AT_EXECFN, AT_SYSINFO_EHDR = 3, 9, 31, 33
_MAGIC = b"\x7fELF"
_PAGE = 4096
_HEAD = 1536
DELETED = " (deleted)"
VDSO = "[vdso]"


class MappedModule(NamedTuple):
    """An ELF file as mapped: `base` turns addresses into ELF virtual addresses by subtraction.

    `path` is as the kernel wrote it, without a trailing " (deleted)", which `deleted` tells.
    """

    path: str
    start: int
    end: int
    base: int
    build_id: str | None
    deleted: bool


class ModuleMap:
    """Modules by address."""

    def __init__(self, modules: Sequence[MappedModule]) -> None:
        self._modules = sorted(modules, key=lambda module: module.start)
        self._starts = [module.start for module in self._modules]
        self._ends = [module.end for module in self._modules]
        self._apart = all(map(le, self._ends, self._starts[1:]))

    def at(self, address: int) -> MappedModule | None:
        """The module that holds `address`; the lowest where several do."""
        last = bisect_right(self._starts, address)
        if self._apart:
            return self._modules[last - 1] if last and address < self._ends[last - 1] else None
        return next((module for module in self._modules[:last] if address < module.end), None)


_RECENT: Recalled[Evidence] = Recalled()


def modules_of(memory: CoreMemory, files: tuple[FileMapping, ...], vdso: int | None) -> tuple[MappedModule, ...]:
    """`find_modules`; for the workers of one master the very same object, where memory says the same."""
    return recall(_RECENT, (files, vdso), memory, lambda own: tuple(find_modules(own, files, vdso)))


def find_modules(memory: CoreMemory, files: Sequence[FileMapping], vdso: int | None) -> list[MappedModule]:
    """All mapped ELF files in address order, with the vDSO when its address is known."""
    found = [_read_module(memory, *run) for run in _runs(files)]
    modules = [module for module in found if module is not None]
    if vdso is not None:
        region = memory.region_at(vdso)
        if region is not None:
            modules.extend(filter(None, [_read_module(memory, VDSO, region.start, region.end, _PAGE)]))
    return sorted(modules, key=_START)


_START = attrgetter("start")


def _runs(files: Iterable[FileMapping]) -> list[tuple[str, int, int]]:
    """Neighbouring mappings of one file, from its beginning on: `(path, start, end)`.

    A second load of a file begins at offset 0 again.
    """
    found: list[tuple[str, int, int]] = []
    path, begun, end = None, 0, 0
    for start, to, offset, name in sorted(files):
        if offset == 0 or name != path:
            if path is not None:
                found.append((path, begun, end))
            path, begun = name if offset == 0 else None, start
        end = to
    if path is not None:
        found.append((path, begun, end))
    return found


def _read_module(memory: CoreMemory, path: str, start: int, end: int, most: int = _HEAD) -> MappedModule | None:
    """The file whose first `most` bytes are at `start`; `None` where that is no ELF file."""
    # Where it is noted what was read, what is no ELF file may change.
    head = memory.read(start, most) if not memory.notes or memory.read(start, 4) == _MAGIC else None
    if head is None and memory.read(start, 4) != _MAGIC:
        return None
    own = _kept(path, head) if head is not None else None
    if own is None:
        own = _own(lambda address, size: memory.read(start + address, size))
    if own is None:
        return None
    base = start - own.lowest
    name, deleted = (path[: -len(DELETED)], True) if path.endswith(DELETED) else (path, False)
    # .bss may reach past the last file-backed page, and parts of the file may be mapped once more elsewhere (V8 does
    # so with its code), so the file's own headers decide the end.
    true_end = min(base + own.last, end + (1 << 32))
    if true_end < end:
        true_end = min(end, (true_end + _PAGE - 1) // _PAGE * _PAGE)
    return MappedModule(name, start, true_end, base, own.build_id, deleted)


class _Own(NamedTuple):
    """What a file's headers say: its lowest page and its end as ELF virtual addresses, its build-id."""

    lowest: int
    last: int
    build_id: str | None


def _kept(path: str, head: bytes) -> _Own | None:
    """The same from a file's first bytes alone; `None` when they do not hold all of it, build-id included.

    What was told by the same bytes of a file of that name last time is not read again.
    """
    before = _KEPT.get(path)
    if before is not None and before[0] == head:
        return before[1]
    size = len(head)
    own = _own(lambda address, wanted: head[address : address + wanted] if 0 <= address <= size - wanted else None)
    if own is None or own.build_id is None:
        return None
    if len(_KEPT) >= _MOST_KEPT:
        _KEPT.clear()
    _KEPT[path] = head, own
    return own


_KEPT: dict[str, tuple[bytes, _Own]] = {}
_MOST_KEPT = 1024


def _own(read: Callable[[int, int], bytes | None]) -> _Own | None:
    """`read` gives bytes by their distance from where the file begins in memory."""
    page = read(0, 64)
    if page is None or page[:4] != b"\x7fELF" or page[4:6] != b"\x02\x01":
        return None
    at, size, count = struct.unpack_from("<Q14xHH", page, 32)
    table = read(at, size * min(count, 64))
    if size != 56 or table is None:
        return None
    segments = list(elf.read_segments(table, elf.Header(3, None, 0, min(count, 64), size)))
    loads = [segment for segment in segments if segment.type == elf.PT_LOAD]
    if not loads:
        return None
    lowest = min(load.address for load in loads) & ~0xFFF
    last = max(load.address + load.memory_size for load in loads)
    return _Own(lowest, last, _build_id(read, segments, lowest))


def _build_id(read: Callable[[int, int], bytes | None], segments: Iterable[elf.Segment], lowest: int) -> str | None:
    for segment in segments:
        if segment.type == elf.PT_NOTE and 0 < segment.file_size <= 65536:
            notes = read(segment.address - lowest, segment.file_size)
            found = elf.build_id(notes, segment.align) if notes else None
            if found:
                return found
    return None
