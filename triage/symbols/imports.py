"""What a dynamic file's relocations say: which slot holds which name's address, and which tables name functions.

Source: System V ABI, "Dynamic Linking"; its supplement for x86-64 (relocation types).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from triage.corefile import elf
from triage.symbols.elffile import ElfFile

_STRTAB, _SYMTAB, _RELA, _RELA_SIZE, _PLT_SIZE, _PLT = 5, 6, 7, 8, 2, 23
_R_64, _R_GLOB_DAT, _R_JUMP_SLOT, _R_RELATIVE = 1, 6, 7, 8
_MOST = 4 << 20
_STUB = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25(.{4})", re.S)
_STUB_SIZE = 11
_IDENTIFIER = re.compile(rb"[A-Za-z_][\w.:-]{2,39}\Z")
_SLOT = 8


@lru_cache(maxsize=64)
def imports_of(file: ElfFile) -> Imports:
    """The file's, the same for all who ask."""
    return Imports(file)


class Imports:
    """The relocations of one x86-64 file, read once. Addresses are ELF virtual addresses."""

    def __init__(self, file: ElfFile) -> None:
        self._file = file

    @cached_property
    def _dynamic(self) -> dict[int, int]:
        segment = next((s for s in self._file.segments if s.type == elf.PT_DYNAMIC), None)
        raw = self._file.read(segment.address, segment.file_size) if segment else None
        pairs = struct.iter_unpack("<QQ", raw[: len(raw or b"") // 16 * 16]) if raw else iter(())
        found: dict[int, int] = {}
        for tag, value in pairs:
            found.setdefault(tag, value)
        return found

    def _relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """`(slot, type, symbol number, addend)`."""
        for at, length in ((_RELA, _RELA_SIZE), (_PLT, _PLT_SIZE)):
            address, size = self._dynamic.get(at, 0), self._dynamic.get(length, 0)
            raw = self._file.read(address, size) if address and 0 < size <= _MOST * 8 else None
            for slot, info, addend in struct.iter_unpack("<QQq", raw[: len(raw) // 24 * 24] if raw else b""):
                yield slot, info & 0xFFFFFFFF, info >> 32, addend

    @cached_property
    def _read(self) -> tuple[dict[int, str], dict[int, int]]:
        names: dict[int, str] = {}
        pointers: dict[int, int] = {}
        for slot, kind, number, addend in self._relocations():
            if kind in (_R_GLOB_DAT, _R_JUMP_SLOT, _R_64):
                name = self._symbol(number)
                if name:
                    names[slot] = name
            elif kind == _R_RELATIVE:
                pointers[slot] = addend
        return names, pointers

    def _symbol(self, number: int) -> str | None:
        entry = self._file.read(self._dynamic.get(_SYMTAB, 0) + 24 * number, 24)
        text = self.text(self._dynamic.get(_STRTAB, 0) + struct.unpack_from("<I", entry)[0], 200) if entry else None
        return text.decode("ascii", "replace") if text else None

    def slot(self, address: int) -> str | None:
        """The name whose address the loader writes there."""
        return self._read[0].get(address)

    def pointer(self, address: int) -> int | None:
        """The address within the file that the loader writes there."""
        return self._read[1].get(address)

    def stub(self, address: int) -> str | None:
        """The imported function that the stub at this address of the PLT jumps to."""
        code = self._file.read(address, _STUB_SIZE)
        found = _STUB.match(code) if code else None
        if found is None:
            return None
        return self.slot(address + found.end() + struct.unpack("<i", found[1])[0])

    def text(self, address: int, most: int) -> bytes | None:
        """The bytes of a string up to its NUL; `None` when none ends within `most` bytes."""
        for size in (most, 48, 16):
            raw = self._file.read(address, size)
            if raw is not None:
                end = raw.find(0)
                return raw[:end] if end >= 0 else None
        return None

    @cached_property
    def _tabled(self) -> dict[int, str]:
        """Functions that stand in a table right after or before a name: `NAME+1`, `NAME-1` by function start."""
        pointers = self._read[1]
        ranges = self._file.code()
        found: dict[int, str] = {}
        for slot, target in pointers.items():
            if target not in found and any(start <= target < start + size for start, size in ranges):
                near = self._name_near(slot, pointers, ranges)
                if near is not None:
                    found[target] = near
        return found

    def _name_near(self, slot: int, pointers: dict[int, int], code: Sequence[tuple[int, int]]) -> str | None:
        for distance in (1, -1):
            target = pointers.get(slot - distance * _SLOT)
            if target is None or any(start <= target < start + size for start, size in code):
                continue
            text = self.text(target, 41)
            if text and _IDENTIFIER.match(text):
                return f"{text.decode('ascii')}{distance:+d}"
        return None

    def tabled(self, start: int) -> str | None:
        """Where the function stands in a table, as `NAME+1` (behind its name) or `NAME-1` (before it)."""
        return self._tabled.get(start)
