"""The program ended itself: which check did it, and what that check proves.

glibc keeps its last message for debuggers; C++ and Rust leave their frames on the stack; PHP's
allocator prints a sentence of its own.
"""

from __future__ import annotations

import re

from triage.diagnose.case import Case, native_call
from triage.diagnose.rules.panics import GO_STOPS, is_rust_runtime, panicked_at
from triage.model import Confidence, Finding, Frame

_ENDING = re.compile(
    r"_*(?:GI_)?_*(?:raise|gsignal|abort|pthread_kill\w*|kill|tgkill|assert_fail\w*|assert|libc_message\w*|libc_fatal|"
    r"malloc_printerr|fortify_fail\w*|chk_fail|stack_chk_fail)"
)
_NOTICED = "The damage was done before, often by other code: this is where it was noticed, not where it was made."
_REPLAY = (
    "A replay under valgrind names the code that did it: USE_ZEND_ALLOC=0 valgrind -q --undef-value-errors=no php …"
)


def aborted(case: Case) -> Finding | None:
    """The program ended itself with abort(): the most telling reason that is known."""
    signal = case.signal
    if signal is None or signal.name != "SIGABRT":
        return None
    for reason in (_zend_heap, _heap, _smashed, _fortify, _assertion, _rust, _go, _terminate, _fatal):
        finding = reason(case)
        if finding is not None:
            return finding
    return _plain(case)


def _finding(
    case: Case,
    rule: str,
    title: str,
    explanation: str,
    *steps: str,
    sure: Confidence = Confidence.PROVED,
    because: tuple[str, ...] = (),
) -> Finding:
    said = case.abort_message
    evidence = ["the signal is SIGABRT, which abort() raises"]
    if said:
        evidence.append(f"the C library kept these last words: {said!r}")
    caller = _caller(case)
    if caller is not None:
        evidence.append(f"abort() was reached from {native_call(caller)}")
    return Finding(rule=rule, title=title, confidence=sure, evidence=(*evidence, *because), explanation=explanation,
                   next_steps=steps)  # fmt: skip


def _caller(case: Case) -> Frame | None:
    """The innermost frame that is not part of ending the program."""
    return next((f for f in case.native() if not _ENDING.fullmatch(f.function or "")), None)


# glibc's malloc.c: "(out)" is about a size that leads out of the heap, "(!prev)" and "(top)" about marks that
# a second free() leaves, but a write past the end of a block as well.
_KINDS = (
    (r"double free or corruption \(out\)", "glibc-heap-corrupt", "the C library's memory (heap) was damaged"),
    (r"double free or corruption \((!prev|top)\)", "glibc-double-free",
     "a block of memory was given back twice, or the bookkeeping beside it was overwritten"),
    (r"double free", "glibc-double-free", "a block of memory was given back twice"),
    (r"(free|munmap_chunk|realloc)\(\): invalid pointer", "glibc-invalid-free",
     "a block that was given back is none, or has lost its header"),
    (r"(malloc|calloc|realloc|free|memalign|corrupted|invalid|unlink|mremap|munmap)\w*\b.*(corrupt|invalid|smallbin|"
     r"tcache|unsorted|fastbin|size|unaligned)", "glibc-heap-corrupt", "the C library's memory (heap) was damaged"),
)  # fmt: skip


def _heap(case: Case) -> Finding | None:
    """glibc's allocator found its own records damaged."""
    said = case.abort_message or ""
    for pattern, rule, what in _KINDS:
        if re.search(pattern, said):
            return _finding(
                case, rule, f"The C library noticed that {what}, and ended the program",
                f"The check \"{said}\" is made when memory is taken or given back. {_NOTICED} This is about memory "
                "of C code (libraries, extensions), not of PHP's own allocator.",
                _REPLAY, "Which extension or library calls free() or realloc() in the stack? Try without it first.",
            )  # fmt: skip
    return None


def _smashed(case: Case) -> Finding | None:
    if "stack smashing detected" not in (case.abort_message or "") and not _has(case, r"_*stack_chk_fail\w*"):
        return None
    owner = _caller(case)
    who = f" {native_call(owner)}" if owner is not None else " a function"
    return _finding(
        case, "stack-smashing",
        f"The local variables of{who} were overrun: something wrote past the end of a buffer (stack smashing)",
        "Functions keep a secret number at the end of their local variables and check it before they return. It had "
        "changed: the function wrote more into a local array than it has room for. The function that noticed it is "
        "the one whose variables were overrun (or one it called wrote there).",
        "The function named above is where to look; an update of its library or extension is the first thing to try.",
    )  # fmt: skip


def _fortify(case: Case) -> Finding | None:
    said = case.abort_message or ""
    found = "buffer overflow detected" in said or "%n in writable" in said or "invalid %N$" in said
    if not found and not _has(case, r"_*(chk_fail|fortify_fail\w*)"):
        return None
    return _finding(
        case, "fortify", "A copy was larger than the buffer it went into; the C library stopped it",
        "Code built with FORTIFY checks sizes before it copies. The copy did not happen, so nothing was damaged: "
        "this stack shows the faulty code itself.",
        "The first frame that is not the C library's made the copy: update or switch off what it belongs to.",
    )  # fmt: skip


def _assertion(case: Case) -> Finding | None:
    said = case.abort_message or ""
    found = re.search(r"Assertion [`'](.*)' failed", said)
    if found is None and not _has(case, r"_*assert_fail\w*|__assert"):
        return None
    check = f": {found[1]}" if found else ""
    return _finding(
        case, "assertion", f"A check in the program's own code failed{check}",
        "The authors wrote down what must be true at this point (assert). It was not, so the program ended itself. "
        "The stack shows the code that noticed.",
        "Search for the text of the check in the issue tracker of the program or library it belongs to.",
    )  # fmt: skip


_CXX_OWN = re.compile(r"libstdc\+\+|libc\.so|libgcc")
_TERMINATE = (
    r"(__cxxabiv1::)?__?terminate.*|std::terminate.*|__cxa_(throw|rethrow|pure_virtual|call_terminate|deleted_virtual)|"
    r".*verbose_terminate_handler.*|_ZSt9terminatev|_ZN10__cxxabiv1.*"
)


def _terminate(case: Case) -> Finding | None:
    if not _has(case, _TERMINATE):
        return None
    pure = _has(case, r"__cxa_(pure|deleted)_virtual")
    owner = next((frame for frame in case.native() if not _CXX_OWN.search(frame.module or "")), None)
    who = f" {native_call(owner)}" if owner is not None else ""
    what = "called a method of an object that was not there yet or any more" if pure else "threw an error (exception)"
    return _finding(
        case, "cxx-terminate", f"C++ code gave up: {who.strip() or 'a function'} {what}"
        + ("" if pure else " that nobody caught"),
        "C++ libraries report trouble by exceptions. One that nobody catches ends the program. The stack shows who "
        "raised it; its text went to the error log (\"terminate called after throwing …\").",
        "Read the process's error log at the time of the crash for the exception's text.",
    )  # fmt: skip


def _rust(case: Case) -> Finding | None:
    if not _has(case, r".*\b(rust_panic|rust_begin_unwind|panic_abort|begin_panic|panic_fmt|panicking::\w+|"
                      r"rust_begin_short_backtrace|__rust_start_panic|panic_nounwind|panic_cannot_unwind|"
                      r"abort_internal).*"):  # fmt: skip
        return None
    place = panicked_at(case)
    own = next((f for f in case.native() if not is_rust_runtime(f) and not _CXX_OWN.search(f.module or "")), None)
    where = f" at {place}" if place else ""
    who = f", in {native_call(own)}" if own is not None and own.function else ""
    return _finding(
        case, "rust-panic", f"Rust code found a contradiction and ended the program (panic{where}{who})",
        "Rust code stops rather than go on with damaged data. The message (\"thread … panicked at …\") went to the "
        "error log; the stack shows which code it was.",
        "Read the process's error log at the time of the crash for the panic's text.",
        because=(f"the place {place}, which Rust keeps for its message, lies on the stack",) if place else (),
    )  # fmt: skip


def _go(case: Case) -> Finding | None:
    if not _has(case, GO_STOPS):
        return None
    own = next((f for f in case.native() if f.function and not f.function.startswith("runtime.")), None)
    who = f", in {native_call(own)}" if own is not None else ""
    return _finding(
        case, "go-panic", f"Go code ended the program (panic, or a fatal error of Go's own{who})",
        "Go's runtime prints why (\"panic: …\", \"fatal error: …\") and the stacks of all goroutines to the "
        "error log, and leaves a core only where GOTRACEBACK=crash asks for one. The stack here is that of one "
        "native thread.",
        "Read the process's error log at the time of the crash: the goroutine that failed comes first.",
    )  # fmt: skip


def _zend_heap(case: Case) -> Finding | None:
    if case.last_words is None or "zend_mm_heap corrupted" not in case.last_words:
        return None
    check, how = _zend_check(case)
    return _finding(
        case, "zend-mm-corrupted", "PHP's memory manager noticed that PHP's memory is damaged (zend_mm_heap "
        "corrupted)",
        f"{check} {_NOTICED} What is on the stack is the victim.",
        _REPLAY,
        sure=Confidence.LIKELY, because=(case.last_words, *how),
    )  # fmt: skip


def _zend_check(case: Case) -> tuple[str, tuple[str, ...]]:
    """Which of the allocator's checks it was, by the function that made it."""
    caller = _caller(case)
    names = [frame.function for frame in case.native() if frame.function and not _ENDING.fullmatch(frame.function)]
    name = names[0] if names else ""
    shown = (f"the check was made in {name}()",) if name and caller is not None else ()
    if re.match(r"_?e?free|_efree", name):
        return ("The check in efree(): the block that was given back does not belong to PHP's heap, or the record of "
                "its 2 MB piece is overwritten."), shown  # fmt: skip
    if re.match(r"_?e?realloc|_erealloc", name):
        return ("The check in erealloc(): the block to be enlarged does not belong to PHP's heap, or the record of "
                "its 2 MB piece is overwritten."), shown  # fmt: skip
    if re.match(r"_?(safe_)?e?(m|c)alloc|_estr", name):
        return ("The check in emalloc(): the next free block's link does not agree with its copy, so a block was "
                "written to after it was given back, or past the end of its neighbour."), shown  # fmt: skip
    return "One of the checks of PHP's allocator failed.", shown


def _fatal(case: Case) -> Finding | None:
    """Another message of the C library, such as `Fatal glibc error: …`."""
    said = case.abort_message
    if not said:
        return None
    return _finding(
        case, "abort", f"The program ended itself: {said}",
        "A check inside the program or its libraries failed and stopped it on purpose.",
        "The first frames below abort() in the stack show which check it was.",
    )  # fmt: skip


def _plain(case: Case) -> Finding:
    return _finding(
        case, "abort", "The program ended itself (abort), and left no words why",
        "Code called abort() on purpose. The C library kept no message, so the reason is in the error log or in the "
        "code that called it.",
        "The first frames below abort() in the stack show who called it; the error log may have its text.",
    )  # fmt: skip


def _has(case: Case, pattern: str) -> bool:
    """Whether a frame of that name is among the innermost ones, before any script frame."""
    compiled = re.compile(pattern)
    for frame in case.frames[:40]:
        if frame.kind not in ("native", "gap"):
            return False
        if frame.function and compiled.fullmatch(frame.function):
            return True
    return False
