"""The rules. Each looks at one kind of fault and states what the core proves, or stays silent."""

from __future__ import annotations

from triage.diagnose.case import Case
from triage.model import Confidence, Finding, Frame

NEAR_NULL = 64 * 1024
_TOP = 1 << 64
_GUARD_REACH = 1 << 20
_DEEP = 500
_FAULTS = ("SIGSEGV", "SIGBUS")


def stack_overflow(case: Case) -> Finding | None:
    """The access hit the unmapped page below the stack, where the stack pointer stood."""
    address, pointer = _fault(case), case.stack_pointer
    if address is None or pointer is None or abs(address - pointer) > _GUARD_REACH:
        return None
    here, above = case.memory.region_at(address), case.memory.region_after(address)
    if here is not None and here.flags:
        return None  # the address could be used; something else is wrong
    if case.memory.region_at(pointer) not in (None, here, above):
        return None  # the stack pointer is in another mapping: not this stack ran out
    if above is None or above.start - address > _GUARD_REACH or not above.flags & 2:
        return None
    depth = case.thread.depth if case.thread else 0
    size = above.end - above.start
    who = _innermost_script(case)
    return Finding(
        rule="stack-overflow",
        title="The stack ran out: functions called each other without end",
        confidence=Confidence.PROVED if depth > _DEEP else Confidence.LIKELY,
        evidence=(
            f"the access to {address:#x} is just below the stack, which begins at {above.start:#x} "
            f"and is {size // 1024} kB large",
            f"the stack pointer stood at {pointer:#x}",
            f"{depth} frames are on the stack",
        ),
        explanation=(
            "Each call takes a piece of a memory area of fixed size. Calls that never return use it up, and "
            "the kernel stops the process. This is a bug in the code that recurses"
            + (f", innermost {who}." if who else ".")
        ),
        next_steps=(
            "Look at the repeating functions in the stack and find the condition that should end the recursion.",
            "PHP 8.3 and newer throw an Error instead of crashing (zend.max_allowed_stack_size).",
        ),
    )


def killed_by_a_process(case: Case) -> Finding | None:
    """The signal was sent, not caused by a bad access: si_code says so, and by whom."""
    signal = case.signal
    if signal is None or signal.sender is None or signal.code_name not in ("SI_USER", "SI_TKILL", "SI_QUEUE"):
        return None
    if signal.name == "SIGABRT" and case.pid in (None, signal.sender):
        return None  # abort() sends the signal to itself; what matters is why
    own = signal.sender == case.pid
    who = "the process itself" if own else f"process {signal.sender}"
    return Finding(
        rule="signal-sent",
        title=f"{signal.name} was sent by {who}; no memory fault happened",
        confidence=Confidence.PROVED,
        evidence=(f"si_code {signal.code_name}, sender pid {signal.sender}, own pid {case.pid}",),
        explanation=(
            "The kernel records who sends a signal. This one did not come from a faulty access to memory"
            + (": the code called kill() or posix_kill() on itself." if own else " but from outside.")
        ),
        next_steps=(
            ("Look for posix_kill() in the PHP stack.",)
            if own
            else (f"Find out what process {signal.sender} was: a supervisor, a watchdog, a person.",)
        ),
    )


def aborted(case: Case) -> Finding | None:
    """The program ended itself with abort()."""
    if case.signal is None or case.signal.name != "SIGABRT":
        return None
    said = case.abort_message
    return Finding(
        rule="abort",
        title=f"The program ended itself: {said}" if said else "The program ended itself (abort)",
        confidence=Confidence.PROVED,
        evidence=(f"SIGABRT; last words kept by libc: {said!r}" if said else "SIGABRT; libc kept no last words",),
        explanation="A check inside the program or its libraries failed and stopped it on purpose.",
        next_steps=("The first frames below abort() in the stack show which check it was.",),
    )


def null_pointer(case: Case) -> Finding | None:
    """An access within 64 KiB of address 0, on either side: a field of a record that is not there."""
    address = _fault(case)
    if address is None or case.signal is None or case.signal.code_name != "SEGV_MAPERR":
        return None
    distance = address if address < NEAR_NULL else address - _TOP
    if not -NEAR_NULL <= distance < NEAR_NULL:
        return None
    return Finding(
        rule="null-pointer",
        title="Native code used a pointer that was NULL",
        confidence=Confidence.LIKELY,
        evidence=(
            f"the faulting address is {_near_null(distance)}",
            *_instruction(case),
        ),
        explanation=(
            "C code expected a record and got nothing. This is a bug in PHP, in an extension or in a library, or "
            "memory that was damaged before. PHP code cannot cause it by itself (unless through FFI), but it "
            "can lead there."
        ),
        next_steps=(_look_at(case),),
    )


def _near_null(distance: int) -> str:
    if distance == 0:
        return "0 (NULL itself)"
    side = "below" if distance < 0 else "above"
    return f"{abs(distance):#x} bytes {side} NULL"


def unmapped_address(case: Case) -> Finding | None:
    """An access to an address where nothing is mapped, or that may not be used that way."""
    address = _fault(case)
    if case.signal is None or case.signal.name not in _FAULTS:
        return None
    if case.signal.code_name == "SI_KERNEL":
        what, evidence = "an address that cannot exist", "si_code SI_KERNEL: a non-canonical address"
    elif address is None:
        return None
    elif case.signal.name == "SIGBUS":
        what = "memory that could not be fetched"
        evidence = f"{case.signal.code_name or 'SIGBUS'} at {address:#x}: " + (
            "the address is not aligned as the instruction needs it"
            if case.signal.code_name == "BUS_ADRALN"
            else "often a mapped file that became shorter"
        )
    elif case.signal.code_name == "SEGV_ACCERR":
        what = "memory it may not use that way"
        evidence = f"the access to {address:#x} was forbidden by the mapping's protection"
    else:
        what, evidence = "an address where there is no memory", f"nothing is mapped at {address:#x}"
    return Finding(
        rule="bad-address",
        title=f"Native code used {what}",
        confidence=Confidence.PROVED,
        evidence=(evidence, *_instruction(case)),
        explanation=(
            "A pointer inside PHP, an extension or a library held a wrong value. Often it was damaged earlier "
            "by other code, so the function that died may be the victim and not the cause."
        ),
        next_steps=(_look_at(case),),
    )


RULES = (stack_overflow, killed_by_a_process, aborted, null_pointer, unmapped_address)
"""In order; the first that speaks is the finding, so the more telling one comes first."""


def _fault(case: Case) -> int | None:
    signal = case.signal
    if signal is None or signal.name not in _FAULTS or signal.code_name == "SI_KERNEL":
        return None
    return signal.address


def _instruction(case: Case) -> tuple[str, ...]:
    return (f"the instruction was: {case.instruction}",) if case.instruction else ()


def _innermost_script(case: Case) -> str | None:
    frame = _script_frame(case)
    if frame is None:
        return None
    name = f"{frame.class_name}::{frame.function}" if frame.class_name else frame.function
    return f"{name}()" if name else None


def _script_frame(case: Case) -> Frame | None:
    frames = case.thread.frames if case.thread else ()
    return next((frame for frame in frames if frame.kind not in ("native", "gap")), None)


def _look_at(case: Case) -> str:
    frame = _script_frame(case)
    if frame is None:
        return "Compare with the other crashes: what do they share?"
    who = _innermost_script(case)
    if frame.class_name == "FFI":
        caller = _caller(case)
        return f"PHP called the C function {frame.function}() through FFI{caller}: check what that call passes."
    return f"The script entered native code through {who}; compare with the other crashes what they share."


def _caller(case: Case) -> str:
    """` at FILE:LINE` of the innermost script code, empty when unknown."""
    frames = case.thread.frames if case.thread else ()
    place = next((frame for frame in frames if frame.kind not in ("native", "gap") and frame.file), None)
    return f" at {place.file}:{place.line}" if place is not None else ""
