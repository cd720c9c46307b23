"""Native frames of a shape that was met before: what is the same in each process is kept, its own addresses put in.

Module, function, file and line of a frame hang on where it stands in which build; program counters, stack pointers
and registers are the walk's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from triage.gdb.known_calls import Row
from triage.model import NativeFrame, NativeThread
from triage.unwind import Spot, Walk

_new = tuple.__new__  # a third of the time that calling a NamedTuple takes
_OWN = 5  # fields of a NativeFrame in front that are not the same in each process, but for the first


class _Part(NamedTuple):
    """One frame: its row's place in the walk, address if it has one of its own, and distance of the stack pointer.

    `start` is how far before its address the function begins; `same` are the fields all processes share.
    """

    place: int
    spot: Spot | None
    sp: int | None
    has_loop: bool
    level: int
    start: int | None
    same: tuple[object, ...]


class Pattern(NamedTuple):
    """One thread's frames; `guessed` are the places of those of which no table says that there is code."""

    parts: tuple[_Part, ...]
    guessed: tuple[int, ...]
    depth: int
    gap: int
    gap_at: int


def pattern_of(thread: NativeThread, rows: Sequence[Row], walk: Walk) -> Pattern | None:
    """What the frames, made of these rows, have in common with those of other processes of the shape.

    `None` where how deep it went had a say, or it was not followed to its end.
    """
    frames = thread.frames
    if thread.stop or len(frames) != len(rows) or walk.depth != len(walk.places):
        return None
    parts = tuple(map(_part, frames, rows))
    guessed = tuple(at for at, frame in enumerate(frames) if at and frame.function_start is None)
    return Pattern(parts, guessed, thread.depth, thread.gap, thread.gap_at)


def _part(frame: NativeFrame, row: Row) -> _Part:
    start = None if frame.function_start is None else frame.pc - frame.function_start
    return _Part(row.place, row.spot, row.sp, row.loop, frame.level, start, frame[_OWN:])


def filled(pattern: Pattern, walk: Walk, address: Callable[[Spot], int], *, crashed: bool) -> NativeThread:
    """The thread of another process; `address` says where a spot lies in it."""
    places, frames = walk.places, []
    for number, spot, distance, has_loop, level, back, same in pattern.parts:
        pc, sp, loop, *_ = places[number]
        if spot is not None:
            pc = address(spot)
        frames.append(_new(NativeFrame, (
            level,
            pc,
            None if distance is None else sp + distance,
            loop if has_loop else None,
            None if back is None else pc - back,
            *same,
        )))  # fmt: skip
    _, _, depth, gap, gap_at = pattern
    return NativeThread(
        id=walk.thread, name=None, crashed=crashed, frames=tuple(frames), depth=depth, gap=gap, gap_at=gap_at
    )
