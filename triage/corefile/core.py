"""A core file opened for reading: headers, notes, memory, modules and who it is.

Nothing here loads the file: it is mapped, and only what is asked for is touched, so a sparse
core of 10 GB costs what its headers and notes cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, starmap
from pathlib import Path

from triage.corefile import elf, notes
from triage.corefile.arguments import read_arguments
from triage.corefile.elf import Buffer, Columns
from triage.corefile.mapped import mapped
from triage.corefile.memory import CoreMemory
from triage.corefile.modules import AT_ENTRY, AT_SYSINFO_EHDR, MappedModule, ModuleMap, map_of, modules_of
from triage.errors import InputError

_NOTES_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CoreFile:
    """One core. `expected_size` is what its own headers say the file should measure, in bytes."""

    path: Path
    size: int
    expected_size: int
    machine: str | None
    notes: notes.Notes
    memory: CoreMemory
    modules: tuple[MappedModule, ...]
    id: str
    _map: ModuleMap = field(init=False, repr=False, compare=False)
    _said: list[tuple[str, ...]] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_map", map_of(self.modules))

    @property
    def truncated(self) -> bool:
        """Whether the end of the file is missing."""
        return self.size < self.expected_size

    @property
    def executable(self) -> MappedModule | None:
        """The program itself: the module that holds the entry point."""
        entry = self.notes.auxv.get(AT_ENTRY)
        return self.module_at(entry) if entry is not None else None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line: whole from the stack, else as the kernel cut it, else empty."""
        if not self._said:
            full = read_arguments(self.memory, self.notes.auxv)
            process = self.notes.process
            self._said.append(full or (tuple(process.arguments.split()) if process and full is None else ()))
        return self._said[0]

    def module_at(self, address: int) -> MappedModule | None:
        """The module that holds `address`."""
        return self._map.at(address)


@contextmanager
def open_core(path: Path) -> Iterator[CoreFile]:
    """Open a core for the length of a `with` block.

    Raises:
        InputError: `empty`, `not-a-core`, `truncated` (nothing usable left), `unsupported`, or
            what `mapped.open_regular` raises.
    """
    with mapped(path) as data:
        yield read_core(path, data)


def read_core(path: Path, data: Buffer) -> CoreFile:
    """Read headers, notes and the module list of the core in `data`."""
    header = elf.read_header(data)
    if header.type != elf.ET_CORE:
        kind = elf.TYPES.get(header.type, f"an ELF file of type {header.type}")
        raise InputError("not-a-core", f"not a core dump but {kind}")
    segments = elf.read_columns(data, header)
    blocks = [_block(data, header, segments, at) for at in segments.of_type(elf.PT_NOTE)]
    read = notes.decode(chain.from_iterable(starmap(elf.read_notes, blocks)), header.machine)
    if not read.threads:
        raise _unusable(len(data), segments)
    memory = CoreMemory(data, segments, read.files)
    modules = modules_of(memory, read.files, read.auxv.get(AT_SYSINFO_EHDR))
    return CoreFile(
        path=path,
        size=len(data),
        expected_size=segments.end,
        machine=header.machine,
        notes=read,
        memory=memory,
        modules=modules,
        id=_identity([raw for raw, _ in blocks], read, memory, header.machine),
    )


def _block(data: Buffer, header: elf.Header, segments: Columns, at: int) -> tuple[bytes, int]:
    """One segment of notes: its bytes, and how these are aligned."""
    offset, size = segments.offsets[at], min(segments.file_sizes[at], _NOTES_LIMIT)
    return data[offset : offset + size], elf.alignment(data, header, at)


def _unusable(size: int, segments: Columns) -> InputError:
    expected = segments.end
    if not segments.types or size < expected:
        return InputError(
            "truncated",
            f"cut off before the thread states: {size} bytes are there, "
            + (f"{expected} were announced" if segments.types else "not even the segment table is whole"),
            help="Look for a full disk or a size limit (ulimit -c, ProcessSizeMax) at the time of the crash.",
        )
    return InputError("damaged", "no thread state (NT_PRSTATUS) in the core's notes: not a usable core dump")


def _identity(blocks: list[bytes], read: notes.Notes, memory: CoreMemory, machine: str | None) -> str:
    """A name for this very crash, the same wherever the core is copied.

    Notes hold pids, registers and mappings; the bytes above the stack pointer tell apart two
    crashes of one recycled pid.
    """
    digest = hashlib.sha256()
    for raw in blocks:
        digest.update(raw)
    names = notes.PC_SP.get(machine or "")
    if names:
        stack_at = read.threads[0].registers.get(names[1], 0)
        digest.update(memory.read(stack_at, 4096 - stack_at % 4096) or b"")
    return digest.hexdigest()[:16]
