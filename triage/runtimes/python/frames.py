"""Python's own stack: the chain of frames of one thread, innermost first.

What is shown equals what traceback.extract_stack() would have said, with two additions: the
class of a method (3.11 and newer know it), and what kind of coroutine a frame is. Up to 3.10 a frame is
an object and each has a native loop of its own; since 3.11 one native loop runs Python calls of Python
functions itself, and `is_entry` (3.11) or a stand-in frame (3.12 and newer) marks where it was entered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from triage.model import Role, ScriptFrame
from triage.runtimes.python.datastack import DataStack
from triage.runtimes.python.lines import line_at
from triage.runtimes.python.objects import Objects, untagged

KIND = "python"
_MODULE = "<module>"
_KINDS = {0x20: "generator", 0x80: "coroutine", 0x200: "async generator"}  # CO_* flags of inspect
_MOST_LINES = 1 << 30
_STEPS = 2  # bytes of an instruction


@dataclass(frozen=True, slots=True)
class Code:
    """What a code object says; `start` is where its instructions are, 3.11 and newer."""

    name: str
    owner: str | None
    file: str | None
    first: int
    table: bytes | None
    kind: str | None
    start: int
    traceable: int


@dataclass(frozen=True, slots=True)
class Walk:
    """The frames innermost first, and what could not be read."""

    frames: tuple[ScriptFrame, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """One record of the chain. `entry`: a native loop began with it; `plain`: no generator's; `shim`: no call."""

    address: int
    code: int
    entry: bool = False
    plain: bool = False
    shim: bool = False


class StackReader:
    """Walks the stacks of one Python."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._codes: dict[int, Code | None] = {}
        self._old = not objects.layout.has("interpreter_frame", "code")
        owners = (objects.layout.constant(f"FRAME_OWNED_BY_{name}") for name in ("INTERPRETER", "CSTACK"))
        self._first_shim = min((owner for owner in owners if owner is not None), default=None)
        self._warnings: list[str] = []

    def walk(self, thread: int, *, limit: int) -> Walk:
        """The stack of the thread whose state is at `thread`; a chain that loops or leaves memory ends there."""
        self._warnings = []
        frames: list[ScriptFrame] = []
        for place in self._chain(thread, limit):
            if place.shim:
                frames[-1:] = [frame._replace(ends_activation=True) for frame in frames[-1:]]
            else:
                frames.append(self._frame(place))
        if frames:
            outermost = frames[-1]
            role = Role.MAIN if outermost.function == _MODULE else outermost.role
            frames[-1] = outermost._replace(ends_activation=True, role=role)
        return Walk(tuple(frames), tuple(self._warnings))

    def _innermost(self, thread: int) -> int | None:
        objects = self._objects
        if self._old:
            return objects.field(thread, "thread_state", "frame")
        if objects.layout.has("thread_state", "cframe"):
            held = objects.pointer(thread, "thread_state", "cframe")
            return objects.field(held, "cframe", "current_frame") if held else None
        return objects.field(thread, "thread_state", "current_frame")

    def _chain(self, thread: int, limit: int) -> Iterator[_Place]:
        stack, plain = DataStack(self._objects, thread), None
        address, seen = self._innermost(thread), set[int]()
        while address:
            if address in seen:
                self._cut(f"loops back to frame {address:#x}")
                return
            place = self._place(address)
            if place is None:
                self._cut(f"leads to {address:#x}, which is no frame")
                return
            refused = stack.refuses(plain, address) if place.plain else None
            if refused:
                self._cut(f"leads to {address:#x}, {refused}")
                return
            if len(seen) >= limit:
                self._warnings.append(f"more than {limit} Python frames; the outermost are left out")
                return
            seen.add(address)
            yield place
            plain = address if place.plain else plain
            struct, field = ("frame_object", "f_back") if self._old else ("interpreter_frame", "previous")
            address = self._objects.field(address, struct, field)

    def _cut(self, how: str) -> None:
        self._warnings.append(f"the Python stack {how}; cut there")

    def _place(self, address: int) -> _Place | None:
        objects = self._objects
        if not objects.sound(address):
            return None
        if self._old:
            code = objects.field(address, "frame_object", "f_code") or 0
            return _Place(address, code, entry=True) if objects.is_a(address, "frame") and self.code(code) else None
        owner = objects.field(address, "interpreter_frame", "owner")
        if owner is None:
            return None
        if self._first_shim is not None and owner >= self._first_shim:
            return _Place(address, 0, shim=True) if owner <= self._first_shim + 1 else None
        code = untagged(objects.field(address, "interpreter_frame", "code") or 0)
        entry = bool(objects.field(address, "interpreter_frame", "is_entry"))
        return _Place(address, code, entry=entry, plain=owner == 0) if self.code(code) else None

    def _frame(self, place: _Place) -> ScriptFrame:
        code = self.code(place.code)
        if code is None:
            raise LookupError("a frame without code was let through")
        offset = self._offset(place, code)
        line = self._line(code, offset)
        begun = offset is None or offset >= code.traceable * _STEPS or code.kind is not None
        notes = [
            code.kind,
            None if begun else "just being entered",
            None if line else "line unknown",
            self._doubt(place),
        ]
        return ScriptFrame(
            kind=KIND,
            role=Role.INCLUDE if code.name == _MODULE else Role.USER,
            address=place.address,
            function=code.name,
            class_name=code.owner,
            file=code.file,
            line=line,
            ends_activation=place.entry,
            note=", ".join(note for note in notes if note) or None,
            call="." if code.owner else None,
        )

    def _doubt(self, place: _Place) -> str | None:
        """What to say when the function that the frame runs has other code: damage, or a program that swaps code."""
        objects = self._objects
        function = untagged(objects.field(place.address, "interpreter_frame", "function") or 0)
        if not objects.is_a(function, "function"):
            return None
        other = objects.field(function, "python_function", "func_code")
        return None if other == place.code else "unknown whether this is right: the function called has other code"

    def _offset(self, place: _Place, code: Code) -> int | None:
        """How far into its code a frame is, in bytes; up to -2 for a function that has not begun."""
        objects = self._objects
        if self._old:
            at = objects.layout.offset("frame_object", "f_lasti")
            last = objects.signed(place.address + at, 4)
            return last * _STEPS if last is not None and objects.version == (3, 10) else last
        instruction = objects.field(place.address, "interpreter_frame", "instr")
        start = self._bytecode(place) or code.start
        return instruction - start if instruction is not None else None

    def _bytecode(self, place: _Place) -> int | None:
        """This thread's own copy of the code (free-threaded builds, 3.14 and newer)."""
        objects = self._objects
        index = objects.field(place.address, "interpreter_frame", "tlbc_index")
        copies = objects.pointer(place.code, "code", "co_tlbc")
        size = objects.number(copies) if copies else None
        if index is None or copies is None or size is None or not 0 <= index < size <= 1 << 20:
            return None
        return objects.number(copies + 8 + index * 8)

    def _line(self, code: Code, offset: int | None) -> int | None:
        if code.table is None or offset is None:
            return None
        if offset < 0:
            return code.first
        return line_at(self._objects.version, code.table, code.first, offset)

    def line(self, code_at: int, offset: int) -> int | None:
        """The line at a byte offset into a code object."""
        code = self.code(code_at)
        return self._line(code, offset) if code is not None else None

    def code(self, address: int) -> Code | None:
        """The code object at `address`, `None` when it is none."""
        if address not in self._codes:
            self._codes[address] = self._read_code(address) if self._objects.is_a(address, "code") else None
        return self._codes[address]

    def _read_code(self, address: int) -> Code | None:
        objects = self._objects
        name = objects.string(objects.field(address, "code", "co_name"))
        first = objects.field(address, "code", "co_firstlineno")
        if name is None or first is None or first >= _MOST_LINES:
            return None
        table = "co_linetable" if objects.layout.has("code", "co_linetable") else "co_lnotab"
        flags = objects.field(address, "code", "co_flags") or 0
        qualified = objects.string(objects.field(address, "code", "co_qualname"))
        at = objects.layout.offset("code", "co_code_adaptive") if not self._old else 0
        return Code(
            name=name,
            owner=qualified.removesuffix(f".{name}") if qualified and qualified.endswith(f".{name}") else None,
            file=objects.string(objects.field(address, "code", "co_filename")),
            first=first,
            table=objects.bytes_of(objects.field(address, "code", table)),
            kind=next((word for flag, word in _KINDS.items() if flags & flag), None),
            start=address + at,
            traceable=objects.field(address, "code", "first_traceable") or 0,
        )
