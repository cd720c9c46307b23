"""Ruby's values read out of foreign memory: strings, arrays, and the names behind IDs."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from triage.corefile.protocol import Memory
from triage.runtimes.layout import Layout
from triage.runtimes.structures import Structures
from triage.text import from_bytes

_TYPE = 0x1F
_MOST_TEXT = 65_536
_MOST_ITEMS = 1 << 20
_UNIT, _ENTRY = 512, 2  # symbol.c: IDs are kept in arrays of 512 entries, each a string and a symbol
_LENGTH_SHIFT, _LENGTH_MASK = 14, 0x1F  # strings up to 3.1: their length in the flags (FL_USER2 to FL_USER6)
_ARRAY_SHIFT, _ARRAY_MASK = 15, 0x7F  # arrays inside of their own slot (FL_USER3 and up)


class Values(Structures):
    """Reads values of one Ruby."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        super().__init__(memory, layout)
        self._constants = {
            name: layout.constant(f"RUBY_{name}") or 0
            for name in ("STRING", "ARRAY", "STRING_APART", "ARRAY_INSIDE", "LAST_OPERATOR", "SCOPE_SHIFT")
        }
        self._symbols: int | None = None

    def use_symbols(self, ids: int) -> None:
        """Where the names of IDs are: the array of arrays that `find_symbols` found."""
        self._symbols = ids

    def _flags(self, address: int | None, kind: str) -> int | None:
        flags = self.number(address) if address and self.sound(address) else None
        return flags if flags is not None and flags & _TYPE == self._constants[kind] else None

    def string(self, address: int | None) -> str | None:
        """The text of a String."""
        flags = self._flags(address, "STRING")
        if address is None or flags is None:
            return None
        start, length = address + self.layout.offset("string", "inside"), flags >> _LENGTH_SHIFT & _LENGTH_MASK
        apart = flags & self._constants["STRING_APART"]
        if apart:
            start = self.field(address, "string", "pointer") or 0
        if apart or self.layout.has("string", "own_length"):
            length = self.field(address, "string", "length") or 0
        raw = self.memory.read(start, min(length, _MOST_TEXT)) if start else None
        return from_bytes(raw) if raw is not None else None

    def items(self, address: int | None) -> list[int]:
        """The elements of an Array."""
        flags = self._flags(address, "ARRAY")
        if address is None or flags is None:
            return []
        if flags & self._constants["ARRAY_INSIDE"]:
            start, size = address + self.layout.offset("array", "inside"), flags >> _ARRAY_SHIFT & _ARRAY_MASK
        else:
            start = self.field(address, "array", "pointer") or 0
            size = self.number(address + self.layout.offset("array", "inside")) or 0  # as.heap.len is its first word
        raw = self.memory.read(start, size * 8) if start and size < _MOST_ITEMS else None
        return [item for (item,) in struct.iter_unpack("<Q", raw)] if raw is not None else []

    def name(self, identifier: int | None) -> str | None:
        """The name behind an ID such as a method's."""
        if not identifier or self._symbols is None:
            return None
        operator = identifier <= self._constants["LAST_OPERATOR"]
        number = identifier if operator else identifier >> self._constants["SCOPE_SHIFT"]
        groups = self.items(self._symbols)
        if number // _UNIT >= len(groups):
            return None
        entries = self.items(groups[number // _UNIT])
        at = number % _UNIT * _ENTRY
        return self.string(entries[at]) if at < len(entries) else None

    def find_symbols(self, words: Iterable[int]) -> int | None:
        """The table of names, of which only this is known: an Array of Arrays that hold 512 names each.

        `words` are the values of the library's own variables.
        """
        for word in words:
            if word % 8 or self._flags(word, "ARRAY") is None:
                continue
            groups = self.items(word)
            if groups and len(self.items(groups[0])) == _UNIT * _ENTRY:
                texts = [self.string(entry) for entry in self.items(groups[0])[::_ENTRY]]
                if sum(text is not None for text in texts) > _UNIT // 4:
                    return word
        return None
