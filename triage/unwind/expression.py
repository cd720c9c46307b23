"""DWARF expressions, as far as unwind tables of x86-64 use them: PLT entries and signal frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from triage.unwind.cfi import Unreadable

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_MOST = 1000
_CONSTANTS = {0x08: "<B", 0x09: "<b", 0x0A: "<H", 0x0B: "<h", 0x0C: "<I", 0x0D: "<i", 0x0E: "<Q", 0x0F: "<q"}
_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << min(b, 64),
    0x25: lambda a, b: a >> min(b, 64),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def evaluate(
    program: bytes, registers: Sequence[int], word: Callable[[int], int | None], start: int | None = None
) -> int:
    """The value of an expression; `start` is put on its stack first (the CFA, for a register's rule).

    Raises:
        Unreadable: for an operation that is not known, damage, or memory that is not there.
    """
    stack = [] if start is None else [start]
    try:
        at = 0
        for _ in range(_MOST):
            if at >= len(program):
                return stack[-1] & _MASK
            at = _operate(program, at, stack, registers, word)
    except (IndexError, struct.error) as error:
        raise Unreadable("an expression of the unwind table is damaged") from error
    raise Unreadable("an expression of the unwind table does not end")


def _operate(
    program: bytes, at: int, stack: list[int], registers: Sequence[int], word: Callable[[int], int | None]
) -> int:
    """Carry out one operation; returns where the next one begins."""
    code = program[at]
    at += 1
    if 0x70 <= code <= 0x8F:  # DW_OP_breg0 …
        distance, at = _leb(program, at, signed=True)
        stack.append((registers[code - 0x70] + distance) & _MASK)
    elif 0x30 <= code <= 0x4F:  # DW_OP_lit0 …
        stack.append(code - 0x30)
    elif code in _CONSTANTS:
        stack.append(struct.unpack_from(_CONSTANTS[code], program, at)[0] & _MASK)
        at += struct.calcsize(_CONSTANTS[code])
    elif code in (0x10, 0x11, 0x23):  # constu, consts, plus_uconst
        value, at = _leb(program, at, signed=code == 0x11)
        stack.append(((stack.pop() if code == 0x23 else 0) + value) & _MASK)
    elif code == 0x06:
        found = word(stack.pop())
        if found is None:
            raise Unreadable("an expression of the unwind table reads memory that is not in the core")
        stack.append(found)
    elif code == 0x12:
        stack.append(stack[-1])
    elif code in _BINARY:
        second, first = stack.pop(), stack.pop()
        stack.append(_BINARY[code](first, second) & _MASK)
    else:
        raise Unreadable(f"an expression of the unwind table has the operation {code:#x}, which is not known")
    return at


def _leb(program: bytes, at: int, *, signed: bool) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = program[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 63:
            raise Unreadable("a number without an end in the unwind table")
    return (value - (1 << shift) if signed and value >> (shift - 1) else value), at
