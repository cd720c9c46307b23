"""Signature v3: the exact keys under which equal crashes meet.

`key` holds, in order: the signal; the native frames above the first script code, without the
machinery that is on every stack; and the innermost script frame, the point where the script
entered native code. A stack overflow is known by the functions that call each other, since
where exactly the stack ran out is chance. A frame nobody can name is never a reason to call two
crashes equal: when nothing nameable is left, the key is the crash's own.

`aliases` are rungs of the same ladder: the very instructions of one build, which are the same with
symbols and without; and the native names alone, where there are enough of them. Where a built-in function
was at work, each rung names it, since others may share its insides. A cluster owns every
key its crashes came with, so two crashes meet where any rung of the one is a rung of the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from triage import lists
from triage.cluster.normalize import instruction
from triage.cluster.shape import BUILT_IN, FILE_CODE, NATIVE, Shape, Step, read, script_name
from triage.cluster.symptom import access, reach
from triage.model import Crash, Fault, Frame, Module, Signal, Signature, Thread
from triage.model.record import changed

VERSION = "v3"
_COMPARED = "c4"  # the rules by which crashes are compared, and those that stand for a cluster chosen
LISTS = ("abort.txt", "allocator.txt", "collector.txt", "engine.txt", "helpers.txt", "machinery.txt", "markers.txt",
         "modules.txt", "opcodes.txt", "rewrites.txt", "shutdown.txt", "system.txt", "told.txt")  # fmt: skip
_NATIVE_FRAMES = 5
_HELPER_FRAMES = 3
_ENOUGH_NAMES = 3
_ADDRESSES = 8
_LONGEST = 400
_PATH_AND_BUILD = itemgetter(Module._fields.index("path"), Module._fields.index("build_id"))


def rules() -> str:
    """What keys and exemplars depend on beside the crash: the rules' version and the lists, the user's included."""
    return f"{VERSION}-{_COMPARED}-{lists.fingerprint(__package__ or '', *LISTS)}"


def sign(
    crash_id: str,
    signal: Signal | None,
    thread: Thread | None,
    builds: Mapping[str, str | None],
    *,
    overflow: bool = False,
    fault: Fault | None = None,
) -> Signature:
    """The signature of a crash, from the merged stack of the thread that crashed.

    `builds` gives each module's build-id by path; `overflow` says the stack was exhausted; `fault` how memory was
    misused, where that is known; `crash_id` makes the key unique when the stack offers nothing to compare.
    """
    shape = read(thread, builds, overflow=overflow)
    name = signal.name if signal else "no signal"
    if overflow:
        return _recursion(crash_id, shape, name)
    entered = next((at for at, step in enumerate(shape.steps) if step.kind != NATIVE), len(shape.steps))
    native = _telling(shape.steps[:entered])
    script = shape.steps[entered : entered + 1]
    parts = [_part(step) for step in (*native, *script)]
    if script and not native:
        parts = [_died_in(script[0], shape.heap, fault)]
    if not parts and shape.heap:
        parts = [f"allocator|{shape.heap}"]
    if not parts:
        steps = (*shape.why, "no frame has a name: the key is this crash's own")
        return Signature(key=f"{VERSION}:{name}:unknown:{crash_id}", title=f"{name} at an unknown place",
                         steps=steps, markers=_markers(shape))  # fmt: skip
    shown = [frame for frame in (thread.frames if thread else ()) if frame.kind not in ("native", "gap")]
    return Signature(
        key=_key(name, parts),
        title=_title(name, native, [frame for frame in shown if frame.function is not None], shape.heap),
        steps=shape.why,
        aliases=tuple(_aliases(name, shape, native, script)),
        markers=_markers(shape),
    )


def signature_of(crash: Crash) -> Signature:
    """The signature of a whole crash record, as its triage gave it or newer rules give it."""
    signature = sign(crash.id, crash.signal, crash.crashed_thread, builds_of(crash), overflow=is_overflow(crash),
                     fault=crash.fault)  # fmt: skip
    told = {marker for finding in crash.findings for marker in _marked(finding.rule)}
    frames = crash.crashed_thread.frames if crash.crashed_thread else ()
    if frames and "jit" in (frames[0].note or "").split(", "):
        told.add("in-jit")
    return changed(signature, markers=tuple(sorted({*signature.markers, *told})))


def _marked(rule: str) -> Iterable[str]:
    rewrites = lists.rewrites(__package__ or "", "markers.txt")
    return (marker for pattern, marker in rewrites if pattern.fullmatch(rule))


def builds_of(crash: Crash) -> dict[str, str | None]:
    """Each module's build-id, by path."""
    return dict(map(_PATH_AND_BUILD, crash.modules))


def is_overflow(crash: Crash) -> bool:
    """Whether the stack was exhausted."""
    return any(finding.rule == "stack-overflow" for finding in crash.findings)


def _telling(steps: Sequence[Step]) -> list[Step]:
    """The native steps of the key: five that count, and few of the helpers before them."""
    kept: list[Step] = []
    for step in steps:
        if sum(not other.helper for other in kept) == _NATIVE_FRAMES:
            break
        if not step.helper or sum(other.helper for other in kept) < _HELPER_FRAMES:
            kept.append(step)
    return kept


def _aliases(signal: str, shape: Shape, native: Sequence[Step], script: Sequence[Step]) -> Iterable[str]:
    # A built-in function is the same whatever script calls it: it is in each key, for others share its insides.
    called = [_part(step) for step in script if step.kind == BUILT_IN]
    if shape.places:
        yield _key(signal, ["at", *shape.places[:_ADDRESSES], *called])
    names = [step for step in native if step.name is not None and not step.helper]
    if not called and len(names) >= _ENOUGH_NAMES and len(names) == sum(not step.helper for step in native):
        yield _key(signal, ["native", *(_part(step) for step in native)])


def _markers(shape: Shape) -> tuple[str, ...]:
    heap = (f"heap:{shape.heap}",) if shape.heap else ()
    return (*sorted(shape.markers), *heap)


def _key(signal: str, parts: Iterable[str]) -> str:
    key = f"{VERSION}:{signal}:{'|'.join(parts)}"
    if len(key) <= _LONGEST:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return f"{key[:_LONGEST]}~{digest}"


def _part(step: Step) -> str:
    if step.kind != NATIVE:
        return f"{step.module}:{step.name}"
    if step.name is not None:
        return f"{step.module}!{step.name}"
    build, _, start = (step.function or "").partition(":")
    return f"{step.module}!sub_{start}@{build}"


def _died_in(script: Step, heap: str | None, fault: Fault | None) -> str:
    """The key of a crash without native frames that count: in the allocator, or in the code of what the script did.

    That may be long: what could not be had tells where in it.
    """
    if heap is not None:
        return f"allocator|{_part(script)}"
    at = f"#{instruction(script.opcode)}" if script.opcode else ""
    had = " ".join(part for part in (access(fault), reach(fault)) if part)
    return f"{_part(script)}{at}{f'@{had}' if had else ''}"


def _recursion(crash_id: str, shape: Shape, signal: str) -> Signature:
    script = [step for step in shape.steps if step.kind != NATIVE]
    native = [step for step in shape.steps if step.kind == NATIVE]
    if not script and not native:
        key = f"{VERSION}:{signal}:stack-overflow:unknown:{crash_id}"
        return Signature(key=key, title="stack overflow in unnamed functions", steps=shape.why,
                         markers=_markers(shape))  # fmt: skip
    if not script:
        parts = sorted(map(_part, native))
        title = f"stack overflow in {_place(sorted(native, key=_part))}"
        return Signature(key=_key(signal, ["stack-overflow", *parts]), title=title, steps=shape.why,
                         markers=_markers(shape))  # fmt: skip
    shown = [step.name or "" for step in script]
    more = f" and {len(shown) - 2} more" if len(shown) > 2 else ""
    return Signature(
        key=_key(signal, ["stack-overflow", *sorted(map(_part, script))]),
        title=f"stack overflow ◂ {' ⇄ '.join(shown[:2])}{more}",
        steps=shape.why,
        markers=_markers(shape),
    )


def _title(signal: str, native: Sequence[Step], script: Sequence[Frame], heap: str | None) -> str:
    """For people: where it died ◂ the built-in function it was in ◂ the script code that called it."""
    place = _place(native) or heap
    chain = [place] if place else []
    if script and script[0].file is None:
        built_in = script_name(script[0])
        if place is None or _stands_for(place, built_in):
            chain = []
        # A C function called under its own name needs no second mention.
        chain.append(place if place == built_in.rsplit("::", 1)[-1] and place else f"{built_in}()")
    caller = next((frame for frame in script if frame.file is not None), None)
    if caller is not None:
        chain.append(_entered(caller))
    return " ◂ ".join(chain) if len(chain) > 1 else f"{signal} in {chain[0]}"


def _place(native: Sequence[Step]) -> str | None:
    if not native:
        return None
    step = native[0]
    return step.name if step.name is not None else f"{step.module}!sub_{(step.function or '').partition(':')[2]}"


def _stands_for(place: str, built_in: str) -> bool:
    """Whether a native function is just the code of a built-in function of the script language."""
    name = built_in.rsplit("::", 1)[-1].lower()
    return (
        "!sub_" in place
        or place.lower() == name
        or re.fullmatch(rf"(zif|zim_\w+?)_{re.escape(name)}", place) is not None
    )


def _entered(script: Frame) -> str:
    if script.function is None or script.function in FILE_CODE:
        return f"{script_name(script)} in {(script.file or '?').rsplit('/', 1)[-1]}"
    return f"{script_name(script)}()"
