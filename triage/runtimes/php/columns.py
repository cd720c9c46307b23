"""Whole columns of PHP's tables at once: one address after the other would take a hundred times as long.

Each function gives `None` where memory is not as plain as it nearly always is: then the caller reads
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from triage.corefile.memory import MAX_READ, CoreMemory, Words
from triage.runtimes.php.reader import Reader

_BUCKET = 32  # zval, hash, key: the same since 7.0
_MOST = 1 << 16
_SHORT = 4096


class Columns(NamedTuple):
    """A HashTable's elements without holes: what each leads to, the hash and the address of its key."""

    payloads: list[int]
    hashes: list[int]
    keys: list[int]


def columns(reader: Reader, table: int) -> Columns | None:
    """The columns of the HashTable at `table`."""
    used, data = reader.field(table, "array", "nNumUsed"), reader.field(table, "array", "arData")
    if not used or not data or used > _MOST:
        return None
    raw = reader.memory.read(data, used * _BUCKET)
    if raw is None:
        return None
    return _without_holes(raw)


def _without_holes(raw: bytes) -> Columns:
    words = memoryview(raw).cast("Q")
    found = Columns(words[0::4].tolist(), words[2::4].tolist(), words[3::4].tolist())
    kinds = raw[8::_BUCKET]
    if 0 not in kinds:
        return found
    return Columns(*([word for word, kind in zip(column, kinds, strict=True) if kind] for column in found))


class Leading(NamedTuple):
    """The first elements of a HashTable: `slots` are their places in it, `hashes` eight bytes each."""

    memory: CoreMemory
    data: int
    slots: Sequence[int]
    hashes: bytes

    def payload(self, at: int) -> int:
        """What one of them leads to."""
        raw = self.memory.read(self.data + self.slots[at] * _BUCKET, 8)
        return int.from_bytes(raw, "little") if raw is not None else 0

    def payloads(self) -> list[int]:
        """What each of them leads to."""
        raw = self.memory.read(self.data, (self.slots[-1] + 1) * _BUCKET) if self.slots else b""
        words = memoryview(raw or b"").cast("Q")[::4].tolist()
        if len(words) == len(self.slots):
            return words  # there are no holes among them
        return [words[slot] for slot in self.slots] if raw is not None else []


def leading(memory: CoreMemory, reader: Reader, table: int, count: int, kind: int) -> Leading | None:
    """A HashTable's first elements, where exactly so many lead to records that begin with `kind`."""
    data = reader.field(table, "array", "arData") or 0
    heads = memory.ask(_heads, data, count) if data else None
    if heads is None:
        return None
    used_at = table + reader.layout.offset("array", "nNumUsed")
    total = len(heads) // _HEAD
    if not memory.ask(_ends, used_at, data, total, kind):
        return None
    kinds, hashes = heads[:total], heads[total:]
    if 0 not in kinds:
        return Leading(memory, data, range(total), hashes)
    slots = [slot for slot, kind in enumerate(kinds) if kind]
    return Leading(memory, data, slots, b"".join(hashes[slot * 8 : slot * 8 + 8] for slot in slots))


_HEAD = 9


def _heads(memory: CoreMemory, data: int, count: int) -> bytes | None:
    """The types of the first elements, and of the holes between them, one byte each; then the hashes of all."""
    slots, raw = count, memory.read(data, count * _BUCKET)
    while raw is not None and slots <= _MOST and slots - raw[8::_BUCKET].count(0) < count:
        slots = count + raw[8::_BUCKET].count(0)  # there are holes among them
        raw = memory.read(data, slots * _BUCKET)
    if raw is None or slots > _MOST:
        return None
    return raw[8::_BUCKET] + memoryview(raw).cast("Q")[2::4].tobytes()


def _ends(memory: CoreMemory, used_at: int, data: int, slots: int, kind: int) -> bool:
    """Whether so many slots are in use, and the next one that is leads to a record of another kind."""
    raw = memory.read(used_at, 4)
    used = int.from_bytes(raw, "little") if raw is not None else 0
    if used < slots or used > _MOST:
        return False
    for slot in range(slots, used):
        bucket = memory.read(data + slot * _BUCKET, 9)
        if bucket is None:
            return False
        if bucket[8]:
            return memory.read(int.from_bytes(bucket[:8], "little"), 1) != bytes([kind])
    return True


def words_of(memory: CoreMemory, records: Sequence[int], distances: Sequence[int]) -> list[list[int]] | None:
    """For each distance the words that lie so far behind the records, all of which must be in one piece of memory."""
    if not records:
        return [[] for _ in distances]
    with memory.words(records[0]) as words:
        if words is None or min(records) < words.start or max(records) + max(distances) + 8 > words.end:
            return None
        view = words.view
        if memory.notes:
            for distance in distances:
                memory.note((record + distance for record in records), 8)
        shifted = (words.start - distance for distance in distances)
        return [[view[(record - start) >> 3] for record in records] for start in shifted]


def words_among(memory: CoreMemory, records: Sequence[int], distance: int) -> Sequence[int] | None:
    """The words that lie so far behind the records, in no order, under the same condition.

    Processes of the same builds have their records just as far from each other.
    """
    if not records:
        return ()
    if memory.notes:
        noted = words_of(memory, records, [distance])
        return noted[0] if noted is not None else None
    first = records[0]
    gathered, low = _gathering(tuple([record - first for record in records]))
    with memory.words(first) as words:
        start = first + low + distance
        if gathered is None or words is None or start < words.start or start + gathered.size > words.end:
            return None
        return gathered.unpack_from(words.raw, start - words.start)


@lru_cache(maxsize=4)
def _gathering(places: tuple[int, ...]) -> tuple[Struct | None, int]:
    """What takes a word from each of these places out of memory, `None` where they overlap; and the lowest."""
    ordered = sorted(set(places))
    gaps = [after - before - 8 for before, after in pairwise(ordered)]
    if min(gaps, default=0) < 0 or ordered[-1] - ordered[0] > MAX_READ:
        return None, 0
    return Struct("<Q" + "".join(f"{gap}xQ" for gap in gaps)), ordered[0]


def rows_of(memory: CoreMemory, records: Sequence[int], count: int) -> list[list[int]] | None:
    """The first `count` words of each record, under the same condition."""
    if not records:
        return []
    with memory.words(records[0]) as words:
        if words is None or min(records) < words.start or max(records) + count * 8 > words.end:
            return None
        if memory.notes:
            memory.note(records, count * 8)
        view, first = words.view, words.start
        places = [(record - first) >> 3 for record in records]
        return [view[place : place + count].tolist() for place in places]


def inner_tables(memory: CoreMemory, tables: Sequence[tuple[int, int]]) -> list[int] | None:
    """The payloads of several HashTables, one behind the other, each given as `(arData, nNumUsed)`."""
    found: list[int] = []
    data = next((data for data, used in tables if used), None)
    if data is None:
        return found
    with memory.words(data) as words:
        if words is None or not _add(found, words, tables):
            return None
        if memory.notes:
            for place, used in tables:
                memory.note([place] if used else [], used * _BUCKET)
        return found


def _add(found: list[int], words: Words, tables: Sequence[tuple[int, int]]) -> bool:
    view, raw = words.view, words.raw
    for data, used in tables:
        if not used:
            continue
        if used > _MOST or data < words.start or data + used * _BUCKET > words.end:
            return False
        at, end = (data - words.start) >> 3, (data - words.start + used * _BUCKET) >> 3
        if 0 in raw[at * 8 + 8 : end * 8 : _BUCKET].tobytes():
            return False  # there are holes among them
        found += view[at:end:4].tolist()
    return True


def texts(memory: CoreMemory, reader: Reader, addresses: Sequence[int]) -> list[str | None]:
    """The text of each zend_string, as `Reader.string` gives it."""
    at = reader.layout.offset("string", "val")
    first = next((address for address in addresses if address), None)
    if first is None or at % 8 or reader.layout.offset("string", "len") != at - 8:
        return [reader.string(address) for address in addresses]
    found: list[str | None] = []
    with memory.words(first) as words:
        if words is None:
            return [reader.string(address) for address in addresses]
        start, raw, view, size = words.start, words.raw, words.view, words.end - words.start
        for address in addresses:
            text, place = None, address - start + at
            if at <= place < size and not place & 7:
                end = place + view[(place - 8) >> 3]
                if end < min(size, place + _SHORT) and not raw[end]:
                    text = str(raw[place:end], "utf-8", "backslashreplace")
                    if memory.notes:
                        memory.note([address], end + 1 - (address - start))
            found.append(reader.string(address) if text is None else text)
    return found
