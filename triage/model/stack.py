"""Frames and threads: as the unwinder saw them, as the interpreter keeps them, and merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import NamedTuple

from triage.model.record import record
from triage.model.words import Role

_new = tuple.__new__  # a third of the time that calling a NamedTuple takes


class NativeFrame(NamedTuple):
    """One frame as the native unwinder saw it, before merging.

    `function_start` is the absolute start of the code that covers `pc` (from a symbol or an
    FDE); `vm_register` the value of the register in which the interpreter keeps its own
    frame pointer (PHP on x86-64: r14), `None` where it could not be recovered. `trust` tells how
    the frame was found: `context` (the processor's own registers, or those saved by a switch of
    fibers), `cfi` (unwind tables), `frame-pointer` (the interpreter's own frame layout, checked),
    `scan` (guessed from the code or the stack).

    A tuple, what differs from process to process in front: each core has dozens of them.
    """

    level: int
    pc: int
    sp: int | None = None
    vm_register: int | None = None
    function_start: int | None = None
    function: str | None = None
    module: str | None = None
    offset: int | None = None
    file: str | None = None
    line: int | None = None
    inlined: bool = False
    signal_handler: bool = False
    note: str | None = None
    trust: str | None = None


@record
class FiberSwitch:
    """One fiber's native stack (`low` to `high`) and the registers of the stack it was resumed from."""

    low: int
    high: int
    registers: Mapping[str, int]


@record
class Unwinding:
    """How to unwind where there are no tables.

    `code` are ranges of generated code, which runs on the frame of the interpreter's loop: `rules`
    say where that frame ends (register, distance in bytes), `saved` where the loop saved its
    caller's registers (distance from there), `callers` in which ranges a return address is
    believed. At `fiber_entry` a fiber's stack ends; `switches` lead on from it.
    """

    code: tuple[tuple[int, int], ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    saved: Mapping[str, int] = field(default_factory=dict)
    callers: tuple[tuple[int, int], ...] = ()
    fiber_entry: tuple[int, int] | None = None
    switches: tuple[FiberSwitch, ...] = ()


@record
class NativeThread:
    """One thread as the native unwinder saw it.

    `frames` innermost first; where `gap` is not None, that many frames are missing before
    `frames[gap_at]`. `stop` says why the unwinder gave up, `None` when it reached the start.
    """

    id: int
    name: str | None
    crashed: bool
    frames: tuple[NativeFrame, ...]
    depth: int
    gap: int = 0
    gap_at: int = 0
    stop: str | None = None


@record
class Argument:
    """One argument of a script's call: its declared name, its type (`string(17)`, `Shop\\Cart`).

    `value` is there only when values were asked for, shortened and with secrets hidden.
    """

    name: str | None
    type: str
    value: str | None = None


class ScriptFrame(NamedTuple):
    """One frame of the interpreter's own stack, before merging.

    `address` is where the interpreter keeps the frame. `ends_activation` marks the outermost
    frame that one native interpreter loop runs. `handler` is the native function behind an
    internal (built-in) function. `call` is how a method was called: `->` on an instance, `::`
    statically. `opcode` is the interpreter's instruction the frame stands on.

    A tuple: a recursion has a hundred thousand of them.
    """

    kind: str
    role: Role
    address: int
    function: str | None
    class_name: str | None = None
    file: str | None = None
    line: int | None = None
    ends_activation: bool = False
    handler: int | None = None
    jit: bool = False
    note: str | None = None
    call: str | None = None
    opcode: str | None = None
    arguments: tuple[Argument, ...] = ()

    def again(self, address: int) -> ScriptFrame:
        """The same at another address."""
        return ScriptFrame._make((*self[:2], address, *self[3:]))

    def shown(self) -> Frame:
        """The frame as it stands in a stack."""
        kind, _, _, function, class_name, file, line, _, _, _, note, call, opcode, arguments = self
        return _new(Frame, (
            kind, function, class_name, None, None, file, line, None, False, note, call, opcode, arguments,
            None, None, (),
        ))  # fmt: skip


class Frame(NamedTuple):
    """One frame of the merged stack, innermost first.

    `kind` is `native` or the interpreter's name; `offset` is the address within the module
    (ELF virtual address), `start` that of the function's beginning. `traits` are what the code of a
    function that its file has no name for refers to (`calls zend_hash_find`, `says Invalid length`): they
    hold in other builds, where its address does not.

    A tuple: each core has dozens of them.
    """

    kind: str
    function: str | None = None
    class_name: str | None = None
    module: str | None = None
    offset: int | None = None
    file: str | None = None
    line: int | None = None
    address: int | None = None
    inlined: bool = False
    note: str | None = None
    call: str | None = None
    opcode: str | None = None
    arguments: tuple[Argument, ...] = ()
    trust: str | None = None
    start: int | None = None
    traits: tuple[str, ...] = ()


@record
class Thread:
    """One thread. `depth` is its true number of frames, `truncated` tells some are not in `frames`."""

    id: int
    name: str | None
    crashed: bool
    depth: int
    truncated: bool
    frames: tuple[Frame, ...]
