"""PHP's basic values read out of foreign memory: fields, strings, arrays, zvals.

Every pointer is checked before it is followed: it must be aligned, mapped, and what it points
to must look like what it should be. `None` means "not readable or not what it should be".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from triage.corefile.protocol import Memory, c_string
from triage.runtimes.php.layout import Layout
from triage.text import from_bytes

MAX_STRING = 1 << 20
_LONGEST = 65_536
_SHORT = 40
_NEAR = 1 << 14
MAX_ELEMENTS = 1 << 20
_FIRST = 4096
_PACKED_ZVALS_SINCE = 80200
_STRING = struct.Struct("<8x2Q")
"""The hash and the length of a zend_string; its text follows. In every version."""
_ZVAL, _BUCKET = struct.Struct("<QB7x"), struct.Struct("<QB15xQ")


def _hash(raw: bytes) -> int:
    """PHP's hash of a string (Bernstein's, times 33), with the top bit set so that it is never 0."""
    value = 5381
    for byte in raw:
        value = (value * 33 + byte) & 0xFFFF_FFFF_FFFF_FFFF
    return value | 0x8000_0000_0000_0000


@lru_cache(maxsize=8192)
def _named(kept: int, raw: bytes) -> str | None:
    """A name, where it has the hash that PHP keeps with it, if any."""
    return from_bytes(raw[:_LONGEST]) if not kept or _hash(raw) == kept else None


class Value(NamedTuple):
    """A zval: its type number and its 8 bytes of payload, read as an unsigned integer."""

    type: int
    payload: int
    address: int


class Element(NamedTuple):
    """One element of a PHP array. `key` is `None` for an integer key."""

    key: str | None
    value: Value


class Reader:
    """Reads PHP structures with one version's layout."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.memory = memory
        self.layout = layout
        self._places = layout.fields
        self._text_at = layout.offset("string", "val")
        self._strings: dict[tuple[int, int], str | None] = {}
        self._names: dict[int, str | None] = {}
        self._classes: dict[int, str | None] = {}
        self._tables: dict[int, list[Element]] = {}

    def number(self, address: int, size: int = 8) -> int | None:
        """An unsigned little-endian integer."""
        raw = self.memory.read(address, size)
        return int.from_bytes(raw, "little") if raw is not None else None

    def numbers(self, addresses: Sequence[int]) -> list[int] | list[int | None]:
        """`number` at each of these addresses, with one read where they lie near each other."""
        first, last = min(addresses, default=0), max(addresses, default=0)
        raw = self.memory.read(first, last + 8 - first) if addresses and last - first < _NEAR else None
        if raw is None:
            return [self.number(address) for address in addresses]
        return [int.from_bytes(raw[address - first : address - first + 8], "little") for address in addresses]

    def field(self, address: int, name: str, field: str) -> int | None:
        """A field of the structure `name` at `address`; `None` also when this version lacks it."""
        place = self._places.get((name, field))
        raw = self.memory.read(address + place[0], place[1]) if place is not None else None
        return int.from_bytes(raw, "little") if raw is not None else None

    def fields(self, address: int, name: str, *fields: str) -> tuple[int | None, ...]:
        """Several fields of one structure, with one read where they can all be read."""
        together = self.layout.together(name, fields)
        raw = self.memory.read(address + together.start, together.record.size) if together is not None else None
        if together is None or raw is None:
            return tuple(self.field(address, name, field) for field in fields)
        return together.chosen(together.record.unpack(raw))

    def pointer(self, address: int, name: str, field: str) -> int | None:
        """A pointer field, `None` when NULL, misaligned or pointing to unmapped memory."""
        found = self.field(address, name, field)
        return found if found and self.sound(found) else None

    def sound_field(self, address: int, name: str, field: str) -> int | None:
        """A field of the structure at `address`, `None` also where that can be no PHP structure (see `sound`)."""
        place = self._places.get((name, field))
        if place is None or address % 8:
            return None
        raw = self.memory.read(address, place[0] + place[1])  # both at once, as they nearly always lie together
        if raw is not None and place[0] >= 8:
            return int.from_bytes(raw[place[0] :], "little")
        return self.field(address, name, field) if self.sound(address) else None

    def sound(self, address: int) -> bool:
        """Whether an address is aligned and mapped, so that it can be a PHP structure."""
        return address % 8 == 0 and self.memory.read(address, 8) is not None

    def string(self, address: int | None, limit: int = _LONGEST) -> str | None:
        """The text of the zend_string at `address`, cut at `limit` bytes.

        Not a string unless its length is sane and a NUL follows its last byte.
        """
        if not address:
            return None
        key = (address, limit)
        if key in self._strings:
            return self._strings[key]
        short = self._short(address)
        if short is not None and len(short[1]) < limit:
            text: str | None = from_bytes(short[1])
        else:
            text = self._read_long(address, limit)
        self._strings[key] = text
        return text

    def name(self, address: int | None) -> str | None:
        """The text of a zend_string that is a name: where PHP keeps its hash, the text must have that hash."""
        if not address:
            return None
        if address not in self._names:
            self._names[address] = self._read_name(address)
        return self._names[address]

    def class_name(self, entry: int) -> str | None:
        """The name of the class whose class_entry is at `entry`, `None` where there can be none."""
        if entry not in self._classes:
            name_at = self.sound_field(entry, "class_entry", "name")
            self._classes[entry] = self.string(name_at)
        return self._classes[entry]

    def _read_name(self, address: int) -> str | None:
        found = self._short(address) or self._whole(address)
        return _named(*found) if found is not None else None

    def _short(self, address: int) -> tuple[int, bytes] | None:
        """`(hash, text)` of a string of a few bytes, as nearly all names are, with one read; `None` for others."""
        at = self._text_at
        head = self.memory.read(address, at + _SHORT) if address % 8 == 0 else None
        if head is None:
            return None
        kept, length = _STRING.unpack_from(head)
        return (kept, head[at : at + length]) if length < _SHORT and head[at + length] == 0 else None

    def _whole(self, address: int) -> tuple[int, bytes] | None:
        """The same of any string, with two reads."""
        head = self.memory.read(address, _STRING.size) if address % 8 == 0 else None
        kept, length = _STRING.unpack(head) if head is not None else (0, MAX_STRING + 1)
        raw = self.memory.read(address + self._text_at, length + 1) if length <= MAX_STRING else None
        return (kept, raw[:-1]) if raw is not None and raw[-1] == 0 else None

    def _read_long(self, address: int, limit: int) -> str | None:
        length = self.field(address, "string", "len") if address % 8 == 0 else None
        if length is None or length > MAX_STRING:
            return None
        at = address + self._text_at
        if self.memory.read(at + length, 1) != b"\0":
            return None
        raw = self.memory.read(at, min(length, limit))
        return from_bytes(raw) if raw is not None else None

    def c_string(self, address: int | None, limit: int = 4096) -> str | None:
        """The NUL-terminated text at `address`."""
        if not address:
            return None
        raw = c_string(self.memory, address, limit)
        return from_bytes(raw) if raw is not None else None

    def value(self, address: int) -> Value | None:
        """The zval at `address`."""
        raw = self.memory.read(address, 16)
        if raw is None:
            return None
        payload, kind = _ZVAL.unpack(raw)
        return Value(kind, payload, address)

    def values(self, address: int, count: int) -> list[Value | None]:
        """So many zvals from `address` on, with one read where they can all be read."""
        size = _ZVAL.size
        raw = self.memory.read(address, count * size)
        if raw is None:
            return [self.value(address + at * size) for at in range(count)]
        return [
            Value(kind, payload, address + at * size) for at, (payload, kind) in enumerate(_ZVAL.iter_unpack(raw))
        ]

    def text_value(self, value: Value | None) -> str | None:
        """The text of a zval that holds a string."""
        if value is None or value.type != self.layout.constant("IS_STRING"):
            return None
        return self.string(value.payload)

    def elements(self, address: int) -> Iterator[Element]:
        """The elements of the HashTable at `address`, in order, holes left out; stops at damage."""
        for raw, start, step in self._blocks(address):
            yield from self._slots(raw, start, step)

    def payloads(self, address: int) -> list[int]:
        """The payloads alone of a HashTable's elements, all at once: for tables of pointers."""
        found: list[int] = []
        for raw, _, step in self._blocks(address):
            words = struct.unpack_from(f"<{len(raw) // 8}Q", raw)
            kinds = raw[8::step]
            found.extend(word for word, kind in zip(words[:: step // 8], kinds, strict=True) if kind)
        return found

    def _blocks(self, address: int) -> Iterator[tuple[bytes, int, int]]:
        """`(bytes, address, bytes an element)` of up to 4096 elements at a time."""
        data, flags, used, size = self.fields(address, "array", "arData", "u.flags", "nNumUsed", "nTableSize")
        if not used or not size or not data or used > size or used > MAX_ELEMENTS:
            return
        step = self._step(flags or 0)
        for start in range(0, used, 4096):
            count = min(4096, used - start)
            raw = self.memory.read(data + start * step, count * step)
            if raw is None:
                return
            yield raw, data + start * step, step

    def _step(self, flags: int) -> int:
        """Bytes an element of a HashTable with these flags."""
        packed = bool(flags & self.layout.constant("HASH_FLAG_PACKED"))
        if packed and self.layout.version_id >= _PACKED_ZVALS_SINCE:
            return self.layout.size("zval")
        return self.layout.size("bucket")

    def _slots(self, raw: bytes, address: int, step: int) -> Iterator[Element]:
        places = range(address, address + len(raw), step)
        if step == _BUCKET.size:
            for place, (payload, kind, key) in zip(places, _BUCKET.iter_unpack(raw), strict=True):
                if kind:
                    yield Element(self.string(key), Value(kind, payload, place))
        else:
            for place, (payload, kind) in zip(places, _ZVAL.iter_unpack(raw), strict=True):
                if kind:
                    yield Element(None, Value(kind, payload, place))

    def first(self, table: int) -> list[Element]:
        """The first 4096 elements of the HashTable at `table`, read once."""
        if table not in self._tables:
            self._tables[table] = list(islice(self.elements(table), _FIRST))
        return self._tables[table]

    def find(self, table: int, key: str) -> Value | None:
        """The element of a HashTable with a given string key."""
        return next((element.value for element in self.elements(table) if element.key == key), None)
