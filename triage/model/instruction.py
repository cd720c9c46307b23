"""The instruction a thread stood at, and the memory it wanted."""

from __future__ import annotations

from triage.model.record import record
from triage.model.words import AccessKind


@record
class Operand:
    """One place in memory that an instruction uses, worked out from the registers.

    `text` as the disassembler writes it; `base` is the register the address starts from and
    `base_value` what it held, both `None` for an absolute address; `address` is the sum, `size` the
    bytes used there (0: unknown). `aligned` tells that the processor insists on an aligned address.
    """

    text: str
    kind: AccessKind
    address: int
    size: int
    base: str | None = None
    base_value: int | None = None
    displacement: int = 0
    aligned: bool = False


@record
class Load:
    """Where a register's value came from: read at `address` by the instruction at `at`."""

    register: str
    address: int
    text: str
    at: int


@record
class Instruction:
    """One decoded instruction at `address`.

    `flow` is `call`, `jump`, `return`, `trap`, `privileged` or `None`; `target` where a call, jump or
    return leads, where that is known.
    """

    address: int
    text: str
    size: int
    flow: str | None = None
    target: int | None = None
    operands: tuple[Operand, ...] = ()


@record
class Fault:
    """The access that was refused: what was wanted, where, and through which operand.

    `address` is the first byte that could not be had. `operand` is `None` for an instruction that
    could not be fetched itself (`execute`); `load` where the operand's base register had its value from.
    `misaligned` tells that only the alignment was wrong. `arrival` tells how the program came to a
    place that is no code: `call`, `return`, or `None` where that is not known.
    """

    kind: AccessKind
    address: int
    operand: Operand | None = None
    load: Load | None = None
    misaligned: bool = False
    arrival: str | None = None


@record
class Flip:
    """Program code in the core that differs from its file at `address`: what the file has, what the core has.

    `bits` is the number of bits that differ, `count` the number of such places in the module.
    """

    module: str
    address: int
    expected: int
    found: int
    bits: int
    count: int


@record
class HeapPlace:
    """An address as the interpreter's allocator knows it: the block it lies in.

    `what` says what the block holds, as far as its first words tell; `free` that it is on a list of
    free blocks.
    """

    start: int
    size: int
    offset: int
    what: str
    free: bool
