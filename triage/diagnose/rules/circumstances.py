"""Where in the process's life it happened: in JIT code, in the garbage collector, after the response, …"""

from __future__ import annotations

from collections.abc import Callable

from triage.diagnose.case import Case, script_name
from triage.diagnose.places import first_in_place
from triage.model import Confidence, Finding, Topic
from triage.text import size

_NEAR_LIMIT = 0.97


def _frame_in(case: Case, place: str, *, before_script: bool = False) -> str | None:
    """The innermost function of a place; with `before_script` only among those inside of all script code."""
    return first_in_place(case.functions[: case.entered] if before_script else case.functions, place)


def _finding(rule: str, title: str, evidence: str, explanation: str, *steps: str) -> Finding:
    return Finding(rule=rule, topic=Topic.CIRCUMSTANCE, title=title, confidence=Confidence.PROVED,
                   evidence=(evidence,), explanation=explanation, next_steps=steps)  # fmt: skip


def in_jit_code(case: Case) -> Finding | None:
    """The processor was running code that opcache's JIT made."""
    top = next(case.native(), None)
    if top is None or top.note != "jit":
        return None
    return _finding(
        "in-jit-code", "It crashed inside machine code made by opcache's JIT",
        f"the innermost frame, at {top.address or 0:#x}, lies in opcache's own executable memory",
        "The JIT turns PHP code into machine code. A mistake in that translation shows as crashes in otherwise "
        "innocent PHP code, and often for hot code only, which means under load only.",
        "Switch the JIT off first: it costs little, and it tells at once whether the JIT is to blame.",
    )  # fmt: skip


def jit_below(case: Case) -> Finding | None:
    """JIT code is further out on the stack."""
    frames = list(case.native())
    if not frames or frames[0].note == "jit" or all(frame.note != "jit" for frame in frames):
        return None
    return _finding(
        "jit-on-stack", "Code made by opcache's JIT had called what crashed",
        "frames further out lie in opcache's own executable memory",
        "What crashed was not JIT code itself, but it was given its values by JIT code.",
        "Switching the JIT off on one server tells whether it has a part in it.",
    )  # fmt: skip


def in_garbage_collection(case: Case) -> Finding | None:
    """PHP's garbage collector was at work, inside of all script code."""
    name = _frame_in(case, "garbage-collection", before_script=True)
    if name is None:
        return None
    return _finding(
        "in-garbage-collection", "It crashed while PHP was collecting garbage",
        f"{name}() is on the stack, inside of all script code",
        "The collector walks all values that may hold each other in circles. It stumbles over a value that was "
        "damaged or freed earlier, at a moment that depends on how much was allocated: the function it interrupted "
        "is innocent.",
    )  # fmt: skip


def in_destructor(case: Case) -> Finding | None:
    """A __destruct() method was running or about to."""
    running = next((frame for frame in case.script() if frame.function == "__destruct"), None)
    name = _frame_in(case, "destructor")
    if running is None and name is None:
        return None
    what = f"{script_name(running)} is on the stack" if running is not None else f"{name}() is on the stack"
    return _finding(
        "in-destructor", "It crashed while an object was being destroyed", what,
        "Destructors run at surprising moments: when the last variable goes, or at the very end of the request, when "
        "parts of PHP are already gone.",
        *((f"What does {script_name(running)} do? Try the request with that code moved out of the destructor.",)
          if running is not None else ()),
    )  # fmt: skip


def at_request_end(case: Case) -> Finding | None:
    """The script was over; PHP was cleaning up."""
    ended = _frame_in(case, "process-end")
    if ended is not None and "request" not in ended:
        module_end = ended.startswith(("php_", "zend_"))
        if module_end or not any(True for _ in case.script()):
            return _finding(
                "at-process-end", "It crashed while the process was ending",
                f"{ended}() is on the stack",
                "The work was done; libraries and extensions were being shut down. Users do not notice, but the "
                "process manager counts a crash. Typical causes: an extension that frees something twice, a library "
                "that was unloaded too early.",
            )  # fmt: skip
    name = _frame_in(case, "request-end")
    if name is None:
        return None
    return _finding(
        "at-request-end", "It crashed after the script had ended, while PHP was cleaning up",
        f"{name}() is on the stack",
        "All output may already have been sent: users may see nothing of this crash. What is cleaned up was made "
        "earlier in the request, so the stack says little about who damaged it.",
    )  # fmt: skip


def after_response(case: Case) -> Finding | None:
    """The worker had sent its answer: by php-fpm's own record, or because the script said so."""
    worker = case.runtime.worker if case.runtime is not None else None
    if worker is not None and worker.stage in ("ending", "finishing"):
        return _finding(
            "after-response", "The worker had already answered the request",
            f"php-fpm's own record of this worker says: {worker.stage}",
            "The visitor got the page. The crash still costs the worker, and what came after the answer is lost.",
        )  # fmt: skip
    return None


def while_idle(case: Case) -> Finding | None:
    """The worker was waiting for a request."""
    worker = case.runtime.worker if case.runtime is not None else None
    if worker is None or worker.stage != "accepting" or any(True for _ in case.script()):
        return None
    return _finding(
        "while-idle", "The worker was waiting for a request when it died",
        f"php-fpm's own record of this worker says: {worker.stage}",
        "No PHP code was running. Either a signal from outside stopped it, or it stumbled over damage left by an "
        "earlier request of the same worker.",
    )  # fmt: skip


def while_output(case: Case) -> Finding | None:
    """PHP's output layer was at work, inside of all script code."""
    name = _frame_in(case, "output", before_script=True)
    if name is None:
        return None
    return _finding(
        "in-output", "It crashed inside PHP's output layer (output buffering)",
        f"{name}() is on the stack, inside of all script code",
        "Output goes through a stack of buffers (ob_start()). Handlers that print or start buffers themselves, and "
        "output from destructors at the end of the request, are what this layer has trouble with.",
    )  # fmt: skip


def while_compiling(case: Case) -> Finding | None:
    """PHP was translating a script."""
    name = _frame_in(case, "compile", before_script=True)
    if name is None:
        return None
    return _finding(
        "in-compiler", "It crashed while PHP was translating a script, not while running one",
        f"{name}() is on the stack, inside of all script code",
        "Which file it was often decides: the compiler or opcache cannot handle something in it.",
    )  # fmt: skip


def after_timeout(case: Case) -> Finding | None:
    """The script had run into max_execution_time."""
    error = case.runtime.last_error if case.runtime is not None else None
    if error is None or "Maximum execution time" not in (error.message or ""):
        return None
    return _finding(
        "after-timeout", "The script had run out of time before the crash (max_execution_time)",
        f"PHP's last error: {error.message}",
        "PHP stops such a script at whatever point it is and throws its work away. Extensions that were in the "
        "middle "
        "of something are left with half-made state; crashes after a timeout are a known weak spot.",
        "Look at why the script takes so long; the crash may be only its consequence.",
    )  # fmt: skip


def memory_exhausted(case: Case) -> Finding | None:
    """The script had run into memory_limit, or is about to."""
    runtime = case.runtime
    if runtime is None:
        return None
    error, memory = runtime.last_error, runtime.memory
    message = (error.message or "") if error is not None else ""
    if "Allowed memory size" in message or "Out of memory" in message:
        return _finding(
            "after-memory-limit", "The script had run out of memory before the crash (memory_limit)",
            f"PHP's last error: {message}",
            "PHP stops such a script wherever it is and throws its work away. Extensions that were in the middle of "
            "something are left with half-made state; the crash may be only a consequence.",
            "Look at why the script needs so much memory, or raise memory_limit for it, and see whether the "
            "crashes go.",
        )  # fmt: skip
    if memory is None or not memory.limit or memory.peak is None or memory.peak < _NEAR_LIMIT * memory.limit:
        return None
    return _finding(
        "near-memory-limit", "The script had used nearly all the memory it may (memory_limit)",
        f"at most {size(memory.peak)} of {size(memory.limit)}",
        "Code that is refused memory takes paths that are rarely tested.",
    )  # fmt: skip


CIRCUMSTANCES: tuple[Callable[[Case], Finding | None], ...] = (
    in_jit_code, jit_below, in_garbage_collection, in_destructor, at_request_end, after_response, while_idle,
    while_output, while_compiling, after_timeout, memory_exhausted,
)  # fmt: skip
