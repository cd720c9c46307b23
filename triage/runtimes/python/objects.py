"""Python's basic objects read out of foreign memory: strings, numbers, dicts, attributes.

Every pointer is checked before it is followed: aligned, mapped, and an object of the type expected.
`None` means "not readable or not what it should be".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from triage.corefile.protocol import Memory
from triage.runtimes.layout import Layout
from triage.runtimes.structures import Structures

_MOST_TEXT = 65_536
_MOST_ITEMS = 100_000
_MOST_DIGITS = 3
_DIGIT_BITS = 30
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
_GENERAL = 0  # the kind of dict keys whose entries have a hash, 3.11 and newer
_TAG = 7  # low bits of a pointer that 3.14 and newer use for themselves
_FREE_THREADED_STRINGS = (3, 14)


class Objects(Structures):
    """Reads objects of one Python."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        super().__init__(memory, layout)
        number = layout.constant("PY_VERSION_HEX") or 0
        self.version = (number >> 24, number >> 16 & 0xFF)
        self.free_threaded = layout.constant("Py_GIL_DISABLED") is not None
        wide = self.free_threaded and self.version >= _FREE_THREADED_STRINGS
        self._kind_bit = 8 if wide else 2
        self._head = layout.offset("object", "ob_type") + 8
        self._type_names: dict[int, str | None] = {}
        self._strings: dict[int, str | None] = {}

    def type_name(self, address: int | None) -> str | None:
        """The `tp_name` of an object's type, such as `dict`, `Cart` or `numpy.ndarray`."""
        raw = self.memory.read(address, self._head) if address and address % 8 == 0 else None
        kind = int.from_bytes(raw[-8:], "little") if raw is not None else 0
        return self.name_of_type(kind) if kind in self._type_names or (kind and self.sound(kind)) else None

    def name_of_type(self, kind: int) -> str | None:
        """The `tp_name` of the type at `kind`."""
        if kind not in self._type_names:
            self._type_names[kind] = self.text(self.field(kind, "type", "tp_name"), 512)
        return self._type_names[kind]

    def is_a(self, address: int | None, name: str) -> bool:
        """Whether an object's own type has that name."""
        return self.type_name(address) == name

    def string(self, address: int | None) -> str | None:
        """The text of a `str`, cut at 65,536 characters."""
        if not address:
            return None
        if address not in self._strings:
            self._strings[address] = self._read_string(address) if self.is_a(address, "str") else None
        return self._strings[address]

    def _read_string(self, address: int) -> str | None:
        state = self.field(address, "unicode", "state")
        length = self.field(address, "unicode", "length")
        if state is None or length is None:
            return None
        kind, flags = state >> self._kind_bit & 7, state >> self._kind_bit + 3 & 3
        compact, ascii_only = flags & 1, flags & 2
        if not compact or kind not in _CODECS:
            return None  # strings of the deprecated kind, made by very old extensions only
        start = address + self.layout.size("unicode" if ascii_only else "compact_unicode")
        raw = self.memory.read(start, min(length, _MOST_TEXT) * kind) if length < 1 << 40 else None
        if raw is None:
            return None
        found = raw.decode(_CODECS[kind], "backslashreplace")
        return found.encode("utf-8", "backslashreplace").decode("utf-8")

    def integer(self, address: int | None) -> int | None:
        """The value of an `int` (or `bool`) of at most 90 bits."""
        if not address or self.type_name(address) not in ("int", "bool"):
            return None
        size, negative = self._digits(address)
        if size is None or size > _MOST_DIGITS:
            return None
        at = address + self.layout.offset("long", "digits")
        raw = self.memory.read(at, size * 4)
        if raw is None:
            return None
        digits = struct.unpack(f"<{size}I", raw)
        value: int = sum(digit << _DIGIT_BITS * place for place, digit in enumerate(digits))
        return -value if negative else value

    def _digits(self, address: int) -> tuple[int | None, bool]:
        """`(number of digits, whether negative)`."""
        tag = self.field(address, "long", "tag")
        if tag is not None:  # 3.12 and newer
            return tag >> 3, tag & 3 == 2
        if not self.layout.has("long", "ob_size"):
            return None, False
        size = self.signed(address + self.layout.offset("long", "ob_size"))
        return (abs(size), size < 0) if size is not None else (None, False)

    def bytes_of(self, address: int | None) -> bytes | None:
        """The contents of a `bytes` object."""
        if not address or not self.is_a(address, "bytes"):
            return None
        size = self.field(address, "var_object", "ob_size")
        if size is None or size > 1 << 24:
            return None
        return self.memory.read(address + self.layout.offset("bytes", "ob_sval"), size)

    def sequence(self, address: int | None, most: int = 64) -> list[int]:
        """Addresses of the first items of a tuple or list."""
        kind = self.type_name(address)
        if not address or kind not in ("tuple", "list"):
            return []
        size = min(self.field(address, "var_object", "ob_size") or 0, most)
        place = address + self.layout.offset(kind, "ob_item")
        start = place if kind == "tuple" else self.number(place)
        raw = self.memory.read(start, size * 8) if start and size else None
        return list(struct.unpack(f"<{size}Q", raw)) if raw is not None else []

    def items(self, address: int | None) -> Iterator[tuple[int, int]]:
        """`(key, value)` addresses of a dict's items in order; nothing when it is no dict."""
        if not address or not self.is_a(address, "dict"):
            return
        keys = self.pointer(address, "dict", "ma_keys")
        values = self.field(address, "dict", "ma_values")
        if keys is not None:
            yield from self.entries(keys, self._split(values) if values else None)

    def _split(self, values: int) -> int:
        """The array of values of a dict that shares its keys with others."""
        inside = self.layout.has("dict_values", "values")
        return values + (self.layout.offset("dict_values", "values") if inside else 0)

    def entries(self, keys: int, values: int | None) -> Iterator[tuple[int, int]]:
        """The items of a table of keys; `values` is an array for keys that are shared."""
        used = self.field(keys, "dict_keys", "dk_nentries")
        shape = self._shape(keys)
        if used is None or shape is None or not 0 < used <= _MOST_ITEMS:
            return
        start, step, key_at, value_at = shape
        raw = self.memory.read(start, used * step)
        apart = self.memory.read(values, used * 8) if values else None
        if raw is None or (values and apart is None):
            return
        for number in range(used):
            key = struct.unpack_from("<Q", raw, number * step + key_at)[0]
            source, at = (apart, number * 8) if apart is not None else (raw, number * step + value_at)
            value = struct.unpack_from("<Q", source, at)[0]
            if key and value:
                yield key, value

    def _shape(self, keys: int) -> tuple[int, int, int, int] | None:
        """`(start, bytes an entry, where its key is, where its value is)`."""
        start = keys + self.layout.offset("dict_keys", "dk_indices")
        log = self.field(keys, "dict_keys", "dk_log2_index_bytes")
        if log is not None:  # 3.11 and newer
            general = self.field(keys, "dict_keys", "dk_kind") == _GENERAL
            if log > 40:
                return None
            return (start + (1 << log), *((24, 8, 16) if general else (16, 0, 8)))
        size = self.field(keys, "dict_keys", "dk_size")
        if not size or size > 1 << 32:
            return None
        width = 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4 if size <= 0xFFFF_FFFF else 8
        return start + size * width, 24, 8, 16

    def get(self, address: int | None, name: str) -> int | None:
        """The value a dict has for a text key."""
        return next((value for key, value in self.items(address) if self.string(key) == name), None)

    def named(self, address: int | None) -> dict[str, int]:
        """All items of a dict whose keys are texts."""
        texts = ((self.string(key), value) for key, value in self.items(address))
        return {key: value for key, value in texts if key is not None}

    def attribute(self, instance: int, name: str) -> int | None:
        """An attribute of an instance of a class written in Python."""
        return next((value for key, value in self._attributes(instance) if self.string(key) == name), None)

    def _attributes(self, instance: int) -> Iterator[tuple[int, int]]:
        kind = self.pointer(instance, "object", "ob_type")
        flags = self.field(kind, "type", "tp_flags") if kind else None
        if kind is None or flags is None:
            return iter(())
        if flags & (self.layout.constant("Py_TPFLAGS_MANAGED_DICT") or 0):
            return self._managed(instance, kind, flags)
        offset = self.signed(kind + self.layout.offset("type", "tp_dictoffset"))
        return self.items(self.number(instance + offset)) if offset and 0 < offset < 1 << 20 else iter(())

    def _managed(self, instance: int, kind: int, flags: int) -> Iterator[tuple[int, int]]:
        """Attributes kept without a dict of their own, or in one that lies before the object."""
        held = self.number(instance - (8 if self.free_threaded else 24))
        values = self._values_apart(instance, kind, flags, held)
        keys = self.pointer(kind, "heap_type", "ht_cached_keys")
        if values is not None:
            return self.entries(keys, values) if keys is not None else iter(())
        return self.items(held)

    def _values_apart(self, instance: int, kind: int, flags: int, held: int | None) -> int | None:
        if self.version == (3, 11):
            return self.number(instance - 32) or None
        if self.version == (3, 12):  # one word for either; the lowest bit says that it is values
            return held + 1 if held is not None and held & 1 else None
        inline = flags & (self.layout.constant("Py_TPFLAGS_INLINE_VALUES") or 0)
        size = self.field(kind, "type", "tp_basicsize")
        if held or not inline or not size or size > 1 << 20:
            return None
        return self._split(instance + size)


def untagged(pointer: int) -> int:
    """A pointer without the bits in which 3.14 and newer note who owns it."""
    return pointer & ~_TAG
