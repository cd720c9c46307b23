"""Perl's own stack: the context stacks, from the innermost sub outwards.

What is shown equals what caller() would have said: a sub's line is the line of the call it makes right now; `(eval)`
stands for eval blocks, eval strings and required files. A `sort` block and code that Perl runs for
something else (tie, overload, a callback of C code) have a stack of their own, linked to the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

from triage.model import Role, ScriptFrame
from triage.runtimes.perl.values import Values

KIND = "perl"
_EVAL = "(eval)"
_TYPE_MASK = 0xF
_MOST_CONTEXTS = 1 << 24
_BLOCK = 64
_MOST_OPS = 20_000
_KIDS = 4  # OPf_KIDS of op.h
_OP_TYPE, _MORE_SIBLINGS = 0x1FF, 1 << 14  # bit fields of BASEOP in op.h, in the two bytes before op_flags


@dataclass(frozen=True, slots=True)
class Walk:
    """The frames innermost first, and what could not be read."""

    frames: tuple[ScriptFrame, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Context:
    """A context at `address`. `bottom`: the outermost that counts on its stack; `in_block`: a sort block calls it."""

    address: int
    kind: int | None
    bottom: bool
    in_block: bool


class StackReader:
    """Walks the stack of one Perl interpreter."""

    def __init__(self, values: Values) -> None:
        self._values = values
        constant = values.layout.constant
        self._sub, self._format, self._eval, self._null = (
            constant(f"PERL_{name}") for name in ("SUB", "FORMAT", "EVAL", "NULL")
        )
        self._scope = constant("PERL_OP_SCOPE")
        self._block = constant("PERL_EVAL_BLOCK") or 0
        self._statements = {constant("PERL_OP_NEXTSTATE"), constant("PERL_OP_DBSTATE")}
        self._warnings: list[str] = []

    def walk(self, interpreter: int, *, limit: int) -> Walk:
        """The stack of the interpreter at `interpreter`."""
        values = self._values
        self._warnings = []
        cop = values.field(interpreter, "interpreter", "curcop")
        after = values.field(interpreter, "interpreter", "op")
        place = self._place(self._closest(cop, after, before=False))
        frames: list[ScriptFrame] = []
        for context in self._contexts(interpreter, limit):
            frames.append(self._frame(context, place))
            old = values.field(context.address, "context", "oldcop")
            back = values.field(context.address, "context", "retop") if context.kind != self._null else None
            place = self._place(self._closest(old, back, before=True))
        main = ScriptFrame(
            kind=KIND, role=Role.MAIN, address=interpreter, function="{main}", ends_activation=True,
            file=place[0], line=place[1],
        )  # fmt: skip
        return Walk((*self._levels(frames), main), tuple(self._warnings))

    def _contexts(self, interpreter: int, limit: int) -> Iterator[_Context]:
        values = self._values
        stack = values.pointer(interpreter, "interpreter", "stackinfo")
        size, seen, given = values.layout.size("context"), set[int](), 0
        while stack is not None:
            if stack in seen:
                self._warnings.append("the Perl stack loops back; cut there")
                return
            seen.add(stack)
            for context in self._on(stack, size, limit):
                if given >= limit:
                    self._warnings.append(f"more than {limit} Perl frames; the outermost are left out")
                    return
                given += 1
                yield context
            stack = values.pointer(stack, "stackinfo", "prev")

    def _on(self, stack: int, size: int, limit: int) -> Iterator[_Context]:
        """The contexts of one stack that are frames, innermost first."""
        values = self._values
        first = values.field(stack, "stackinfo", "contexts")
        last = values.signed(stack + values.layout.offset("stackinfo", "index"), 4)
        if first is None or last is None or last >= _MOST_CONTEXTS:
            self._warnings.append("a part of the Perl stack is not readable; its frames are lost")
            return
        outer = values.pointer(stack, "stackinfo", "prev") is not None
        wanted = list(islice(self._numbers(first, size, last), limit + 2))
        for number, following in zip_longest(wanted, wanted[1:]):
            address = first + number * size
            bottom = outer and following is None
            yield _Context(address, self._kind(address), bottom, following == 0 and self._kind(first) == self._null)

    def _numbers(self, first: int, size: int, last: int) -> Iterator[int]:
        """The numbers of the contexts that are frames, innermost first.

        Read by the block: a damaged `last` may claim millions, and most of what it claims is not there then.
        """
        place = self._values.layout.offset("context", "type")
        calls = {self._sub, self._format, self._eval}
        for end in range(last + 1, 0, -_BLOCK):
            start = max(0, end - _BLOCK)
            kinds = (self._values.memory.read(first + start * size, (end - start) * size) or b"")[place::size]
            for number in range(start + len(kinds) - 1, start - 1, -1):
                if kinds[number - start] & _TYPE_MASK in calls or (number == 0 and self._is_sort(first)):
                    yield number

    def _is_sort(self, address: int) -> bool:
        """A stack's first context is empty on the main stack; on another it is the block that `sort` runs."""
        return self._kind(address) == self._null and bool(self._values.field(address, "context", "oldcop"))

    def _kind(self, address: int) -> int | None:
        kind = self._values.field(address, "context", "type")
        return kind & _TYPE_MASK if kind is not None else None

    def _frame(self, context: _Context, place: tuple[str | None, int | None]) -> ScriptFrame:
        values = self._values
        package, name, role, ends = None, _EVAL, Role.EVAL, context.bottom
        if context.kind in (self._sub, self._format):
            package, found = values.sub_name(values.field(context.address, "context", "cv"))
            name, role = found or "(unknown)", Role.USER
            # Code that C called returns to no Perl code.
            # So does the last call of a sort block, which has no end of its own.
            ends = ends or not (context.in_block or values.field(context.address, "context", "retop"))
        elif context.kind == self._null:
            name = "(sort block)"
        elif not values.field(context.address, "context", "retop"):
            # An eval that returns to no Perl code is run by C; a block of that kind is only put around a C call.
            block = (values.field(context.address, "context", "type") or 0) & self._block
            ends = not block
        return ScriptFrame(
            kind=KIND, role=role, address=context.address, function=name, class_name=package,
            file=place[0], line=place[1], ends_activation=ends, call="::" if package else None,
        )  # fmt: skip

    def _levels(self, frames: list[ScriptFrame]) -> Iterator[ScriptFrame]:
        """The frames, with an eval that has a native loop of its own marked as the end of its activation.

        Perl enters a loop anew for an eval when the place to return to belongs to C code (docatch() in pp_ctl.c).
        """
        values = self._values
        returns = [bool(values.field(frame.address, "context", "retop")) for frame in frames]
        envs = [
            values.field(frame.address, "context", "env") if frame.function == _EVAL and back else None
            for frame, back in zip(frames, returns, strict=True)
        ]
        for at, frame in enumerate(frames):
            env = envs[at]
            # The outermost eval that returns to this place.
            own = env is not None and env not in envs[at + 1 :] and not self._caught(frames, returns, at)
            yield frame._replace(ends_activation=True) if env and own and self._pushed(env) else frame

    def _caught(self, frames: list[ScriptFrame], returns: list[bool], at: int) -> bool:
        """Whether the call from C that this eval is part of catches by itself: then no eval in it needs a loop."""
        end = next((n for n in range(at + 1, len(frames)) if frames[n].ends_activation), len(frames))
        around = end + 1
        return around < len(frames) and frames[around].function == _EVAL and not returns[around]

    def _pushed(self, env: int) -> bool:
        """Whether a place to return to was made because the one before belongs to C code."""
        values = self._values
        outer = values.pointer(env, "jmpenv", "prev")
        first = outer is None or not values.field(outer, "jmpenv", "prev")
        return outer is not None and not first and values.field(outer, "jmpenv", "mustcatch") == 1

    def _place(self, cop: int | None) -> tuple[str | None, int | None]:
        """File and line of a statement."""
        values = self._values
        if not cop or not values.sound(cop):
            return None, None
        line = values.field(cop, "cop", "line")
        if values.layout.has("cop", "file"):
            return values.text(values.field(cop, "cop", "file")), line
        glob = values.pointer(cop, "cop", "filegv")
        body = values.pointer(glob, "sv", "any") if glob else None
        name = values.hek(values.field(body, "gv", "namehek")) if body else None
        return name.removeprefix("_<") if name else None, line

    def _closest(self, cop: int | None, op: int | None, *, before: bool) -> int | None:
        """The statement nearest to an operation: in `if (a()) {} elsif (b())` Perl notes the first only.

        `op` is the operation itself or, with `before`, the one it returns to (closest_cop() in util.c).
        """
        if not cop or not op or not self._values.sound(cop):
            return cop
        self._left = _MOST_OPS
        return self._search(cop, self._sibling(cop), op, before=before, depth=0) or cop

    def _search(self, cop: int, op: int | None, wanted: int, *, before: bool, depth: int) -> int | None:
        values = self._values
        if op is None:
            return cop
        # A block that holds one statement leads on to the operation as well, and is not what calls.
        leads = values.field(op, "op", "next") == wanted and self._type(op) != self._scope
        if leads if before else op == wanted:
            return cop
        self._left -= 1
        flags = values.field(op, "op", "flags")
        if self._left < 0 or depth > 200 or flags is None or not flags & _KIDS:
            return None
        kid = values.pointer(op, "unop", "first")
        while kid is not None and self._left > 0:
            if self._type(kid) == 0 and values.field(kid, "op", "targ") in self._statements:
                cop = kid
            found = self._search(cop, kid, wanted, before=before, depth=depth + 1)
            if found is not None:
                return found
            kid = self._sibling(kid)
            self._left -= 1
        return None

    def _bits(self, op: int) -> int:
        return self._values.number(op + self._values.layout.offset("op", "flags") - 2, 2) or 0

    def _type(self, op: int) -> int:
        return self._bits(op) & _OP_TYPE

    def _sibling(self, op: int) -> int | None:
        return self._values.pointer(op, "op", "sibparent") if self._bits(op) & _MORE_SIBLINGS else None
