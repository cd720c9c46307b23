"""PHP's structures written into a piece of memory, field by field, with a version's own layout."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.memory import Bytes
from triage.runtimes.php.layout import Layout, layout_for
from triage.runtimes.php.reader import Reader

BASE = 0x7F00_0000_0000
INTERNAL, USER, EVAL = 1, 2, 4
HEADROOM = 64
"""Bytes behind the last structure: texts are read in aligned pieces of 64."""


class PhpMemory:
    """Grows as structures are put in. `reader()` reads what is there."""

    def __init__(self, version: str = "8.2.36", *, zts: bool = False) -> None:
        layout = layout_for(version, zts=zts)
        assert layout is not None
        self.layout: Layout = layout
        self._data = bytearray()

    def reader(self, *, cut: int | None = None) -> Reader:
        """A Reader; with `cut` memory ends at that address."""
        data = bytes(self._data) + bytes(HEADROOM)
        return Reader(Bytes({BASE: data[: None if cut is None else cut - BASE]}), self.layout)

    def room(self, size: int) -> int:
        """Zeroed bytes, 64-byte aligned."""
        self._data.extend(bytes(-len(self._data) % 64))
        at = BASE + len(self._data)
        self._data.extend(bytes(size))
        return at

    def write(self, address: int, raw: bytes) -> None:
        """Bytes at an address that there is room for."""
        at = address - BASE
        assert at >= 0
        assert at + len(raw) <= len(self._data)
        self._data[at : at + len(raw)] = raw

    def number(self, address: int, value: int, size: int = 8) -> None:
        """An unsigned integer."""
        self.write(address, value.to_bytes(size, "little"))

    def set(self, address: int, struct: str, **fields: int) -> int:
        """Fields of a structure (`__` stands for the dot); returns its address."""
        for name, value in fields.items():
            offset, size = self.layout.place(struct, name.replace("__", "."))
            self.number(address + offset, value, size)
        return address

    def make(self, struct: str, **fields: int) -> int:
        """A new structure."""
        return self.set(self.room(self.layout.size(struct)), struct, **fields)

    def string(self, text: str | bytes, *, length: int | None = None) -> int:
        """A zend_string; `length` may lie."""
        raw = text.encode() if isinstance(text, str) else text
        at = self.room(self.layout.offset("string", "val") + len(raw) + 1)
        self.set(at, "string", len=len(raw) if length is None else length)
        self.write(at + self.layout.offset("string", "val"), raw)
        return at

    def c_string(self, text: str) -> int:
        """A NUL-terminated text."""
        raw = text.encode() + b"\0"
        at = self.room(len(raw))
        self.write(at, raw)
        return at

    def zval(self, address: int, kind: str, payload: int) -> None:
        """A zval of the type `IS_…`."""
        self.number(address, payload)
        self.number(address + 8, self.layout.constant(kind), 4)

    def table(self, elements: Sequence[tuple[str | None, str, int]]) -> int:
        """A hash with `(key, type, payload)` buckets."""
        step = self.layout.size("bucket")
        data = self.room(step * len(elements))
        for at, (key, kind, payload) in enumerate(elements):
            self.zval(data + at * step, kind, payload)
            if key is not None:
                self.number(data + at * step + 24, self.string(key))
        size = max(8, len(elements))
        return self.make("array", arData=data, nNumUsed=len(elements), nNumOfElements=len(elements), nTableSize=size)

    def class_(self, name: str) -> int:
        """A class entry."""
        return self.make("class_entry", name=self.string(name), type=2)

    def object(self, class_entry: int) -> int:
        """An object without properties."""
        return self.make("object", ce=class_entry)

    def function(
        self,
        name: str | None,
        file: str = "/srv/x.php",
        lines: Sequence[int] = (10, 11, 12),
        *,
        scope: int = 0,
        kind: int = USER,
    ) -> int:
        """A user function with one opcode a line."""
        size = self.layout.size("op")
        code = self.room(size * len(lines))
        for at, line in enumerate(lines):
            self.set(code + at * size, "op", lineno=line, opcode=1)
        return self.make(
            "op_array",
            type=kind,
            function_name=self.string(name) if name else 0,
            filename=self.string(file),
            scope=scope,
            opcodes=code,
            last=len(lines),
        )

    def internal(self, name: str, handler: int, *, scope: int = 0) -> int:
        """A built-in function. Room for an op_array: PHP tells the two apart by the type alone."""
        at = self.room(self.layout.size("op_array"))
        return self.set(
            at, "internal_function", type=INTERNAL, function_name=self.string(name), scope=scope, handler=handler
        )

    def opline(self, function: int, index: int) -> int:
        """The address of a user function's opcode."""
        place = self.layout.offset("op_array", "opcodes")
        at = function - BASE + place
        return int.from_bytes(self._data[at : at + 8], "little") + index * self.layout.size("op")

    def frame(self, function: int, previous: int = 0, *, line: int | None = 0, top: bool = False) -> int:
        """An execute_data; `line` is the index of its opcode, `None` for a built-in function."""
        return self.make(
            "execute_data",
            func=function,
            prev_execute_data=previous,
            opline=self.opline(function, line) if line is not None else 0,
            This__u1=self.layout.constant("ZEND_CALL_TOP") if top else 0,
        )
