"""PHP's own stack: the chain of execute_data from EG(current_execute_data) outwards.

What is shown equals what debug_backtrace() would have said: file code is `{main}`, `include`,
`require_once`, …; eval'd code is `eval`; an internal function has no file and line of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triage.model import Role, ScriptFrame
from triage.runtimes.php.arguments import Arguments
from triage.runtimes.php.callsites import CallSites
from triage.runtimes.php.functions import EVAL, INTERNAL, Function, Functions
from triage.runtimes.php.naming import KIND, call_of, evaluating, name_files, with_note
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.values import Values
from triage.runtimes.php.vmstack import VmStack

_INCLUDE_KINDS = {1: "eval", 2: "include", 4: "include_once", 8: "require", 16: "require_once"}
_STAND_INS = ("__call", "__callStatic")
_MOST_OPCODES = 65_536
_MOST_FRAMELESS = 4096
_WITH_ARGUMENTS = 1500  # of so many frames at either end arguments are read: a stack shows no more than that


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
        self._stack = stack
        self._functions = Functions(reader)
        self._sites = CallSites(reader)
        self._values = Values(reader)
        self._arguments = Arguments(reader, values=values)
        opcode = reader.layout.opcode
        self._include_or_eval, self._handle_exception = (
            opcode("ZEND_INCLUDE_OR_EVAL"),
            opcode("ZEND_HANDLE_EXCEPTION"),
        )
        icalls = {opcode(f"ZEND_FRAMELESS_ICALL_{n}"): n for n in range(4)}
        self._icalls = {number: count for number, count in icalls.items() if number is not None}
        """Instructions that call a built-in function without a frame, with their number of operands."""
        self._compiled: dict[int, bool] = {}
        self._delegated: set[int] = set()
        self._bare = False
        self.warnings: list[str] = []
        self.bottoms: list[int] = []
        """First frames of fibers, in the order the last walk came by."""

    def walk(self, current: int | None, *, limit: int, until: int | None = None) -> Walk:
        """Read up to `limit` frames from `current`; a chain that loops or leaves memory ends there.

        `until` is the address of a frame at which to stop.
        """
        frames: list[ScriptFrame] = []
        self.bottoms = []
        chain = list(self._chain(current, limit, until))  # whole first: a role depends on the callers
        for at, address in enumerate(chain):
            self._bare = _WITH_ARGUMENTS <= at < len(chain) - _WITH_ARGUMENTS
            if address in self._fibers and frames:
                self.bottoms.append(address)
                frames[-1] = with_note(frames[-1], f"start of fiber #{self._fibers[address]}")
            frame = self._frame(address)
            if frame is not None:
                if frames:
                    frames[-1] = self._questioned(frames[-1], frame)
                frames.extend((*self._without_frame(frame), frame))
        if self._constant is not None and until is None:
            frames.insert(evaluating(frames), self._constant)
        named = name_files(frames, self._includes)
        return Walk(tuple(named), len(named), tuple(self.warnings))

    def _chain(self, current: int | None, limit: int, until: int | None) -> Iterator[int]:
        """Addresses of the execute_data records, delegating generators put in their place."""
        seen: set[int] = set()
        address, last, given = current, 0, 0
        while address and address != until:
            if address in seen:
                self.warnings.append(f"the PHP stack loops back to frame {address:#x}; cut there")
                return
            if not self._reader.sound(address):
                self.warnings.append(f"the PHP stack leads to {address:#x}, which is not readable; cut there")
                return
            refused = self._refused(last or None, address)
            if refused:
                self.warnings.append(f"the PHP stack leads to {address:#x}, which {refused}; cut there")
                return
            if given >= limit:
                self.warnings.append(f"more than {limit} PHP frames; the outermost are left out")
                return
            seen.add(address)
            if self._is_placeholder(address):
                chain = list(self._generators(address, limit - given))
                self._delegated.update([last, *chain][:-1])
                given += len(chain)
                yield from chain
            else:
                given += 1
                last = address
                yield address
            following = self._reader.field(address, "execute_data", "prev_execute_data")
            if following is None:
                self.warnings.append(f"the PHP stack's frame {address:#x} is cut off; the outer ones are lost")
            address = following

    def _questioned(self, inner: ScriptFrame, caller: ScriptFrame) -> ScriptFrame:
        """`inner`, with a note when its caller's code says that it calls another function."""
        if caller.role is Role.INTERNAL or inner.ends_activation:
            return inner
        functions = (
            self._functions.at(self._reader.field(frame.address, "execute_data", "func") or 0)
            for frame in (caller, inner)
        )
        outside, inside = functions
        doubt = self._sites.doubt(outside, self._opline(caller.address, outside), inside)
        return with_note(inner, doubt) if doubt else inner

    def _refused(self, inner: int | None, address: int) -> str | None:
        """Why there can be no call at `address`; records without a function are PHP's own and lie anywhere."""
        reader = self._reader
        target = reader.field(address, "execute_data", "func")
        if self._stack is None or not target:
            return None
        function = self._functions.at(target)
        flags = reader.field(address, "execute_data", "This.u1") or 0
        return self._stack.refuses(
            inner,
            address,
            size=reader.layout.size("execute_data") + function.slots * reader.layout.size("zval"),
            generator=bool(flags & reader.layout.constant("ZEND_CALL_GENERATOR")),
        )

    def _is_placeholder(self, address: int) -> bool:
        """Whether this is the dummy frame PHP pushes for `yield from` (no function, This = Generator)."""
        if self._reader.field(address, "execute_data", "func"):
            return False
        return self._generator(address) is not None

    def _generator(self, address: int) -> int | None:
        reader = self._reader
        this = reader.value(address + reader.layout.offset("execute_data", "This"))
        if this is None or this.type != reader.layout.constant("IS_OBJECT"):
            return None
        return this.payload if self._values.class_of(this.payload) == "Generator" else None

    def _this_class(self, address: int) -> str | None:
        """The class of `$this`, `None` in a function or a static method."""
        reader = self._reader
        this = reader.value(address + reader.layout.offset("execute_data", "This"))
        if this is None or this.type != reader.layout.constant("IS_OBJECT"):
            return None
        return self._values.class_of(this.payload)

    def _generators(self, placeholder: int, most: int) -> Iterator[int]:
        """The delegating generators, from the running one's parent out to the one first resumed."""
        reader = self._reader
        chain: list[int] = []
        seen: set[int] = set()
        node = self._generator(placeholder)
        while node and len(chain) < most and node not in seen:
            chain.append(node)
            seen.add(node)
            parent = reader.pointer(node, "generator", "node.parent")
            if parent is None or reader.pointer(parent, "generator", "node.parent") is None:
                break
            node = parent
        for generator in reversed(chain):
            frame = reader.pointer(generator, "generator", "execute_data")
            if frame is not None:
                yield frame

    def _frame(self, address: int) -> ScriptFrame | None:
        reader = self._reader
        target = reader.field(address, "execute_data", "func")
        if not target:
            return None  # a dummy frame PHP pushes around callbacks; it is no call of the script
        function = self._functions.at(target)
        flags = reader.field(address, "execute_data", "This.u1") or 0
        top = bool(flags & reader.layout.constant("ZEND_CALL_TOP"))
        if function.broken:
            return ScriptFrame(
                kind=KIND,
                role=Role.USER,
                address=address,
                function=None,
                ends_activation=top,
                note=f"unreadable: function record {target:#x} is not mapped or not a function",
            )
        return (
            self._internal(address, target, function)
            if function.type == INTERNAL
            else self._user(address, target, function, flags, ends=top)
        )

    def _internal(self, address: int, target: int, function: Function) -> ScriptFrame | None:
        if function.name is None:
            return None  # the nameless entry of a fiber: PHP's own bookkeeping
        this = self._this_class(address)
        return ScriptFrame(
            kind=KIND,
            role=Role.INTERNAL,
            address=address,
            function=function.name,
            # FFI's functions belong to no class, but PHP shows them as methods of FFI.
            class_name=function.class_name or this,
            handler=function.handler,
            note=f"internal, {function.doubt}" if function.doubt else "internal",
            call=call_of(function, this),
            arguments=() if self._bare else self._arguments.of(address, target),
        )

    def _without_frame(self, caller: ScriptFrame) -> Iterator[ScriptFrame]:
        """The built-in function that `caller` runs right now without a frame, if it does."""
        table, reader = self._frameless, self._reader
        if table is None or caller.role is Role.INTERNAL:
            return
        opline = reader.field(caller.address, "execute_data", "opline")
        operands = self._icalls.get(reader.field(opline, "op", "opcode") or 0) if opline else None
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
                arguments=self._arguments.without_frame(caller.address, opline, target, operands),
            )

    def _user(self, address: int, target: int, function: Function, flags: int, *, ends: bool) -> ScriptFrame:
        opline = self._opline(address, function)
        reader = self._reader
        jitted = bool(self._jit) and self._has_jit_code(function)
        this = self._this_class(address) if function.name else None
        arguments = self._arguments.of(address, target) if function.name and not self._bare else ()
        role = Role.EVAL if function.type == EVAL else Role.USER if function.name else Role.MAIN
        return ScriptFrame(
            kind=KIND,
            role=role,
            address=address,
            function=function.name,
            class_name=(function.class_name or this) if function.name else None,
            file=function.file,
            line=reader.field(opline, "op", "lineno") if opline else None,
            # With `yield from` one native loop runs the innermost generator for all that wait for it.
            ends_activation=ends and address not in self._delegated,
            jit=jitted,
            note=", ".join(self._notes(address, function, flags, jitted=jitted, opline=opline)) or None,
            call=call_of(function, this) if function.name else None,
            opcode=self._opcode(opline),
            arguments=arguments,
        )

    def _notes(
        self, address: int, function: Function, flags: int, *, jitted: bool, opline: int | None
    ) -> Iterator[str]:
        if flags & self._reader.layout.constant("ZEND_CALL_GENERATOR"):
            yield "generator"
        if jitted:
            yield "jit"
        if function.closure and function.declared:
            yield f"declared on line {function.declared}"
        if function.name in _STAND_INS:
            called = self._first_text(address)
            if called:
                yield f"stands in for {called}()"
        if function.doubt:
            yield function.doubt
        if opline is None:
            yield "line unknown: the saved position is outside this function's code"

    def _first_text(self, address: int) -> str | None:
        """The first argument, where it is a string: PHP gives `__call` the name that was called."""
        reader = self._reader
        slot = reader.layout.constant("ZEND_CALL_FRAME_SLOT")
        return reader.text_value(reader.value(address + slot * reader.layout.size("zval")))

    def _opcode(self, opline: int | None) -> str | None:
        number = self._reader.field(opline, "op", "opcode") if opline else None
        return self._reader.layout.opcode_name(number) if number is not None else None

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

    def _opline(self, address: int, function: Function) -> int | None:
        """The instruction the frame stands on, `None` when the saved one is outside its code."""
        reader = self._reader
        start, end = function.opcodes
        held = self._registers.get(address)
        if held is not None and start <= held < end:
            return held
        opline = reader.field(address, "execute_data", "opline")
        if opline and reader.field(opline, "op", "opcode") == self._handle_exception and self._before_exception:
            opline = self._before_exception
        return opline if opline and start <= opline < end else None

    def _includes(self, caller: ScriptFrame) -> str | None:
        """With which statement `caller` runs file code right now: `include`, `require_once`, …"""
        opline = self._reader.field(caller.address, "execute_data", "opline")
        if not opline or self._reader.field(opline, "op", "opcode") != self._include_or_eval:
            return None
        return _INCLUDE_KINDS.get(self._reader.field(opline, "op", "extended_value") or 0)
