"""Call frame information: what one instruction's row says of its caller's registers.

Format: LSB Core, "Exception Frames", and DWARF 5, section 6.4, for x86-64. Only the one entry that
covers an address is read, up to that address. A form that is not known gives no rule, never a guess.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

Read = Callable[[int, int], "bytes | None"]
"""Bytes of the file's image at a virtual address."""

RETURN_ADDRESS, STACK_POINTER = 16, 7
_LONGEST = 1 << 16
_PC_RELATIVE = 0x1B  # DW_EH_PE_pcrel | DW_EH_PE_sdata4
_MOST_SAVED_STATES = 256


class Unreadable(Exception):
    """An entry in a form that is not known, or damaged; the message is one clause."""


class Step(NamedTuple):
    """How to get from one frame to its caller.

    The CFA is register `base` plus `offset`, or what `expression` computes. `saved` are
    `(register, distance from the CFA in bytes)`, the lowest distance `reach`; `computed` are
    `(register, expression)` whose value is the address where the register was saved. `lost` are
    registers whose value is gone. `outermost` tells that there is no caller, `signal` that the
    frame was made by the kernel when it delivered a signal, `plain` that registers and distances are
    all there is to it.
    """

    base: int
    offset: int
    expression: bytes | None
    saved: tuple[tuple[int, int], ...]
    reach: int
    computed: tuple[tuple[int, bytes], ...]
    lost: tuple[int, ...]
    outermost: bool
    signal: bool
    plain: bool


@dataclass(slots=True)
class _State:
    """One row while it is built. A rule is `(kind, value)`; kinds are those of DWARF 6.4.1."""

    base: int = STACK_POINTER
    offset: int = 0
    expression: bytes | None = None
    rules: dict[int, tuple[str, int | bytes]] = field(default_factory=dict)

    def copy(self) -> _State:
        return _State(self.base, self.offset, self.expression, dict(self.rules))

    def take(self, other: _State) -> None:
        self.base, self.offset, self.expression = other.base, other.offset, other.expression
        self.rules = dict(other.rules)


@dataclass(frozen=True, slots=True)
class _Common:
    code_align: int
    data_align: int
    signal: bool
    program: bytes


class _Bytes:
    """A place in bytes that moves on as it is read."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.raw[self.at - 1]

    def number(self, form: str) -> int:
        value: int = struct.unpack_from(form, self.raw, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise Unreadable("a number without an end in the unwind table")

    def signed(self) -> int:
        begun = self.at
        value = self.unsigned()
        bits = 7 * (self.at - begun)
        return value - (1 << bits) if value >> (bits - 1) else value

    def block(self) -> bytes:
        size = self.unsigned()
        self.at += size
        if self.at > len(self.raw):
            raise IndexError
        return self.raw[self.at - size : self.at]


def step_at(read: Read, entry: int, address: int) -> Step | None:
    """The step for `address` by the entry (FDE) at `entry`; `None` when the entry does not cover it.

    Raises:
        Unreadable: for damage and for forms that are not known.
    """
    try:
        return _step_at(read, entry, address)
    except (IndexError, struct.error) as error:
        raise Unreadable("an entry of the unwind table is cut off") from error


def _step_at(read: Read, entry: int, address: int) -> Step | None:
    body = _entry(read, entry)
    common = _common(_entry(read, entry + 4 - body.number("<I")))
    start = entry + 8 + body.number("<i")
    if not start <= address < start + body.number("<I"):
        return None
    body.block()  # the augmentation's own data
    state = _State()
    _run(common.program, common, state, state, address, start)
    first = state.copy()
    _run(body.raw[body.at :], common, state, first, address, start)
    return _compiled(state, signal=common.signal)


def _entry(read: Read, at: int) -> _Bytes:
    """What follows the length of the entry at `at`."""
    head = read(at, 4)
    size = struct.unpack("<I", head)[0] if head else 0
    raw = read(at + 4, size) if 8 < size < _LONGEST else None
    if raw is None:
        raise Unreadable("an entry of the unwind table is not readable")
    return _Bytes(raw)


def _common(body: _Bytes) -> _Common:
    """A common part (CIE), after its length."""
    if body.number("<I") != 0:
        raise Unreadable("an entry of the unwind table has no common part")
    version = body.byte()
    end = body.raw.index(b"\0", body.at) if b"\0" in body.raw[body.at :] else -1
    augmentation = body.raw[body.at : end] if end >= 0 else b"?"
    body.at = end + 1
    code_align, data_align = body.unsigned(), body.signed()
    column = body.byte() if version == 1 else body.unsigned()
    if version not in (1, 3) or column != RETURN_ADDRESS or not augmentation.startswith(b"z"):
        raise Unreadable("the unwind table has a form that is not known")
    data = _Bytes(body.block())
    for letter in augmentation[1:]:
        if letter == ord("R"):
            if data.byte() != _PC_RELATIVE:
                raise Unreadable("the unwind table has a form that is not known")
        elif letter == ord("L"):
            data.byte()
        elif letter == ord("P"):
            data.at += {0x00: 8, 0x03: 4, 0x0B: 4, 0x0C: 8, 0x04: 8}[data.byte() & 0x0F]
        elif letter != ord("S"):
            raise Unreadable("the unwind table has a form that is not known")
    return _Common(code_align, data_align, b"S" in augmentation, body.raw[body.at :])


def _run(program: bytes, common: _Common, state: _State, first: _State, address: int, location: int) -> None:
    """Carry out a program up to the row that holds `address`."""
    reader = _Bytes(program)
    kept: list[_State] = []
    while reader.at < len(program):
        code = reader.byte()
        high, low = code & 0xC0, code & 0x3F
        if high == 0x40 or code in _ADVANCES:
            location += (low if high else reader.number(_ADVANCES[code])) * common.code_align
            if location > address:
                return
        elif high == 0x80:
            state.rules[low] = ("offset", reader.unsigned() * common.data_align)
        elif high == 0xC0:
            _restore(state, first, low)
        elif code == 0x0A:
            if len(kept) == _MOST_SAVED_STATES:
                raise Unreadable("the unwind table keeps too many states")
            kept.append(state.copy())
        elif code == 0x0B:
            if not kept:
                raise Unreadable("the unwind table restores a state it did not keep")
            state.take(kept.pop())
        elif code == 0x06:
            _restore(state, first, reader.unsigned())
        else:
            _carry_out(code, reader, common.data_align, state)


_ADVANCES = {0x02: "<B", 0x03: "<H", 0x04: "<I"}


def _restore(state: _State, first: _State, register: int) -> None:
    if register in first.rules:
        state.rules[register] = first.rules[register]
    else:
        state.rules.pop(register, None)


def _carry_out(code: int, reader: _Bytes, align: int, state: _State) -> None:
    """One instruction that neither moves on nor keeps or restores."""
    if code in (0x0C, 0x12):  # def_cfa, def_cfa_sf
        state.base, state.expression = reader.unsigned(), None
        state.offset = reader.unsigned() if code == 0x0C else reader.signed() * align
    elif code == 0x0D:
        state.base, state.expression = reader.unsigned(), None
    elif code in (0x0E, 0x13):
        state.offset = reader.unsigned() if code == 0x0E else reader.signed() * align
    elif code == 0x0F:
        state.expression = reader.block()
    elif code in _RULES:
        register = reader.unsigned()
        state.rules[register] = _RULES[code](reader, align)
    elif code == 0x2E:  # DW_CFA_GNU_args_size: says nothing about registers
        reader.unsigned()
    elif code != 0x00:
        raise Unreadable(f"the unwind table has the instruction {code:#x}, which is not known")


_RULES: dict[int, Callable[[_Bytes, int], tuple[str, int | bytes]]] = {
    0x05: lambda reader, align: ("offset", reader.unsigned() * align),
    0x07: lambda reader, align: ("undefined", 0),
    0x08: lambda reader, align: ("same", 0),
    0x09: lambda reader, align: ("register", reader.unsigned()),
    0x10: lambda reader, align: ("expression", reader.block()),
    0x11: lambda reader, align: ("offset", reader.signed() * align),
    0x14: lambda reader, align: ("value", reader.unsigned() * align),
    0x15: lambda reader, align: ("value", reader.signed() * align),
    0x16: lambda reader, align: ("value expression", reader.block()),
    0x2F: lambda reader, align: ("offset", -reader.unsigned() * align),
}


def _compiled(state: _State, *, signal: bool) -> Step:
    """The row as the walk uses it."""
    saved: list[tuple[int, int]] = []
    computed: list[tuple[int, bytes]] = []
    lost: list[int] = []
    for register, (kind, value) in sorted(state.rules.items()):
        if register > RETURN_ADDRESS:
            continue  # vector registers: nobody asks for them
        if kind == "offset" and isinstance(value, int):
            saved.append((register, value))
        elif kind == "expression" and isinstance(value, bytes):
            computed.append((register, value))
        elif kind == "undefined":
            lost.append(register)
        elif kind != "same":
            raise Unreadable(f"the unwind table has a rule of the kind {kind!r}")
    outermost = RETURN_ADDRESS in lost
    # On the frame itself, in whole words, and the stack pointer not among them.
    within = all(distance < 0 and distance % 8 == 0 and register != STACK_POINTER for register, distance in saved)
    returns = any(register == RETURN_ADDRESS for register, _ in saved)
    return Step(
        base=state.base,
        offset=state.offset,
        expression=state.expression,
        saved=tuple(saved),
        reach=min((distance for _, distance in saved), default=0),
        computed=tuple(computed),
        lost=tuple(register for register in lost if register != RETURN_ADDRESS),
        outermost=outermost,
        signal=signal,
        plain=within and returns and not (state.expression or computed or lost or signal),
    )
