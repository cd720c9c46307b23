"""Whole columns of PHP's tables at once: one address after the other would take a hundred times as long.

Each function gives `None` where memory is not as plain as it nearly always is: then the caller reads
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from struct import Struct
from typing import NamedTuple

from triage.corefile.memory import MAX_READ, CoreMemory
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
    if min(gaps, default=0) < 0 or ordered[-1] - ordered[0] > MAX_READ or any(gap % 8 for gap in gaps):
        return None, 0
    return Struct("Q" + "".join(f"{gap}xQ" for gap in gaps)), ordered[0]


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


def inner_tables(memory: CoreMemory, tables: Sequence[tuple[int, int]]) -> Sequence[int] | None:
    """The payloads of several HashTables, one behind the other, each given as `(arData, nNumUsed)`."""
    used = [table for table in tables if table[1]]
    if not used:
        return []
    first = used[0][0]
    cells = _cells(tuple([(data - first, count) for data, count in used]))
    with memory.words(first) as words:
        if cells is None or words is None:
            return None
        start = first + cells.low - words.start
        if start < 0 or start + cells.places.size > len(words.raw):
            return None
        if memory.notes:
            for data, count in used:
                memory.note([data], count * _BUCKET)
        found = cells.places.unpack_from(words.raw, start)
    return cells.ordered(found[::2]) if 0 not in found[1::2] else None  # there are holes among them


class _Cells(NamedTuple):
    """What takes payloads and types of several tables out of memory; their order there, where it is another."""

    places: Struct
    low: int
    order: tuple[int, ...] | None

    def ordered(self, found: Sequence[int]) -> Sequence[int]:
        return found if self.order is None else [found[at] for at in self.order]


@lru_cache(maxsize=4)
def _cells(tables: tuple[tuple[int, int], ...]) -> _Cells | None:
    """Tables at these distances, each with so many elements; `None` where they overlap or are too many."""
    if any(count > _MOST for _, count in tables):
        return None
    ends = [data + count * _BUCKET for data, count in sorted(tables)]
    gaps = [data - end for (data, _), end in zip(sorted(tables)[1:], ends[:-1], strict=True)]
    low = min(tables)[0]
    if min(gaps, default=0) < 0 or ends[-1] - low > MAX_READ or any(gap % 8 for gap in gaps):
        return None
    cell = f"QB{_BUCKET - 9}x"
    format = "".join(f"{gap}x" + cell * count for gap, (_, count) in zip((0, *gaps), sorted(tables), strict=True))
    return _Cells(Struct(format), low, _order(tables))


def _order(tables: Sequence[tuple[int, int]]) -> tuple[int, ...] | None:
    """Where the elements of these tables, one behind the other, are among those of the tables as they lie."""
    ordered = sorted(tables)
    if ordered == list(tables):
        return None
    begins = dict(zip(ordered, accumulate((count for _, count in ordered), initial=0), strict=False))
    return tuple(begins[table] + at for table in tables for at in range(table[1]))


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
