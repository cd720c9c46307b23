"""The rules: what each states, and what it must not state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from triage.corefile.fault import refused
from triage.corefile.instruction import decode
from triage.corefile.protocol import Region
from triage.diagnose import Case, diagnose
from triage.diagnose.rules import AROUND, CLUES, FAULTS, JUDGEMENTS
from triage.model import (
    Argument,
    Confidence,
    Finding,
    Flip,
    Frame,
    HeapCheck,
    HeapFault,
    HeapPlace,
    LastError,
    MemoryUse,
    Module,
    Runtime,
    ScriptFrame,
    Signal,
    Symbols,
    Thread,
    Topic,
    Worker,
)

R, W, X = 4, 2, 1
STACK = Region(0x7FFC_0000_0000, 0x7FFC_0080_0000, R | W, None)
TEXT = Region(0x55D0_0000_0000, 0x55D0_0010_0000, R | X, "/usr/bin/php")
DATA = Region(0x55D0_1000_0000, 0x55D0_1001_0000, R, "/usr/bin/php")
HEAP = Region(0x55D0_2000_0000, 0x55D0_3000_0000, R | W, None)
PC = TEXT.start + 0x100
TOP = 1 << 64


@dataclass(frozen=True)
class Space:
    """Mapped ranges, and what some of their bytes are."""

    ranges: tuple[Region, ...] = (TEXT, DATA, HEAP, STACK)
    pieces: Mapping[int, bytes] = field(default_factory=dict)

    def read(self, address: int, size: int) -> bytes | None:
        for start, data in self.pieces.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        return None

    def region_at(self, address: int) -> Region | None:
        return next((r for r in self.ranges if r.start <= address < r.end), None)

    def region_after(self, address: int) -> Region | None:
        return min((r for r in self.ranges if r.start > address), key=lambda r: r.start, default=None)


FRAMES = (Frame(kind="native", function="f", module="/usr/bin/php"),)
PLAIN = Case(
    signal=None,
    pid=4242,
    parent=4000,
    memory=Space(),
    pc=PC,
    stack_pointer=STACK.end - 4096,
    thread=Thread(id=1, name=None, crashed=True, depth=20, truncated=False, frames=FRAMES),
)
PHP = Runtime(name="php", version="8.2.36")


def case(signal: Signal | None, code: bytes = b"", **registers: int) -> Case:
    """A crash at an instruction given by its bytes."""
    return crash_in(Space().ranges, signal, code, **registers)


def crash_in(ranges: tuple[Region, ...], signal: Signal | None, code: bytes = b"", **registers: int) -> Case:
    """The same with other ranges mapped."""
    space = Space(ranges, {PC: code} if code else {})
    held = {"rip": PC, "rsp": STACK.end - 4096, **registers}
    decoded = decode(space, "x86_64", held, held["rip"])
    fault = refused(signal, decoded, held, "x86_64", space)
    return replace(
        PLAIN, signal=signal, memory=space, registers=held, pc=held["rip"], stack_pointer=held["rsp"],
        instruction=decoded, fault=fault,
    )  # fmt: skip


def segv(address: int, code: int = 1) -> Signal:
    name = {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 0x80: "SI_KERNEL"}[code]
    return Signal(number=11, name="SIGSEGV", code=code, code_name=name, address=address)


def sent(name: str, sender: int, how: str = "SI_USER") -> Signal:
    return Signal(number=11, name=name, code=0, code_name=how, sender=sender, sender_user=33)


def rules(given: Case) -> list[str]:
    return [finding.rule for finding in diagnose(given)]


def first(given: Case) -> Finding:
    found = diagnose(given)
    assert found, "no rule spoke"
    return found[0]


def of(given: Case, rule: str) -> Finding:
    return next(finding for finding in diagnose(given) if finding.rule == rule)


def with_frames(given: Case, *frames: Frame, depth: int = 20) -> Case:
    return replace(
        given, thread=Thread(id=1, name=None, crashed=True, depth=depth, truncated=False, frames=frames)
    )  # fmt: skip


def native(function: str | None, module: str = "/usr/bin/php", note: str | None = None) -> Frame:
    return Frame(kind="native", function=function, module=module, note=note)


def php(function: str, line: int | None = 7, class_name: str | None = None) -> Frame:
    file = "/srv/shop/page.php" if line is not None else None
    return Frame(kind="php", function=function, class_name=class_name, file=file, line=line)


READ_RAX = bytes.fromhex("488b00")  # mov rax, [rax]
READ_RAX_18 = bytes.fromhex("488b4018")  # mov rax, [rax+0x18]
WRITE_RDI = bytes.fromhex("488937")  # mov [rdi], rsi
WRITE_RDI_8 = bytes.fromhex("488977f8")  # mov [rdi-8], rsi
CALL_RAX = bytes.fromhex("ffd0")
RETURN = bytes.fromhex("c3")
PUSH = bytes.fromhex("55")


def test_no_two_rules_of_one_name_and_one_fault_at_most() -> None:
    names = [rule.__name__ for rule in (*FAULTS, *CLUES, *AROUND, *JUDGEMENTS)]
    assert len(names) == len(set(names))
    given = with_frames(case(segv(0), READ_RAX, rax=0), native("zend_gc_collect_cycles"), php("run"))
    assert [finding.topic for finding in diagnose(given)].count(Topic.FAULT) == 1


@pytest.mark.parametrize(
    ("address", "code", "registers", "rule", "sure"),
    [
        (0x18, READ_RAX_18, {"rax": 0}, "null-pointer", "proved"),
        (0, READ_RAX, {"rax": 0}, "null-pointer", "proved"),
        (TOP - 8, WRITE_RDI_8, {"rdi": 0}, "null-pointer", "proved"),
        (TOP - 8, WRITE_RDI, {"rdi": TOP - 8}, "null-pointer", "likely"),
        (0x28, READ_RAX, {"rax": 0x28}, "null-pointer", "likely"),
        (0x28, b"", {}, "null-pointer", "likely"),
        (1234, READ_RAX, {"rax": 1234}, "small-integer", "likely"),
        (4016, READ_RAX, {"rax": 4016}, "small-integer", "likely"),
        (0x10000, READ_RAX, {"rax": 0x10000}, "wild-read", "proved"),
        (0x7E00_0000_1000, READ_RAX, {"rax": 0x7E00_0000_1000}, "wild-read", "proved"),
        (0x7E00_0000_1000, WRITE_RDI, {"rdi": 0x7E00_0000_1000}, "wild-write", "proved"),
        (0x7E00_0000_1000, b"", {}, "wild-access", "proved"),
        (0xFFFF_8880_0000_1000, READ_RAX, {"rax": 0xFFFF_8880_0000_1000}, "kernel-address", "proved"),
    ],
)
def test_addresses(address: int, code: bytes, registers: dict[str, int], rule: str, sure: str) -> None:
    found = first(case(segv(address), code, **registers))
    assert (found.rule, found.confidence) == (rule, sure)


def test_a_null_pointer_whole() -> None:
    stack = (native("concat_function"), php("total", 12, "Cart"), native("main"))
    given = with_frames(replace(case(segv(0x18), READ_RAX_18, rax=0), runtime=PHP), *stack)
    assert (
        diagnose(given)
        == (
            Finding(
                rule="null-pointer",
                title="Native code read from memory 24 bytes above NULL (0x18), through an empty reference inside "
                "concat_function()",
                confidence=Confidence.PROVED,
                evidence=(
                    "the faulting address is 24 bytes above NULL (0x18)",
                    "the instruction was `mov rax, qword ptr [rax + 0x18]`: a read of 8 bytes from [rax + "
                    "0x18], with "
                    "rax = 0x0",
                ),
                explanation='NULL stands for "nothing there", as null does in PHP. C code took it for the address of '
                "something and used a place 24 bytes into it. In PHP that is an error you can catch; in C it "
                "ends the "
                "process. That an empty reference was used is certain; why it was empty is not in the core: mostly a "
                "case that the code did not think of, rarely memory that was damaged before.",
                next_steps=(
                    "Look at Cart::total() at /srv/shop/page.php:12, the last PHP code before the fault: what do the "
                    "crashes that go through it share (input, options, time)?",
                ),
            ),
            Finding(
                rule="blame",
                title="The fault is most likely in PHP itself (concat_function() in php)",
                confidence=Confidence.GUESS,
                evidence=("concat_function() of php is on top of the stack",),
                explanation="It is the innermost code on the stack that is no routine of the C library. That "
                "makes it "
                "the first to look at, not the culprit: it may have been given bad values.",
                topic=Topic.JUDGEMENT,
            ),
        )
        if given.runtime
        else diagnose(given)
    )


def test_a_copy_to_null_names_its_caller_and_its_layer() -> None:
    given = with_frames(
        case(segv(TOP - 8), WRITE_RDI, rdi=TOP - 8),
        native("__memcpy_avx_unaligned_erms", "/lib/libc.so.6"), native("zend_stack_push"),
        native("php_output_handler_start"), php("php_strip_whitespace", None), php("__destruct", 4, "A"),
    )  # fmt: skip
    assert first(given).title == (
        "Native code wrote to memory 8 bytes below NULL (0xfffffffffffffff8), through an empty reference inside "
        "memcpy(), called from zend_stack_push() (PHP's output layer)"
    )


@pytest.mark.parametrize(
    ("signal", "code", "registers", "title"),
    [
        (segv(0), CALL_RAX, {"rip": 0, "rax": 0}, "Native code jumped to NULL as if it were code"),
        (
            segv(0x7E00_0000_1230), b"", {"rip": 0x7E00_0000_1230},
            "Native code jumped to an address where there is nothing",
        ),
        (segv(HEAP.start, 2), b"", {"rip": HEAP.start}, "Native code jumped to data as if it were code"),
        (
            segv(0, 0x80), CALL_RAX, {"rax": 0x6161_6161_6161_6161},
            "Native code called an address where there is nothing",
        ),
    ],
)  # fmt: skip
def test_bad_jumps(signal: Signal, code: bytes, registers: dict[str, int], title: str) -> None:
    found = first(case(signal, code, **registers))
    assert (found.rule, found.title, found.confidence) == ("bad-jump", title, Confidence.PROVED)


def test_how_the_program_came_to_a_bad_place() -> None:
    """A call leaves the address behind it on the stack; a return leaves what it took below the stack pointer."""
    stack, goal = STACK.end - 4096, 0x7E00_0000_1230
    calling = {PC: CALL_RAX, stack: (PC + 2).to_bytes(8, "little")}
    returning = {stack - 8: goal.to_bytes(8, "little") + bytes(8)}
    for pieces, arrival in ((calling, "call"), (returning, "return"), ({}, None)):
        found = refused(segv(goal), None, {"rip": goal, "rsp": stack}, "x86_64", Space(pieces=pieces))
        assert found is not None
        assert found.arrival == arrival


@pytest.mark.parametrize(
    ("address", "code", "registers", "ranges", "rule"),
    [
        (DATA.start, WRITE_RDI, {"rdi": DATA.start}, None, "write-to-read-only"),
        (DATA.start, READ_RAX, {"rax": DATA.start}, None, "forbidden-access"),
        (HEAP.end, WRITE_RDI, {"rdi": HEAP.end}, (TEXT, HEAP, Region(HEAP.end, HEAP.end + 4096, 0, None), STACK),
         "guard-page"),
        (HEAP.end, WRITE_RDI, {"rdi": HEAP.end},
         (TEXT, HEAP, Region(HEAP.end, HEAP.end + 4096, R, "/dev/zero (deleted)"), STACK), "write-to-code-cache"),
    ],
)  # fmt: skip
def test_forbidden_memory(
    address: int, code: bytes, registers: dict[str, int], ranges: tuple[Region, ...] | None, rule: str
) -> None:
    found = first(crash_in(ranges or Space().ranges, segv(address, 2), code, **registers))
    assert (found.rule, found.confidence) == (rule, Confidence.PROVED)


def test_an_address_that_cannot_exist() -> None:
    found = first(case(segv(0, 0x80), READ_RAX, rax=0x4141_0000_0000_1230))
    assert (found.rule, found.confidence) == ("non-canonical", Confidence.PROVED)
    assert "0x4141000000001230" in found.evidence[0]


def test_an_impossible_address_nobody_can_name_is_only_likely() -> None:
    found = first(case(segv(0, 0x80)))
    assert (found.rule, found.confidence) == ("non-canonical", Confidence.LIKELY)


def test_a_misaligned_access_is_told_from_an_impossible_address() -> None:
    movaps = bytes.fromhex("0f2907")  # movaps [rdi], xmm0
    assert first(case(segv(0, 0x80), movaps, rdi=HEAP.start + 1)).rule == "misaligned"
    assert first(case(segv(0, 0x80), movaps, rdi=HEAP.start + 16)).rule == "non-canonical"


METHOD = php("walk", 9, "Tree")


def overflown(*frames: Frame, depth: int = 9000, below: int = 8) -> Case:
    given = case(segv(STACK.start - below), PUSH, rsp=STACK.start)
    return with_frames(given, *frames, depth=depth)


def test_php_recursion_is_told_once_with_its_count() -> None:
    turn = (native("zif_array_map"), php("array_map", None), METHOD, native("execute_ex"))
    stack = tuple(
        ScriptFrame(kind="php", role="user", address=at, function="walk", class_name="Tree",  # type: ignore[arg-type]
                    file="/srv/shop/page.php", line=9)
        for at in range(4000)
    )  # fmt: skip
    given = replace(overflown(*(turn * 5)), script_stack=stack)
    found = first(given)
    assert (found.rule, found.confidence) == ("stack-overflow", Confidence.PROVED)
    assert found.title == "The stack ran out: Tree::walk() → Tree::walk(), 4000 times over"
    assert "one turn goes through /srv/shop/page.php:9 (Tree::walk())" in found.evidence
    assert rules(given)[1:] == ["cause", "blame"]
    assert "your PHP code: Tree::walk() at /srv/shop/page.php:9" in of(given, "blame").title


def test_native_recursion_is_not_laid_at_the_door_of_php_code() -> None:
    given = overflown(*(native("sub_1"), native("sub_2")) * 10, php("var_export", None), php("{main}"))
    assert "sub_2 → sub_1 → sub_2, about 4500 times over" in first(given).title
    assert "PHP code" not in of(given, "blame").title


def test_a_shallow_stack_that_ran_out_is_only_likely() -> None:
    found = first(overflown(native("f"), depth=12))
    assert (found.rule, found.confidence) == ("stack-overflow", Confidence.LIKELY)


GUARD = Region(STACK.start - 4096, STACK.start, 0, None)


def test_stack_overflow_into_a_guard_page() -> None:
    given = crash_in((TEXT, HEAP, GUARD, STACK), segv(STACK.start - 64, 2), PUSH, rsp=STACK.start - 56)
    assert first(with_frames(given, native("f"), depth=900)).rule == "stack-overflow"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(case(segv(STACK.start - 8), PUSH), id="the stack pointer is far away"),
        pytest.param(case(segv(STACK.start - (2 << 20)), PUSH, rsp=STACK.start - (2 << 20) + 8), id="far above"),
        pytest.param(case(segv(STACK.start + 64), PUSH, rsp=STACK.start + 72), id="inside of the stack"),
        pytest.param(case(segv(TEXT.start - 8), PUSH, rsp=TEXT.start), id="what lies above cannot be written to"),
        pytest.param(case(segv(STACK.end + 8), PUSH, rsp=STACK.end + 16), id="above the top of the stack"),
        pytest.param(case(sent("SIGSEGV", 1), PUSH, rsp=STACK.start), id="no fault at all"),
    ],
)
def test_no_stack_overflow(given: Case) -> None:
    assert first(given).rule != "stack-overflow"


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        (1, "process 1 (the system's own manager"),
        (4242, "the process itself"),
        (4000, "process 4000, its own parent"),
        (0, "a process outside of this container"),
        (99, "process 99"),
    ],
)
def test_a_sent_signal_names_its_sender(sender: int, words: str) -> None:
    found = first(case(sent("SIGSEGV", sender)))
    assert (found.rule, found.confidence) == ("signal-sent", Confidence.PROVED)
    assert words in found.title
    assert found.evidence[0].startswith(
        f"the kernel's record of the signal: si_code SI_USER, sender pid {sender} (user 33), own pid 4242"
    )


@pytest.mark.parametrize("name", ["SIGXCPU", "SIGXFSZ", "SIGSYS"])
def test_limits(name: str) -> None:
    assert first(case(Signal(number=24, name=name, code=0x80, code_name="SI_KERNEL"))).rule == "limit-reached"


ABORT = sent("SIGABRT", 4242, "SI_TKILL")


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("double free or corruption (out)", "glibc-heap-corrupt"),
        ("double free or corruption (!prev)", "glibc-double-free"),
        ("free(): double free detected in tcache 2", "glibc-double-free"),
        ("free(): invalid pointer", "glibc-invalid-free"),
        ("munmap_chunk(): invalid pointer", "glibc-invalid-free"),
        ("realloc(): invalid pointer", "glibc-invalid-free"),
        ("malloc(): corrupted top size", "glibc-heap-corrupt"),
        ("corrupted size vs. prev_size while consolidating", "glibc-heap-corrupt"),
        ("free(): invalid next size (fast)", "glibc-heap-corrupt"),
        ("malloc(): unaligned tcache chunk detected", "glibc-heap-corrupt"),
        ("malloc_consolidate(): unaligned fastbin chunk detected", "glibc-heap-corrupt"),
        ("*** stack smashing detected ***: terminated", "stack-smashing"),
        ("*** buffer overflow detected ***: terminated", "fortify"),
        ("*** %n in writable segment detected ***", "fortify"),
        ("php: buffer.c:12: push: Assertion `size > 0' failed.", "assertion"),
        ("Fatal glibc error: something else", "abort"),
        (None, "abort"),
    ],
)
def test_last_words(said: str | None, rule: str) -> None:
    found = first(replace(case(ABORT), abort_message=said))
    assert (found.rule, found.confidence) == (rule, Confidence.PROVED)
    assert said is None or repr(said) in " ".join(found.evidence)


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        ("std::terminate()", "cxx-terminate"),
        ("__cxa_pure_virtual", "cxx-terminate"),
        ("__cxa_throw", "cxx-terminate"),
        ("runtime.fatalpanic", "go-panic"),
        ("runtime.dieFromSignal", "go-panic"),
        ("rust_panic", "rust-panic"),
        ("core::panicking::panic_fmt", "rust-panic"),
        ("std::panicking::begin_panic_handler", "rust-panic"),
        ("__stack_chk_fail", "stack-smashing"),
        ("__assert_fail", "assertion"),
        ("terminate_worker", "abort"),
    ],
)
def test_who_called_abort(function: str, rule: str) -> None:
    frames = (native("raise", "/lib/libc.so.6"), native("abort", "/lib/libc.so.6"), native(function))
    assert first(with_frames(case(ABORT), *frames, native("work"))).rule == rule


def test_functions_of_callers_beyond_the_script_do_not_count() -> None:
    frames = (native("abort", "/lib/libc.so.6"), native("f"), php("run"), native("__cxa_throw"))
    assert first(with_frames(case(ABORT), *frames)).rule == "abort"


def test_php_s_allocator_says_which_check_it_was() -> None:
    frames = (native("abort", "/lib/libc.so.6"), native("sub_1"), native("_efree"), native("zif_f"))
    given = with_frames(replace(case(ABORT), last_words='PHP printed "zend_mm_heap corrupted": …'), *frames)
    found = first(given)
    assert (found.rule, found.confidence) == ("zend-mm-corrupted", Confidence.LIKELY)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (int.from_bytes(b"username", "little"), "text-as-pointer"),
        (0x5A5A_5A5A_5A5A_5A5A, "poison"),
        (0x6B6B_6B6B_6B6B_6B00, "poison"),
        (0x4093_4A00_0000_0000, "float-as-pointer"),
    ],
)
def test_what_a_wrong_address_looks_like(value: int, rule: str) -> None:
    assert rules(case(segv(0, 0x80), READ_RAX, rax=value))[1] == rule


@pytest.mark.parametrize("value", [0x7E00_0000_1000, 0x1_0000_0018, 0xFFFF_8880_0000_1000, 0x20])
def test_ordinary_addresses_look_like_nothing(value: int) -> None:
    clues = {finding.topic for finding in diagnose(case(segv(value), READ_RAX, rax=value))}
    assert Topic.CLUE not in clues


def test_words_are_shown_and_what_may_be_a_secret_is_masked() -> None:
    plain = of(case(segv(0, 0x80), READ_RAX, rax=int.from_bytes(b"username", "little")), "text-as-pointer")
    secret = of(case(segv(0, 0x80), READ_RAX, rax=int.from_bytes(b"Tok3n-9z", "little")), "text-as-pointer")
    assert '"username"' in plain.title
    assert "aaa0a-0a" in secret.title
    assert "Tok3n" not in str(secret)


def test_half_an_address_needs_a_home_for_it() -> None:
    with_home, without = HEAP.start & 0xFFFF_FFFF | 0x100, DATA.start - 0x1000 & 0xFFFF_FFFF
    assert "truncated-pointer" in rules(case(segv(with_home), READ_RAX, rax=with_home))
    assert "truncated-pointer" not in rules(case(segv(without), READ_RAX, rax=without))


def test_a_value_that_came_from_a_freed_block() -> None:
    def freed(address: int) -> HeapPlace | None:
        return HeapPlace(start=HEAP.start, size=56, offset=address - HEAP.start, what="a free block", free=True)

    given = case(segv(0x7E00_0000_1000), READ_RAX, rax=0x7E00_0000_1000)
    assert "freed-block" not in rules(given)
    found = of(replace(given, heap_place=freed), "freed-block")
    assert found.confidence is Confidence.LIKELY


def test_filling_until_memory_ends_is_the_cause_and_not_a_victim() -> None:
    code = bytes.fromhex("f3aa")  # rep stosb
    given = case(segv(HEAP.end), code, rdi=HEAP.end, rcx=1 << 40)
    memset = (native("__memset_erms", "/lib/libc.so.6"), native("zif_fill"))
    filled = Space(pieces={PC: code, HEAP.end - 256: b"\1" * 256})
    heap = HeapCheck(state="damaged", faults=(FAULT,))
    damaged = replace(with_frames(replace(given, memory=filled), *memset), runtime=replace(PHP, heap=heap))
    assert "ran-off-the-end" in rules(damaged)
    assert "cause" in rules(damaged)
    assert "victim" not in rules(damaged)
    other = Space(pieces={PC: code, HEAP.end - 256: bytes(range(256))})
    assert "ran-off-the-end" not in rules(with_frames(replace(given, memory=other), *memset))


FAULT = HeapFault(
    what="free-list", verdict="overflow", confidence=Confidence.LIKELY, slot=HEAP.start, bin=48, evidence=("bytes",)
)


def test_a_damaged_heap_makes_the_top_of_the_stack_a_victim() -> None:
    heap = HeapCheck(state="damaged", chunks=1, blocks=10, faults=(FAULT,))
    given = replace(case(segv(0x7E00_0000_1000), READ_RAX, rax=0x7E00_0000_1000), runtime=replace(PHP, heap=heap))
    found = {finding.rule: finding for finding in diagnose(given)}
    assert list(found) == ["wild-read", "heap-damaged", "heap-overflow", "victim", "blame"]
    assert found["heap-damaged"].confidence is Confidence.PROVED
    assert found["heap-overflow"].confidence is Confidence.LIKELY
    assert found["blame"].confidence is Confidence.GUESS


def test_an_intact_heap_says_nothing() -> None:
    runtime = replace(PHP, heap=HeapCheck(state="intact", chunks=1, blocks=10))
    assert "heap-damaged" not in rules(replace(case(segv(0), READ_RAX, rax=0), runtime=runtime))


SICK = case(segv(0x7E00_0000_1000), READ_RAX, rax=0x7E00_0000_1000)


@pytest.mark.parametrize(
    ("frames", "rule"),
    [
        ((native(None, note="jit"), php("run")), "in-jit-code"),
        ((native("f"), native(None, note="jit"), php("run")), "jit-on-stack"),
        ((native("f"), native("zend_gc_collect_cycles"), php("run")), "in-garbage-collection"),
        ((native("f"), php("__destruct", 3, "Lock")), "in-destructor"),
        ((native("f"), native("zend_objects_destroy_object"), native("main")), "in-destructor"),
        ((native("f"), native("php_request_shutdown"), native("main")), "at-request-end"),
        ((native("f"), native("php_module_shutdown"), native("main")), "at-process-end"),
        ((native("f"), native("php_output_write"), php("run")), "in-output"),
        ((native("f"), native("zendparse"), native("compile_file"), php("run")), "in-compiler"),
    ],
)
def test_where_it_happened(frames: tuple[Frame, ...], rule: str) -> None:
    found = of(with_frames(SICK, *frames), rule)
    assert (found.topic, found.confidence) == (Topic.CIRCUMSTANCE, Confidence.PROVED)


def test_what_lies_beyond_script_code_is_not_where_it_happened() -> None:
    frames = (native("f"), php("run"), native("zend_gc_collect_cycles"), native("php_output_write"))
    found = rules(with_frames(SICK, *frames))
    assert "in-garbage-collection" not in found
    assert "in-output" not in found


@pytest.mark.parametrize(
    ("runtime", "rule"),
    [
        (replace(PHP, worker=Worker(pool="www", stage="finishing")), "after-response"),
        (replace(PHP, worker=Worker(pool="www", stage="accepting")), "while-idle"),
        (
            replace(PHP, last_error=LastError(type="E_ERROR", message="Maximum execution time of 30 seconds exceeded",
                                              file=None, line=None)),
            "after-timeout",
        ),
        (
            replace(PHP, last_error=LastError(type="E_ERROR", message="Allowed memory size of 8388608 bytes "
            "exhausted",
                                              file=None, line=None)),
            "after-memory-limit",
        ),
        (replace(PHP, memory=MemoryUse(used=100, peak=99, limit=100)), "near-memory-limit"),
        (replace(PHP, mismatched={"redis": "it was built for module API 1, this PHP has 2"}), "mismatched-extension"),
    ],
)  # fmt: skip
def test_what_the_interpreter_says_of_itself(runtime: Runtime, rule: str) -> None:
    assert rule in rules(replace(SICK, runtime=runtime))
    assert rule not in rules(replace(SICK, runtime=PHP))


def module(path: str, build: str, *, symbols: Symbols = Symbols.DYNAMIC, deleted: bool = False) -> Module:
    return Module(path=path, build_id=build, start=TEXT.start, end=TEXT.end, symbols=symbols, deleted=deleted)


@pytest.mark.parametrize(
    ("modules", "rule"),
    [
        ((module("/usr/bin/php8.2", "aa", deleted=True),), "replaced-files"),
        ((module("/usr/bin/php8.2", "aa", symbols=Symbols.MISMATCH),), "other-build-on-disk"),
        ((module("/lib/libssl.so.3", "aa"), module("/opt/libssl.so.1.1", "bb")), "two-versions"),
    ],
)
def test_files(modules: tuple[Module, ...], rule: str) -> None:
    assert rule in rules(replace(SICK, modules=modules))


@pytest.mark.parametrize(
    "modules",
    [
        (module("/dev/zero", "aa", deleted=True),),
        (module("/lib/libssl.so.3", "aa"), module("/lib/libssl.so.3", "aa")),
        (module("/lib/libpcre.so.3", "aa"), module("/lib/libpcre2-8.so.0", "bb")),
        (module("/lib/libz.so.1", "aa"),),
    ],
)
def test_files_that_are_fine(modules: tuple[Module, ...]) -> None:
    assert not {f for f in diagnose(replace(SICK, modules=modules)) if f.topic is Topic.SETUP}


def test_one_wrong_bit_is_a_flip_and_more_is_a_change() -> None:
    bit = Flip(module="/usr/bin/php8.2", address=PC, expected=0x48, found=0x58, bits=1, count=1)
    assert of(replace(SICK, flips=(bit,)), "bit-flip").confidence is Confidence.LIKELY
    assert of(replace(SICK, flips=(bit,)), "blame").title.endswith("the machine's memory or disk, not in any program")
    assert "changed-code" in rules(replace(SICK, flips=(replace(bit, count=12),)))
    assert "changed-code" in rules(replace(SICK, flips=(replace(bit, bits=3),)))


@pytest.mark.parametrize(
    ("frames", "who", "sure"),
    [
        ((native("f"), native("execute_ex")), "PHP itself (f() in php)", "guess"),
        ((native("f", "/usr/lib/php/redis.so"), native("execute_ex")), "the extension redis 6.1", "likely"),
        ((native("f", "/lib/libxml2.so.2"), native("execute_ex")), "the library libxml2.so.2", "guess"),
        (
            (native("memcpy", "/lib/libc.so.6"), native("f", "/usr/lib/php/redis.so"), native("execute_ex")),
            "the extension redis 6.1", "likely",
        ),
        ((native("f"), native(None, note="jit"), native("execute_ex")), "PHP itself (f() in php)", "guess"),
        ((native(None, note="jit"), native("execute_ex")), "opcache's JIT", "likely"),
    ],
)  # fmt: skip
def test_blame(frames: tuple[Frame, ...], who: str, sure: str) -> None:
    runtime = replace(PHP, extensions={"redis": "6.1"}, extension_files={"redis": "/usr/lib/php/redis.so"})
    found = of(with_frames(replace(SICK, runtime=runtime), *frames), "blame")
    assert (found.title, found.confidence) == (f"The fault is most likely in {who}", sure)


def test_a_call_through_ffi_is_to_blame_first() -> None:
    frames = (native("strlen", "/lib/libc.so.6"), php("strlen", None, "FFI"), php("page", 12))
    found = of(with_frames(SICK, *frames), "blame")
    assert "the PHP code that calls C through FFI at /srv/shop/page.php:12" in found.title


def test_a_variable_of_no_type() -> None:
    broken = php("show")._replace(arguments=(Argument(name="x", type="no PHP type (77)"),))
    assert "impossible-value" in rules(with_frames(SICK, native("f"), broken))


def test_nothing_is_ever_proved_of_blame_or_victims() -> None:
    heap = HeapCheck(state="damaged", chunks=1, blocks=10, faults=(FAULT,))
    for given in (
        SICK,
        replace(SICK, runtime=replace(PHP, heap=heap)),
        case(sent("SIGSEGV", 1)),
        overflown(native("f")),
    ):
        for finding in diagnose(given):
            assert finding.topic is not Topic.JUDGEMENT or finding.confidence is not Confidence.PROVED


@pytest.mark.parametrize(
    "signal", [None, Signal(number=14, name="SIGALRM", code=-2), Signal(number=11, name="SIGSEGV")]
)
def test_signals_no_rule_knows(signal: Signal | None) -> None:
    assert not [finding for finding in diagnose(case(signal)) if finding.topic is Topic.FAULT]
