"""Many turns of one recursion gone over at once.

Where every frame's caller is found from the stack pointer alone, the program counters decide all that
follows. When they come back to the first after some frames, the next turn lies right above this one, as
large; how many turns follow each other is told by comparing whole columns of return addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from triage.unwind.cfi import RETURN_ADDRESS, STACK_POINTER, Step

LONGEST = 64
"""Frames of a turn, at most."""
_FEWEST = 8


class Turns(NamedTuple):
    """`times` turns of `counters` (program counters, innermost first), each `size` bytes of stack."""

    counters: tuple[int, ...]
    size: int
    times: int


def turns(
    steps: Mapping[int, Step | str], window: tuple[int, int, memoryview], pc: int, sp: int, spare: int
) -> Turns | None:
    """The turns that follow the frame at `pc` and `sp`, all within `window` (see StackWords).

    As many are left out at the end as `spare` frames make. `None` where that leaves too few to be worth it.
    """
    low, _, words = window
    frames = _frames(steps, window, pc, sp)
    counters = [pc, *(found for found, _ in frames)]
    for length in (at for at, (found, _) in enumerate(frames, 1) if found == pc):
        size = frames[length - 1][1] + 8 - sp
        if size % 8:
            return None
        turn = frames[:length]
        count = min(_alike(words[(slot - low) >> 3 :: size >> 3].tolist(), found) for found, slot in turn)
        count -= spare // length + 1
        if count >= _FEWEST:
            return Turns(tuple(counters[:length]), size, count)
    return None


def _frames(
    steps: Mapping[int, Step | str], window: tuple[int, int, memoryview], pc: int, sp: int
) -> list[tuple[int, int]]:
    """For each frame from `pc` on: its caller's program counter, and where on the stack that lies."""
    low, high, words = window
    found: list[tuple[int, int]] = []
    for _ in range(LONGEST):
        step = steps.get(pc)
        if not isinstance(step, Step) or not step.plain or step.base != STACK_POINTER or step.offset <= 0:
            break
        cfa = sp + step.offset
        slot = cfa - 8
        if (RETURN_ADDRESS, -8) not in step.saved or cfa & 7 or not low <= sp or slot > high:
            break
        pc, sp = words[(slot - low) >> 3], cfa
        found.append((pc, slot))
    return found


def _alike(column: Sequence[int], wanted: int) -> int:
    """How many values at the beginning are the one that is wanted."""
    if column.count(wanted) == len(column):
        return len(column)
    return next(at for at, value in enumerate(column) if value != wanted)
