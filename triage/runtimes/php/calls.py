"""PHP's record of one call (execute_data), read whole: a stack may have a hundred thousand of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter
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


class _Record(NamedTuple):
    """Offsets of a record's fields (see `Call`), the record's words, and what chooses the fields from them.

    No words where fields lie across them.
    """

    offsets: tuple[int, ...]
    words: struct.Struct | None
    chosen: Callable[[tuple[int, ...]], tuple[int, ...]]


@lru_cache(maxsize=32)
def _record(layout: Layout) -> _Record:
    offsets = tuple(
        layout.offset("execute_data", field) for field in ("opline", "func", "This", "This.u1", "prev_execute_data")
    )
    plain = not any(offset % 8 for offset in offsets) and offsets[3] == offsets[2] + 8
    words = struct.Struct(f"<{max(offsets) // 8 + 1}Q") if plain else None
    return _Record(offsets, words, itemgetter(*(offset // 8 for offset in offsets)))


class Calls:
    """Reads the records of one process."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._offsets, self._whole, self._chosen = _record(reader.layout)

    @property
    def size(self) -> int:
        """Bytes from a record's start to the end of its last field; 0 where fields do not lie word by word."""
        return self._whole.size if self._whole is not None else 0

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
        raw = self._reader.memory.read(address, self._whole.size) if self._whole is not None else None
        if self._whole is None or raw is None:
            return self._part_by_part(address)
        words = self._whole.unpack(raw)
        opline, func, this, more, previous = self._chosen(words)
        return Call._make((address, opline, func, this, more & 0xFF, more & _WORD, more >> 32, previous))

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
