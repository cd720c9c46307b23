"""Fibers (PHP 8.1 and newer): every one the script has, and the stack each stands on.

A suspended fiber's frames are on no native stack and not in the chain from
EG(current_execute_data): only the objects store leads to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage.model import Fiber, Frame
from triage.runtimes.php.frames import StackReader, Walk
from triage.runtimes.php.reader import Reader

_STATES = {0: "init", 1: "running", 2: "suspended", 3: "dead"}
_MOST_OBJECTS = 200_000
_MOST_FIBERS = 1000
_FREE = 1  # a free slot of the objects store has this bit set (OBJ_BUCKET_INVALID)


@dataclass(frozen=True, slots=True)
class FoundFiber:
    """A Fiber object. `current` is the innermost frame of its stack, `bottom` the one it begins with."""

    id: int
    status: str
    current: int | None
    bottom: int | None


def objects(reader: Reader, executor: int) -> Iterator[int]:
    """Addresses of all live objects in EG(objects_store)."""
    if not reader.layout.has("executor_globals", "objects_store"):
        return
    store = executor + reader.layout.offset("executor_globals", "objects_store")
    buckets, top = reader.fields(store, "objects_store", "object_buckets", "top")
    if not buckets or buckets % 8 or top is None:
        return
    for start in range(1, min(top, _MOST_OBJECTS), 4096):  # object handles begin at 1
        count = min(4096, min(top, _MOST_OBJECTS) - start)
        raw = reader.memory.read(buckets + start * 8, count * 8)
        if raw is None:
            return
        yield from [address for address in memoryview(raw).cast("Q").tolist() if address and not address & _FREE]


def fibers(reader: Reader, executor: int) -> tuple[FoundFiber, ...]:
    """All fibers that have begun and not ended, oldest first, at most 1000."""
    if not reader.layout.has("executor_globals", "active_fiber"):
        return ()
    found: list[FoundFiber] = []
    for address in objects(reader, executor):
        entry = reader.field(address, "object", "ce") if address % 8 == 0 else None
        if entry and reader.class_name(entry) == "Fiber":
            fiber = _fiber(reader, address)
            if fiber is not None and len(found) < _MOST_FIBERS:
                found.append(fiber)
    return tuple(found)


def _fiber(reader: Reader, address: int) -> FoundFiber | None:
    context = address + reader.layout.offset("fiber", "context")
    state = _STATES.get(reader.field(context, "fiber_context", "status") or 0)
    number = reader.field(address, "object", "handle")
    if state not in ("running", "suspended") or number is None:
        return None
    return FoundFiber(
        id=number,
        status=state,
        current=reader.pointer(address, "fiber", "execute_data"),
        bottom=reader.pointer(address, "fiber", "stack_bottom"),
    )


def stacks(
    reader: Reader, found: Sequence[FoundFiber], walker: StackReader, current: int | None, *, limit: int
) -> tuple[tuple[Fiber, ...], tuple[str, ...]]:
    """`(fibers, warnings)`: each fiber's own stack, those the crashed stack goes through first.

    `walker.bottoms` must be those of the walk from `current`: they cut the crashed stack into fibers.
    """
    by_bottom = {fiber.bottom: fiber for fiber in found if fiber.bottom is not None}
    live = [by_bottom[bottom] for bottom in walker.bottoms if bottom in by_bottom]
    shown, start = [], current
    for at, fiber in enumerate(live):
        walk = walker.walk(start, limit=limit, until=fiber.bottom)
        status = "waiting" if at else "running"
        shown.append(Fiber(id=fiber.id, status=status, depth=walk.depth, frames=_frames(walk)))
        start = reader.pointer(fiber.bottom or 0, "execute_data", "prev_execute_data")
    for fiber in found:
        if fiber not in live and fiber.status == "suspended":
            walk = walker.walk(fiber.current, limit=limit, until=fiber.bottom)
            shown.append(Fiber(id=fiber.id, status="suspended", depth=walk.depth, frames=_frames(walk)))
    return tuple(shown), tuple(walker.warnings)


def _frames(walk: Walk) -> tuple[Frame, ...]:
    return tuple(frame.shown() for frame in walk.frames)
