"""Signature v1: which crashes count as the same.

The key holds, in order: the signal; the native frames above the first script code, without the
machinery that is on every stack; and the innermost script frame, the point where the script
entered native code. A stack overflow is known by the functions that call each other, since
where exactly the stack ran out is chance. A frame nobody can name is never a reason to call two
crashes equal: when nothing nameable is left, the key is the crash's own.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from triage.cluster.normalize import function_name, module_name, words
from triage.model import Frame, Signal, Signature, Thread

VERSION = "v1"
_NATIVE_FRAMES = 5
_CYCLE_FRAMES = 60
_LONGEST = 400
_GENERATED = re.compile(r"sub_[0-9a-f]+")
_FILE_CODE = frozenset({"{main}", "<module>", "<main>", "include", "include_once", "require", "require_once", "eval"})


def sign(
    crash_id: str,
    signal: Signal | None,
    thread: Thread | None,
    builds: Mapping[str, str | None],
    *,
    overflow: bool = False,
) -> Signature:
    """The signature of a crash, from the merged stack of the thread that crashed.

    `builds` gives each module's build-id by path; `overflow` says the stack was exhausted;
    `crash_id` makes the key unique when the stack offers nothing to compare.
    """
    frames = thread.frames if thread else ()
    name = signal.name if signal else "no signal"
    if overflow:
        return _recursion(crash_id, frames, name, builds)
    steps: list[str] = []
    native = _fold(_native(frames, builds, steps))[:_NATIVE_FRAMES]
    script = [frame for frame in frames if _is_script(frame) and frame.function is not None]
    parts = [*native, *(_script_part(frame) for frame in script[:1])]
    if not parts:
        steps.append("no frame has a name: the key is this crash's own")
        return Signature(
            key=f"{VERSION}:{name}:unknown:{crash_id}", title=f"{name} at an unknown place", steps=tuple(steps)
        )
    return Signature(key=_key(name, parts), title=_title(name, native, script), steps=tuple(steps))


def _key(signal: str, parts: Iterable[str]) -> str:
    key = f"{VERSION}:{signal}:{'|'.join(parts)}"
    if len(key) <= _LONGEST:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return f"{key[:_LONGEST]}~{digest}"


def _is_script(frame: Frame) -> bool:
    return frame.kind not in ("native", "gap")


def _recursion(crash_id: str, frames: Sequence[Frame], signal: str, builds: Mapping[str, str | None]) -> Signature:
    """The functions that recur on the inner stretch of the stack, each once, in no order.

    What is there once is the leaf where the stack happened to run out.
    """
    inner = frames[:_CYCLE_FRAMES]
    named = [frame for frame in inner if _is_script(frame) and frame.function is not None]
    kept = _recurring(_script_part(frame) for frame in named)
    script = {_script_part(frame): script_name(frame) for frame in named if _script_part(frame) in kept}
    steps: tuple[str, ...] = ("the stack was exhausted: the functions that call each other are the key",)
    if not script:
        native = sorted(_recurring(_native(inner, builds, [])))
        if not native:
            key = f"{VERSION}:{signal}:stack-overflow:unknown:{crash_id}"
            return Signature(key=key, title="stack overflow in unnamed functions", steps=steps)
        title = _place(native)
        return Signature(key=_key(signal, ["stack-overflow", *native]), title=f"stack overflow in {title}",
                         steps=steps)  # fmt: skip
    # Script code before built-in functions, whichever of them the stack happened to run out in.
    built_in = {_script_part(frame) for frame in named if frame.file is None}
    shown = [script[part] for part in sorted(script, key=lambda part: (part in built_in, part))]
    more = f" and {len(shown) - 2} more" if len(shown) > 2 else ""
    return Signature(
        key=_key(signal, ["stack-overflow", *sorted(script)]),
        title=f"stack overflow ◂ {' ⇄ '.join(shown[:2])}{more}",
        steps=steps,
    )


def _recurring(parts: Iterable[str]) -> set[str]:
    """The parts that are there more than once; all of them when none is."""
    counts = Counter(parts)
    return {part for part, count in counts.items() if count > 1} or set(counts)


def _native(frames: Iterable[Frame], builds: Mapping[str, str | None], steps: list[str]) -> list[str]:
    """The telling native frames inside of the first script frame, as `module!function`."""
    kept: list[str] = []
    for frame in frames:
        if frame.kind == "gap" and " script frames" not in (frame.note or ""):
            continue  # only native frames are missing: what follows is still inside of the script's frame
        if frame.kind != "native":
            break
        part, reason = _judge(frame, builds)
        if part is not None:
            kept.append(part)
        steps.append(f"{'kept' if part else 'left out'} {frame.function or 'unnamed frame'}: {reason}")
    return kept


def _judge(frame: Frame, builds: Mapping[str, str | None]) -> tuple[str | None, str]:
    if frame.function is None or frame.module is None:
        return None, "it has no name, so it cannot make two crashes equal"
    name, module = function_name(frame.function), module_name(frame.module)
    if name in words("machinery.txt") or f"{module}!{name}" in words("machinery.txt"):
        return None, "machinery that is on every stack"
    if name in words("abort.txt"):
        return None, "the way a program ends itself, not the reason"
    if frame.note == "signal handler":
        return None, "a signal handler"
    if _GENERATED.fullmatch(name):
        if builds.get(frame.module) is None:
            return None, "an address in a build nobody knows, so it cannot make two crashes equal"
        # The number is an address, which means something in this one build only.
        return f"{module}!{name}@{str(builds[frame.module])[:12]}", "tells where it died"
    return f"{module}!{name}", "tells where it died"


def _fold(parts: Sequence[str]) -> list[str]:
    """Repeats of a frame or of a cycle of up to four frames shown once: depth is no identity."""
    folded = list(parts)
    for length in range(1, 5):
        at = 0
        while at + 2 * length <= len(folded):
            if folded[at : at + length] == folded[at + length : at + 2 * length]:
                del folded[at + length : at + 2 * length]
            else:
                at += 1
    return folded


def _script_part(frame: Frame) -> str:
    name = script_name(frame)
    if frame.function is None or frame.function in _FILE_CODE:
        return f"{frame.kind}:{name}@{_file_name(frame.file)}"
    return f"{frame.kind}:{name}"


def _file_name(path: str | None) -> str:
    return (path or "?").rsplit("/", 1)[-1]


def script_name(frame: Frame) -> str:
    """`Class::method`, a function's name, or `{main}`."""
    name = frame.function or "unreadable frame"
    return f"{frame.class_name}::{name}" if frame.class_name else name


def _title(signal: str, native: Sequence[str], script: Sequence[Frame]) -> str:
    """For people: where it died ◂ the built-in function it was in ◂ the script code that called it."""
    place = _place(native)
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


def _place(native: Sequence[str]) -> str | None:
    if not native:
        return None
    name = native[0].split("!", 1)[1]
    return native[0].split("@", 1)[0] if name.startswith("sub_") else name


def _stands_for(place: str, built_in: str) -> bool:
    """Whether a native function is just the code of a built-in function of the script language."""
    name = built_in.rsplit("::", 1)[-1].lower()
    return (
        "!sub_" in place
        or place.lower() == name
        or re.fullmatch(rf"(zif|zim_\w+?)_{re.escape(name)}", place) is not None
    )


def _entered(script: Frame) -> str:
    if script.function is None or script.function in _FILE_CODE:
        return f"{script_name(script)} in {_file_name(script.file)}"
    return f"{script_name(script)}()"
