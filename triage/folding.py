"""Runs of equal frames told once: what makes a stack of ten thousand frames readable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage.model import Frame

_LONGEST_CYCLE = 12


@dataclass(frozen=True, slots=True)
class Repeat:
    """The `length` frames before this one come `times` more times."""

    length: int
    times: int

    @property
    def text(self) -> str:
        """In words."""
        what = "the frame above" if self.length == 1 else f"the {self.length} frames above"
        return f"… {what} {self.times} more times"


def fold(frames: Sequence[Frame]) -> Iterator[Frame | Repeat]:
    """The frames, with every cycle of up to 12 frames that is there at least thrice told once."""
    at = 0
    while at < len(frames):
        length, times = _cycle(frames, at)
        yield from frames[at : at + length]
        if times > 1:
            yield Repeat(length, times - 1)
        at += length * times


def _cycle(frames: Sequence[Frame], at: int) -> tuple[int, int]:
    """`(length, times)` of the shortest cycle that begins here; `(1, 1)` when there is none."""
    keys = [_key(frame) for frame in frames[at : at + _LONGEST_CYCLE * 3]]
    for length in range(1, _LONGEST_CYCLE + 1):
        if len(keys) < 3 * length:
            break
        if keys[:length] == keys[length : 2 * length] == keys[2 * length : 3 * length]:
            return length, _times(frames, at, length)
    return 1, 1


def _times(frames: Sequence[Frame], at: int, length: int) -> int:
    times = 1
    while at + (times + 1) * length <= len(frames) and all(
        _key(frames[at + n]) == _key(frames[at + times * length + n]) for n in range(length)
    ):
        times += 1
    return times


def _key(frame: Frame) -> tuple[object, ...]:
    return (frame.kind, frame.function, frame.class_name, frame.file, frame.line, frame.offset)
