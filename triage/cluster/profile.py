"""What two crashes are compared by, as plain data that a store can keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from triage.cluster.normalize import instruction, words
from triage.cluster.shape import BUILD_DIGITS, BUILT_IN, NATIVE, SCRIPT, Shape, Step, read
from triage.cluster.signature import builds_of, is_overflow
from triage.cluster.symptom import access, reach
from triage.cluster.traits import telling
from triage.model import Crash

_TRAITS = 4
MOST_STEPS = 9
"""No comparison looks farther out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A crash's shape and the few facts beside it that tell bugs apart.

    `fault` is how memory was misused (`read null`, `write wild`, `execute`), `reach` how far behind the pointer
    and how many bytes at once (`18/8`, the first in hexadecimal): the member of a structure, the same in other
    builds. `signal` is the signal's name, `build` the
    program's build-id, shortened.
    """

    steps: tuple[Step, ...]
    overflow: bool = False
    entry: str | None = None
    heap: str | None = None
    opaque: bool = False
    died_at: str | None = None
    signal: str | None = None
    fault: str | None = None
    reach: str | None = None
    build: str | None = None

    @property
    def door(self) -> Step | None:
        """The innermost frame of the interpreter's own stack: the built-in function at work, or script code."""
        return None if self.overflow else next((step for step in self.steps if step.kind != NATIVE), None)

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
        steps=shape.steps if shape.overflow else _nearest(shape.steps),
        overflow=shape.overflow,
        entry=shape.entry,
        heap=shape.heap,
        opaque=shape.opaque,
        died_at=shape.died_at,
        signal=crash.signal.name if crash.signal else None,
        fault=access(crash.fault),
        reach=None if shape.opaque or _in_system(shape.steps) else reach(crash.fault),
        build=(crash.build_id or "")[:BUILD_DIGITS] or None,
    )


def _nearest(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that comparisons look at: with the innermost of the script's, however far out it is."""
    near = steps[:MOST_STEPS]
    door = next((step for step in steps if step.kind != NATIVE), None)
    if door is None or any(step.kind != NATIVE for step in near):
        return tuple(near)
    return (*near[:-1], door)


def _in_system(steps: Sequence[Step]) -> bool:
    """Whether it died in the system's own functions, which another release and another processor has otherwise."""
    return bool(steps) and (steps[0].module or "") in words("system.txt")


def tokens(found: Profile) -> Iterator[str]:
    """The words under which an index finds this crash; the same word means the same thing in every crash."""
    if found.died_at:
        yield f"at:{found.died_at}"
    if found.entry:
        yield f"e:{found.entry}"
    yield from _door_tokens(found)
    for step in found.steps:
        if step.kind == NATIVE and step.name is not None:
            yield f"n:{step.name}"
        if step.kind == NATIVE and step.function is not None:
            yield f"u:{step.function}"
        if step.place:
            yield f"at:{step.place}"
        for trait in telling(step.traits, _TRAITS):
            yield f"t:{trait}"
    for step in found.steps:
        if step.kind == SCRIPT:
            yield f"s:{step.name}"
            break
    if found.overflow:
        yield from (f"m:{method}" for step in found.steps if (method := engine_method(step)) is not None)


def engine_method(step: Step) -> str | None:
    """The name of a method of script code that the engine itself calls, in small letters."""
    owner, _, method = (step.name or "").rpartition("::")
    return method.lower() if step.kind == SCRIPT and owner and method in words("engine.txt") else None


def _door_tokens(found: Profile) -> Iterator[str]:
    """What the script had called or was doing, alone and with what could not be had: few, rare and rarer."""
    door = found.door
    if door is None:
        return
    told = door.name if door.kind == BUILT_IN else instruction(door.opcode or "")
    yield f"d:{told} {found.fault} {found.reach}"
    yield f"d:{told} {found.fault}"
    yield f"d:{told} at work"


@lru_cache(maxsize=256)
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
