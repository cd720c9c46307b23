"""From a thread's registers to the start of its stack, frame by frame.

What is found is meant to equal GDB's frames without those that exist in debug information only
(inlined functions, tail calls). Where that is not sure the walk ends and says why: heuristics for
code without tables are GDB's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.corefile.notes import ThreadState
from triage.model import Unwinding
from triage.unwind.cfi import Step, Unreadable
from triage.unwind.expression import evaluate
from triage.unwind.recursion import LONGEST, turns
from triage.unwind.stackwords import StackWords
from triage.unwind.tables import Spot, Stand, Tables

_DWARF = {
    name: number
    for number, name in enumerate("rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split())
}
_RIP, _RSP, _LOOP = _DWARF["rip"], _DWARF["rsp"], _DWARF["r14"]
_MOST_CROSSINGS = 200
_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_FIRST_TRY = 256  # plain frames in a row after which it may be a recursion
_OUTERMOST = Step(_RSP, 0, None, (), 0, (), (), outermost=True, signal=False, plain=False)


class Place(NamedTuple):
    """One frame. `loop` is the register in which the interpreter keeps its own frame, `None` when lost.

    `vouched` tells that its caller was found by the interpreter's rules, not by a table. `spot` is where it stands,
    for frames that were gone over at a stride.
    """

    pc: int
    sp: int
    loop: int | None
    signal: bool
    vouched: bool
    spot: Spot | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many frames of a thread to keep (`inner`, `outer`) and to follow at all (`most`)."""

    inner: int
    outer: int
    most: int


@dataclass(frozen=True, slots=True)
class Walk:
    """One thread's frames: the innermost, the outermost, and how many there are.

    `between` counts the frames in neither, by program counter. `resume` has the registers of the
    first frame of `outer`. `reason` is set where the walk could not be followed to its end.
    """

    thread: int
    inner: tuple[Place, ...]
    outer: tuple[Place, ...]
    depth: int
    between: Mapping[int, int]
    resume: Mapping[str, int]
    reason: str | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """All that was kept, innermost first."""
        return self.inner + self.outer


def walk_threads(
    core: CoreFile, tables: Tables, rules: Unwinding | None, crashed: Bounds, others: Bounds, most: int
) -> Iterator[Walk]:
    """The stacks of up to `most` threads, the crashed one first."""
    walker = _Walker(core, tables, rules)
    for at, thread in enumerate(core.notes.threads[:most]):
        yield walker.walk(thread, others if at else crashed)


def _place(registers: tuple[int | None, ...], signal: bool, vouched: bool) -> Place:  # noqa: FBT001
    return Place(registers[_RIP] or 0, registers[_RSP] or 0, registers[_LOOP], signal, vouched)


class _End(Exception):
    """The walk cannot go on; the message is one clause."""


class _Walker:
    """Walks the threads of one core."""

    def __init__(self, core: CoreFile, tables: Tables, rules: Unwinding | None) -> None:
        self._core = core
        self._tables = tables
        self._rules = rules or Unwinding()
        self._entry = self._rules.fiber_entry or (0, 0)
        self.words = StackWords(core.memory)
        self.steps: dict[int, Step | str] = {}  # by address; by ~address for an exact program counter
        self._low, self._high = 0, 0
        self._file: tuple[MappedModule, dict[int, Stand]]

    def walk(self, thread: ThreadState, bounds: Bounds) -> Walk:
        if self._core.machine != "x86_64":
            machine = self._core.machine
            return Walk(thread.id, (), (), 0, {}, {}, f"stacks of {machine} are left to GDB")
        return _Stack(self, thread, bounds).walk()

    def step(self, pc: int, *, exact: bool) -> Step | str:
        """The step at a return address, or at the very instruction a frame stands on."""
        key = ~pc if exact else pc
        found = self.steps.get(key)
        if found is None:
            address = pc if exact else pc - 1  # the call may be the last instruction of its function
            found = self._tables.step(self._core, address)
            if not self._in_entry(pc):  # `_Stack._run` looks nowhere else, and shall not pass a fiber's start
                self.steps[key] = found
        return found

    def stand(self, pc: int) -> Stand | None:
        """What there is to know of a caller that goes on at `pc`; `None` for all that needs a closer look."""
        low, high = self._entry
        if low <= pc < high or (self._rules.code and self.generated(pc)):
            return None
        if not self._low <= pc < self._high and not self._enter(pc):
            return None
        module, known = self._file
        place = pc - module.base
        found = known.get(place)
        return found if found is not None else self._tables.stand(self._core, module, place)

    def _enter(self, pc: int) -> bool:
        """Remember the file that holds `pc`, for its neighbours: callers come in runs from one file."""
        module = self._core.module_at(pc)
        if module is None or self._core.module_at(module.start) is not module:
            return False  # no file, or one that lies over another
        self._low, self._high, self._file = module.start, module.end, (module, self._tables.stands(module))
        return True

    def _in_entry(self, pc: int) -> bool:
        start, end = self._entry
        return start <= pc < end

    def generated(self, pc: int) -> bool:
        code = self._rules.code
        return bool(code) and any(low <= pc < high for low, high in code)

    def across(self, pc: int, sp: int) -> Mapping[str, int] | None:
        """The registers of the stack a fiber was resumed from, where its own stack ends here."""
        if not self._in_entry(pc):
            return None
        return next((s.registers for s in self._rules.switches if s.low <= sp <= s.high), None)

    def through(self, registers: list[int | None]) -> dict[int, int] | None:
        """The registers of the caller of the interpreter's loop, on whose frame generated code runs."""
        for name, distance in self._rules.rules:
            base = registers[_DWARF[name]]
            if base is None:
                continue
            for more in (0, 16) if name == "rsp" else (0,):
                cfa = base + distance + more
                pc = self.words.word(cfa - 8)
                if pc is not None and any(low < pc <= high for low, high in self._rules.callers):
                    return self._from_loop(cfa, pc)
        return None

    def _from_loop(self, cfa: int, pc: int) -> dict[int, int]:
        found = {_RIP: pc, _RSP: cfa}
        for name, at in self._rules.saved.items():
            value = self.words.word(cfa + at)
            if value is None:
                raise _End("generated code, whose caller's registers are not in the core")
            if _DWARF[name] not in found:
                found[_DWARF[name]] = value
        return found


class _Stack:
    """One thread on its way outwards."""

    def __init__(self, walker: _Walker, thread: ThreadState, bounds: Bounds) -> None:
        self._walker = walker
        self._thread = thread
        self._bounds = bounds
        self._registers: list[int | None] = [thread.registers.get(name) for name in _DWARF]
        self._inner: list[Place] = []
        # Outer frames: (signal, vouched, registers).
        self._ring: deque[tuple[bool, bool, tuple[int | None, ...]]] = deque(maxlen=max(1, bounds.outer))
        self._between: dict[int, int] = {}
        self._crossed = 0
        self._exact = True

    def walk(self) -> Walk:
        reason = None
        try:
            depth = self._follow()
        except _End as end:
            depth, reason = len(self._inner) + sum(self._between.values()), str(end)
        outer = tuple(_place(registers, signal, vouched) for signal, vouched, registers in self._ring)
        for place in outer:
            self._between[place.pc] -= 1
        resume = dict(zip(_DWARF, self._ring[0][2], strict=True)) if self._ring else {}
        return Walk(
            thread=self._thread.id,
            inner=tuple(self._inner),
            outer=outer,
            depth=depth,
            between={pc: count for pc, count in self._between.items() if count},
            resume={name: value for name, value in resume.items() if value is not None},
            reason=reason,
        )

    def _follow(self) -> int:
        """Go outwards to the end; returns the number of frames."""
        registers, bounds, between = self._registers, self._bounds, self._between
        if registers[_RIP] is None or registers[_RSP] is None:
            raise _End("the thread's registers are not in the core")
        depth = 0
        while depth < bounds.most:
            if not self._exact and depth < bounds.inner:
                before, depth = depth, self._stride(depth)
                if depth > before and registers[_RIP] == 0:
                    return depth
            pc, sp = registers[_RIP], registers[_RSP]
            assert pc is not None  # noqa: S101 — every way onwards sets both
            assert sp is not None  # noqa: S101
            step, onwards, vouched = self._standing(pc, sp)
            depth += 1
            if len(self._inner) < bounds.inner:
                self._inner.append(Place(pc, sp, registers[_LOOP], step.signal, vouched))
            else:
                between[pc] = between.get(pc, 0) + 1
                self._ring.append((step.signal, vouched, tuple(registers)))
            if onwards is not None:
                self._jump(onwards)
            elif step.outermost:
                return depth
            else:
                self._up(step, sp)
                if step.plain and depth >= bounds.inner:
                    depth = self._run(depth)
                if registers[_RIP] == 0:
                    return depth
        raise _End(f"more than {bounds.most} frames")

    def _stride(self, depth: int) -> int:
        """Go over inner frames with plain steps, as most are; returns the number of frames then.

        Stops before anything that needs a closer look.
        """
        registers, inner, walker = self._registers, self._inner, self._walker
        low, high, view = walker.words.window
        for _ in range(self._bounds.inner - depth):
            pc, sp = registers[_RIP] or 0, registers[_RSP] or 0
            stand = walker.stand(pc)
            if stand is None:
                break
            spot, base, offset, count, saved = stand
            cfa = (registers[base] or 0) + offset
            end = (cfa - low) >> 3
            if cfa <= sp or end < count or cfa > high or cfa & 7:
                break
            inner.append(_new(Place, (pc, sp, registers[_LOOP], False, False, spot)))
            words = view[end - count : end].tolist()
            for register, at in saved:
                registers[register] = words[at]
            registers[_RSP] = cfa
            depth += 1
        return depth

    def _standing(self, pc: int, sp: int) -> tuple[Step, Mapping[int, int] | None, bool]:
        """`(step, registers to go on with instead, whether the interpreter's rules give them)`."""
        walker = self._walker
        if walker.generated(pc):
            found = walker.through(self._registers)
            if found is None:
                raise _End("generated code, whose caller could not be found")
            return _OUTERMOST, found, True
        crossing = walker.across(pc, sp)
        if crossing is not None and self._crossed < _MOST_CROSSINGS:
            self._crossed += 1
            return _OUTERMOST, {_DWARF[name]: value for name, value in crossing.items()}, True
        step = walker.step(pc, exact=self._exact)
        if isinstance(step, str):
            raise _End(step)
        return step, None, False

    def _jump(self, onwards: Mapping[int, int]) -> None:
        """Go on with other registers. Nothing is known of those that are not among them."""
        self._registers[:] = [onwards.get(register) for register in range(len(_DWARF))]
        self._exact = False

    def _up(self, step: Step, sp: int) -> None:
        """Put the caller's registers in place of this frame's."""
        registers, words = self._registers, self._walker.words
        cfa = self._cfa(step)
        if cfa <= sp and not step.signal:
            raise _End("a caller's frame that does not lie above its callee's")
        low, high, view = words.window
        if step.plain and not cfa & 7 and low <= cfa + step.reach and cfa <= high:
            for register, distance in step.saved:
                registers[register] = view[(cfa + distance - low) >> 3]
            registers[_RSP] = cfa
            self._exact = False
            return
        found = {register: words.word(cfa + distance) for register, distance in step.saved}
        for register, expression in step.computed:
            found[register] = words.word(self._evaluated(expression, cfa))
        if None in found.values():
            raise _End("a part of the stack that is not in the core")
        for register in step.lost:
            registers[register] = None
        for register, value in found.items():
            registers[register] = value
        if _RIP not in found:
            raise _End("an unwind table without a return address")
        if _RSP not in found:
            registers[_RSP] = cfa
        self._exact = step.signal

    def _cfa(self, step: Step) -> int:
        if step.expression is not None:
            return self._evaluated(step.expression, None)
        base = self._registers[step.base]
        if base is None:
            raise _End("a register the unwind table needs is lost")
        return (base + step.offset) & 0xFFFF_FFFF_FFFF_FFFF

    def _evaluated(self, expression: bytes, start: int | None) -> int:
        if any(value is None for value in self._registers):
            raise _End("a register the unwind table needs is lost")
        known = [value or 0 for value in self._registers]
        try:
            return evaluate(expression, known, self._walker.words.word, start)
        except Unreadable as reason:
            raise _End(str(reason)) from reason

    def _run(self, depth: int) -> int:
        """The same for plain steps, many frames at a stretch: an endless recursion is made of them.

        Stops before anything that is not plain; returns the number of frames then.
        """
        registers, between, ring = self._registers, self._between, self._ring
        steps, words, most = self._walker.steps, self._walker.words, self._bounds.most
        low, high, view = words.window
        wait = _FIRST_TRY
        look = depth + wait
        while depth < most:
            if depth >= look:
                before, depth = depth, self._over(depth)
                wait = _FIRST_TRY if depth > before else wait * 2
                look = depth + wait
            pc, sp = registers[_RIP], registers[_RSP]
            step = steps.get(pc)  # type: ignore[arg-type]
            if step.__class__ is not Step or not step.plain:
                break
            base = registers[step.base]
            if base is None or sp is None or pc is None:
                break
            cfa = base + step.offset
            if cfa <= sp or cfa + step.reach < low or cfa > high or cfa & 7:
                if cfa <= sp or cfa & 7 or not words.load(cfa + step.reach):
                    break
                low, high, view = words.window
                look = depth
                continue
            depth += 1
            between[pc] = between.get(pc, 0) + 1
            ring.append((False, False, tuple(registers)))
            for register, distance in step.saved:
                registers[register] = view[(cfa + distance - low) >> 3]
            registers[_RSP] = cfa
            if registers[_RIP] == 0:
                break
        self._exact = False
        return depth

    def _over(self, depth: int) -> int:
        """Go over the turns of a recursion that follow; returns the number of frames then.

        Left out are so many at the end that all that is kept of the outer frames is read again one by one.
        """
        registers, between, walker = self._registers, self._between, self._walker
        pc, sp, spare = registers[_RIP], registers[_RSP], (self._ring.maxlen or 0) + 2 * LONGEST
        found = turns(walker.steps, walker.words.window, pc, sp, spare) if pc and sp else None
        more = found.times * len(found.counters) if found else 0
        if found is None or sp is None or depth + more + spare >= self._bounds.most:
            return depth
        for counter in found.counters:
            between[counter] = between.get(counter, 0) + found.times
        registers[_RSP] = sp + found.times * found.size
        return depth + more
