"""One crash as lines of text: the verdict first, then the stack, then the details."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum

from triage import clock
from triage.model import Crash, Finding, Runtime, Signal, Symbols, Thread, Topic
from triage.report import runtime_text
from triage.report.lines import Line, wrapped
from triage.report.stack import stack_lines
from triage.text import clean, plural


class Detail(Enum):
    """How much a section tells."""

    BRIEF = 1
    FULL = 2


Section = Callable[[Crash, Detail], Iterable[Line]]

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


def crash_lines(crash: Crash, *, details: bool = False) -> Iterator[Line]:
    """The whole crash; `details` adds registers, modules, arguments and timing."""
    for name in SECTIONS:
        if details or name in _BRIEF:
            yield from _spaced(section(crash, name, Detail.FULL if details else Detail.BRIEF))


def section(crash: Crash, name: str, detail: Detail = Detail.FULL) -> Iterable[Line]:
    """One section of a crash, by its name in SECTIONS."""
    return SECTIONS[name](crash, detail)


def _spaced(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines with an empty one before them, if there are any; the title needs none."""
    for at, line in enumerate(lines):
        if at == 0 and line.look != "title":
            yield Line("")
        yield line


def _summary(crash: Crash, _: Detail) -> Iterator[Line]:
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
        yield runtime.language, f"{runtime.version} {runtime.sapi or ''}".rstrip()
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


# The heads under which findings are told, in this order.
_TOPICS = {
    Topic.FAULT: "What happened",
    Topic.CLUE: "What the values tell",
    Topic.DAMAGE: "Damage found in memory",
    Topic.CIRCUMSTANCE: "When it happened",
    Topic.SETUP: "The files it ran from",
    Topic.JUDGEMENT: "Victim or cause, and whose fault",
}


def _findings(crash: Crash, detail: Detail) -> Iterator[Line]:
    first = True
    for topic, head in _TOPICS.items():
        found = [finding for finding in crash.findings if finding.topic is topic]
        if not found:
            continue
        if not first:
            yield Line("")
        first = False
        yield Line(head, "head")
        for finding in found:
            yield from _finding(finding, detail)


def _finding(finding: Finding, detail: Detail) -> Iterator[Line]:
    """Title and evidence always; the explanation of what is around the fault only in full."""
    yield from wrapped(f"{finding.title}  [{finding.confidence}]", "title")
    if detail is Detail.FULL or finding.topic is Topic.FAULT:
        yield from wrapped(finding.explanation)
    for item in finding.evidence:
        yield from wrapped(f"- because {item}", "dim")
    if detail is Detail.FULL or finding.topic is Topic.FAULT:
        for step in finding.next_steps:
            yield from wrapped(f"> {step}")


def _stack(crash: Crash, detail: Detail) -> Iterator[Line]:
    for thread in crash.threads:
        if thread.crashed:
            yield from _thread(thread, alone=len(crash.threads) == 1, arguments=detail is Detail.FULL)
    if len(crash.threads) > 1 and detail is Detail.BRIEF:
        yield Line(f"{len(crash.threads) - 1} other threads (-v shows them)", "dim")


def _threads(crash: Crash, detail: Detail) -> Iterator[Line]:
    for thread in crash.threads:
        if not thread.crashed:
            yield from _thread(thread, alone=False, arguments=detail is Detail.FULL)


def _thread(thread: Thread, *, alone: bool, arguments: bool) -> Iterator[Line]:
    name = f" {thread.name}" if thread.name else ""
    which = (
        "The stack, innermost first"
        if alone
        else f"Thread {thread.id}{name}" + (" (crashed), innermost first" if thread.crashed else "")
    )
    yield Line(clean(which), "head")
    yield from stack_lines(thread.frames, arguments=arguments)
    if thread.truncated:
        yield Line(f"  {plural(thread.depth, 'frame')} in all; those between are left out", "dim")


def _runtime(part: Callable[[Runtime], Iterable[Line]]) -> Section:
    """A section about the interpreter: empty for a plain native program."""

    def lines(crash: Crash, _: Detail) -> Iterable[Line]:
        return part(crash.runtime) if crash.runtime is not None else ()

    return lines


def _php(runtime: Runtime) -> Iterator[Line]:
    yield from runtime_text.state(runtime)
    yield from runtime_text.extensions(runtime)
    yield from runtime_text.options(runtime)


def _fibers(crash: Crash, detail: Detail) -> Iterator[Line]:
    if crash.runtime is not None:
        full = detail is Detail.FULL
        yield from runtime_text.fibers(crash.runtime, arguments=full, suspended=not full)


def _heap(crash: Crash, detail: Detail) -> Iterator[Line]:
    """Only damage is worth a reader's time unasked."""
    found = crash.runtime.heap if crash.runtime is not None else None
    if found is not None and (detail is Detail.FULL or found.state == "damaged"):
        yield from runtime_text.heap(found)


def _registers(crash: Crash, _: Detail) -> Iterator[Line]:
    yield Line("Registers and instruction", "head")
    if crash.instruction:
        yield Line(f"  {clean(crash.instruction)}")
    row = [f"{name:<8} {value:#018x}" for name, value in crash.registers.items()]
    for at in range(0, len(row), 3):
        yield Line("  " + "   ".join(row[at : at + 3]))


def _modules(crash: Crash, _: Detail) -> Iterator[Line]:
    yield Line("Modules", "head")
    for module in crash.modules:
        note = "" if module.symbols is Symbols.FULL else f"  [{module.symbols}]"
        yield Line(f"  {module.start:#014x} {(module.build_id or '?')[:16]:<16} {clean(module.path)}{note}", "dim")


def _timing(crash: Crash, _: Detail) -> Iterator[Line]:
    spent = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in crash.timing.items())
    held = f", held by {clean(crash.isolation)}" if crash.isolation else ""
    yield Line(f"  {clean(crash.gdb or '')}{held}; {spent}", "dim")


def _warnings(crash: Crash, _: Detail) -> Iterator[Line]:
    if crash.warnings:
        yield Line("What could not be read, and doubts", "head")
    for warning in crash.warnings:
        yield from wrapped(f"! {warning}", "warn")


SECTIONS: Mapping[str, Section] = {
    "summary": _summary,
    "findings": _findings,
    "stack": _stack,
    "threads": _threads,
    "fibers": _fibers,
    "worker": lambda crash, _: runtime_text.worker(crash),
    "php": _runtime(_php),
    "request": _runtime(runtime_text.request),
    "heap": _heap,
    "opcache": _runtime(lambda runtime: runtime_text.opcache(runtime.opcache)),
    "hooks": _runtime(lambda runtime: runtime_text.hooks(runtime.hooks)),
    "registers": _registers,
    "modules": _modules,
    "timing": _timing,
    "warnings": _warnings,
}
"""All sections in the order a crash is told; each is a function of the crash and of how much to tell."""

_BRIEF = ("summary", "findings", "stack", "fibers", "worker", "php", "heap", "warnings")
