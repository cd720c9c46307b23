"""Which ELF files were mapped into the process, and which build of each.

The kernel dumps the first page of every mapped ELF file (coredump_filter bit 4, on by default);
the build-id there is the truth about what was running, whatever lies on the disk today.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, repeat
from operator import add, itemgetter, le, sub
from typing import NamedTuple, cast

from triage.corefile import elf
from triage.corefile.evidence import Evidence, Recalled, recall
from triage.corefile.mappings import FileMapping, mappings_of
from triage.corefile.memory import CoreMemory

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


_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_START, _END = itemgetter(1), itemgetter(2)


class ModuleMap:
    """Modules by address."""

    def __init__(self, modules: Sequence[MappedModule]) -> None:
        self._modules = sorted(modules, key=_START)
        self._starts = list(map(_START, self._modules))
        self._ends = list(map(_END, self._modules))
        self._apart = all(map(le, self._ends, self._starts[1:]))

    def at(self, address: int) -> MappedModule | None:
        """The module that holds `address`; the lowest where several do."""
        last = bisect_right(self._starts, address)
        if self._apart:
            return self._modules[last - 1] if last and address < self._ends[last - 1] else None
        return next((module for module in self._modules[:last] if address < module.end), None)


_MAPS: list[tuple[Sequence[MappedModule], ModuleMap]] = []
_MOST_MAPS = 8


def map_of(modules: tuple[MappedModule, ...]) -> ModuleMap:
    """These modules by address; the same map for the very same modules."""
    for own, found in _MAPS:
        if own is modules:
            return found
    made = ModuleMap(modules)
    _MAPS.insert(0, (modules, made))
    del _MAPS[_MOST_MAPS:]
    return made


_RECENT: Recalled[Evidence] = Recalled()


def modules_of(memory: CoreMemory, files: Sequence[FileMapping], vdso: int | None) -> tuple[MappedModule, ...]:
    """`find_modules`; for the workers of one master the very same object, where memory says the same."""
    return recall(_RECENT, (files, vdso), memory, lambda own: tuple(find_modules(own, files, vdso)))


def find_modules(memory: CoreMemory, files: Sequence[FileMapping], vdso: int | None) -> list[MappedModule]:
    """All mapped ELF files in address order, with the vDSO when its address is known."""
    runs = mappings_of(files).runs()
    # Where it is noted what was read, what is no ELF file may change.
    starts = [] if memory.notes else [start for _, start, _ in runs]
    heads = memory.heads(starts, _HEAD) or [None] * len(runs)
    region = memory.region_at(vdso) if vdso is not None else None
    if region is not None:
        runs.append((VDSO, region.start, region.end))
        heads.append(None if memory.notes else memory.read(region.start, _PAGE))
    without = [run for run, head in zip(runs, heads, strict=True) if head is None]
    found = _again(list(compress(runs, heads)), tuple(filter(None, heads)))
    if found is None:
        found, without = [], runs
    more = (_module(memory, *run) for run in without)
    return sorted([*found, *(module for module in more if module is not None)], key=_START)


def _again(runs: list[tuple[str, int, int]], heads: tuple[bytes, ...]) -> list[MappedModule] | None:
    """The files of these runs `(path, start, end)` if all begin with the bytes files of these names had before."""
    known = [_KEPT.get(path) for path, _, _ in runs]
    if None in known or not known:
        return None
    same, lengths, names, deleted, reaches, lowest, build_ids = zip(*cast(list[_Known], known), strict=True)
    _, starts, ends = zip(*runs, strict=True)
    if same != heads or lengths != tuple(map(sub, ends, starts)):
        return None
    rows = zip(names, starts, map(add, starts, reaches), map(sub, starts, lowest), build_ids, deleted, strict=True)
    return list(map(_new, repeat(MappedModule), rows))


class _Known(NamedTuple):
    """A file as it was mapped last time, wherever that was: its first bytes, which hold its build-id.

    `length` of its neighbouring mappings; the rest is what a module has, distances in bytes from where it begins.
    """

    head: bytes
    length: int
    name: str
    deleted: bool
    reach: int
    lowest: int
    build_id: str | None


_KEPT: dict[str, _Known] = {}
_MOST_KEPT = 1024


def _module(memory: CoreMemory, path: str, start: int, end: int) -> MappedModule | None:
    """The file whose first bytes are at `start`; `None` where that is no ELF file."""
    if memory.read(start, 4) != _MAGIC:
        return None
    head = memory.read(start, _HEAD if path != VDSO else _PAGE)
    own = _from_head(head) if head is not None else None
    complete = own is not None and own.build_id is not None
    if own is None or not complete:
        own = _own(lambda address, size: memory.read(start + address, size))
    if own is None:
        return None
    name, deleted = (path[: -len(DELETED)], True) if path.endswith(DELETED) else (path, False)
    length, reach = end - start, _reach(own, end - start)
    if head is not None and complete:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[path] = _Known(head, length, name, deleted, reach, own.lowest, own.build_id)
    return MappedModule(name, start, start + reach, start - own.lowest, own.build_id, deleted)


def _reach(own: _Own, length: int) -> int:
    """How far from its beginning a file reaches of which so much is mapped in one piece."""
    # .bss may reach past the last file-backed page, and parts of the file may be mapped once more elsewhere (V8 does
    # so with its code), so the file's own headers decide the end.
    reach = min(own.last - own.lowest, length + (1 << 32))
    return reach if reach >= length else min(length, (reach + _PAGE - 1) // _PAGE * _PAGE)


class _Own(NamedTuple):
    """What a file's headers say: its lowest page and its end as ELF virtual addresses, its build-id."""

    lowest: int
    last: int
    build_id: str | None


def _from_head(head: bytes) -> _Own | None:
    """The same from a file's first bytes alone; `None` when they do not hold the headers."""
    size = len(head)
    return _own(lambda address, wanted: head[address : address + wanted] if 0 <= address <= size - wanted else None)


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
