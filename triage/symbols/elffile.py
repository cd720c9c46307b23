"""An ELF program or library on the disk: who it is, its names, where its functions begin.

Function starts come from the binary-search table of
`.eh_frame_hdr` (LSB Core, "Exception Frames"): it is there in every stripped binary and costs
one bisection, where decoding all of `.eh_frame` takes seconds.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from elftools.dwarf.callframe import FDE, CallFrameInfo
from elftools.dwarf.structs import DWARFStructs

from triage.corefile import elf
from triage.corefile.elf import Buffer, Segment
from triage.corefile.mapped import open_mapped
from triage.errors import InputError
from triage.symbols.dwarf_entries import DAMAGE
from triage.symbols.sections import FUNCTION_TYPES, NOBITS, SYMTAB, Section, contents, read_sections, tables
from triage.symbols.separate import mini_debug_data
from triage.symbols.whole import exported

_DEBUG_SECTIONS = {".debug_info", ".zdebug_info"}
_MOST_CFI = 1 << 16
_MOST_RANGES = 1 << 14
_ENCODING_TABLE = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4: what every linker writes


def _decode(common: bytes, own: bytes, size: int) -> list[dict[Any, Any]]:
    """Rows of one entry put into a section of its own: the common part first, then the entry, then the end."""
    section = common + struct.pack("<II", size, len(common) + 4) + own + bytes(4)
    structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=8)
    try:
        entries = CallFrameInfo(BytesIO(section), len(section), 0, structs, for_eh_frame=True).get_entries()
        decoded = next(entry.get_decoded().table for entry in entries if isinstance(entry, FDE))
    except (*DAMAGE, StopIteration):
        return []  # a form this decoder does not know: then there are no rows, and nothing is unwound by them
    return list(decoded)


class Symbol(NamedTuple):
    """A defined symbol; `address` is an ELF virtual address, `size` in bytes."""

    address: int
    size: int
    name: str


class ElfFile:
    """One ELF file, mapped. All addresses are ELF virtual addresses (before relocation).

    Raises:
        InputError: when the file cannot be opened or is not a 64-bit ELF program or library.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: Buffer = open_mapped(path)
        header = elf.read_header(self.contents)
        if header.type not in (2, 3):
            raise InputError("not-a-program", "not an ELF program or library")
        self.segments = list(elf.read_segments(self.contents, header))
        self._ranges: dict[int, tuple[int, int] | None] = {}
        self._found: dict[bytes, int | None] = {}

    @cached_property
    def build_id(self) -> str | None:
        """The GNU build-id as hex."""
        for segment in self.segments:
            if segment.type == elf.PT_NOTE:
                raw = self.contents[segment.offset : segment.offset + min(segment.file_size, 65536)]
                found = elf.build_id(raw, segment.align)
                if found:
                    return found
        return None

    @cached_property
    def _sections(self) -> list[Section]:
        return read_sections(self.contents)

    @cached_property
    def _mini(self) -> Buffer | None:
        """MiniDebugInfo: names of static functions, in an ELF file within a section."""
        packed = self.section(".gnu_debugdata")
        data = mini_debug_data(packed) if packed else None
        return data if data is not None and data[:4] == b"\x7fELF" else None

    def _defined(self) -> Iterator[tuple[str, int, int, int]]:
        """`(name, ELF type, address, size)` of the defined symbols."""
        if not self._sections:
            yield from exported(self.path)
        for table in tables(self.contents, self._sections):
            yield from table.defined()

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        """Defined symbols of .dynsym and .symtab by name."""
        found: dict[str, Symbol] = {}
        for name, _, address, size in self._defined():
            found.setdefault(name, Symbol(address, size, name))
        return found

    @cached_property
    def has_symtab(self) -> bool:
        """Whether names of static functions are in the file (not stripped)."""
        return any(section.type == SYMTAB and section.size for section in self._sections) or self._mini is not None

    @cached_property
    def has_dynamic_symbols(self) -> bool:
        """Whether the file exports any name."""
        return next(self._defined(), None) is not None

    def section(self, name: str) -> bytes:
        """The contents of a section, empty when there is none of that name."""
        found = next((section for section in self._sections if section.name == name), None)
        return contents(self.contents, found) if found is not None else b""

    @cached_property
    def is_only_debug(self) -> bool:
        """Whether this is a separate debug file: its code is announced and not there."""
        return any(section.name == ".text" and section.type == NOBITS for section in self._sections)

    @cached_property
    def has_debug_info(self) -> bool:
        """Whether the file itself carries DWARF."""
        return any(section.name in _DEBUG_SECTIONS for section in self._sections)

    @cached_property
    def _by_start(self) -> tuple[list[int], list[Symbol]]:
        ordered = sorted(self._functions(), key=lambda symbol: (symbol.address, symbol.size))
        return [symbol.address for symbol in ordered], ordered

    def _functions(self) -> list[Symbol]:
        """Function symbols of the file, then those of its MiniDebugInfo."""
        mini = tables(self._mini, read_sections(self._mini)) if self._mini is not None else []
        more = (found for table in mini for found in table.defined())
        return [
            Symbol(address, size, name)
            for name, kind, address, size in chain(self._defined(), more)
            if kind in FUNCTION_TYPES
        ]

    def function_at(self, address: int) -> Symbol | None:
        """The function symbol whose own size covers `address`; never the nearest one before it."""
        starts, ordered = self._by_start
        index = bisect_right(starts, address) - 1
        if index < 0:
            return None
        symbol = ordered[index]
        return symbol if address < symbol.address + symbol.size else None

    @cached_property
    def _frame_table(self) -> tuple[int, list[int], list[int]] | None:
        """(address of .eh_frame_hdr, function starts, FDE addresses), both lists sorted by start."""
        segment = next((s for s in self.segments if s.type == elf.PT_GNU_EH_FRAME), None)
        if segment is None:
            return None
        raw = self.contents[segment.offset : segment.offset + segment.file_size]
        if len(raw) < 12 or raw[0] != 1 or raw[3] != _ENCODING_TABLE or raw[2] != 0x03:
            return None
        count = min(struct.unpack_from("<I", raw, 8)[0], (len(raw) - 12) // 8)
        pairs = struct.unpack_from(f"<{count * 2}i", raw, 12)
        base = segment.address
        return base, [base + start for start in pairs[::2]], [base + fde for fde in pairs[1::2]]

    def frame_entry(self, address: int) -> int | None:
        """The address of the unwind table's entry (FDE) that begins last at or before `address`."""
        table = self._frame_table
        index = bisect_right(table[1], address) - 1 if table else -1
        return table[2][index] if table and index >= 0 else None

    def function_start(self, address: int) -> int | None:
        """Where the function (its FDE) that covers `address` begins, `None` when none does."""
        found = self.function_range(address)
        return found[0] if found is not None else None

    def function_range(self, address: int) -> tuple[int, int] | None:
        """Where the function (its FDE) that covers `address` begins and ends, `None` when none does."""
        if address not in self._ranges:
            if len(self._ranges) >= _MOST_RANGES:
                self._ranges.clear()
            self._ranges[address] = self._range(address)
        return self._ranges[address]

    def _range(self, address: int) -> tuple[int, int] | None:
        table = self._frame_table
        if table is None:
            return None
        _, starts, entries = table
        index = bisect_right(starts, address) - 1
        if index < 0:
            return None
        length = self._entry_length(entries[index])
        if length is None or address >= starts[index] + length:
            return None
        return starts[index], starts[index] + length

    def function_starts(self) -> tuple[int, ...]:
        """Where functions begin by the unwind table, in order; empty without one."""
        table = self._frame_table
        return tuple(table[1]) if table is not None else ()

    def unwind_rows(self, address: int) -> list[dict[Any, Any]]:
        """The decoded call frame rows of the function that covers `address`, as pyelftools gives them.

        Only that one function's entry and its common part are decoded: all of `.eh_frame` takes seconds.
        """
        entry = self.frame_entry(address)
        head = self.read(entry, 8) if entry is not None else None
        if entry is None or head is None:
            return []
        size, back = struct.unpack("<II", head)
        common_at = entry + 4 - back
        common_head = self.read(common_at, 4)
        common_size = struct.unpack("<I", common_head)[0] if common_head else 0
        if not (0 < size < _MOST_CFI and 0 < common_size < _MOST_CFI):
            return []
        common, own = self.read(common_at, common_size + 4), self.read(entry + 8, size - 4)
        return _decode(common, own, size) if common and own else []

    def _entry_length(self, entry: int) -> int | None:
        """The number of code bytes the FDE at `entry` covers (pc-relative sdata4 encoding)."""
        head = self.read(entry, 16)
        if head is None:
            return None
        size, back, _, length = struct.unpack("<IIiI", head)
        # A 64-bit length or a foreign pointer encoding is not something we can judge: no answer.
        if size in (0, 0xFFFFFFFF) or back == 0 or not self._plain_encoding(entry + 4 - back):
            return None
        return int(length)

    def _plain_encoding(self, entry: int) -> bool:
        """Whether the CIE at `entry` says pointers are pc-relative signed 32-bit (`zR`, 0x1b)."""
        raw = self.read(entry, 32)
        if raw is None or raw[8] != 1:
            return False
        end = raw.find(b"\0", 9)
        augmentation = raw[9:end]
        if end < 0 or not augmentation.startswith(b"z") or b"R" not in augmentation:
            return False
        return 0x1B in raw[end + 1 : end + 16]

    def read(self, address: int, size: int) -> bytes | None:
        """`size` bytes of the file's image at a virtual address (`Memory` protocol)."""
        segment = self._segment_at(address)
        if segment is None:
            return None
        at = segment.offset + address - segment.address
        data = self.contents[at : at + min(size, segment.file_size - (address - segment.address))]
        return data if len(data) == size else None

    def code(self) -> tuple[tuple[int, int], ...]:
        """`(address, size)` of the executable parts of the file."""
        return self._code

    @cached_property
    def _code(self) -> tuple[tuple[int, int], ...]:
        return tuple((s.address, s.file_size) for s in self.segments if s.type == elf.PT_LOAD and s.flags & elf.PF_X)

    def find(self, wanted: bytes) -> int | None:
        """The address of the first place in the file's image that holds these bytes: of one of a few texts."""
        if wanted not in self._found:
            self._found[wanted] = self._place_of(wanted)
        return self._found[wanted]

    def _place_of(self, wanted: bytes) -> int | None:
        for segment in self.segments:
            if segment.type == elf.PT_LOAD:
                raw = self.contents[segment.offset : segment.offset + segment.file_size]
                at = raw.find(wanted)
                if at >= 0:
                    return segment.address + at
        return None

    def _segment_at(self, address: int) -> Segment | None:
        for segment in self.segments:
            if segment.type == elf.PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                return segment
        return None
