"""Many turns of a recursion of the script gone over at once: one call after the other takes ten times as long.

PHP lays its calls on pages of its own stack one after the other. A recursion repeats a few records, each turn as
far from the last one as that was from the one before; how many turns follow each other is told by comparing
whole columns of their fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple

from triage.corefile.memory import CoreMemory, Words
from triage.corefile.protocol import Memory
from triage.model import ScriptFrame
from triage.runtimes.php.calls import Call, Calls

LONGEST = 16
"""Calls of a turn, at most."""
FIRST_TRY = 64
_FEWEST = 8
_ADDRESS = ScriptFrame._fields.index("address")
_FRAME = partial(tuple.__new__, ScriptFrame)  # its own _make, without a call in Python for each


class Turns(NamedTuple):
    """`times` more turns like `calls` (innermost first), each `size` bytes of PHP's stack further out."""

    calls: tuple[Call, ...]
    size: int
    times: int

    @property
    def total(self) -> int:
        """How many calls there are in them."""
        return self.times * len(self.calls)

    @property
    def onwards(self) -> int:
        """The address of the call behind the last one."""
        return (self.calls[-1].previous or 0) - self.times * self.size

    def columns(self) -> Iterator[range]:
        """The addresses of each call's likenesses, one call of the turn after the other."""
        for call in self.calls:
            yield range(call.address - self.size, call.address - (self.times + 1) * self.size, -self.size)

    def addresses(self) -> list[int]:
        """The addresses of all, innermost first."""
        return [address for turn in zip(*self.columns(), strict=True) for address in turn]

    def fewer(self, times: int) -> Turns:
        """Only the first of them."""
        return self._replace(times=times)


def turns(memory: Memory, calls: Calls, found: Sequence[Call], lowest: int, most: int) -> Turns | None:
    """The turns that follow the calls found so far, at most so many calls, all at or above an address.

    `None` where there are too few to be worth it.
    """
    length = _length(found)
    if not length or not isinstance(memory, CoreMemory) or memory.notes or not calls.size:
        return None
    turn = tuple(found[-length:])
    size = found[-1 - length].address - turn[-1].address
    with memory.words(turn[-1].address) as words:
        room = min(call.address for call in turn) - max(lowest, words.start if words is not None else 0)
        times = min(room // size, most // length)
        if words is None or times < _FEWEST or max(call.address for call in turn) + calls.size > words.end:
            return None
        for call in turn:
            times = _alike(words, calls, call, size, times)
            if times < _FEWEST:
                return None
    return Turns(turn, size, times)


def frames_of(turns: Turns, turn: Sequence[ScriptFrame]) -> Iterator[ScriptFrame]:
    """The frames of all their calls: those of one turn, at other addresses."""
    before, after = _ADDRESS, _ADDRESS + 1
    columns = [
        map(_FRAME, zip(*map(repeat, frame[:before]), addresses, *map(repeat, frame[after:]), strict=False))
        for frame, addresses in zip(turn, turns.columns(), strict=True)
    ]
    return chain.from_iterable(zip(*columns, strict=True))


def _length(found: Sequence[Call]) -> int:
    """How many calls make a turn: the last ones, and as many before them, differ in nothing but their place."""
    for length in range(1, min(LONGEST, len(found) // 2 - 1) + 1):
        distance = found[-1 - length].address - found[-1].address
        if distance <= 0 or distance % 8 or found[-1 - length].func != found[-1].func:
            continue
        if all(
            call.func and call == _moved(before, distance)
            for before, call in zip(found[-2 * length : -length], found[-length:], strict=True)
        ):
            return length
    return 0


def _moved(call: Call, distance: int) -> Call:
    return call._replace(address=call.address - distance, previous=(call.previous or 0) - distance)


def _alike(words: Words, calls: Calls, call: Call, size: int, most: int) -> int:
    """How many records in a row further out say the same as the one of a call, at most so many."""
    first = call.address - size - words.start
    step = size >> 3
    for offset, wanted in calls.words_of(call):
        if wanted is None:
            return 0
        at = first + offset >> 3
        found = words.view[at - (most - 1) * step : at + 1 : step].tolist()
        if found.count(wanted) < most:
            most = next(place for place, value in enumerate(reversed(found)) if value != wanted)
            if not most:
                return 0
    at = first + calls.previous >> 3
    before = (call.previous or 0) - size
    found = words.view[at - (most - 1) * step : at + 1 : step].tolist()
    expected = [*range(before - (most - 1) * size, before + 1, size)]
    if found == expected:
        return most
    pairs = enumerate(zip(reversed(found), reversed(expected), strict=True))
    return next(place for place, (value, other) in pairs if value != other)
