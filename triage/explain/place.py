"""Which PHP code ran, for which request, in which worker: as statements."""

from __future__ import annotations

from collections.abc import Iterator

from triage import clock
from triage.explain.statement import Statement
from triage.model import Crash, Frame, Runtime, Thread
from triage.text import plural, size

_MOST = 6
_LOOPS = ("execute_ex",)


def code(crash: Crash) -> Iterator[Statement]:
    """The innermost PHP frames, as `function at file:line`."""
    thread = crash.crashed_thread
    frames = [frame for frame in thread.frames if frame.kind not in ("native", "gap")] if thread else []
    if crash.runtime is None:
        yield Statement("This is no interpreter that triage can read; only the native stack is known.",
                        (f"the program is {crash.executable or 'unknown'}",))  # fmt: skip
        return
    loop, language = _runs_code(thread), crash.runtime.language
    if not frames:
        yield (
            _unseen()
            if loop
            else Statement(f"No {language} code was running.", (f"{language}'s own stack is empty",))
        )
        return
    own = next((frame for frame in frames if frame.file is not None), None)
    inner = frames[0]
    if own is not None:
        text = f"Your code was in {name(own)} at {own.file}:{own.line}"
        if inner is not own:
            text += f", which had called the built-in {name(inner)}"
        yield Statement(text + ".", tuple(_lines(frames[:_MOST])))
    else:
        rest = "." if loop else "; no code of yours is on the stack."
        yield Statement(f"{language} was in the built-in {name(inner)}{rest}", tuple(_lines(frames[:_MOST])))
        if loop:
            yield _unseen()
    callers = [frame for frame in frames if frame.file is not None and frame is not own]
    if callers:
        shown = ", ".join(f"{name(frame)} ({frame.file}:{frame.line})" for frame in callers[:3])
        yield Statement(f"It was called from {shown}" + (" and others." if len(callers) > 3 else "."),
                        tuple(_lines(callers[:_MOST])))  # fmt: skip


def _runs_code(thread: Thread | None) -> bool:
    """Whether the native stack holds the loop that runs PHP code."""
    return thread is not None and any(frame.kind == "native" and frame.function in _LOOPS for frame in thread.frames)


def _unseen() -> Statement:
    return Statement(
        "Which PHP code was running cannot be told: PHP's own record of it was overwritten, or the function was just "
        "returning.",
        ("execute_ex(), which runs PHP code, is on the native stack, and PHP's own stack names no code",),
    )


def _lines(frames: list[Frame]) -> Iterator[str]:
    for frame in frames:
        place = f"{frame.file}:{frame.line}" if frame.file else "built in"
        yield f"{frame.kind} frame: {name(frame)}, {place}"


def name(frame: Frame) -> str:
    """`Cart->total()`, `the script itself`."""
    function = frame.function or "a function without a readable name"
    if function.startswith("{main}"):
        return "the script itself"
    call = function if "(" in function else f"{function}()"
    return f"{frame.class_name.split(chr(0))[0]}{frame.call or '::'}{call}" if frame.class_name else call


def request(crash: Crash) -> Iterator[Statement]:
    """The request or command, and the worker."""
    runtime = crash.runtime
    if runtime is None:
        return
    if runtime.request is not None:
        yield Statement(
            f"It was serving the request {runtime.request.method or ''} {runtime.request.uri or ''}".rstrip() + ".",
            ("PHP's own record of the request (SG(request_info), $_SERVER); the query string is left out, since it "
             "may hold secrets",),
        )  # fmt: skip
    elif runtime.script:
        yield Statement(
            f"It was running the script {runtime.script}.", (f"{runtime.language}'s own record of the script",)
        )
    yield from _worker(crash, runtime)
    memory = runtime.memory
    if memory is not None and memory.used is not None:
        limit = f" of {size(memory.limit)} allowed" if memory.limit else ""
        yield Statement(f"The script was using {size(memory.used)} of memory{limit}.",
                        ("PHP's own accounting (memory_get_usage())",))  # fmt: skip


def _worker(crash: Crash, runtime: Runtime) -> Iterator[Statement]:
    worker = runtime.worker
    if worker is None or worker.requests is None:
        return
    age = clock.ago(worker.started, at=crash.time) if worker.started and crash.time else None
    text = f"The worker (pool {worker.pool}) had taken {plural(worker.requests, 'request')}"
    if age and age != "now":
        text += f" in {age}"
    if worker.stage:
        text += f" and was {worker.stage}"
    yield Statement(f"{text}.", ("php-fpm's scoreboard, in shared memory",))
