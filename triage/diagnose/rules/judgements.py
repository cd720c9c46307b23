"""What follows from the other findings: is the top of the stack victim or cause, and whose fault is it most "
"likely?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage import lists
from triage.diagnose.case import Case, file_name, native_call, script_name
from triage.diagnose.rules.panics import is_rust_runtime
from triage.diagnose.rules.stack import repeating
from triage.diagnose.wording import distance_from_null
from triage.model import Confidence, Finding, Frame, Topic

_CAUGHT = {
    "stack-overflow": "the recursion itself is on the stack",
    "arithmetic": "the calculation itself is the fault",
    "stack-smashing": "the function that noticed it is the one whose own variables were overrun",
    "fortify": "the copy was stopped before it did harm",
    "assertion": "the check and its code are on the stack",
    "write-to-code-cache": "the write was refused at once, in the act",
    "ran-off-the-end": "the write that went on past the end of its memory was caught while it ran",
    "large-stack-frame": "the function that wants so much is on the stack",
}
_VICTIMS = {
    "heap-damaged": "PHP's memory is damaged, and the damage was made before it was stumbled over",
    "zend-mm-corrupted": "PHP's allocator noticed damage that was there already",
    "glibc-double-free": "the C library noticed damage that was there already",
    "glibc-invalid-free": "the C library noticed damage that was there already",
    "glibc-heap-corrupt": "the C library noticed damage that was there already",
    "text-as-pointer": "text had been written over an address before it was used",
    "poison": "the address was read from memory that was not in use",
    "impossible-value": "a PHP variable had been overwritten before",
}
_OTHER = ("signal-sent", "limit-reached", "bit-flip", "mapped-file-gone", "bus-error")


def victim_or_cause(case: Case, findings: Sequence[Finding]) -> Finding | None:
    """Whether the function at the top of the stack made the fault or only met it."""
    rules = [finding.rule for finding in findings]
    top = next(case.native(), None)
    if top is None or any(rule in _OTHER for rule in rules):
        return None
    caught = next((rule for rule in rules if rule in _CAUGHT), None)
    victim = next((rule for rule in rules if rule in _VICTIMS), None)
    if victim is not None and caught != "ran-off-the-end":
        return _victim(top, _VICTIMS[victim], Confidence.LIKELY)
    if caught is not None:
        return Finding(
            rule="cause",
            topic=Topic.JUDGEMENT,
            title="The stack shows the cause itself, not a victim of something earlier",
            confidence=Confidence.LIKELY,
            evidence=(f"{caught}: {_CAUGHT[caught]}",),
            explanation="What is on the stack is the right place to look.",
        )
    if _walks_memory(top) and not _is_null(case) and case.fault is not None:
        return _victim(
            top, f"{native_call(top)} walks structures into which all of {case.language}'s memory is tied, and met a "
            "wild address there", Confidence.LIKELY,
        )  # fmt: skip
    return None


def _victim(top: Frame, why: str, sure: Confidence) -> Finding:
    return Finding(
        rule="victim",
        topic=Topic.JUDGEMENT,
        title=f"{native_call(top)} is the victim, not the cause",
        confidence=sure,
        evidence=(why,),
        explanation=(
            "Do not look for the mistake in the function that died, nor in the line of your code it was called from: "
            "they used "
            "memory that something else had damaged. The same damage will kill other functions on other days. "
            "What the "
            "crashes share (options, extensions, code that ran before) leads further than any one stack."
        ),
    )


def _walks_memory(frame: Frame) -> bool:
    return frame.function in lists.words("triage.diagnose", "allocators.txt")


def _is_null(case: Case) -> bool:
    return case.fault is not None and distance_from_null(case.fault.address) is not None


def blame(case: Case, findings: Sequence[Finding]) -> Finding | None:
    """The module that most likely holds the fault."""
    rules = {finding.rule: finding for finding in findings}
    for judge in (_outside, _hardware, _files, _recursion, _ffi, _just_in_time, _off_the_end, _damaged, _innermost):
        finding = judge(case, rules)
        if finding is not None:
            return finding
    return None


def _blamed(who: str, sure: Confidence, explanation: str, *evidence: str) -> Finding:
    return Finding(
        rule="blame",
        topic=Topic.JUDGEMENT,
        title=f"The fault is most likely in {who}",
        confidence=sure,
        evidence=evidence,
        explanation=explanation,
    )


def _outside(case: Case, rules: dict[str, Finding]) -> Finding | None:
    found = rules.get("signal-sent") or rules.get("limit-reached")
    if found is None:
        return None
    own = case.signal is not None and case.signal.sender == case.pid
    if found.rule == "signal-sent" and own:
        return _blamed("the code that sent the signal to its own process", Confidence.LIKELY,
                       "No module failed: the process was ended on purpose.", *found.evidence)  # fmt: skip
    return _blamed(
        "no code of this process: it was stopped from outside",
        Confidence.LIKELY,
        "Look at who sends signals or sets limits on this machine, not at this program.",
        *found.evidence,
    )


def _hardware(case: Case, rules: dict[str, Finding]) -> Finding | None:
    found = rules.get("bit-flip")
    if found is None:
        return None
    return _blamed("the machine's memory or disk, not in any program", Confidence.LIKELY,
                   "Program code never changes by itself.", *found.evidence)  # fmt: skip


def _files(case: Case, rules: dict[str, Finding]) -> Finding | None:
    found = rules.get("mismatched-extension") or rules.get("mapped-file-gone")
    if found is None:
        return None
    if found.rule == "mapped-file-gone":
        return _blamed("whatever shortened the mapped file (deployment, full disk)", Confidence.LIKELY,
                       "The process only read what it had been promised.", *found.evidence)  # fmt: skip
    return _blamed(
        f"the extension {found.title.rsplit(': ', 1)[-1]}",
        Confidence.LIKELY,
        "An extension built for another PHP damages memory wherever it works.",
        *found.evidence,
    )


def _recursion(case: Case, rules: dict[str, Finding]) -> Finding | None:
    if "stack-overflow" not in rules:
        return None
    cycle, _ = repeating(case.frames)
    own = next((frame for frame in cycle if frame.kind not in ("native", "gap") and frame.file is not None), None)
    if own is not None:
        return _blamed(
            f"your {case.language} code: {script_name(own)} at {own.file}:{own.line} calls itself without end",
            Confidence.LIKELY,
            f"{case.language} code that recurses too deep is the one way in which {case.language} code alone can end "
            "the process.",
            *rules["stack-overflow"].evidence[-1:],
        )  # fmt: skip
    top = next(case.native(), None)
    if top is None or not cycle:
        return None
    return _blamed(
        f"{_owner(case, cycle[0])}, which recurses over something nested very deep", Confidence.LIKELY,
        f"No {case.language} function repeats, only native ones: the data was nested deeper than that code can bear.",
        *rules["stack-overflow"].evidence[-1:],
    )  # fmt: skip


def _ffi(case: Case, rules: dict[str, Finding]) -> Finding | None:
    """PHP code called C functions by itself: then it is as able to break memory as C code is."""
    frame = next(case.script(), None)
    if frame is None or frame.class_name != "FFI":
        return None
    own = next((item for item in case.script() if item.file is not None), None)
    place = f" at {own.file}:{own.line}" if own is not None else ""
    return _blamed(
        f"the PHP code that calls C through FFI{place}", Confidence.LIKELY,
        f"FFI lets PHP code call C functions with any address. The call of {frame.function}() is what crashed.",
        f"FFI::{frame.function}() is the innermost PHP frame",
    )  # fmt: skip


def _just_in_time(case: Case, rules: dict[str, Finding]) -> Finding | None:
    if "in-jit-code" not in rules or "heap-damaged" in rules:
        return None
    return _blamed("opcache's JIT", Confidence.LIKELY,
                   "The processor was running code the JIT made, and PHP's memory is not found damaged.",
                   *rules["in-jit-code"].evidence)  # fmt: skip


def _off_the_end(case: Case, rules: dict[str, Finding]) -> Finding | None:
    """A copy that ran over: whoever asked for it."""
    return _innermost(case, rules) if "ran-off-the-end" in rules else None


def _damaged(case: Case, rules: dict[str, Finding]) -> Finding | None:
    """Damaged memory: one core cannot tell who did it; the candidates are those who write without PHP's care."""
    found = next((rules[rule] for rule in rules if rule in _VICTIMS), None)
    if found is None:
        return None
    suspects = tuple(foreign_extensions(case))
    named = ", ".join(suspects)
    return Finding(
        rule="blame",
        topic=Topic.JUDGEMENT,
        title="One core cannot tell who damaged the memory"
        + (f"; extensions that are not {case.language}'s own come first: {named}" if suspects else ""),
        confidence=Confidence.GUESS,
        evidence=(
            found.title,
            "this program loads no extensions that triage knows of"
            if case.runtime is None
            else f"extensions with a version of their own: {named}" if suspects
            else f"all extensions in this process are {case.language}'s own, or built into it",
        ),
        explanation=(
            f"Any C code in the process could have done it. {case.language}'s own extensions are used by everybody, "
            "so others are looked at first; experiments tell more than guessing."
        ),
    )  # fmt: skip


def foreign_extensions(case: Case) -> Iterator[str]:
    """Extensions in a file of their own whose version is not PHP's."""
    runtime = case.runtime
    for name in runtime.extension_files if runtime is not None else ():
        version = runtime.extensions.get(name) if runtime is not None else None
        if runtime is not None and version != runtime.version and not lists.is_bundled(name):
            yield f"{name} {version or ''}".strip()


def _innermost(case: Case, rules: dict[str, Finding]) -> Finding | None:
    """The innermost native frame that is not a routine of the C library."""
    frame = next(
        (f for f in case.native() if f.module is not None and not _is_libc(f) and not is_rust_runtime(f)), None
    )
    if frame is None:
        return None
    owner = _owner(case, frame)
    top = next(case.native(), None)
    through = f" (through {native_call(top)})" if top is not None and top is not frame else ""
    sure = Confidence.LIKELY if _is_extension(case, frame) else Confidence.GUESS
    return _blamed(
        owner, sure,
        "It is the innermost code on the stack that is no routine of the C library. That makes it the first to look "
        "at, not the culprit: it may have been given bad values.",
        f"{native_call(frame)} of {file_name(frame.module or '')} is on top of the stack{through}",
    )  # fmt: skip


def _is_libc(frame: Frame) -> bool:
    name = file_name(frame.module or "")
    return name.startswith(("libc.so", "libc-2", "ld-linux", "libpthread", "libffi.so"))


def _is_extension(case: Case, frame: Frame) -> bool:
    return case.runtime is not None and frame.module in case.runtime.extension_files.values()


def _owner(case: Case, frame: Frame) -> str:
    """Who a native frame belongs to, in words."""
    runtime = case.runtime
    if runtime is not None:
        extension = next((name for name, path in runtime.extension_files.items() if path == frame.module), None)
        if extension is not None:
            version = runtime.extensions.get(extension)
            return f"the extension {extension}" + (f" {version}" if version else "")
    name = file_name(frame.module or "the program")
    if runtime is not None and frame.module == _program(case):
        return f"{runtime.language} itself ({native_call(frame)} in {name})"
    if ".so" in name:
        return f"the library {name}"
    return f"the program {name} ({native_call(frame)})"


def _program(case: Case) -> str | None:
    """The file that runs the interpreter's main part: the outermost native frame's that is not the C library's."""
    outer = [frame.module for frame in case.native() if not _is_libc(frame) and frame.module]
    return outer[-1] if outer else None
