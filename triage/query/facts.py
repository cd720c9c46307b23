"""What of a crash can be asked for, as pairs of a key and a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage.model import Crash, Frame, Runtime

Fact = tuple[str, str]

_LONGEST = 200  # characters: values are indexed, and a core's text may be of any length
_FRAMES = 500  # a recursion has no more kinds of frames than that


def facts_of(crash: Crash) -> frozenset[Fact]:
    """Every fact of a crash, for the keys in `FACT_KEYS`."""
    thread = crash.crashed_thread
    return facts_from(
        status=crash.status.value,
        signal=crash.signal.name if crash.signal else None,
        rules=[finding.rule for finding in crash.findings],
        frames=thread.frames if thread else (),
        runtime=crash.runtime,
    )


def facts_from(
    *, status: str, signal: str | None, rules: Iterable[str], frames: Sequence[Frame], runtime: Runtime | None
) -> frozenset[Fact]:
    """The facts of a crash of which this much is known: `rules` of its findings, `frames` of the crashed thread."""
    found: list[tuple[str, str | None]] = [("status", status), ("signal", signal)]
    found += (("kind", rule) for rule in rules)
    for frame in frames[:_FRAMES]:
        found += _of_frame(frame)
    if runtime is not None:
        found += _of_runtime(runtime)
    return frozenset((key, value[:_LONGEST]) for key, value in found if value)


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
