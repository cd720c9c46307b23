"""PHP's own stack: the chain of execute_data from EG(current_execute_data) outwards.

What is shown equals what debug_backtrace() would have said: file code is `{main}`, `include`,
`require_once`, …; eval'd code is `eval`; an internal function has no file and line of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from triage.model import Role, ScriptFrame
from triage.runtimes.php.arguments import Arguments
from triage.runtimes.php.calls import Call
from triage.runtimes.php.callsites import CallSites
from triage.runtimes.php.chain import WITH_ARGUMENTS, Chains
from triage.runtimes.php.functions import EVAL, INTERNAL, Function, Functions
from triage.runtimes.php.layout import Layout
from triage.runtimes.php.naming import KIND, call_of, evaluating, name_files, with_note
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.recursion import Turns, frames_of
from triage.runtimes.php.vmstack import VmStack

_INCLUDE_KINDS = {1: "eval", 2: "include", 4: "include_once", 8: "require", 16: "require_once"}
_STAND_INS = ("__call", "__callStatic")
_MOST_OPCODES = 65_536
_MOST_FRAMELESS = 4096
_FRAME = partial(tuple.__new__, ScriptFrame)


@dataclass(frozen=True, slots=True)
class Walk:
    """The frames innermost first. `depth` counts all, `frames` may leave out the middle."""

    frames: tuple[ScriptFrame, ...]
    depth: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frameless:
    """PHP's table of built-in functions that need no frame: the addresses of two arrays of pointers."""

    functions: int
    handlers: int


class _Codes(NamedTuple):
    """Numbers of instructions; `frameless` are those that call a built-in function without a frame, with their
    number of operands."""

    include_or_eval: int | None
    handle_exception: int | None
    frameless: Mapping[int, int]


@lru_cache(maxsize=32)
def _codes(layout: Layout) -> _Codes:
    found = {layout.opcode(f"ZEND_FRAMELESS_ICALL_{count}"): count for count in range(4)}
    frameless = {number: count for number, count in found.items() if number is not None}
    return _Codes(layout.opcode("ZEND_INCLUDE_OR_EVAL"), layout.opcode("ZEND_HANDLE_EXCEPTION"), frameless)


class StackReader:
    """Walks the PHP stack of one core."""

    def __init__(
        self,
        reader: Reader,
        *,
        opline_before_exception: int | None,
        jit: tuple[tuple[int, int], ...] = (),
        frameless: Frameless | None = None,
        registers: Mapping[int, int] | None = None,
        fibers: Mapping[int, int] | None = None,
        constant: ScriptFrame | None = None,
        stack: VmStack | None = None,
        values: bool = False,
    ) -> None:
        """`registers` are oplines the processor held, by frame; they are newer than what the frame saved.

        `fibers` are fibers' numbers by the address of the frame their stack begins with. `constant`
        stands for the class constant being worked out right now, if there is one. `stack` tells
        frames from left-over bytes.
        """
        self._reader = reader
        self._frameless = frameless
        self._before_exception = opline_before_exception
        self._jit = jit
        self._registers = registers or {}
        self._fibers = fibers or {}
        self._constant = constant
        self._functions = Functions(reader)
        self._sites = CallSites(reader)
        self._arguments = Arguments(reader, values=values)
        self._codes = _codes(reader.layout)
        number = reader.layout.constant
        self._top, self._of_generator = number("ZEND_CALL_TOP"), number("ZEND_CALL_GENERATOR")
        self._is_object = number("IS_OBJECT")
        self.warnings: list[str] = []
        marked = {*self._registers, *self._fibers}
        self._chains = Chains(reader, self._functions, stack, self._is_repeatable, marked, self.warnings)
        self._alike: dict[tuple[object, ...], ScriptFrame] = {}
        self._bared: dict[tuple[int | None, ...], ScriptFrame] = {}
        self._doubts: dict[tuple[int | None, ...], str | None] = {}
        self._handling: dict[int, bool] = {}
        self._compiled: dict[int, bool] = {}
        self._delegated: set[int] = set()
        self._bare = False
        self.bottoms: list[int] = []
        """First frames of fibers, in the order the last walk came by."""

    def walk(self, current: int | None, *, limit: int, until: int | None = None) -> Walk:
        """Read up to `limit` frames from `current`; a chain that loops or leaves memory ends there.

        `until` is the address of a frame at which to stop.
        """
        frames: list[ScriptFrame] = []
        self.bottoms = []
        chain = self._chains.follow(current, limit, until)  # whole first: a role depends on the callers
        calls, jumps = chain.calls, chain.jumps
        self._delegated |= chain.delegated
        inner: Call | None = None
        for at, call in enumerate(calls):
            self._bare = WITH_ARGUMENTS <= at < len(calls) - WITH_ARGUMENTS
            if call.address in self._fibers and frames:
                self.bottoms.append(call.address)
                frames[-1] = with_note(frames[-1], f"start of fiber #{self._fibers[call.address]}")
            frame = self._frame(call)
            if frame is not None:
                if inner is not None and not (frames[-1].ends_activation or frame.role is Role.INTERNAL):
                    frames[-1] = self._questioned(frames[-1], inner, call)
                if self._frameless is not None:
                    frames.extend(self._without_frame(frame, self._frameless))
                frames.append(frame)
                inner = call
            if at in jumps:
                self._repeated(frames, jumps[at])
        if self._constant is not None and until is None:
            frames.insert(evaluating(frames), self._constant)
        named = name_files(frames, self._includes)
        return Walk(tuple(named), len(named), tuple(self.warnings))

    def _questioned(self, inner: ScriptFrame, inner_call: Call, call: Call) -> ScriptFrame:
        """`inner`, with a note when the code of its caller, `call`, says that it calls another function."""
        key = call.func, call.opline, inner_call.func, self._registers.get(call.address)
        if key not in self._doubts:
            outside, inside = self._functions.at(call.func or 0), self._functions.at(inner_call.func or 0)
            self._doubts[key] = self._sites.doubt(outside, self._opline(call, outside), inside)
        doubt = self._doubts[key]
        return with_note(inner, doubt) if doubt else inner

    def _repeated(self, frames: list[ScriptFrame], more: Turns) -> None:
        """Add the frames of many turns of a recursion, whose last two turns are the last frames."""
        length, last = len(more.calls), frames[-1]  # whose caller was not looked at yet
        turn = frames[-2 * length : -length]
        frames[-1] = turn[-1].again(last.address)
        frames.extend(frames_of(more, turn))
        frames[-1] = last.again(frames[-1].address)

    def _is_repeatable(self, call: Call) -> bool:
        """Whether a call has one frame, which says nothing that another call of the same kind would not say."""
        function = self._functions.at(call.func or 0)
        if function.type == INTERNAL:
            return function.name is not None
        number = self._reader.field(call.opline, "op", "opcode") if call.opline else None
        return function.name not in _STAND_INS and (number or 0) not in self._codes.frameless

    def _frame(self, call: Call) -> ScriptFrame | None:
        """The frame; what calls of one function at one place have in common is found once."""
        if not self._bare or call.address in self._registers or call.address in self._delegated:
            return self._found(call)
        key = call.func, call.opline, call.flags, call.this if call.kind == self._is_object else None
        known = self._bared.get(key)
        if known is not None:
            return known.again(call.address)
        found = self._found(call)
        if found is not None and found.function not in _STAND_INS:
            self._bared[key] = found
        return found

    def _found(self, call: Call) -> ScriptFrame | None:
        if not call.func:
            return None  # a dummy frame PHP pushes around callbacks; it is no call of the script
        function = self._functions.at(call.func)
        if function.type == INTERNAL and function.name is None:
            return None  # the nameless entry of a fiber: PHP's own bookkeeping
        this = self._chains.this_class(call) if function.name else None
        opline = None if function.type == INTERNAL else self._opline(call, function)
        ends = bool(call.flags & self._top) and call.address not in self._delegated
        told = self._first_text(call.address) if function.name in _STAND_INS else None
        key = call.func, this, opline, ends, call.flags & (self._of_generator | self._top), told
        alike = self._alike.get(key)
        if alike is None:
            alike = self._alike[key] = self._shared(call, function, this, opline, told, ends=ends)
        bare = self._bare or not function.name or function.broken
        arguments = () if bare else self._arguments.of(call.address, function, call.passed)
        return _FRAME((*alike[:2], call.address, *alike[3:-1], arguments))

    def _shared(
        self, call: Call, function: Function, this: str | None, opline: int | None, told: str | None, *, ends: bool
    ) -> ScriptFrame:
        """What the frames of such calls have in common: all but address and arguments."""
        if function.broken:
            note = f"unreadable: function record {call.func or 0:#x} is not mapped or not a function"
            ends = bool(call.flags & self._top)
            return ScriptFrame(KIND, Role.USER, 0, None, ends_activation=ends, note=note)
        if function.type == INTERNAL:
            return self._internal(function, this)
        return self._user(call, function, this, opline, told, ends=ends)

    def _internal(self, function: Function, this: str | None) -> ScriptFrame:
        # FFI's functions belong to no class, but PHP shows them as methods of FFI.
        owner = function.class_name or this
        note = f"internal, {function.doubt}" if function.doubt else "internal"
        call = call_of(function, this)
        return ScriptFrame(
            KIND, Role.INTERNAL, 0, function.name, owner, handler=function.handler, note=note, call=call
        )

    def _without_frame(self, caller: ScriptFrame, table: Frameless) -> Iterator[ScriptFrame]:
        """The built-in function that `caller` runs right now without a frame, if it does."""
        reader = self._reader
        if caller.role is Role.INTERNAL:
            return
        opline = reader.field(caller.address, "execute_data", "opline")
        operands = self._codes.frameless.get(reader.field(opline, "op", "opcode") or 0) if opline else None
        if not opline or operands is None:
            return
        index = reader.field(opline, "op", "extended_value")
        if index is None or index >= _MOST_FRAMELESS:
            return
        target = reader.number(table.functions + index * 8)
        function = self._functions.at(target) if target else None
        if target and function is not None and function.type == INTERNAL:
            yield ScriptFrame(
                kind=KIND,
                role=Role.INTERNAL,
                address=opline,
                function=function.name,
                class_name=function.class_name,
                handler=reader.number(table.handlers + index * 8),
                note="internal",
                arguments=self._arguments.without_frame(caller.address, opline, function, operands),
            )

    def _user(
        self, call: Call, function: Function, this: str | None, opline: int | None, told: str | None, *, ends: bool
    ) -> ScriptFrame:
        jitted = bool(self._jit) and self._has_jit_code(function)
        notes = self._notes(call, function, told, jitted=jitted, opline=opline)
        line, number = self._reader.fields(opline, "op", "lineno", "opcode") if opline else (None, None)
        name, opcode = function.name, self._reader.layout.opcode_name(number) if number is not None else None
        role = Role.EVAL if function.type == EVAL else Role.USER if name else Role.MAIN
        owner, called = (function.class_name or this, call_of(function, this)) if name else (None, None)
        # With `yield from` one native loop runs the innermost generator for all that wait for it: `ends`.
        note = ", ".join(notes) or None
        return ScriptFrame(
            KIND, role, 0, name, owner, function.file, line, ends, None, jitted, note, called, opcode
        )  # fmt: skip

    def _notes(
        self, call: Call, function: Function, told: str | None, *, jitted: bool, opline: int | None
    ) -> Iterator[str]:
        if call.flags & self._of_generator:
            yield "generator"
        if jitted:
            yield "jit"
        if function.closure and function.declared:
            yield f"declared on line {function.declared}"
        if told:
            yield f"stands in for {told}()"
        if function.doubt:
            yield function.doubt
        if opline is None:
            yield "line unknown: the saved position is outside this function's code"

    def _first_text(self, address: int) -> str | None:
        """The first argument, where it is a string: PHP gives `__call` the name that was called."""
        reader = self._reader
        slot = reader.layout.constant("ZEND_CALL_FRAME_SLOT")
        return reader.text_value(reader.value(address + slot * reader.layout.size("zval")))

    def _has_jit_code(self, function: Function) -> bool:
        """Whether the JIT compiled this function: one of its opcodes is handled by JIT code."""
        start, end = function.opcodes
        if start not in self._compiled:
            size = self._reader.layout.size("op")
            raw = self._reader.memory.read(start, min(end - start, _MOST_OPCODES * size)) or b""
            at = self._reader.layout.offset("op", "handler")
            handlers = (struct.unpack_from("<Q", raw, step + at)[0] for step in range(0, len(raw), size))
            self._compiled[start] = any(low <= h < high for h in handlers for low, high in self._jit)
        return self._compiled[start]

    def _opline(self, call: Call, function: Function) -> int | None:
        """The instruction the frame stands on, `None` when the saved one is outside its code."""
        start, end = function.opcodes
        held = self._registers.get(call.address)
        if held is not None and start <= held < end:
            return held
        opline = call.opline
        if opline and self._before_exception and self._handles(opline):
            opline = self._before_exception
        return opline if opline and start <= opline < end else None

    def _handles(self, opline: int) -> bool:
        """Whether this is PHP's own instruction that stands for an exception on its way."""
        if opline not in self._handling:
            self._handling[opline] = self._reader.field(opline, "op", "opcode") == self._codes.handle_exception
        return self._handling[opline]

    def _includes(self, caller: ScriptFrame) -> str | None:
        """With which statement `caller` runs file code right now: `include`, `require_once`, …"""
        opline = self._reader.field(caller.address, "execute_data", "opline")
        if not opline or self._reader.field(opline, "op", "opcode") != self._codes.include_or_eval:
            return None
        return _INCLUDE_KINDS.get(self._reader.field(opline, "op", "extended_value") or 0)
