"""What two crashes are compared by, as plain data that a store can keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from triage.cluster.shape import BUILT_IN, NATIVE, SCRIPT, Shape, Step, read
from triage.cluster.signature import builds_of, is_overflow
from triage.cluster.traits import telling
from triage.model import Crash

_NEAR = 0x10000
_TOP = 1 << 64
_TRAITS = 4
MOST_STEPS = 9
"""No comparison looks farther out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A crash's shape and the few facts beside it that tell bugs apart.

    `fault` is how memory was misused (`read null+18`, `write wild`, `execute`, `abort`), `signal` the
    signal's name.
    """

    steps: tuple[Step, ...]
    overflow: bool = False
    entry: str | None = None
    heap: str | None = None
    opaque: bool = False
    died_at: str | None = None
    signal: str | None = None
    fault: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a comparison could rest on."""
        return not self.steps


_FIELDS = tuple(field.name for field in fields(Profile))
_STEP_FIELDS = tuple(field.name for field in fields(Step))


def profile_of(crash: Crash) -> Profile:
    """What of a crash is compared."""
    shape = read(crash.crashed_thread, builds_of(crash), overflow=is_overflow(crash))
    return profile(shape, crash)


def profile(shape: Shape, crash: Crash) -> Profile:
    """The same from a shape that was read before."""
    return Profile(
        steps=shape.steps if shape.overflow else shape.steps[:MOST_STEPS],
        overflow=shape.overflow,
        entry=shape.entry,
        heap=shape.heap,
        opaque=shape.opaque,
        died_at=shape.died_at,
        signal=crash.signal.name if crash.signal else None,
        fault=_fault(crash),
    )


def _fault(crash: Crash) -> str | None:
    """The kind of access, and how far from NULL it was: builds differ in addresses, seldom in this."""
    fault = crash.fault
    if fault is None:
        return None
    if fault.kind == "execute":
        return "execute"
    if fault.address < _NEAR:
        return f"{fault.kind} null+{fault.address:x}"
    if fault.address >= _TOP - _NEAR:
        return f"{fault.kind} null-{_TOP - fault.address:x}"
    return f"{fault.kind} wild"


def tokens(found: Profile) -> Iterator[str]:
    """The words under which an index finds this crash; the same word means the same thing in every crash."""
    if found.died_at:
        yield f"at:{found.died_at}"
    if found.entry:
        yield f"e:{found.entry}"
    for step in found.steps:
        if step.kind == NATIVE and step.name is not None:
            yield f"n:{step.name}"
        if step.kind == NATIVE and step.function is not None:
            yield f"u:{step.function}"
        elif step.kind == BUILT_IN:
            yield f"b:{step.name}"
        if step.place:
            yield f"at:{step.place}"
        for trait in telling(step.traits, _TRAITS):
            yield f"t:{trait}"
    innermost = found.steps[0] if found.steps else None
    if innermost is not None and innermost.kind == SCRIPT:
        yield f"o:{innermost.opcode}"
    for step in found.steps:
        if step.kind == SCRIPT:
            yield f"s:{step.name}"
            break


def dump(found: Profile) -> str:
    """JSON of a profile, without what is not there."""
    record = {name: value for name in _FIELDS if (value := getattr(found, name))}
    record["steps"] = [
        {name: value for name in _STEP_FIELDS if (value := getattr(step, name))} for step in found.steps
    ]
    return json.dumps(record, separators=(",", ":"))


@lru_cache(maxsize=2048)
def load(text: str) -> Profile:
    """The profile that `dump` wrote.

    Raises:
        ValueError: when `text` is not such JSON.
    """
    try:
        record = json.loads(text)
        return Profile(**{**record, "steps": tuple(map(_step, record["steps"]))})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a profile: {error}") from error


def _step(record: dict[str, Any]) -> Step:
    return Step(**{**record, "traits": tuple(record.get("traits", ()))})
