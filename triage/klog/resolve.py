"""From a kernel line to the very file and the function in it.

The line names the file without its folder. A file counts when the bytes the kernel printed stand at that
place in it; then it is the build that crashed, whatever was updated since.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from triage.corefile import elf
from triage.errors import InputError
from triage.klog.kernel import KernelFault
from triage.symbols import ElfFile
from triage.symbols.finder import resolve as inside

_FOLDERS = (
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
    "/opt",
)
_PAGE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`address` is the ELF virtual address of the instruction; `function` named by a symbol, `start` where its
    code begins. `proven` is whether the printed bytes stand there."""

    file: ElfFile
    address: int
    function: str | None
    start: int | None
    proven: bool


class Files:
    """Finds files by their bare names; each folder is walked once."""

    def __init__(self, sysroot: Path | None = None, more: Iterable[Path] = ()) -> None:
        self._folders = [*more, *(inside(sysroot, folder) for folder in _FOLDERS)]
        self._by_name: dict[str, list[Path]] | None = None
        self._opened: dict[Path, ElfFile | None] = {}
        self._known: dict[tuple[object, ...], Resolved | None] = {}

    def resolve(self, fault: KernelFault) -> Resolved | None:
        """The file that holds the printed bytes; one without proof only if the bytes are not known."""
        key = (fault.module, fault.offset, fault.ip - (fault.base or 0), fault.size, fault.code)
        if key not in self._known:
            self._known[key] = self._search(fault)
        return self._known[key]

    def _search(self, fault: KernelFault) -> Resolved | None:
        doubtful = None
        for path in self._named(fault.module) if fault.module is not None else ():
            file = self._open(path)
            if file is None:
                continue
            for offset in offsets(file, fault):
                found = _look(file, fault, offset)
                if found is not None and found.proven:
                    return found
                doubtful = doubtful or found
        return doubtful if not fault.code else None

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for path in self._walk():
                self._by_name.setdefault(path.name, []).append(path)
        return self._by_name.get(name, [])

    def _walk(self) -> Iterator[Path]:
        seen = set()
        for folder in self._folders:
            with suppress(OSError):
                if folder.is_dir() and folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    for place, _, names in os.walk(folder):
                        yield from (Path(place) / name for name in names)

    def _open(self, path: Path) -> ElfFile | None:
        if path not in self._opened:
            try:
                self._opened[path] = ElfFile(path)
            except InputError:
                self._opened[path] = None  # no ELF file, or gone
        return self._opened[path]


def offsets(file: ElfFile, fault: KernelFault) -> Iterator[int]:
    """Where in the file the instruction may be: as told, or by the size of the mapping."""
    if fault.offset is not None:
        yield fault.offset
        return
    if fault.base is None or fault.size is None:
        return
    for segment in file.segments:
        if segment.type == elf.PT_LOAD and segment.flags & elf.PF_X:
            begin = segment.offset & -_PAGE
            pages = -(-(segment.offset + segment.file_size - begin) // _PAGE) * _PAGE
            if pages == fault.size:
                yield fault.ip - fault.base + begin


def _look(file: ElfFile, fault: KernelFault, offset: int) -> Resolved | None:
    segment = next(
        (s for s in file.segments if s.type == elf.PT_LOAD and s.offset <= offset < s.offset + s.file_size), None
    )
    if segment is None:
        return None
    begin = offset - fault.code_at
    proven = bool(fault.code) and file.contents[begin : begin + len(fault.code)] == fault.code
    address = offset - segment.offset + segment.address
    symbol = file.function_at(address)
    return Resolved(
        file=file,
        address=address,
        function=symbol.name if symbol is not None else None,
        start=symbol.address if symbol is not None else file.function_start(address),
        proven=proven,
    )
