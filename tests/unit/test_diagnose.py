"""The rules: what each states, whole, and what it must not state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from triage.corefile.protocol import Region
from triage.diagnose import Case, diagnose
from triage.diagnose.rules import RULES
from triage.model import Confidence, Finding, Frame, Signal, Thread

R, W, X = 4, 2, 1
STACK = Region(0x7FFC_0000_0000, 0x7FFC_0080_0000, R | W, None)
TEXT = Region(0x55D0_0000_0000, 0x55D0_0010_0000, R | X, "/usr/bin/php")
HEAP = Region(0x55D0_2000_0000, 0x55D0_3000_0000, R | W, None)


@dataclass(frozen=True)
class Space:
    """Mapped ranges without contents."""

    ranges: tuple[Region, ...] = (TEXT, HEAP, STACK)

    def read(self, address: int, size: int) -> bytes | None:
        return None

    def region_at(self, address: int) -> Region | None:
        return next((r for r in self.ranges if r.start <= address < r.end), None)

    def region_after(self, address: int) -> Region | None:
        return min((r for r in self.ranges if r.start > address), key=lambda r: r.start, default=None)


def case(
    signal: Signal | None,
    *,
    sp: int | None = STACK.end - 4096,
    depth: int = 20,
    script: Frame | None = None,
    instruction: str | None = None,
    said: str | None = None,
    space: Space | None = None,
) -> Case:
    frames = (Frame(kind="native", function="f"), *((script,) if script else ()))
    return Case(
        signal=signal,
        pid=4242,
        registers={},
        stack_pointer=sp,
        instruction=instruction,
        memory=space or Space(),
        thread=Thread(id=1, name=None, crashed=True, depth=depth, truncated=False, frames=frames),
        runtime=None,
        abort_message=said,
    )


def segv(address: int, code: int = 1) -> Signal:
    name = {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 0x80: "SI_KERNEL"}[code]
    return Signal(number=11, name="SIGSEGV", code=code, code_name=name, address=address)


def sent(name: str, sender: int, how: str = "SI_USER") -> Signal:
    return Signal(number=11, name=name, code=0, code_name=how, sender=sender)


def rule(given: Case) -> str | None:
    found = diagnose(given)
    return found[0].rule if found else None


def test_the_more_telling_rule_comes_first() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "stack_overflow",
        "killed_by_a_process",
        "aborted",
        "null_pointer",
        "unmapped_address",
    ]


METHOD = Frame(kind="php", function="walk", class_name="Tree")


def test_stack_overflow_whole() -> None:
    address, pointer = STACK.start - 8, STACK.start + 40
    assert diagnose(case(segv(address), sp=pointer, depth=9000, script=METHOD)) == (
        Finding(
            rule="stack-overflow",
            title="The stack ran out: functions called each other without end",
            confidence=Confidence.PROVED,
            evidence=(
                "the access to 0x7ffbfffffff8 is just below the stack, which begins at 0x7ffc00000000 and is "
                "8192 kB large",
                "the stack pointer stood at 0x7ffc00000028",
                "9000 frames are on the stack",
            ),
            explanation=(
                "Each call takes a piece of a memory area of fixed size. Calls that never return use it up, and the "
                "kernel stops the process. This is a bug in the code that recurses, innermost Tree::walk()."
            ),
            next_steps=(
                "Look at the repeating functions in the stack and find the condition that should end the recursion.",
                "PHP 8.3 and newer throw an Error instead of crashing (zend.max_allowed_stack_size).",
            ),
        ),
    )


def test_a_shallow_stack_that_ran_out_is_only_likely() -> None:
    (found,) = diagnose(case(segv(STACK.start - 8), sp=STACK.start - 16, depth=12))
    assert (found.rule, found.confidence) == ("stack-overflow", Confidence.LIKELY)


def test_stack_overflow_into_a_guard_page() -> None:
    guard = Region(STACK.start - 4096, STACK.start, 0, None)
    space = Space((TEXT, HEAP, guard, STACK))
    assert rule(case(segv(STACK.start - 64, 2), sp=STACK.start - 128, depth=900, space=space)) == "stack-overflow"


BELOW = STACK.start - 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(case(segv(BELOW), sp=STACK.end - 64), "bad-address", id="the stack pointer is far away"),
        pytest.param(case(segv(BELOW), sp=None), "bad-address", id="the stack pointer is unknown"),
        pytest.param(
            case(segv(STACK.start - (2 << 20)), sp=STACK.start - (2 << 20) + 8), "bad-address",
            id="the stack is far above",
        ),
        pytest.param(case(segv(STACK.start + 64), sp=STACK.start + 64), "bad-address", id="inside of the stack"),
        pytest.param(
            case(segv(TEXT.start - 8), sp=TEXT.start + 8), "bad-address", id="what lies above cannot be written to"
        ),
        pytest.param(case(segv(STACK.end + 8), sp=STACK.end - 8), "bad-address", id="above the top of the stack"),
        pytest.param(case(segv(8), sp=0x4000, space=Space(())), "null-pointer", id="nothing mapped at all"),
        pytest.param(case(sent("SIGSEGV", 1), sp=STACK.start), "signal-sent", id="no fault at all"),
        pytest.param(case(segv(0, 0x80), sp=STACK.start), "bad-address", id="an address the kernel does not tell"),
    ],
)  # fmt: skip
def test_no_stack_overflow(given: Case, expected: str) -> None:
    assert rule(given) == expected


def test_running_over_the_top_into_the_next_threads_guard_is_no_stack_overflow() -> None:
    own = Region(0x7F00_0000_0000, 0x7F00_0002_0000, R | W, None)
    guard = Region(own.end, own.end + 4096, 0, None)
    neighbour = Region(guard.end, guard.end + 0x20000, R | W, None)
    given = case(segv(own.end + 8, 2), sp=own.end - 256, space=Space((own, guard, neighbour)))
    assert rule(given) == "bad-address"


@pytest.mark.parametrize(
    ("sender", "title", "explanation", "step"),
    [
        (
            1,
            "SIGSEGV was sent by process 1; no memory fault happened",
            "The kernel records who sends a signal. This one did not come from a faulty access to memory but from "
            "outside.",
            "Find out what process 1 was: a supervisor, a watchdog, a person.",
        ),
        (
            4242,
            "SIGSEGV was sent by the process itself; no memory fault happened",
            "The kernel records who sends a signal. This one did not come from a faulty access to memory: the code "
            "called kill() or posix_kill() on itself.",
            "Look for posix_kill() in the PHP stack.",
        ),
    ],
)
def test_a_sent_signal_whole(sender: int, title: str, explanation: str, step: str) -> None:
    assert diagnose(case(sent("SIGSEGV", sender))) == (
        Finding(
            rule="signal-sent",
            title=title,
            confidence=Confidence.PROVED,
            evidence=(f"si_code SI_USER, sender pid {sender}, own pid 4242",),
            explanation=explanation,
            next_steps=(step,),
        ),
    )


@pytest.mark.parametrize("how", ["SI_USER", "SI_TKILL", "SI_QUEUE"])
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGQUIT", "SIGTERM"])
def test_signals_that_processes_send(name: str, how: str) -> None:
    assert rule(case(sent(name, 77, how))) == "signal-sent"


@pytest.mark.parametrize(
    ("said", "title", "evidence"),
    [
        (
            "double free or corruption (out)",
            "The program ended itself: double free or corruption (out)",
            "SIGABRT; last words kept by libc: 'double free or corruption (out)'",
        ),
        (None, "The program ended itself (abort)", "SIGABRT; libc kept no last words"),
        ("", "The program ended itself (abort)", "SIGABRT; libc kept no last words"),
    ],
)
def test_abort_whole(said: str | None, title: str, evidence: str) -> None:
    assert diagnose(case(sent("SIGABRT", 4242, "SI_TKILL"), said=said)) == (
        Finding(
            rule="abort",
            title=title,
            confidence=Confidence.PROVED,
            evidence=(evidence,),
            explanation="A check inside the program or its libraries failed and stopped it on purpose.",
            next_steps=("The first frames below abort() in the stack show which check it was.",),
        ),
    )


def test_abort_without_siginfo() -> None:
    assert rule(case(Signal(number=6, name="SIGABRT"))) == "abort"


def test_sigabrt_from_outside_is_sent() -> None:
    assert rule(case(sent("SIGABRT", 1))) == "signal-sent"


TOP = 1 << 64


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (0, "0 (NULL itself)"),
        (0x18, "0x18 bytes above NULL"),
        (0xFFFF, "0xffff bytes above NULL"),
        (TOP - 8, "0x8 bytes below NULL"),
        (TOP - 0x10000, "0x10000 bytes below NULL"),
    ],
)
def test_null_pointer_whole(address: int, shown: str) -> None:
    given = case(segv(address), instruction="mov 0x18(%rax),%rdx", script=METHOD)
    assert diagnose(given) == (
        Finding(
            rule="null-pointer",
            title="Native code used a pointer that was NULL",
            confidence=Confidence.LIKELY,
            evidence=(f"the faulting address is {shown}", "the instruction was: mov 0x18(%rax),%rdx"),
            explanation=(
                "C code expected a record and got nothing. This is a bug in PHP, in an extension or in a library, or "
                "memory that was damaged before. PHP code cannot cause it by itself (unless through FFI), but it can "
                "lead there."
            ),
            next_steps=(
                "The script entered native code through Tree::walk(); compare with the other crashes what they "
                "share.",
            ),
        ),
    )


@pytest.mark.parametrize(("file", "place"), [("/srv/x.php", " at /srv/x.php:7"), (None, "")])
def test_a_call_through_ffi_is_the_first_thing_to_look_at(file: str | None, place: str) -> None:
    script = Frame(kind="php", function="strlen", class_name="FFI", file=file, line=7 if file else None)
    (found,) = diagnose(case(segv(0x18), script=script))
    assert found.next_steps == (
        f"PHP called the C function strlen() through FFI{place}: check what that call passes.",
    )


@pytest.mark.parametrize("address", [0x10000, TOP - 0x10001, 0x6161_6161_6161, 1 << 47])
def test_other_addresses_are_not_null(address: int) -> None:
    (found,) = diagnose(case(segv(address)))
    assert found == Finding(
        rule="bad-address",
        title="Native code used an address where there is no memory",
        confidence=Confidence.PROVED,
        evidence=(f"nothing is mapped at {address:#x}",),
        explanation=(
            "A pointer inside PHP, an extension or a library held a wrong value. Often it was damaged earlier by "
            "other code, so the function that died may be the victim and not the cause."
        ),
        next_steps=("Compare with the other crashes: what do they share?",),
    )


@pytest.mark.parametrize(
    ("signal", "title", "evidence"),
    [
        (
            segv(TEXT.start, 2),
            "Native code used memory it may not use that way",
            "the access to 0x55d000000000 was forbidden by the mapping's protection",
        ),
        (
            segv(8, 2),
            "Native code used memory it may not use that way",
            "the access to 0x8 was forbidden by the mapping's protection",
        ),
        (
            segv(0, 0x80),
            "Native code used an address that cannot exist",
            "si_code SI_KERNEL: a non-canonical address",
        ),
    ],
)
def test_forbidden_and_impossible_addresses(signal: Signal, title: str, evidence: str) -> None:
    (found,) = diagnose(case(signal, instruction="push %rbp"))
    assert (found.rule, found.title, found.confidence) == ("bad-address", title, Confidence.PROVED)
    assert found.evidence == (evidence, "the instruction was: push %rbp")


@pytest.mark.parametrize("code", ["BUS_ADRERR", "BUS_ADRALN", "BUS_OBJERR"])
def test_a_bus_error_at_mapped_memory_is_not_said_to_be_unmapped(code: str) -> None:
    file = Region(0x7E00_0000_0000, 0x7E00_0010_0000, R | W, "/var/cache/opcache.bin")
    signal = Signal(number=7, name="SIGBUS", code=2, code_name=code, address=file.start + 0x2000)
    (found,) = diagnose(case(signal, space=Space((file, STACK))))
    assert "nothing is mapped" not in " ".join(found.evidence)
    assert "there is no memory" not in found.title


@pytest.mark.parametrize(
    "signal",
    [
        None,
        Signal(number=8, name="SIGFPE", code=1, code_name="FPE_INTDIV", address=0),
        Signal(number=4, name="SIGILL", code=2, code_name="ILL_ILLOPN", address=8),
        Signal(number=11, name="SIGSEGV"),
        Signal(number=14, name="SIGALRM", code=-2),
    ],
)
def test_silence_where_nothing_is_proved(signal: Signal | None) -> None:
    assert diagnose(case(signal)) == ()


def test_abort_where_the_own_pid_is_unknown() -> None:
    given = replace(case(sent("SIGABRT", 4242, "SI_TKILL")), pid=None)
    assert rule(given) == "abort"
