"""Two views of one stack put together: the machine's frames and the interpreter's, in true call order.

The interpreter runs script code in a native loop (PHP: `execute_ex`, or JIT code in its place).
Each native frame of the loop stands for one activation: a run of script frames up to and
including the one that ends it. An internal function (`array_map`) is a native function too; its
script frame sits at the native frame that begins where the function's handler begins.

Which script frame an activation starts with is known twice: by counting, and exactly where the
loop keeps its own frame in a register that the unwinder restored. Where the two disagree the
register wins if it is sound, and the result says so. Script frames that no native frame claims
are shown in their place, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from triage.model import Frame, NativeFrame, NativeThread, Role, ScriptFrame

_GAP = "gap"
_INTERNAL = Role.INTERNAL
_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_ADDRESS = itemgetter(ScriptFrame._fields.index("address"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the merge must know of the interpreter.

    `loops` are the loop's function names, `code` the address ranges of JIT code, `functions`
    names of native functions by absolute start address.
    """

    loops: frozenset[str] = frozenset()
    code: tuple[tuple[int, int], ...] = ()
    functions: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged stack. `depth` counts the frames that were left out as well."""

    frames: tuple[Frame, ...]
    depth: int
    truncated: bool
    warnings: tuple[str, ...]


def merge(native: NativeThread, script: Sequence[ScriptFrame], names: Names, *, most: int = 1500) -> Merged:
    """Merge one thread's native frames with the interpreter's frames (innermost first).

    At most `most` frames are returned, two thirds of them from the inner end; a frame of the
    kind `gap` stands for those between.
    """
    weaver = _Weaver(native, tuple(script), names)
    frames = weaver.weave()
    depth = len(frames) - weaver.gaps + weaver.hidden
    kept = _bound(frames, most)
    truncated = weaver.hidden > 0 or len(kept) < len(frames)
    return Merged(tuple(kept), depth, truncated, tuple(weaver.warnings))


class _Weaver:
    """Walks the native frames outwards and hands out script frames as it goes."""

    def __init__(self, native: NativeThread, script: tuple[ScriptFrame, ...], names: Names) -> None:
        self._thread = native
        self._script = script
        self._names = names
        self._index: dict[int, int] = dict(zip(map(_ADDRESS, script), range(len(script)), strict=True))
        self._generated = frozenset(f.pc for low, high in names.code for f in native.frames if low <= f.pc < high)
        self._next = 0
        self._last_register: int | None = None
        self._cut = False
        self._out: list[Frame] = []
        self.hidden = 0
        self.gaps = 0
        self.warnings: list[str] = []

    def weave(self) -> list[Frame]:
        gap_at = self._thread.gap_at if self._thread.gap else None
        for at, frame in enumerate(self._native()):
            if at == gap_at:
                self._skip_gap()
            self._place(frame)
        if gap_at is not None and gap_at >= len(self._thread.frames):
            self._skip_gap()
        self._leftovers()
        return self._out

    def _native(self) -> Sequence[NativeFrame]:
        """The native frames that can be believed.

        Code made by the JIT has no unwind tables: what comes beyond it is believed only where it
        was found by the interpreter's own rules, which say so in `trust`.
        """
        frames = self._thread.frames
        for at, frame in enumerate(frames if self._generated else ()):
            follower = frames[at + 1] if at + 1 < len(frames) else None
            if frame.pc in self._generated and (follower is None or follower.trust != "frame-pointer"):
                self._cut = True
                self.warnings.append(
                    "the native stack was followed as far as code made by the JIT, which has no unwind "
                    "tables; below it only the script's own frames are shown"
                )
                return frames[: at + 1]
        return frames

    def _known(self, frame: NativeFrame) -> str | None:
        """The interpreter's own name for a function that has no other."""
        if frame.function is not None or frame.function_start is None:
            return None
        return self._names.functions.get(frame.function_start)

    def _is_loop(self, frame: NativeFrame, known: str | None) -> bool:
        name = frame.function if frame.function is not None else known
        return (not frame.inlined and name in self._names.loops) or frame.pc in self._generated

    def _place(self, frame: NativeFrame) -> None:
        _, pc, _, _, start, name, module, offset, file, line, inlined, handler, note, trust = frame
        if name is None and start is not None:
            name = self._names.functions.get(start)
        runs = None
        is_loop = pc in self._generated or (name in self._names.loops and not inlined)
        if is_loop:
            head = self._activation(frame)
            runs = head if pc in self._generated else None
        if handler or frame.function is None or runs is not None:
            name, remark = self._name(frame, name, runs)
            note = remark or note
        self._out.append(_new(Frame, (
            "native", name, None, module, offset, file, line, pc, inlined, note, None, None, (), trust, None, (),
        )))  # fmt: skip
        if not is_loop and start is not None and self._next < len(self._script):
            self._internal_of(start)

    def _internal_of(self, start: int) -> None:
        """Claim the script frame of the internal function whose code begins at `start`."""
        script, at = self._script, self._next
        while at < len(script) and script[at].role is _INTERNAL:
            if script[at].handler == start:
                self._emit_script(at + 1)
                return
            at += 1

    def _activation(self, frame: NativeFrame) -> ScriptFrame | None:
        """Hand out the script frames one native loop frame stands for; the innermost of them is what it runs."""
        if self._next >= len(self._script):
            return None
        head = self._head(frame)
        if head is None:
            return None
        end = head
        while end < len(self._script) and not self._script[end].ends_activation:
            end += 1
        self._emit_script(min(end + 1, len(self._script)))
        return self._script[head]

    def _head(self, frame: NativeFrame) -> int | None:
        """Index of the innermost script frame this activation runs."""
        counted = next((at for at in self._rest() if self._script[at].role is not Role.INTERNAL), None)
        register = frame.vm_register
        # The register of an inner activation, still there: it says nothing about this one.
        stale = register == self._last_register
        exact = self._index.get(register) if register is not None and not stale else None
        self._last_register = register
        if exact is None or exact == counted or exact < self._next:
            return counted
        skipped = self._script[self._next : exact]
        if any(item.ends_activation for item in skipped):
            self.warnings.append(
                f"native frame {frame.level} and the script stack disagree: the loop's register names a "
                "frame beyond the end of its own activation; frames were assigned by counting"
            )
            return counted
        if any(item.role is not Role.INTERNAL for item in skipped):
            self.warnings.append(
                f"native frame {frame.level}: {len(skipped)} script frames are deeper than the one its "
                "register names; they are shown above it"
            )
        return exact

    def _rest(self) -> range:
        return range(self._next, len(self._script))

    def _skip_gap(self) -> None:
        """Go over the native frames that were not fetched, and over their script frames."""
        resume = self._after_gap()
        lost = resume - self._next if resume is not None else 0
        self.hidden += self._thread.gap + lost
        what = f"{self._thread.gap} native frames"
        if lost:
            what += f" and {lost} script frames"
        self._out.append(Frame(kind=_GAP, note=f"{what} in between are not shown"))
        self.gaps += 1
        if resume is not None:
            self._next = resume

    def _after_gap(self) -> int | None:
        """The script frame that the first native frame beyond the gap belongs to."""
        unknown = 0  # loop frames before the one whose register tells
        for frame in self._thread.frames[self._thread.gap_at :]:
            if not self._is_loop(frame, self._known(frame)):
                continue
            at = self._index.get(frame.vm_register) if frame.vm_register is not None else None
            if at is None:
                unknown += 1
                continue
            if at >= self._next:
                while unknown and at > self._next:
                    at -= 1
                    while at > self._next and not self._script[at - 1].ends_activation:
                        at -= 1
                    unknown -= 1
                # Internal functions just inside this activation have their native frames before it.
                while at > self._next and self._script[at - 1].role is Role.INTERNAL:
                    at -= 1
                return at
        return self._from_the_end()

    def _from_the_end(self) -> int | None:
        """The same by counting from the outer end, where the two stacks begin together."""
        loops = sum(self._is_loop(frame, self._known(frame)) for frame in self._thread.frames[self._thread.gap_at :])
        if self._thread.stop is not None or not loops:
            return None
        at = len(self._script)
        for _ in range(loops):
            at -= 1
            while at > self._next and not self._script[at - 1].ends_activation:
                at -= 1
        return at if at >= self._next else None

    def _leftovers(self) -> None:
        """Script frames that no native frame claimed: shown at the outer end, and said."""
        count = len(self._script) - self._next
        if count == 0:
            return
        if not self._cut:
            reason = f" ({self._thread.stop})" if self._thread.stop else ""
            self.warnings.append(
                f"the native stack ended before the script's{reason}: the outermost {count} script frames "
                "have no native frame beside them"
            )
        self._emit_script(len(self._script))

    def _emit_script(self, end: int) -> None:
        self._out += [frame.shown() for frame in self._script[self._next : end]]
        self._next = max(self._next, end)

    def _name(self, frame: NativeFrame, known: str | None, runs: ScriptFrame | None) -> tuple[str | None, str | None]:
        """`(name, note)`: the symbol, else the interpreter's own name, else the function's start.

        `runs` is what code made by the JIT runs.
        """
        name, note = self._own_name(frame, known)
        if runs is not None:
            # An anonymous class's name goes on with its place, after a NUL.
            owner = runs.class_name.split("\0", 1)[0] + "::" if runs.class_name else ""
            name = f"JIT[{owner}{runs.function}]"
        return name, note

    def _own_name(self, frame: NativeFrame, known: str | None) -> tuple[str | None, str | None]:
        if frame.signal_handler:
            return frame.function, "signal handler"
        if frame.function is not None:
            return frame.function, None
        if frame.pc in self._generated:
            return None, "jit"
        start = frame.function_start
        if start is None:
            return None, None if frame.module else "not in any module"
        if known is not None:
            return known, "named by the interpreter's function table"
        base = frame.pc - (frame.offset or 0)
        return f"sub_{start - base:x}", None


def _bound(frames: list[Frame], most: int) -> list[Frame]:
    if len(frames) <= most:
        return frames
    outer = most // 3
    inner = max(0, most - 1 - outer)  # one place is the marker's
    lost = len(frames) - inner - outer
    return [
        *frames[:inner],
        Frame(kind=_GAP, note=f"{lost} frames in between are not shown"),
        *frames[len(frames) - outer :],
    ]
