"""What of a crash can be asked for, as pairs of a key and a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from triage.model import Crash, Frame, Runtime

Fact = tuple[str, str]

_LONGEST = 200  # characters: values are indexed, and a core's text may be of any length
_FRAMES = 500  # a recursion has no more kinds of frames than that


def facts_of(crash: Crash) -> frozenset[Fact]:
    """Every fact of a crash, for the keys in `FACT_KEYS`."""
    return frozenset((key, value[:_LONGEST]) for key, value in _facts(crash) if value)


def _facts(crash: Crash) -> Iterator[tuple[str, str | None]]:
    yield "status", crash.status.value
    yield "signal", crash.signal.name if crash.signal else None
    for finding in crash.findings:
        yield "kind", finding.rule
    thread = crash.crashed_thread
    for frame in thread.frames[:_FRAMES] if thread else ():
        yield from _of_frame(frame)
    if crash.runtime is not None:
        yield from _of_runtime(crash.runtime)


def _of_frame(frame: Frame) -> Iterator[tuple[str, str | None]]:
    if frame.kind == "native":
        yield "fn", frame.function
        return
    yield "phpfile", frame.file
    if frame.function and frame.class_name:
        yield "phpfn", f"{frame.class_name}::{frame.function}"
    yield "phpfn", frame.function


def _of_runtime(runtime: Runtime) -> Iterator[tuple[str, str | None]]:
    yield "sapi", runtime.sapi
    yield "pool", runtime.worker.pool if runtime.worker else None
    yield "uri", runtime.request.uri if runtime.request else None
    yield "phpfile", runtime.script
    yield from _pairs("ext", runtime.extensions, "@")
    yield from _pairs("opt", runtime.options, "=")


def _pairs(key: str, named: Mapping[str, str | None], mark: str) -> Iterable[tuple[str, str | None]]:
    for name, value in named.items():
        yield key, f"{name}{mark}{value}" if value is not None else name
