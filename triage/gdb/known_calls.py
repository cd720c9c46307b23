"""GDB's frames by call: a stack that was never seen, made of calls that were, is put together without GDB.

What GDB shows of a frame (name, file, line, what is inlined into it) is a matter of where the frame stands and,
for tail calls, of whom it called. So each is kept with the frame it called. A stack in which any call is new is
GDB's, and so is one with frames left out in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from triage.unwind import Spot

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """One frame of GDB's. It stands on the frame `place` of the walk, counted from the end if negative.

    `spot` is set where GDB made up a frame with an address of its own (a tail call).
    """

    static: Mapping[str, Any]
    place: int
    spot: Spot | None
    sp: int | None
    loop: bool


class Seat(NamedTuple):
    """Where a frame stands, and what else of it GDB's answer hangs on."""

    spot: Spot
    signal: bool
    vouched: bool
    loop_lost: bool


Call = tuple[Seat | None, Seat]
"""The frame that was called, `None` for the innermost frame's, and its caller."""


class KnownCalls:
    """Rows by call, and how many of the walk's frames GDB leaves out behind an outermost one."""

    def __init__(self) -> None:
        self._rows: dict[Call, tuple[Row, ...] | None] = {}
        self._ends: dict[Call, int | None] = {}

    def learn(self, seats: Sequence[Seat], rows: Sequence[Row], beyond: int) -> None:
        """Keep what GDB showed of a stack, whole; what it showed otherwise before is not relied on any more."""
        if len(self._rows) > _MOST:
            self._rows, self._ends = {}, {}
        shown = len(seats) - beyond
        groups: list[list[Row]] = [[] for _ in range(shown)]
        for row in rows:
            groups[row.place].append(replace(row, place=0))
        for at, (call, group) in enumerate(zip(_calls(seats), groups, strict=False)):
            fits = tuple(group) if all(row.spot is None for row in group) else None
            self._rows[call] = fits if self._rows.get(call, fits) == fits else None
            end = beyond if at == shown - 1 else -1
            self._ends[call] = end if self._ends.get(call, end) == end else None

    def compose(self, seats: Sequence[Seat]) -> tuple[tuple[Row, ...], int] | None:
        """`(rows, frames left out behind them)` of a stack; `None` where any of its calls is new or was ambiguous."""
        found: list[Row] = []
        for at, call in enumerate(_calls(seats)):
            rows, end = self._rows.get(call), self._ends.get(call)
            if rows is None or end is None:
                return None
            found.extend(replace(row, place=at) for row in rows)
            if end >= 0:
                return (tuple(found), end) if end == len(seats) - at - 1 else None
        return None


def _calls(seats: Sequence[Seat]) -> list[Call]:
    return list(zip((None, *seats), seats, strict=False))
