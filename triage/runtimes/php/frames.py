"""PHP's own stack: the chain of execute_data from EG(current_execute_data) outwards.

What is shown equals what debug_backtrace() would have said: file code is `{main}`, `include`,
`require_once`, …; eval'd code is `eval`; an internal function has no file and line of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from triage.model import Role, ScriptFrame
from triage.runtimes.php.reader import Reader

INCLUDE_OR_EVAL = 73
HANDLE_EXCEPTION = 149
FRAMELESS_ICALL = range(204, 208)  # PHP 8.4 and newer: a built-in function called without a frame of its own
_INCLUDE_KINDS = {1: "eval", 2: "include", 4: "include_once", 8: "require", 16: "require_once"}
_INTERNAL, _USER, _EVAL = 1, 2, 4
_MOST_OPCODES = 65_536
_MOST_FRAMELESS = 4096
KIND = "php"


@dataclass(frozen=True, slots=True)
class Function:
    """A zend_function. `opcodes` is the address range of a user function's code."""

    type: int
    name: str | None
    class_name: str | None
    file: str | None = None
    opcodes: tuple[int, int] = (0, 0)
    handler: int | None = None
    broken: bool = False


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
    ) -> None:
        self._reader = reader
        self._frameless = frameless
        self._before_exception = opline_before_exception
        self._jit = jit
        self._functions: dict[int, Function] = {}
        self._compiled: dict[int, bool] = {}
        self._delegated: set[int] = set()
        self.warnings: list[str] = []

    def walk(self, current: int | None, *, limit: int) -> Walk:
        """Read up to `limit` frames from `current`; a chain that loops or leaves memory ends there."""
        frames: list[ScriptFrame] = []
        for address in list(self._chain(current, limit)):  # whole first: a frame's role depends on its callers
            frame = self._frame(address)
            if frame is not None:
                frames.extend((*self._without_frame(frame), frame))
        named = _name_files(frames, self._includes)
        return Walk(tuple(named), len(named), tuple(self.warnings))

    def _chain(self, current: int | None, limit: int) -> Iterator[int]:
        """Addresses of the execute_data records, delegating generators put in their place."""
        seen: set[int] = set()
        address, last, given = current, 0, 0
        while address:
            if address in seen:
                self.warnings.append(f"the PHP stack loops back to frame {address:#x}; cut there")
                return
            if not self._reader.sound(address):
                self.warnings.append(f"the PHP stack leads to {address:#x}, which is not readable; cut there")
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
        return this.payload if self._class_of(this.payload) == "Generator" else None

    def _class_of_this(self, address: int) -> str | None:
        """The class of `$this`: FFI's functions belong to no class, but PHP shows them as methods of FFI."""
        reader = self._reader
        this = reader.value(address + reader.layout.offset("execute_data", "This"))
        if this is None or this.type != reader.layout.constant("IS_OBJECT"):
            return None
        return self._class_of(this.payload)

    def _class_of(self, instance: int) -> str | None:
        entry = self._reader.pointer(instance, "object", "ce") if instance % 8 == 0 else None
        return self._reader.string(self._reader.field(entry, "class_entry", "name")) if entry else None

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
        function = self._function(target)
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
            self._internal(address, function)
            if function.type == _INTERNAL
            else self._user(address, function, flags, ends=top)
        )

    def _internal(self, address: int, function: Function) -> ScriptFrame | None:
        if function.name is None:
            return None  # the nameless entry of a fiber: PHP's own bookkeeping
        return ScriptFrame(
            kind=KIND,
            role=Role.INTERNAL,
            address=address,
            function=function.name,
            class_name=function.class_name or self._class_of_this(address),
            handler=function.handler,
            note="internal",
        )

    def _without_frame(self, caller: ScriptFrame) -> Iterator[ScriptFrame]:
        """The built-in function that `caller` runs right now without a frame, if it does."""
        table, reader = self._frameless, self._reader
        if table is None or caller.role is Role.INTERNAL:
            return
        opline = reader.field(caller.address, "execute_data", "opline")
        if not opline or reader.field(opline, "op", "opcode") not in FRAMELESS_ICALL:
            return
        index = reader.field(opline, "op", "extended_value")
        if index is None or index >= _MOST_FRAMELESS:
            return
        target = reader.number(table.functions + index * 8)
        function = self._function(target) if target else None
        if function is not None and function.type == _INTERNAL:
            yield ScriptFrame(
                kind=KIND,
                role=Role.INTERNAL,
                address=opline,
                function=function.name,
                class_name=function.class_name,
                handler=reader.number(table.handlers + index * 8),
                note="internal",
            )

    def _user(self, address: int, function: Function, flags: int, *, ends: bool) -> ScriptFrame:
        line, sound = self._position(address, function)
        jitted = bool(self._jit) and self._has_jit_code(function)
        generator = bool(flags & self._reader.layout.constant("ZEND_CALL_GENERATOR"))
        notes = [text for text, on in (("generator", generator), ("jit", jitted)) if on]
        if not sound:
            notes.append("line unknown: the saved position is outside this function's code")
        role = Role.EVAL if function.type == _EVAL else Role.USER if function.name else Role.MAIN
        return ScriptFrame(
            kind=KIND,
            role=role,
            address=address,
            function=function.name,
            class_name=function.class_name if function.name else None,
            file=function.file,
            line=line,
            # With `yield from` one native loop runs the innermost generator for all that wait for it.
            ends_activation=ends and address not in self._delegated,
            jit=jitted,
            note=", ".join(notes) or None,
        )

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

    def _position(self, address: int, function: Function) -> tuple[int | None, bool]:
        """`(line, sound)` where the frame stands now; not sound when that is outside its code."""
        reader = self._reader
        opline = reader.field(address, "execute_data", "opline")
        if opline and reader.field(opline, "op", "opcode") == HANDLE_EXCEPTION and self._before_exception:
            opline = self._before_exception
        start, end = function.opcodes
        if not opline or not start <= opline < end:
            return None, False
        return reader.field(opline, "op", "lineno"), True

    def _function(self, address: int) -> Function:
        if address not in self._functions:
            self._functions[address] = self._read_function(address) or Function(0, None, None, broken=True)
        return self._functions[address]

    def _read_function(self, address: int) -> Function | None:
        reader = self._reader
        kind = reader.field(address, "op_array", "type") if address % 8 == 0 else None
        name_at = reader.field(address, "op_array", "function_name")
        name = reader.string(name_at)
        if kind not in (_INTERNAL, _USER, _EVAL) or (name_at and name is None):
            return None
        scope = reader.pointer(address, "op_array", "scope")
        class_name = reader.string(reader.field(scope, "class_entry", "name")) if scope else None
        if kind == _INTERNAL:
            handler = reader.field(address, "internal_function", "handler")
            return Function(kind, name, class_name, handler=handler)
        first = reader.field(address, "op_array", "opcodes") or 0
        count = reader.field(address, "op_array", "last") or 0
        file = reader.string(reader.field(address, "op_array", "filename"))
        size = reader.layout.size("op")
        return Function(kind, name, class_name, file, (first, first + min(count, 1 << 24) * size))

    def _includes(self, caller: ScriptFrame) -> str | None:
        """With which statement `caller` runs file code right now: `include`, `require_once`, …"""
        opline = self._reader.field(caller.address, "execute_data", "opline")
        if not opline or self._reader.field(opline, "op", "opcode") != INCLUDE_OR_EVAL:
            return None
        return _INCLUDE_KINDS.get(self._reader.field(opline, "op", "extended_value") or 0)


def _name_files(frames: list[ScriptFrame], statement_of: Callable[[ScriptFrame], str | None]) -> list[ScriptFrame]:
    """Give code without a function name the name debug_backtrace() would give it."""
    named: list[ScriptFrame] = []
    for frame, caller in zip_longest(frames, frames[1:]):
        if frame.role is Role.EVAL and caller is not None:
            named.append(replace(frame, function="eval"))
        elif frame.role is Role.EVAL:  # `php -r`: nothing called eval, this is the script
            named.append(replace(frame, function="{main}", role=Role.MAIN))
        elif frame.role is Role.MAIN:
            statement = statement_of(caller) if caller is not None else None
            role = Role.INCLUDE if statement else Role.MAIN
            named.append(replace(frame, function=statement or "{main}", role=role))
        else:
            named.append(frame)
    return named
