"""What the interpreter's state tells, as lines: memory, heap, opcache, hooks, fibers, options."""

from __future__ import annotations

from collections.abc import Iterator

from triage import clock
from triage.model import Crash, HeapCheck, HeapFault, Hook, Opcache, Runtime
from triage.report.lines import Line, listing, wrapped
from triage.report.stack import stack_lines
from triage.text import clean, plural, size

_VERDICTS = {
    "overflow": "something wrote past the end of its block (buffer overflow)",
    "use-after-free": "something wrote into a block that was already given back (use after free)",
    "double-free": "a block was given back twice (double free)",
}
_PLACES = {
    "free-list": "a free block",
    "page-map": "the map of pages",
    "chunk": "a 2 MB piece of memory",
    "huge-list": "the list of huge blocks",
    "accounting": "the sums",
    "object": "an object",
    "gc-buffer": "a value the garbage collector waits to look at,",
}
_MOST_FAULTS = 5


def state(runtime: Runtime) -> Iterator[Line]:
    """Memory, errors and what PHP calls on its own."""
    yield Line(f"{runtime.language} at the time of the crash", "head")
    memory = runtime.memory
    if memory is not None and memory.used is not None:
        limit = f"limit {size(memory.limit)}" if memory.limit else "no limit"
        yield Line(f"  memory      {size(memory.used)} used, {size(memory.peak or 0)} at most, {limit}")
    for label, problem in (("last error", runtime.last_error), ("exception", runtime.exception)):
        if problem is not None:
            place = f" at {problem.file}:{problem.line}" if problem.file else ""
            yield from wrapped(f"{label:<11} {problem.type or ''}: {problem.message or ''}{place}")
    if runtime.jit:
        whose = "opcache's JIT" if runtime.name == "php" else "the interpreter"
        yield Line(f"  jit         on: machine code made by {whose} is in this process")
    for subject, what in runtime.state.items():
        yield from wrapped(f"{subject:<11} {what}")
    for callback in runtime.callbacks:
        yield from wrapped(f"{'registered':<11} {callback}")


def worker(crash: Crash) -> Iterator[Line]:
    """The php-fpm worker: which pool, how old, how busy."""
    found = crash.runtime.worker if crash.runtime is not None else None
    if found is None:
        return
    yield Line("The worker", "head")
    yield Line(f"  pool        {clean(found.pool)}")
    if found.started is not None:
        ago = clock.ago(found.started, at=crash.time) if crash.time else None
        age = f", {'under a minute' if ago == 'now' else ago} before the crash" if ago else ""
        yield Line(f"  started     {clock.iso(found.started)}{age}")
    if found.requests is not None:
        stage = f", was {clean(found.stage)}" if found.stage else ""
        yield Line(f"  requests    {found.requests} taken by this worker{stage}")
    if found.request_started is not None and crash.time is not None:
        seconds = max(0.0, (crash.time - found.request_started).total_seconds())
        yield Line(f"  in request  {seconds:.0f} s when it died (to the second)")


def request(runtime: Runtime) -> Iterator[Line]:
    """What the request brought, and the environment: names, types and lengths, no contents."""
    if runtime.request is not None:
        yield Line("The request", "head")
        yield Line(f"  {clean(runtime.request.method or '')} {clean(runtime.request.uri or '')}")
        for name, what in runtime.request.variables.items():
            yield Line(f"  ${clean(name)} = {clean(what)}")
    if runtime.environment:
        yield Line("Environment", "head")
        for name, what in runtime.environment.items():
            yield Line(f"  {clean(name)} = {clean(what)}")


def extensions(runtime: Runtime) -> Iterator[Line]:
    """Names; a version only where it is not PHP's own."""
    yield from listing(
        "extensions",
        (
            name if version in (runtime.version, None) else f"{name} {version}"
            for name, version in runtime.extensions.items()
        ),
    )


def options(runtime: Runtime) -> Iterator[Line]:
    """Changed settings."""
    yield from listing("options", (f"{name}={value or ''}" for name, value in runtime.options.items()))


def fibers(runtime: Runtime, *, arguments: bool, suspended: bool) -> Iterator[Line]:
    """Each fiber's own stack; with `suspended`, only of those the crashed stack does not go through."""
    for fiber in runtime.fibers:
        if suspended and fiber.status != "suspended":
            continue
        yield Line(f"Fiber #{fiber.id} ({fiber.status}), {plural(fiber.depth, 'frame')}", "head")
        yield from stack_lines(fiber.frames, arguments=arguments)


def hooks(found: tuple[Hook, ...]) -> Iterator[Line]:
    """Who is on the way of PHP's own functions."""
    if not found:
        return
    yield Line("Extensions that hook the engine", "head")
    for hook in found:
        who = hook.extension or hook.module
        yield from wrapped(f"{who} took over {hook.name}" + (f" ({hook.function})" if hook.function else ""))


def opcache(found: Opcache | None) -> Iterator[Line]:
    """The code cache's counters."""
    if found is None:
        return
    yield Line("opcache", "head")
    if not found.dumped:
        yield Line(f"  {size(found.shared)} of shared memory, which are not in the core", "warn")
        return
    used = f"{found.scripts} of {found.most_scripts} scripts, " if found.scripts is not None else ""
    yield Line(f"  cache       {used}{size(found.shared)} of shared memory")
    if found.hits is not None:
        yield Line(f"  use         {found.hits} hits, {found.misses} misses")
        yield Line(
            f"  restarts    {found.memory_restarts} because memory was full, {found.hash_restarts} because the table "
            f"was full, {found.manual_restarts} by opcache_reset()"
        )
    if found.restart_pending or found.restart_in_progress:
        yield Line("  a restart of the cache was under way when the process died", "warn")
    if found.started is not None:
        restarted = f", last restarted {clock.iso(found.restarted)}" if found.restarted else ""
        yield Line(f"  since       {clock.iso(found.started)}{restarted}")


def heap(found: HeapCheck | None) -> Iterator[Line]:
    """The verdict on PHP's heap, in words."""
    if found is None:
        return
    yield Line("PHP's memory (heap)", "head")
    if found.state == "unknown":
        yield from wrapped(f"not checked: {found.reason}", "dim")
        return
    walked = f"{plural(found.chunks, 'chunk')}, {plural(found.blocks, 'small block')}, {size(found.bytes)} in use"
    if found.state == "intact":
        yield from wrapped(f"intact: {walked} were walked and nothing contradicts itself")
        return
    yield from wrapped(f"DAMAGED ({walked} walked): {plural(len(found.faults), 'contradiction')}", "warn")
    for fault in found.faults[:_MOST_FAULTS]:
        yield from _fault(fault)
    if len(found.faults) > _MOST_FAULTS:
        yield Line(f"  … and {len(found.faults) - _MOST_FAULTS} more", "dim")


def _fault(fault: HeapFault) -> Iterator[Line]:
    verdict = _VERDICTS.get(fault.verdict or "", "what went wrong cannot be told from the bytes")
    block = f" of {fault.bin} bytes" if fault.bin else ""
    place = f" at {fault.slot:#x}" if fault.slot is not None else ""
    what = _PLACES.get(fault.what, fault.what)
    yield from wrapped(f"{what}{block}{place}: {verdict}  [{fault.confidence}]", "title")
    for item in fault.evidence:
        yield from wrapped(f"- because {item}", "dim")
