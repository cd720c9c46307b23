"""Fields of foreign structures, read with a layout. Every pointer is checked before it is followed."""

from __future__ import annotations

import struct

from triage.corefile.protocol import Memory, c_string
from triage.runtimes.layout import Layout
from triage.text import from_bytes

_PACK = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


class Structures:
    """Reads one interpreter's structures. `None` means: not readable, or not in this version."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.memory = memory
        self.layout = layout

    def number(self, address: int, size: int = 8) -> int | None:
        """An unsigned little-endian integer of 1, 2, 4 or 8 bytes."""
        raw = self.memory.read(address, size) if size in _PACK and address > 0 else None
        return struct.unpack(_PACK[size], raw)[0] if raw is not None else None

    def signed(self, address: int, size: int = 8) -> int | None:
        """The same with a sign."""
        raw = self.memory.read(address, size) if size in _PACK and address > 0 else None
        return int.from_bytes(raw, "little", signed=True) if raw is not None else None

    def field(self, address: int, name: str, field: str) -> int | None:
        """A field of the structure `name` at `address`."""
        if not self.layout.has(name, field):
            return None
        offset, size = self.layout.place(name, field)
        return self.number(address + offset, size)

    def pointer(self, address: int, name: str, field: str) -> int | None:
        """A pointer field, `None` when NULL, misaligned or pointing to unmapped memory."""
        found = self.field(address, name, field)
        return found if found and self.sound(found) else None

    def pointer_at(self, address: int) -> int | None:
        """A pointer at an address, `None` when NULL, misaligned or pointing to unmapped memory."""
        found = self.number(address)
        return found if found and self.sound(found) else None

    def sound(self, address: int) -> bool:
        """Whether an address is aligned and mapped, so that a structure can be there."""
        return address % 8 == 0 and self.memory.read(address, 8) is not None

    def text(self, address: int | None, limit: int = 4096) -> str | None:
        """The NUL-terminated text at `address`."""
        raw = c_string(self.memory, address, limit) if address else None
        return from_bytes(raw) if raw is not None else None
