"""What a caller's own code says it calls: a second witness for the function in a frame.

A call is compiled to an instruction that names the function (INIT_…), the arguments, and one
that makes the call (DO_…). From the instruction a frame stands on, the one that names the
function is found by counting back. A frame whose function is another one is in doubt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from triage.runtimes.php.functions import Function
from triage.runtimes.php.layout import Layout
from triage.runtimes.php.reader import Reader

_CALLS = ("ZEND_DO_FCALL", "ZEND_DO_ICALL", "ZEND_DO_UCALL", "ZEND_DO_FCALL_BY_NAME")
_BEGINS = (
    *("ZEND_INIT_FCALL", "ZEND_INIT_FCALL_BY_NAME", "ZEND_INIT_NS_FCALL_BY_NAME", "ZEND_INIT_METHOD_CALL"),
    *("ZEND_INIT_STATIC_METHOD_CALL", "ZEND_INIT_USER_CALL", "ZEND_INIT_DYNAMIC_CALL", "ZEND_NEW"),
    "ZEND_INIT_PARENT_PROPERTY_HOOK_CALL",
)
_LITERALS = {
    "ZEND_INIT_FCALL": 1,
    "ZEND_INIT_FCALL_BY_NAME": 2,
    "ZEND_INIT_NS_FCALL_BY_NAME": 3,
    "ZEND_INIT_METHOD_CALL": 2,
    "ZEND_INIT_STATIC_METHOD_CALL": 2,
}
"""How many spellings of the function's name follow each other in the literals, per instruction."""
_STAND_INS = ("__call", "__callstatic", "__invoke")
_CONST = 1
_MOST_BACK = 2000
_RELATIVE_LITERALS_SINCE = 70300


class _Instructions(NamedTuple):
    """Numbers of instructions: `calls` make a call, `ends` end what one of `begins` began."""

    calls: frozenset[int]
    ends: frozenset[int]
    begins: frozenset[int]
    literals: Mapping[int, int]


@lru_cache(maxsize=32)
def _instructions(layout: Layout) -> _Instructions:
    def numbers(names: Iterable[str]) -> frozenset[int]:
        found = map(layout.opcode, names)
        return frozenset(number for number in found if number is not None)

    literals = {layout.opcode(name): count for name, count in _LITERALS.items()}
    return _Instructions(
        calls=numbers(_CALLS),
        ends=numbers((*_CALLS, "ZEND_CALLABLE_CONVERT")),
        begins=numbers(_BEGINS),
        literals={number: count for number, count in literals.items() if number is not None},
    )


class CallSites:
    """Reads the names callers use."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._calls, self._ends, self._begins, self._literals = _instructions(reader.layout)

    def doubt(self, caller: Function, opline: int | None, callee: Function) -> str | None:
        """Why `callee` is not what `caller` calls at `opline`; `None` when it is, or nothing can be told."""
        name = (callee.name or "").lower()
        # Magic methods and closures stand in for whatever name was called.
        if opline is None or name in _STAND_INS or callee.closure:
            return None
        named = set[str]()
        for spelling in self.names(caller, opline):
            if spelling == name:
                return None
            named.add(spelling)
        if not named or "__invoke" in named:
            return None
        return f"unknown whether this is right: the calling code names {min(named)}()"

    def names(self, caller: Function, opline: int) -> Iterator[str]:
        """The name of the function or method called at `opline`: all its spellings, lower case."""
        for place in self._find(caller, opline):
            text = self._reader.text_value(self._reader.value(place))
            if text:
                yield text.lower()

    def _find(self, caller: Function, opline: int) -> Iterable[int]:
        """Where the literals are that spell it."""
        reader, size = self._reader, self._reader.layout.size("op")
        if reader.layout.version_id < _RELATIVE_LITERALS_SINCE:
            return ()
        start = max(caller.opcodes[0], opline - _MOST_BACK * size)
        raw = reader.memory.read(start, opline + size - start)
        place = reader.layout.offset("op", "opcode")
        if raw is None or raw[opline - start + place] not in self._calls:
            return ()
        open_calls = 0
        for at in range(opline - start - size, -1, -size):
            number = raw[at + place]
            if number in self._ends:
                open_calls += 1
            elif number in self._begins:
                if open_calls == 0:
                    return self._named(raw[at : at + size], start + at, number)
                open_calls -= 1
        return ()

    def _named(self, record: bytes, opline: int, number: int) -> Iterable[int]:
        layout = self._reader.layout
        count = self._literals.get(number)
        if count is None or record[layout.offset("op", "op2_type")] != _CONST:
            return ()
        (distance,) = struct.unpack_from("<i", record, layout.offset("op", "op2"))
        zval = layout.size("zval")
        return range(opline + distance, opline + distance + count * zval, zval)
