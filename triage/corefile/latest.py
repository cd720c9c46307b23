"""What was made of some bytes, for those who come with the very same bytes.

The workers of one master have the same table of segments and the same list of files. To compare a few thousand
bytes with those that came last takes less than to hash them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 32
_LONGEST = 1 << 17


class Latest(Generic[T]):
    """The latest answers, each under the bytes it was made of."""

    def __init__(self) -> None:
        self._kept: list[tuple[bytes, T]] = []

    def of(self, raw: bytes, work: Callable[[bytes], T]) -> T:
        """`work(raw)`, or the very object it gave for the same bytes before. What is very long is not kept."""
        kept = self._kept
        for at, one in enumerate(kept):
            if one[0] == raw:
                if at:
                    self._kept = [one, *kept[:at], *kept[at + 1 :]]
                return one[1]
        made = work(raw)
        if len(raw) <= _LONGEST:
            self._kept = [(raw, made), *kept[: _MOST - 1]]
        return made
