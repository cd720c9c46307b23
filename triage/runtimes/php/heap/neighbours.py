"""What a block of the heap holds, as far as its first words tell."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from triage.runtimes.php.heap.bins import BINS
from triage.runtimes.php.heap.chunks import Chunks
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.values import Values
from triage.text import plural

_STRING, _ARRAY, _OBJECT, _REFERENCE = 6, 7, 8, 10
_MOST_COUNT = 1 << 30
_KNOWN_FLAGS = 1 << 10  # the collector's notes and more than a few flags are not for strings
_TEXT_AT = 24


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a size class. `end` is where a string in it must have its NUL, `None` for anything else."""

    start: int
    size: int
    what: str
    end: int | None = None
    free: bool = False


class Blocks:
    """Describes blocks: their kind and sizes, never what is in them."""

    def __init__(self, reader: Reader, chunks: Chunks, free: Container[int]) -> None:
        self._reader = reader
        self._chunks = chunks
        self._free = free
        self._values = Values(reader)

    def at(self, address: int) -> Block | None:
        """The block that holds `address`."""
        slot = self._chunks.slot(address)
        if slot is None:
            return None
        start, number, _ = slot
        size = BINS[number].size
        if start in self._free:
            return Block(start, size, "a free block", free=True)
        what, end = self._contents(start, size)
        return Block(start, size, what, end)

    def _contents(self, start: int, size: int) -> tuple[str, int | None]:
        head = self._chunks.read(start, 8)
        count, kind = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:8], "little")
        if not 0 < count < _MOST_COUNT:
            return "a block of unknown use", None
        if kind & 0xF == _STRING and kind < _KNOWN_FLAGS:
            length = self._chunks.word(start + 16)
            if _fits(length, size):
                return f"a string of {plural(length, 'byte')}", start + _TEXT_AT + length
        if kind & 0xF == _OBJECT:
            name = self._values.class_of(start)
            if name:
                return f"an object of the class {name.split(chr(0))[0]}", None
        if kind & 0xF == _ARRAY and size == 56:
            used = self._reader.field(start, "array", "nNumOfElements")
            return f"an array of {plural(used or 0, 'element')}", None
        if kind & 0xF == _REFERENCE and size == 32:
            return "a PHP reference", None
        return "a block of unknown use", None


def _fits(length: int, size: int) -> bool:
    """Whether a string of that length gets a block of this size class.

    PHP rounds up the sum of header and text, or, where the length is a product (str_repeat), the header alone.
    """
    wanted = ((_TEXT_AT + length + 1 + 7) & ~7, length + ((_TEXT_AT + 1 + 7) & ~7))
    return size in {next((other.size for other in BINS if other.size >= need), None) for need in wanted}
