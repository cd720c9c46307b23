"""Ruby's own stack: the control frames, from the innermost outwards.

What is shown equals what caller_locations() would have said; a method written in C stands where its caller
stands, as Ruby tells it. `VM_FRAME_FLAG_FINISH` marks the frame with which a native loop began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from triage.model import Role, ScriptFrame
from triage.runtimes.ruby.lines import line_at
from triage.runtimes.ruby.values import Values

KIND = "ruby"
_MOST_LINES = 1 << 31
_METHOD_AT = -16  # VM_ENV_DATA_INDEX_ME_CREF: two words before the frame's flags
_C_METHOD = "(C method)"
_MOST_HANDLERS = 24


@dataclass(frozen=True, slots=True)
class Walk:
    """The frames innermost first, and what could not be read."""

    frames: tuple[ScriptFrame, ...]
    warnings: tuple[str, ...]


class StackReader:
    """Walks the stacks of one Ruby."""

    def __init__(self, values: Values) -> None:
        self._values = values
        names = ("METHOD", "BLOCK", "CLASS", "TOP", "CFUNC", "EVAL", "RESCUE", "DUMMY", "MASK", "FINISH")
        self._flag = {name: values.layout.constant(f"RUBY_{name}") or 0 for name in names}

    def walk(self, context: int, *, limit: int) -> Walk:
        """The stack of the execution context at `context`."""
        values, warnings = self._values, list[str]()
        frames: list[ScriptFrame] = []
        for address in self._addresses(context, limit, warnings):
            frame = self._frame(address)
            if frame is not None:
                frames.append(frame)
        if frames:
            frames[-1] = frames[-1]._replace(ends_activation=True)
        elif values.field(context, "context", "frame") is None:
            warnings.append("the Ruby stack is not readable")
        return Walk(tuple(self._placed(frames)), tuple(warnings))

    def handlers(self, frames: Iterable[int]) -> Iterator[int]:
        """Where the native code of instructions is: the first words of each frame's compiled code."""
        values = self._values
        for address in frames:
            code = values.pointer(address, "frame", "iseq")
            body = values.pointer(code, "code", "body") if code else None
            start = values.field(body, "body", "encoded") if body else None
            size = values.field(body, "body", "size") if body else None
            for number in range(min(size or 0, _MOST_HANDLERS)) if start else ():
                word = values.number((start or 0) + number * 8)
                if word is not None:
                    yield word

    def _addresses(self, context: int, limit: int, warnings: list[str]) -> Iterator[int]:
        values = self._values
        stack, size, at = (values.field(context, "context", name) for name in ("stack", "size", "frame"))
        if not stack or size is None or not at:
            return
        end, step = stack + size * 8, values.layout.size("frame")
        if not stack <= at < end:
            warnings.append(f"the Ruby stack begins at {at:#x}, outside of its own memory; it was not read")
            return
        for given, address in enumerate(range(at, end - step + 1, step)):
            if given >= limit:
                warnings.append(f"more than {limit} Ruby frames; the outermost are left out")
                return
            yield address

    def _frame(self, address: int) -> ScriptFrame | None:
        values = self._values
        environment = values.field(address, "frame", "ep")
        flags = values.number(environment) if environment else None
        if environment is None or flags is None:
            return None
        kind, ends = flags & self._flag["MASK"], bool(flags & self._flag["FINISH"])
        if kind == self._flag["CFUNC"]:
            return self._native(address, environment)
        code = values.pointer(address, "frame", "iseq")
        pc = values.field(address, "frame", "pc")
        body = values.pointer(code, "code", "body") if code else None
        if kind == self._flag["DUMMY"] or body is None or not pc:
            return None  # Ruby's own bookkeeping: no call
        label = values.string(values.field(body, "body", "label"))
        if label is None:
            return None
        top = kind in (self._flag["TOP"], self._flag["EVAL"]) or label == "<main>"
        return ScriptFrame(
            kind=KIND, role=Role.MAIN if top else Role.USER, address=address, function=label,
            file=self._path(body), line=self._line(body, pc), ends_activation=ends,
        )  # fmt: skip

    def _native(self, address: int, environment: int) -> ScriptFrame:
        """A method written in C: its name, and the function behind it."""
        values = self._values
        method = values.pointer_at(environment + _METHOD_AT)
        definition = values.pointer(method, "method", "definition") if method else None
        name = values.name(values.field(definition, "definition", "id")) if definition else None
        return ScriptFrame(
            kind=KIND, role=Role.INTERNAL, address=address, function=name or _C_METHOD, note="internal",
            handler=values.field(definition, "definition", "function") if definition else None,
        )  # fmt: skip

    def _placed(self, frames: list[ScriptFrame]) -> Iterator[ScriptFrame]:
        """C methods at the place they were called from, as Ruby shows them."""
        for at, frame in enumerate(frames):
            if frame.role is Role.INTERNAL:
                caller = next((outer for outer in frames[at:] if outer.role is not Role.INTERNAL), None)
                yield frame._replace(file=caller.file, line=caller.line) if caller else frame
            else:
                yield frame

    def _path(self, body: int) -> str | None:
        values = self._values
        held = values.field(body, "body", "path")
        parts = values.items(held)
        return values.string(parts[0] if parts else held)

    def _line(self, body: int, pc: int) -> int | None:
        values = self._values
        start, size = values.field(body, "body", "encoded"), values.field(body, "body", "size")
        if not start or not size or not 0 <= pc - start <= size * 8:
            return None
        # The counter is one instruction ahead.
        line = line_at(values, body, max((pc - start) // 8 - 1, 0))
        return line if line is not None and 0 < line < _MOST_LINES else None
