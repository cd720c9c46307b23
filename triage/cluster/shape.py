"""A crash as clustering sees it: the telling frames of its stack, and what they are told by.

Frames that are on every stack are left out, and so is everything inside of how a program ended
itself. The allocator's frames go into a field of their own. What nobody can name keeps its place:
within one build that is as good as a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from triage.cluster.normalize import function_name, instruction, module_name, words
from triage.cluster.traits import normal, told_name
from triage.model import Frame, Thread

_CYCLE_FRAMES = 60
_MOST_FRAMES = 1600
_MOST_STEPS = 24
BUILD_DIGITS = 12
_GENERATED = re.compile(r"sub_([0-9a-f]+)")
_HANDLER = re.compile(r"zi[fm]_(\w+)")
FILE_CODE = frozenset({"{main}", "<module>", "<main>", "include", "include_once", "require", "require_once", "eval"})

NATIVE, BUILT_IN, SCRIPT = "native", "built-in", "script"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One telling frame.

    `kind` is `native`, `built-in` (a function of the interpreter) or `script`. `name` is `None` where
    nobody knows it; `function` is `BUILD:START` if the function's start is known. `place` is
    `BUILD+OFFSET`, the very instruction, for native frames of a known build. `helper` marks functions
    that only do what they are told. `opcode` is what a script frame was executing. `traits` are what the code of a
    function refers to that its file has no name for.
    """

    kind: str
    name: str | None = None
    module: str | None = None
    function: str | None = None
    place: str | None = None
    helper: bool = False
    opcode: str | None = None
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a stack is compared. `steps` run from the crash outwards.

    With `overflow`, they are the functions that call each other, in no order that means anything, and
    `entry` is the built-in function that led to them, or the instruction that script code was at.
    `heap` is the allocator's function the crash happened in, with its size class; with `opaque` it may have been
    in one that nobody can name; `died_at` the
    address of the crash itself within its build. `why` says, frame by frame, what was kept or left out.
    """

    steps: tuple[Step, ...]
    overflow: bool = False
    entry: str | None = None
    heap: str | None = None
    opaque: bool = False
    died_at: str | None = None
    places: tuple[str, ...] = ()
    markers: frozenset[str] = frozenset()
    why: tuple[str, ...] = ()


def read(thread: Thread | None, builds: Mapping[str, str | None], *, overflow: bool = False) -> Shape:
    """The shape of the stack of the thread that crashed. `builds` gives each module's build-id by path."""
    frames = thread.frames if thread else ()
    if len(frames) > _MOST_KEPT_FRAMES:
        return _read(frames, builds, overflow=overflow)
    # Processes at other addresses have the same shape: all it is made of is in the key (one list stands for all).
    own = map(builds.get, map(_module_of, frames))
    key = (overflow, words("machinery.txt"), *map(_looked_at, frames), *own)
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KEPT:
            _known.clear()
        found = _known[key] = _read(frames, builds, overflow=overflow)
    return found


_known: dict[tuple[object, ...], Shape] = {}
_MOST_KEPT, _MOST_KEPT_FRAMES = 512, 256
LOOKED_AT = (
    "kind",
    "function",
    "class_name",
    "module",
    "offset",
    "start",
    "traits",
    "note",
    "inlined",
    "file",
    "opcode",
)
"""What of a frame a shape may hang on."""
_looked_at = itemgetter(*map(Frame._fields.index, LOOKED_AT))
_module_of = itemgetter(Frame._fields.index("module"))


def _read(frames: Sequence[Frame], builds: Mapping[str, str | None], *, overflow: bool) -> Shape:
    reader = _Reader(frames, builds)
    return reader.cycle() if overflow else reader.whole()


def place_of(frame: Frame, builds: Mapping[str, str | None]) -> str | None:
    """The very instruction a native frame stands at, in a form that no other build shares."""
    build = builds.get(frame.module) if frame.module else None
    return f"{build[:BUILD_DIGITS]}+{frame.offset:x}" if build and frame.offset is not None else None


def _function_of(frame: Frame, builds: Mapping[str, str | None]) -> str | None:
    """The function of a native frame in a form that no other build shares, where its start is known."""
    build = builds.get(frame.module) if frame.module else None
    return f"{build[:BUILD_DIGITS]}:{frame.start:x}" if build and frame.start is not None else None


class _Reader:
    """Walks one stack outwards and judges its frames."""

    def __init__(self, frames: Sequence[Frame], builds: Mapping[str, str | None]) -> None:
        self._frames = [frame for frame in frames[:_MOST_FRAMES] if frame.kind != "gap"]
        self._builds = builds
        self._why: list[str] = []
        self._heap: str | None = None
        self._markers: set[str] = set()
        self._opaque = self._reached = False

    def whole(self) -> Shape:
        ended, outermost = self._ended_itself(), self._outermost_script()
        steps: list[Step] = []
        for at, frame in enumerate(self._frames):
            if frame.kind != "native":
                self._reached = True
                if frame.function is not None:
                    steps.append(script_step(frame))
                continue
            step, reason = self._judge(at, ended)
            if step is not None and at > outermost >= 0:
                step, reason = None, "the way to the script, the same for every crash of it"
            self._why.append(f"{'kept' if step else 'left out'} {frame.function or 'unnamed frame'}: {reason}")
            if step is not None:
                self._reached = True
                steps.append(step)
        places = self._places(ended)
        return Shape(
            steps=tuple(_fold(steps)[:_MOST_STEPS]),
            heap=self._heap,
            opaque=self._opaque,
            died_at=places[0] if places else None,
            places=tuple(places),
            markers=frozenset(self._markers),
            why=tuple(self._why),
        )

    def cycle(self) -> Shape:
        """The functions that recur on the inner stretch of the stack, each once.

        What is there once is the leaf where the stack happened to run out.
        """
        inner = self._frames[:_CYCLE_FRAMES]
        script = [script_step(f) for f in inner if f.kind != "native" and f.function is not None]
        native = [step for at, f in enumerate(inner) if f.kind == "native" and (step := self._judge(at, 0)[0])]
        kept = _recurring(script) + _recurring(native)
        return Shape(
            steps=tuple(sorted(kept, key=_order)),
            overflow=True,
            entry=None if script else self._entry(),
            markers=frozenset({"stack-overflow", *self._markers}),
            why=("the stack was exhausted: the functions that call each other are the key",),
        )

    def _entry(self) -> str | None:
        """The built-in function from which native code went round and round, or the instruction of a script."""
        innermost = next((f for f in self._frames if f.kind != "native" and f.function is not None), None)
        if innermost is None:
            return None
        step = script_step(innermost)
        return step.name if step.kind == BUILT_IN else step.opcode and instruction(step.opcode)

    def _outermost_script(self) -> int:
        """Where the script begins; what is farther out only led to it. -1 without a script."""
        return max((at for at, frame in enumerate(self._frames) if frame.kind != "native"), default=-1)

    def _ended_itself(self) -> int:
        """How many frames from the inside are only how the program ended itself."""
        ended = 0
        for at, frame in enumerate(self._frames):
            if frame.kind != "native":
                break
            if frame.note == "signal handler":
                return at + 1 if ended else 0
            if frame.function is not None and self._name(frame) in words("abort.txt"):
                ended = at + 1
        return ended

    def _judge(self, at: int, ended: int) -> tuple[Step | None, str]:
        frame = self._frames[at]
        if frame.inlined:
            return None, "inlined, which only a build with symbols shows"
        if frame.note == "signal handler":
            return None, "a signal handler"
        if at < ended:
            return None, "the way a program ends itself, not the reason"
        if frame.function is None or frame.module is None:
            if at == 0 and frame.module is None:
                self._markers.add("bad-jump")
            return None, "it has no name, so it cannot make two crashes equal"
        return self._named(at, self._name(frame), module_name(frame.module))

    def _name(self, frame: Frame) -> str:
        """The function's name; of a few without one, the name that their own words give away."""
        name = function_name(frame.function or "")
        return (told_name(frame.traits) or name) if _GENERATED.fullmatch(name) else name

    def _named(self, at: int, name: str, module: str) -> tuple[Step | None, str]:
        frame = self._frames[at]
        if name in words("shutdown.txt"):
            self._markers.add("at-shutdown")
        if self._is_machinery(name, module) or self._takes_notes(at, name):
            return None, "machinery that is on every stack"
        if name in words("allocator.txt"):
            self._heap = self._heap or name
            return None, "giving and taking memory: kept apart, as the place of death and not the reason"
        if _GENERATED.fullmatch(name):
            return self._generated(at, name, module)
        if self._is_handler(at, name):
            return None, "the code of the built-in function that follows"
        if name in words("collector.txt") and not self._markers & {"collecting"} and at < _NEAR_THE_TOP:
            self._markers.add("collecting")
        step = Step(
            kind=NATIVE,
            name=name,
            module=module,
            function=_function_of(frame, self._builds),
            place=place_of(frame, self._builds),
            helper=name in words("helpers.txt"),
            traits=normal(frame.traits),
        )
        return step, "does what it is told: its caller counts as well" if step.helper else "tells where it died"

    def _is_machinery(self, name: str, module: str) -> bool:
        return name in words("machinery.txt") or f"{module}!{name}" in words("machinery.txt")

    def _takes_notes(self, at: int, name: str) -> bool:
        """Whether it is PHP's JIT compiler, which runs the script to learn what it does: its caller is told."""
        caller = self._frames[at + 1] if at + 1 < len(self._frames) else None
        return (
            _GENERATED.fullmatch(name) is not None
            and caller is not None
            and caller.kind == "native"
            and self._name(caller) == "zend_jit_trace_hot_root"
        )

    def _generated(self, at: int, name: str, module: str) -> tuple[Step | None, str]:
        frame = self._frames[at]
        if module in words("system.txt"):
            self._opaque = self._opaque or not self._reached
            return None, "the system's own business"
        build = self._builds.get(frame.module or "")
        if build is None:
            return None, "an address in a build nobody knows, so it cannot make two crashes equal"
        obeys = self._is_instruction(at)
        step = Step(kind=NATIVE, module=module, function=f"{build[:BUILD_DIGITS]}:{name.removeprefix('sub_')}",
                    place=place_of(frame, self._builds), helper=obeys, traits=normal(frame.traits))  # fmt: skip
        if obeys:
            return step, "the code of the instruction that the script was at, which tells more"
        return step, "has no name, but an address, which tells where it died in this one build"

    def _is_instruction(self, at: int) -> bool:
        """Whether this is the interpreter's own code for the instruction of the script frame that comes next."""
        follower = self._frames[at + 1] if at + 1 < len(self._frames) else None
        return follower is not None and follower.file is not None and follower.opcode is not None

    def _is_handler(self, at: int, name: str) -> bool:
        """Whether the function is just the code of the built-in function whose frame comes next."""
        if _HANDLER.fullmatch(name) is None:
            return False
        follower = self._frames[at + 1] if at + 1 < len(self._frames) else None
        return follower is not None and follower.kind != "native" and follower.file is None

    def _places(self, ended: int) -> list[str]:
        """Where the machine stood, from the crash to the script code that led there; empty when not all is known.

        How the program ended itself is left out. Where the script's own code died, that is the interpreter's loop.
        """
        found: list[str] = []
        script = False
        for frame in self._frames[ended:]:
            if frame.inlined:
                continue
            if frame.kind != "native":
                script = True
                if found:
                    break
                continue
            place = place_of(frame, self._builds)
            if place is None:
                return []
            found.append(place)
            if script:
                break
        return found


_NEAR_THE_TOP = 3


def script_step(frame: Frame) -> Step:
    """A frame of the interpreter's own stack, which has a name."""
    kind = BUILT_IN if frame.file is None else SCRIPT
    name = script_name(frame)
    if frame.function in FILE_CODE:
        name = f"{name}@{(frame.file or '?').rsplit('/', 1)[-1]}"
    return Step(kind=kind, name=name, module=frame.kind, opcode=frame.opcode if kind == SCRIPT else None)


def script_name(frame: Frame) -> str:
    """`Class::method`, a function's name, or `{main}`."""
    name = frame.function or "unreadable frame"
    return f"{frame.class_name}::{name}" if frame.class_name else name


def _identity(step: Step) -> tuple[str, str | None]:
    return (step.kind, step.name or step.function)


def _order(step: Step) -> tuple[str, str]:
    return ((step.kind != SCRIPT and step.kind) or "", step.name or step.function or "")


def _recurring(steps: Iterable[Step]) -> list[Step]:
    """The steps that are there more than once; all of them when none is. Each once."""
    counts: Counter[tuple[str, str | None]] = Counter()
    first: dict[tuple[str, str | None], Step] = {}
    for step in steps:
        counts[_identity(step)] += 1
        first.setdefault(_identity(step), step)
    often = [first[identity] for identity, count in counts.items() if count > 1]
    return often or list(first.values())


def _fold(steps: Sequence[Step]) -> list[Step]:
    """Repeats of a step or of a cycle of up to four steps shown once: depth is no identity."""
    folded = list(steps)
    keys = [_identity(step) for step in steps]
    for length in range(1, 5):
        at = 0
        while at + 2 * length <= len(folded):
            if keys[at : at + length] == keys[at + length : at + 2 * length]:
                del folded[at + length : at + 2 * length]
                del keys[at + length : at + 2 * length]
            else:
                at += 1
    return folded
