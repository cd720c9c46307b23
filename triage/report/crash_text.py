"""One crash as lines of text: the verdict first, then the stack, then the details."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from triage import clock
from triage.model import Crash, Finding, Frame, Runtime, Signal, Symbols, Thread
from triage.report.stack import Repeat, fold, frame_name, frame_note, frame_place
from triage.text import clean, plural, size

# What a reader who knows no C should take from a signal.
_SIGNALS = {
    "SIGSEGV": "an access to memory that is not there or not allowed",
    "SIGABRT": "the program stopped itself",
    "SIGBUS": "an access to memory whose file or page is gone",
    "SIGILL": "an instruction the processor does not know",
    "SIGFPE": "an impossible calculation, such as a division by zero",
    "SIGKILL": "killed from outside",
    "SIGTERM": "asked to end",
    "SIGTRAP": "a debugger's stop",
}
_WIDTH = 76


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its look: `title`, `head`, `php`, `native`, `dim`, `warn` or plain."""

    text: str
    look: str = "plain"


def crash_lines(crash: Crash, *, details: bool = False) -> Iterator[Line]:
    """The whole crash; `details` adds registers, modules and timing."""
    yield from _summary(crash)
    for finding in crash.findings:
        yield Line("")
        yield from _finding(finding)
    for thread in crash.threads:
        if thread.crashed or details:
            yield Line("")
            yield from _thread(thread, alone=len(crash.threads) == 1)
    if len(crash.threads) > 1 and not details:
        yield Line(f"{len(crash.threads) - 1} other threads (-v shows them)", "dim")
    if crash.runtime is not None:
        yield Line("")
        yield from _runtime(crash.runtime)
    if details:
        yield from _details(crash)
    if crash.warnings:
        yield Line("")
        yield Line("What could not be read, and doubts", "head")
        for warning in crash.warnings:
            yield from _wrapped(f"! {warning}", "warn")


def _summary(crash: Crash) -> Iterator[Line]:
    title = crash.signature.title if crash.signature else "crash"
    yield Line(clean(title), "title")
    for name, value in _summary_rows(crash):
        if value:
            yield Line(f"  {name:<11} {clean(value)}")


def _summary_rows(crash: Crash) -> Iterator[tuple[str, str | None]]:
    yield "crash", crash.id + (f"   cluster {crash.cluster}" if crash.cluster else "")
    yield "core", crash.core
    yield "status", None if crash.status == "ok" else f"{crash.status}: parts are missing, see the end"
    yield "time", clock.iso(crash.time) if crash.time else None
    yield "process", f"{crash.executable or 'unknown program'}, pid {crash.pid}"
    yield "command", " ".join(crash.arguments) or None
    yield "signal", signal_words(crash.signal)
    if crash.runtime is not None:
        runtime = crash.runtime
        yield runtime.name.upper(), f"{runtime.version} {runtime.sapi or ''}".rstrip()
        yield "script", runtime.script
        request = runtime.request
        yield "request", f"{request.method or ''} {request.uri or ''}".strip() if request else None


def signal_words(signal: Signal | None) -> str | None:
    """The signal in plain words, with the address it was about."""
    if signal is None:
        return None
    words = _SIGNALS.get(signal.name)
    if signal.sender is not None and signal.name != "SIGABRT":
        words = f"sent by process {signal.sender}"
    place = f" (address {signal.address:#x})" if signal.address is not None else ""
    return f"{signal.name}: {words}{place}" if words else f"{signal.name}{place}"


def _finding(finding: Finding) -> Iterator[Line]:
    yield Line("What happened", "head")
    yield from _wrapped(f"{finding.title}  [{finding.confidence}]", "title")
    yield from _wrapped(finding.explanation)
    for item in finding.evidence:
        yield from _wrapped(f"- because {item}", "dim")
    for step in finding.next_steps:
        yield from _wrapped(f"> {step}")


def _wrapped(text: str, look: str = "plain") -> Iterator[Line]:
    line = "  "
    for word in clean(text).split(" "):
        if len(line) + len(word) > _WIDTH and line.strip():
            yield Line(line.rstrip(), look)
            line = "    "
        line += word + " "
    yield Line(line.rstrip(), look)


def _thread(thread: Thread, *, alone: bool) -> Iterator[Line]:
    name = f" {thread.name}" if thread.name else ""
    which = (
        "The stack, innermost first"
        if alone
        else f"Thread {thread.id}{name}" + (" (crashed), innermost first" if thread.crashed else "")
    )
    yield Line(clean(which), "head")
    yield from stack_lines(thread.frames)
    if thread.truncated:
        yield Line(f"  {plural(thread.depth, 'frame')} in all; those between are left out", "dim")


def stack_lines(frames: Sequence[Frame]) -> Iterator[Line]:
    """The merged stack, a line a frame; runs of equal frames are folded with their count."""
    for item in fold(frames):
        yield Line(f"        {item.text}", "dim") if isinstance(item, Repeat) else _frame(item)


def _frame(frame: Frame) -> Line:
    if frame.kind == "gap":
        return Line(f"        … {clean(frame.note or 'frames left out')}", "dim")
    name = frame_name(frame)
    where = frame_place(frame)
    note = f"  [{frame_note(frame)}]" if frame_note(frame) else ""
    text = f"  {frame.kind:<7} {clean(name)}"
    if where:
        text = f"{text:<48}  {clean(where)}"
    return Line(text + clean(note), "native" if frame.kind == "native" else "php")


def _runtime(runtime: Runtime) -> Iterator[Line]:
    yield Line(f"{runtime.name.upper()} at the time of the crash", "head")
    memory = runtime.memory
    if memory is not None and memory.used is not None:
        limit = size(memory.limit) if memory.limit else "no limit"
        yield Line(f"  memory      {size(memory.used)} used, {size(memory.peak or 0)} at most, {limit}")
    for label, problem in (("last error", runtime.last_error), ("exception", runtime.exception)):
        if problem is not None:
            place = f" at {problem.file}:{problem.line}" if problem.file else ""
            yield from _wrapped(f"{label:<11} {problem.type or ''}: {problem.message or ''}{place}")
    if runtime.jit:
        yield Line("  jit         on: machine code made by opcache's JIT is in this process")
    yield from _listing("extensions", _extensions(runtime))
    yield from _listing("options", [f"{name}={value or ''}" for name, value in runtime.options.items()])


def _extensions(runtime: Runtime) -> list[str]:
    """Names; a version only where it is not PHP's own."""
    return [
        name if version in (runtime.version, None) else f"{name} {version}"
        for name, version in runtime.extensions.items()
    ]


def _listing(label: str, items: Iterable[str]) -> Iterator[Line]:
    line = f"  {label:<11} "
    for item in items:
        piece = clean(item, limit=100) + ", "
        if len(line) + len(piece) > _WIDTH and line.strip():
            yield Line(line.rstrip())
            line = " " * 14
        line += piece
    if line.strip() and line.strip() != label:
        yield Line(line.rstrip().rstrip(","))


def _details(crash: Crash) -> Iterator[Line]:
    yield Line("")
    yield Line("Registers and instruction", "head")
    if crash.instruction:
        yield Line(f"  {clean(crash.instruction)}")
    row = [f"{name:<8} {value:#018x}" for name, value in crash.registers.items()]
    for at in range(0, len(row), 3):
        yield Line("  " + "   ".join(row[at : at + 3]))
    yield Line("")
    yield Line("Modules", "head")
    for module in crash.modules:
        note = "" if module.symbols is Symbols.FULL else f"  [{module.symbols}]"
        yield Line(f"  {module.start:#014x} {(module.build_id or '?')[:16]:<16} {clean(module.path)}{note}", "dim")
    yield Line("")
    spent = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in crash.timing.items())
    yield Line(f"  {clean(crash.gdb or '')}; {spent}", "dim")
