"""PHP's record of one call (execute_data), read whole: a stack may have a hundred thousand of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from triage.runtimes.php.layout import Layout
from triage.runtimes.php.reader import Reader

_WORD = 0xFFFF_FFFF


class Call(NamedTuple):
    """One record. `this` is the payload of its `This`, `kind` that value's type, `passed` how many arguments it has.

    `None` stands for what could not be read.
    """

    address: int
    opline: int | None
    func: int | None
    this: int | None
    kind: int | None
    flags: int
    passed: int
    previous: int | None


_CALL = partial(tuple.__new__, Call)  # its own _make, without a call in Python for each
_FIELDS = ("opline", "func", "This", "This.u1", "prev_execute_data")


class _Record(NamedTuple):
    """Offsets of a record's fields (see `Call`), and what reads them; nothing where they do not lie in that order."""

    offsets: tuple[int, ...]
    words: struct.Struct | None


@lru_cache(maxsize=32)
def _record(layout: Layout) -> _Record:
    offsets = tuple(layout.offset("execute_data", field) for field in _FIELDS)
    gaps = [offset - end for offset, end in zip(offsets, (0, *(offset + 8 for offset in offsets)), strict=False)]
    plain = not any(gap < 0 or gap % 8 for gap in gaps) and gaps[3] == 0
    return _Record(offsets, struct.Struct("<" + "".join(f"{gap}xQ" for gap in gaps)) if plain else None)


class Calls:
    """Reads the records of one process."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._offsets, self._words = _record(reader.layout)
        self._read = reader.memory.read
        self.size = self._words.size if self._words is not None else 0
        """Bytes from a record's start to the end of its last field; 0 where fields do not lie word by word."""

    def words_of(self, call: Call) -> Iterator[tuple[int, int | None]]:
        """`(offset, word)` for all of a record but `previous`."""
        more = call.flags | call.passed << 32
        return zip(self._offsets, (call.opline, call.func, call.this, more), strict=False)

    @property
    def previous(self) -> int:
        """The offset of the address of the call behind."""
        return self._offsets[-1]

    def at(self, address: int) -> Call:
        """The record at `address`."""
        raw = self._read(address, self.size) if self._words is not None else None
        if self._words is None or raw is None:
            return self._part_by_part(address)
        opline, func, this, more, previous = self._words.unpack(raw)
        return _CALL((address, opline, func, this, more & 0xFF, more & _WORD, more >> 32, previous))

    def _part_by_part(self, address: int) -> Call:
        """The same where memory ends within the record."""
        reader = self._reader
        opline, func, flags, passed, previous = (
            reader.field(address, "execute_data", field)
            for field in ("opline", "func", "This.u1", "This.u2", "prev_execute_data")
        )
        this = reader.value(address + self._offsets[2])
        payload, kind = (this.payload, this.type) if this is not None else (None, None)
        return Call(address, opline, func, payload, kind, flags or 0, passed or 0, previous)
