"""What the rooms above see of a process's memory: one method, so a dict of bytes can stand in."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Memory(Protocol):
    """Bytes of the crashed process by virtual address."""

    def read(self, address: int, size: int) -> bytes | None:
        """Return exactly `size` bytes at `address`, or `None` when any of them is not known."""
        ...


class Region(NamedTuple):
    """A mapped range as the core describes it. `flags` are ELF PF_* bits."""

    start: int
    end: int
    flags: int
    path: str | None


class AddressSpace(Memory, Protocol):
    """Memory that also knows what is mapped where."""

    def region_at(self, address: int) -> Region | None:
        """The mapped range that covers `address`, `None` when it was not mapped."""
        ...

    def region_after(self, address: int) -> Region | None:
        """The first mapped range that begins above `address`."""
        ...


def c_string(memory: Memory, address: int, limit: int = 4096) -> bytes | None:
    """The bytes at `address` up to a NUL; `None` when unknown or longer than `limit`."""
    plain = getattr(memory, "plain", memory)  # where it is noted what was read, only the text shall be
    collected = b""
    while len(collected) < limit:
        at = address + len(collected)
        size = 64 - at % 64  # never across a page, so an end of memory is exact
        piece = plain.read(at, size)
        if piece is None:
            return memory.read(at, size)
        end = piece.find(b"\0")
        if end >= 0:
            text = collected + piece[:end]
            if plain is not memory:
                memory.read(address, len(text) + 1)
            return text if len(text) <= limit else None
        collected += piece
    return None
