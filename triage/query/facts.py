"""What of a crash can be asked for, as pairs of a key and a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from triage.model import Crash, Frame, Runtime

Fact = tuple[str, str]
Pair = tuple[str, str | None]

_LONGEST = 200  # characters: values are indexed, and a core's text may be of any length
_FRAMES = 500  # a recursion has no more kinds of frames than that
_OF_FRAME = itemgetter(*map(Frame._fields.index, ("kind", "function", "class_name", "file")))


class Told(NamedTuple):
    """All that facts are made of; equal for equal facts, and a key. `frames` are `(kind, function, class, file)`."""

    status: str
    signal: str | None
    rules: tuple[str, ...]
    frames: tuple[tuple[str, str | None, str | None, str | None], ...]
    setup: tuple[Pair, ...]
    extensions: tuple[tuple[str, str | None], ...]
    options: tuple[tuple[str, str | None], ...]


def facts_of(crash: Crash) -> frozenset[Fact]:
    """Every fact of a crash, for the keys in `FACT_KEYS`."""
    return facts_from(told_of(crash))


def told_of(crash: Crash) -> Told:
    """What the facts of a crash are made of."""
    thread = crash.crashed_thread
    return told_by(
        status=crash.status.value,
        signal=crash.signal.name if crash.signal else None,
        rules=[finding.rule for finding in crash.findings],
        frames=thread.frames if thread else (),
        runtime=crash.runtime,
    )


def told_by(
    *, status: str, signal: str | None, rules: Iterable[str], frames: Sequence[Frame], runtime: Runtime | None
) -> Told:
    """The same of a crash of which this much is known: `rules` of its findings, `frames` of the crashed thread."""
    return Told(
        status,
        signal,
        tuple(rules),
        tuple(map(_OF_FRAME, frames[:_FRAMES])),
        tuple(_of_runtime(runtime)) if runtime is not None else (),
        tuple(runtime.extensions.items()) if runtime is not None else (),
        tuple(runtime.options.items()) if runtime is not None else (),
    )


def facts_from(told: Told) -> frozenset[Fact]:
    """The facts that are made of this."""
    found: list[Pair] = [("status", told.status), ("signal", told.signal)]
    found += (("kind", rule) for rule in told.rules)
    for frame in told.frames:
        found += _of_frame(*frame)
    found += told.setup
    found += _pairs("ext", told.extensions, "@")
    found += _pairs("opt", told.options, "=")
    return frozenset((key, value[:_LONGEST]) for key, value in found if value)


def _of_frame(kind: str, function: str | None, class_name: str | None, file: str | None) -> Iterator[Pair]:
    if kind == "native":
        yield "fn", function
        return
    yield "phpfile", file
    if function and class_name:
        yield "phpfn", f"{class_name}::{function}"
    yield "phpfn", function


def _of_runtime(runtime: Runtime) -> Iterator[Pair]:
    yield "sapi", runtime.sapi
    yield "pool", runtime.worker.pool if runtime.worker else None
    yield "uri", runtime.request.uri if runtime.request else None
    yield "phpfile", runtime.script


def _pairs(key: str, named: Iterable[tuple[str, str | None]], mark: str) -> Iterator[Pair]:
    for name, value in named:
        yield key, f"{name}{mark}{value}" if value is not None else name
