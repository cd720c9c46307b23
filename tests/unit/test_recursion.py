"""The turns of a recursion that are gone over at once are those that a walk frame by frame makes."""

from __future__ import annotations

import random
from array import array

import pytest

from triage.unwind.cfi import RETURN_ADDRESS, STACK_POINTER, Step
from triage.unwind.recursion import LONGEST, Turns, turns

_LOW = 0x7000_0000
_SPARE = 20


def _step(words: int, base: int = STACK_POINTER) -> Step:
    saved = ((RETURN_ADDRESS, -8),)
    return Step(base, words * 8, None, saved, -8, (), (), outermost=False, signal=False, plain=True)


# Functions by the address they are called back at: so many words of stack each.
STEPS: dict[int, Step | str] = {0xA: _step(4), 0xB: _step(9), 0xC: _step(2), 0xF: _step(3, base=6), 0xE: "no table"}


def _stack(callers: list[int], first: int = 0xA) -> memoryview:
    """The words of a stack on which the frame at `first` was called by these in turn."""
    words = array("Q")
    at = first
    for caller in callers:
        step = STEPS[at]
        assert isinstance(step, Step)
        words.extend([0xDEAD] * (step.offset // 8 - 1))
        words.append(caller)
        at = caller
    return memoryview(words)


def _found(callers: list[int], first: int = 0xA, spare: int = _SPARE) -> Turns | None:
    words = _stack(callers, first)
    return turns(STEPS, (_LOW, _LOW + 8 * len(words) - 8, words), first, _LOW, spare)


@pytest.mark.parametrize("turn", [[0xA], [0xB, 0xA], [0xB, 0xC, 0xC, 0xA], [0xB, 0xA, 0xC, 0xA]])
def test_a_turn_is_as_long_as_it_is(turn: list[int]) -> None:
    found = _found(turn * 100)
    assert found is not None
    assert found.counters == (0xA, *turn[:-1])
    assert found.size == sum(step.offset for at in found.counters if isinstance(step := STEPS[at], Step))
    left = (100 - found.times) * len(turn)
    assert _SPARE < left <= _SPARE + 2 * len(turn)


def test_what_is_no_recursion_is_left_to_the_walk() -> None:
    chance = random.Random(3)
    assert _found([chance.choice((0xA, 0xB, 0xC)) for _ in range(500)]) is None
    assert _found([0xB] * 500) is None  # never back at the first
    assert _found([0xB, 0xF, 0xA] * 200) is None  # one of them is found by another register
    assert _found([0xB, 0xE]) is None
    assert _found([0xB] * (LONGEST + 1) + [0xA]) is None
    assert _found([0xB, 0xA] * 5) is None  # too few
    assert _found([]) is None


def test_only_the_turns_that_are_alike_are_gone_over() -> None:
    found = _found([0xB, 0xA] * 60 + [0xC, 0xA] + [0xB, 0xA] * 500)
    assert found is not None
    assert found.times == 60 - _SPARE // 2 - 1
