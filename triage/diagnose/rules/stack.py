"""The stack ran out."""

from __future__ import annotations

from collections.abc import Sequence

from triage.corefile.protocol import Region
from triage.diagnose.case import FAULTS, WRITE, Case, native_name, script_name
from triage.folding import Repeat, fold
from triage.model import Confidence, Finding, Frame
from triage.text import plural

_GUARD_REACH = 1 << 20
_DEEP = 500
_LARGE_FRAME = 1 << 30
_MUCH = 1 << 20


def stack_overflow(case: Case) -> Finding | None:
    """The access hit the unmapped page below the stack, where the stack pointer stood."""
    found = _below_the_stack(case)
    if found is None:
        return None
    address, stack, guarded = found
    depth = case.thread.depth if case.thread else 0
    turns = _turns(case)
    deep = depth > _DEEP or bool(turns)
    return Finding(
        rule="stack-overflow",
        title=f"The stack ran out: {turns[0]}" if turns else "The stack ran out: calls were nested too deep",
        confidence=Confidence.PROVED if deep else Confidence.LIKELY,
        evidence=(
            f"the access to {address:#x} is just below the stack, which begins at {stack.start:#x} and is "
            f"{(stack.end - stack.start) // 1024} kB large"
            + (" (a guard page lies there, as below the stack of a thread or a fiber)" if guarded else ""),
            f"the stack pointer stood at {case.stack_pointer or 0:#x}",
            f"{plural(depth, 'frame')} are on the stack",
            *turns[1:],
        ),
        explanation=(
            "Each call that has not returned yet takes a piece of a memory area of fixed size, the stack. Here "
            "calls were nested until it was used up, and the kernel stopped the process. "
            + (
                "The same functions come again and again: either the recursion never ends, or it ends only after "
                "more turns than the stack has room for."
                if turns
                else "Few calls are on it, so one of them takes very much of it."
            )
        ),
        next_steps=_steps(case),
    )


def large_stack_frame(case: Case) -> Finding | None:
    """One function wanted more of the stack than there is: the stack pointer itself is far below it."""
    pointer, fault = case.stack_pointer, case.fault
    if pointer is None or fault is None or fault.operand is None or fault.operand.base not in ("rsp", "rbp"):
        return None
    here, above = case.region(pointer), case.memory.region_after(pointer)
    if here is not None and here.flags:
        return None
    if above is None or not above.flags & WRITE or above.start - pointer > _LARGE_FRAME:
        return None
    return Finding(
        rule="large-stack-frame",
        title="One function wanted more of the stack than there is",
        confidence=Confidence.GUESS,
        evidence=(
            f"the stack pointer {pointer:#x} is {(above.start - pointer) // 1024} kB below the next memory that can "
            f"be written, at {above.start:#x}",
            f"the refused access is relative to it: {fault.operand.text}",
        ),
        explanation=(
            "Local variables lie on the stack. A function with very large ones (an array of megabytes, alloca()) "
            "moves the stack pointer beyond the end of the stack in one step."
        ),
        next_steps=("Look at the innermost native function: does it keep large arrays as local variables?",),
    )


def _below_the_stack(case: Case) -> tuple[int, Region, bool] | None:
    """`(address, the stack's range, whether a guard page is below)`."""
    signal, pointer = case.signal, case.stack_pointer
    address = signal.address if signal is not None else None
    if signal is None or signal.name not in FAULTS or signal.code_name == "SI_KERNEL" or signal.sender is not None:
        return None
    if address is None or pointer is None or abs(address - pointer) > _GUARD_REACH:
        return None
    here, above = case.region(address), case.memory.region_after(address)
    if here is not None and here.flags:
        return None  # the address could be used; something else is wrong
    if case.region(pointer) not in (None, here, above):
        return None  # the stack pointer is in another mapping: not this stack ran out
    if above is None or above.start - address > _GUARD_REACH or not above.flags & WRITE:
        return None
    return address, above, here is not None


def _turns(case: Case) -> tuple[str, ...]:
    """What repeats, in words, and how often; empty when nothing does."""
    cycle, seen = repeating(case.frames)
    if not cycle:
        return ()
    script = [frame for frame in cycle if frame.kind not in ("native", "gap")]
    own = [frame for frame in script if frame.file is not None] or script
    names = list(dict.fromkeys(script_name(frame) for frame in own))
    if names:
        times = max((case.script_turns(frame) for frame in own), default=0) or seen
        who = " → ".join(reversed(names)) + f" → {names[-1]}"
        lines = [f"{frame.file}:{frame.line} ({script_name(frame)})" for frame in own if frame.file]
        title = f"{who}, {times} times over"
        return (
            title,
            f"{times} turns of the {case.language} functions {who}",
            *(f"one turn goes through {line}" for line in lines),
        )
    names = list(dict.fromkeys(native_name(frame) for frame in cycle))
    depth = case.thread.depth if case.thread else 0
    times = depth // len(cycle)
    shown = " → ".join(reversed(names[:4])) + (" → …" if len(names) > 4 else f" → {names[-1]}")
    inner = next(case.script(), None)
    inside = f"inside {script_name(inner)}, " if inner is not None and inner.file is None else ""
    return (
        f"{inside}{shown}, about {times} times over",
        f"the cycle of {plural(len(cycle), 'native frame')} repeats: {shown}",
    )


def repeating(frames: Sequence[Frame]) -> tuple[tuple[Frame, ...], int]:
    """`(one turn, turns seen)` of the first cycle that comes at least thrice; `((), 0)` when none does."""
    shown: list[Frame] = []
    for item in fold(frames):
        if isinstance(item, Repeat):
            return tuple(shown[-item.length :]), item.times + 1
        shown.append(item)
    return (), 0


def _steps(case: Case) -> tuple[str, ...]:
    cycle, _ = repeating(case.frames)
    own = next((f for f in cycle if f.kind not in ("native", "gap") and f.file is not None), None)
    steps = []
    if own is not None:
        steps.append(f"Open {own.file}:{own.line}: find the condition that should end {script_name(own)}.")
    elif cycle:
        steps.append(
            f"No {case.language} function repeats: {case.language} itself walks something nested very deep (arrays, "
            "objects that hold each other, a long linked list). Look at what the innermost frame of your code works "
            "on."
        )
    version = _version(case)
    if version is not None and version < (8, 3):
        steps.append(
            "PHP 8.3 and newer throw an Error instead of dying for most recursion (zend.max_allowed_stack_size)."
        )
    return tuple(steps)


def _version(case: Case) -> tuple[int, ...] | None:
    runtime = case.runtime
    if runtime is None or runtime.name != "php" or runtime.version is None:
        return None
    return tuple(int(part) for part in runtime.version.split(".")[:2] if part.isdigit())
