"""What GDB said of a stack, kept for the next core that stands on the very same one.

A shape is a stack's addresses, each relative to the build it lies in. GDB's names, files, lines and
inlined frames are a function of it; program counters, stack pointers and registers are those of the
core at hand. Nothing is kept that does not give back GDB's own answer, whole, for the core it was
learned from.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from triage.corefile import CoreFile
from triage.corefile.notes import PC_SP
from triage.gdb.frames import Native, is_code, native
from triage.gdb.known_calls import KnownCalls, Row, Seat
from triage.gdb.patterns import Pattern, filled, pattern_of
from triage.model import NativeThread
from triage.symbols import Finder
from triage.unwind import Place, Spot, Walk

_MOST_ROWS = 60_000
_MOST_DROPPED = 16
ADDRESS = re.compile(r"0x[0-9a-f]{4,16}")
"""A number in an instruction's text that may be an address."""
_STATIC = ("name", "file", "line", "inline", "handler", "tail", "vouched")

Key = tuple[object, ...]


@dataclass(slots=True)
class _Stack:
    """The symbolised frames of one shape. `beyond` outermost frames of the walk GDB does not show.

    `gap` tells that it was not asked for all frames between `inner` and `outer`. `pattern` are its native frames,
    once they were made of it.
    """

    inner: tuple[Row, ...]
    outer: tuple[Row, ...]
    beyond: int
    width: Mapping[Spot, int]
    gap: bool = False
    pattern: Pattern | None = None


class Unlearnable(Exception):
    """GDB's answer cannot be given back from the walk; the message says what differs."""


class Shapes:
    """Answers by shape, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._stacks: OrderedDict[Key, _Stack | str] = OrderedDict()
        self._instructions: OrderedDict[Key, str | None] = OrderedDict()
        self._rows = 0
        self._calls = KnownCalls()

    def recall(self, place: Places, walks: Sequence[Walk], finder: Finder) -> Native | str | None:
        """What GDB's answer says of this core; `None` for a new shape, a clause for one that must be asked again."""
        found: list[_Stack] = []
        for at, walk in enumerate(walks):
            key = place.key(walk, at)
            stack = self._stacks.get(key)
            if not isinstance(stack, _Stack):
                return stack
            self._stacks.move_to_end(key)
            found.append(stack)
        instruction = place.instruction()
        if instruction not in self._instructions:
            return None
        try:
            return _recalled(place, walks, found, self._instructions[instruction], finder)
        except Unlearnable as reason:
            return str(reason)

    def compose(
        self, place: Places, walks: Sequence[Walk], bounds: Sequence[tuple[int, int]]
    ) -> dict[str, Any] | None:
        """What GDB would answer for a new shape, by the calls it is made of; `None` when one of them is new.

        `bounds` are `(inner, outer)`, how many frames GDB is asked for, of the first thread and of the others.
        """
        instruction = place.instruction()
        if instruction not in self._instructions:
            return None
        stacks = [_composed(self._calls, place, walk, bounds[min(at, 1)]) for at, walk in enumerate(walks)]
        whole = [stack for stack in stacks if stack is not None]
        if len(whole) < len(walks):
            return None
        try:
            return _answer(place, walks, whole, self._instructions[instruction])
        except Unlearnable:
            return None

    def learn(self, place: Places, walks: Sequence[Walk], answer: dict[str, Any], *, resumed: bool) -> str | None:
        """Keep what GDB answered; returns why it cannot be kept, if so.

        `resumed` tells that GDB did not see the frames between the inner and the outer ones: the
        depth in `answer` is corrected for frames that exist in debug information only.
        """
        try:
            if len(answer["threads"]) != len(walks):
                raise Unlearnable("GDB shows another number of threads than the core")
            stacks = [_learned(place, walk, raw) for walk, raw in zip(walks, answer["threads"], strict=True)]
            if resumed:
                _correct(answer["threads"][0], _depth(walks[0], stacks[0], place))
            text = place.relative(answer["instruction"])
            if _answer(place, walks, stacks, text) != answer:
                raise Unlearnable("GDB's answer and the one made from the walk differ")
        except Unlearnable as reason:
            self._keep(place, walks, [str(reason)] * len(walks))
            return str(reason)
        self._keep(place, walks, stacks)
        for walk, stack in zip(walks, stacks, strict=True):
            if walk.depth == len(walk.places) and not stack.gap:
                self._calls.learn(_seats(place, walk), (*stack.inner, *stack.outer), stack.beyond)
        self._instructions[place.instruction()] = text
        if len(self._instructions) > _MOST_ROWS:
            self._instructions.popitem(last=False)
        return None

    def _keep(self, place: Places, walks: Sequence[Walk], stacks: Sequence[_Stack | str]) -> None:
        for at, (walk, stack) in enumerate(zip(walks, stacks, strict=True)):
            key = place.key(walk, at)
            if self._stacks.pop(key, None) is None:
                self._rows += len(key)
            self._stacks[key] = stack
        while self._rows > _MOST_ROWS and len(self._stacks) > len(walks):
            forgotten, _ = self._stacks.popitem(last=False)
            self._rows -= len(forgotten)


class Places:
    """Addresses of one core, each put into its build.

    `loop_register` is the one in which the interpreter keeps its own frame, if it does.
    """

    def __init__(self, core: CoreFile, loop_register: str | None) -> None:
        self.core = core
        self._loop_register = loop_register
        self._spots: dict[int, Spot] = {}
        self._keys: dict[int, Key] = {}

    @cached_property
    def _bases(self) -> Mapping[tuple[str, str | None], int]:
        return {(module.path, module.build_id): module.base for module in self.core.modules}

    def spot(self, pc: int) -> Spot:
        found = self._spots.get(pc)
        if found is None:
            module = self.core.module_at(pc)
            found = Spot((module.path, module.build_id), pc - module.base) if module else Spot(None, 0)
            self._spots[pc] = found
        return found

    def address(self, spot: Spot) -> int:
        base = self._bases.get(spot.module) if spot.module else None
        if base is None:
            raise Unlearnable("a module that is not there any more")
        return base + spot.offset

    def key(self, walk: Walk, at: int) -> Key:
        """The shape of the thread at that place in the core's list."""
        if at not in self._keys:
            places = walk.places
            frames = [(spot or self.spot(pc), signal, vouched) for pc, _, _, signal, vouched, spot in places]
            self._keys[at] = (at == 0, self._loop_register, walk.depth > len(places), len(walk.inner), *frames)
        return self._keys[at]

    def instruction(self) -> tuple[Spot | None, bytes | None]:
        """Where the crashed thread stands, and the bytes of code there."""
        pc_name, _ = PC_SP.get(self.core.machine or "", ("", ""))
        pc = self.core.notes.threads[0].registers.get(pc_name)
        if pc is None:
            return None, None
        code = next((raw for size in (16, 8, 4, 1) if (raw := self.core.memory.read(pc, size))), None)
        return self.spot(pc), code

    def relative(self, text: str | None) -> str | None:
        """An instruction's text with each address in a module as `{path|build-id|offset}`."""
        return ADDRESS.sub(self._relative, text) if text else text

    def _relative(self, found: re.Match[str]) -> str:
        spot = self.spot(int(found[0], 16))
        return f"\0{spot.module[0]}\0{spot.module[1] or ''}\0{spot.offset:x}\0" if spot.module else found[0]

    def absolute(self, text: str | None) -> str | None:
        """The reverse of `relative`."""
        if not text or "\0" not in text:
            return text
        pieces = text.split("\0")
        out = pieces[:1]
        for path, build, offset, rest in zip(*(iter(pieces[1:]),) * 4, strict=True):
            out += [f"{self.address(Spot((path, build or None), int(offset, 16))):#x}", rest]
        return "".join(out)


def _learned(place: Places, walk: Walk, raw: Mapping[str, Any]) -> _Stack:
    """GDB's frames of one thread as rows on the walk's frames."""
    if walk.reason or raw["stop"] or raw["name"]:
        raise Unlearnable(walk.reason or raw["stop"] or "the thread has a name of its own")
    places = walk.places
    inner, outer = raw["frames"], raw["outer"]
    gap = raw["depth"] > len(inner) + len(outer)
    own = inner if gap else [*inner, *outer]
    rows = _rows(place, own, list(enumerate(places)))
    far = outer if gap else []
    beyond = _beyond(far, places) if gap else walk.depth - sum(not _made_up(row) for row in own)
    if not 0 <= beyond <= _MOST_DROPPED or (not gap and walk.depth != len(places)):
        raise Unlearnable("GDB's stack and the walk's end at different frames")
    count = sum(not _made_up(row) for row in far)
    first = len(places) - beyond - count
    last = [(at - len(places), places[at]) for at in range(max(0, first), len(places) - beyond)]
    tail = _rows(place, far, last)
    return _Stack(
        inner=rows[: len(inner)],
        outer=(*rows[len(inner) :], *tail),
        beyond=beyond,
        width=_widths(place, [*own, *far]),
        gap=gap,
    )


def _seats(place: Places, walk: Walk) -> list[Seat]:
    return [Seat(place.spot(one.pc), one.signal, one.vouched, one.loop is None) for one in walk.places]


def _composed(calls: KnownCalls, place: Places, walk: Walk, bounds: tuple[int, int]) -> _Stack | None:
    """A thread's stack by its calls, where GDB would show all of its frames."""
    if walk.reason or walk.depth != len(walk.places):
        return None
    found = calls.compose(_seats(place, walk))
    if found is None or len(found[0]) > sum(bounds):
        return None
    rows, beyond = found
    return _Stack(inner=rows[: bounds[0]], outer=rows[bounds[0] :], beyond=beyond, width={})


def _made_up(row: Mapping[str, Any]) -> bool:
    """Whether a frame exists in debug information only."""
    return bool(row["inline"] or row["tail"])


def _beyond(outer: Sequence[Mapping[str, Any]], places: Sequence[Place]) -> int:
    """How many of the walk's outermost frames GDB leaves out (all that called `main`)."""
    wanted = [row["pc"] for row in outer if not _made_up(row)]
    for beyond in range(_MOST_DROPPED + 1):
        end = len(places) - beyond
        if wanted and end >= len(wanted) and [p.pc for p in places[end - len(wanted) : end]] == wanted:
            return beyond
    return -1


def _rows(place: Places, raw: Sequence[Mapping[str, Any]], places: Sequence[tuple[int, Place]]) -> tuple[Row, ...]:
    found = []
    at = 0
    for row in raw:
        if at >= len(places):
            raise Unlearnable("GDB shows more frames than the walk")
        number, stands = places[at]
        made_up = _made_up(row)
        if not row["tail"] and row["pc"] != stands.pc:
            raise Unlearnable(f"GDB and the walk differ at frame {at}")
        if row["loop"] not in (None, stands.loop):
            raise Unlearnable(f"GDB and the walk differ in a register of frame {at}")
        found.append(
            Row(
                static={name: row[name] for name in _STATIC},
                place=number,
                spot=place.spot(row["pc"]) if row["tail"] else None,
                sp=None if row["sp"] is None else row["sp"] - stands.sp,
                loop=row["loop"] is not None,
            )
        )
        at += not made_up
    return tuple(found)


def _widths(place: Places, rows: Sequence[Mapping[str, Any]]) -> dict[Spot, int]:
    """How many of GDB's frames stand on one frame of the walk, where that is more than one."""
    found: dict[Spot, int] = {}
    width = 0
    for at, row in enumerate(rows):
        width += 1
        if not _made_up(row):
            if width > 1 and at >= width:  # the first group may have been cut
                found[place.spot(row["pc"])] = width
            width = 0
    return found


def _correct(raw: dict[str, Any], depth: int) -> None:
    """Set the depth of a thread GDB has not walked whole, and the levels that hang on it."""
    raw["depth"] = depth
    for back, row in enumerate(reversed(raw["outer"])):
        row["level"] = depth - 1 - back


def _depth(walk: Walk, stack: _Stack, place: Places) -> int:
    """How many frames GDB would count: the walk's, and those made up between them."""
    rows = len(stack.inner) + len(stack.outer)
    real = sum(not _made_up(row.static) for row in (*stack.inner, *stack.outer))
    hidden = walk.depth - stack.beyond - real
    if not hidden or not stack.width:
        return rows + hidden
    more = {pc: stack.width.get(place.spot(pc), 1) - 1 for pc in walk.between}
    seen = sum(more[pc] * count for pc, count in walk.between.items())
    # Frames the walk kept but GDB did not: they lie between, too.
    used = {row.place % len(walk.places) for row in (*stack.inner, *stack.outer) if not _made_up(row.static)}
    kept = [p for at, p in enumerate(walk.places[: len(walk.places) - stack.beyond]) if at not in used]
    seen += sum(stack.width.get(place.spot(p.pc), 1) - 1 for p in kept)
    return rows + hidden + seen


def _answer(place: Places, walks: Sequence[Walk], stacks: Sequence[_Stack], text: str | None) -> dict[str, Any]:
    threads = [_thread(place, walk, stack) for walk, stack in zip(walks, stacks, strict=True)]
    return whole_answer(place.core, threads, place.absolute(text))


def _recalled(
    place: Places, walks: Sequence[Walk], stacks: Sequence[_Stack], text: str | None, finder: Finder
) -> Native:
    """The same as native frames."""
    core = place.core
    threads = _filled(place, walks, stacks, finder)
    if threads is not None:
        return Native(threads, own_registers(core), place.absolute(text), len(core.notes.threads))
    found = native(_answer(place, walks, stacks, text), core, finder)
    for walk, stack, thread in zip(walks, stacks, found.threads, strict=True):
        stack.pattern = pattern_of(thread, (*stack.inner, *stack.outer), walk)
    return found


def _filled(
    place: Places, walks: Sequence[Walk], stacks: Sequence[_Stack], finder: Finder
) -> tuple[NativeThread, ...] | None:
    """The threads by the patterns of their stacks; `None` where one has none, or does not fit."""
    core = place.core
    first = core.notes.threads[0].id
    threads = []
    for walk, stack in zip(walks, stacks, strict=True):
        if stack.pattern is None:
            return None
        thread = filled(stack.pattern, walk, place.address, crashed=walk.thread == first)
        if not all(is_code(core, finder, thread.frames[at].pc) for at in stack.pattern.guessed):
            return None
        threads.append(thread)
    return tuple(threads)


def whole_answer(core: CoreFile, threads: list[dict[str, Any]], instruction: str | None) -> dict[str, Any]:
    """The answer `inside.py` gives to `triage-dump`: what it says of threads, and what the core's notes have."""
    return {
        "crashed": core.notes.threads[0].id,
        "threads": threads,
        "registers": own_registers(core),
        "instruction": instruction,
        "count": len(core.notes.threads),
    }


def own_registers(core: CoreFile) -> dict[str, int]:
    """The registers of the thread that crashed that GDB shows."""
    found = dict(core.notes.threads[0].registers)
    found.pop("orig_rax", None)
    return found


def _thread(place: Places, walk: Walk, stack: _Stack) -> dict[str, Any]:
    depth = _depth(walk, stack, place)
    places = walk.places
    first = depth - len(stack.outer)
    return {
        "frames": [_frame(place, row, places[row.place], at) for at, row in enumerate(stack.inner)],
        "outer": [_frame(place, row, places[row.place], first + at) for at, row in enumerate(stack.outer)],
        "depth": depth,
        "stop": None,
        "id": walk.thread,
        "name": None,
    }


def _frame(place: Places, row: Row, stands: Place, level: int) -> dict[str, Any]:
    return {
        **row.static,
        "level": level,
        "pc": place.address(row.spot) if row.spot is not None else stands.pc,
        "sp": None if row.sp is None else stands.sp + row.sp,
        "loop": stands.loop if row.loop else None,
    }
