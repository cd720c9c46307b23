"""When crashes began, from their times alone.

Crashes are taken as a Poisson process whose rate is unknown and may have stepped up once. Both rates have a
Gamma prior and are integrated out (conjugate; Raftery and Akman 1986), so a handful of crashes is enough and
nothing is fitted. Times are seconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, lgamma, log

from triage.insight.statistics import log_add

DAY = 86_400.0
_SHAPE, _TYPICAL = 0.5, 1.0
"""The prior of a rate: any, around one crash a day."""
_BURST = 600.0
_PIECES = 8
_LEAST = log(20)
"""How much better than one constant rate a step must be: constant rates then show one in 100 times at most."""
_FEWEST = 3
_NEW = log(0.5)
"""The prior that a crash which stepped up was not there at all before (its code was not), and that it was, rarer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """The step in a cluster's rate. `low` and `high` hold it with 95 %; rates are crashes a day.

    `new` tells that there was not one crash before it.
    """

    low: float
    high: float
    best: float
    before: float
    after: float
    odds: float
    new: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Crash times in order within an observed time."""

    start: float
    end: float
    times: tuple[float, ...]

    def split(self, at: float) -> float:
        """The log likelihood of a step up at `at`."""
        before = bisect_left(self.times, at)
        after = len(self.times) - before
        old = _NEW + _marginal(before, at - self.start)
        return (old if before else log_add([_NEW, old])) + _marginal(after, self.end - at)

    def constant(self) -> float:
        """The log likelihood of one rate throughout."""
        return _marginal(len(self.times), self.end - self.start)

    def rises(self, at: float) -> bool:
        """Whether there are more crashes a day after `at` than before."""
        before = bisect_left(self.times, at)
        after = len(self.times) - before
        return after * (at - self.start) > before * (self.end - at)


def _marginal(count: int, seconds: float) -> float:
    scale = _SHAPE / _TYPICAL
    days = max(seconds, 0.0) / DAY
    return lgamma(_SHAPE + count) - lgamma(_SHAPE) + _SHAPE * log(scale) - (_SHAPE + count) * log(scale + days)


def stream(times: Iterable[tuple[float, str]], start: float, end: float) -> Stream:
    """Crash times with their hosts as a stream; a host's crashes in one burst (a crash loop) count as one."""
    last: dict[str, float] = {}
    kept = []
    for time, host in sorted(times):
        if start <= time <= end and time - last.get(host, time - 2 * _BURST) > _BURST:
            kept.append(time)
        last[host] = time
    return Stream(start, end, tuple(kept))


def steps(found: Stream) -> list[tuple[float, float, float]]:
    """`(place, width, log likelihood)` of a step up, all over the observed time."""
    marks = sorted({found.start, *found.times, found.end})
    rows = []
    for left, right in pairwise(marks):
        width = (right - left) / _PIECES
        for piece in range(_PIECES if width > 0 else 0):
            at = left + (piece + 0.5) * width
            if found.rises(at):
                rows.append((at, width, found.split(at)))
    return rows


def anywhere(found: Stream) -> float:
    """The log likelihood of a step up at an unknown time, each time as likely as any other."""
    span = found.end - found.start
    return log_add([weight + log(width / span) for _, width, weight in steps(found)]) if span > 0 else float("-inf")


def onset(found: Stream) -> Onset | None:
    """The step, `None` where one constant rate explains the times about as well."""
    rows = steps(found) if len(found.times) >= _FEWEST else []
    odds = anywhere(found) - found.constant() if rows else float("-inf")
    if odds < _LEAST:
        return None
    low, high = _interval(rows)
    best = max(rows, key=lambda row: row[2])[0]
    first = bisect_left(found.times, best)
    return Onset(
        low=low, high=high, best=best, odds=odds, new=first == 0,
        before=first / max(1e-9, (best - found.start) / DAY),
        after=(len(found.times) - first) / max(1e-9, (found.end - best) / DAY),
    )  # fmt: skip


def _interval(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The shortest set of places that holds 95 % of the likelihood, as one interval."""
    top = max(weight for _, _, weight in rows)
    dense = sorted(((exp(weight - top) * width, at, width) for at, width, weight in rows), key=lambda r: -r[0] / r[2])
    whole, held, ends = sum(row[0] for row in dense), 0.0, []
    for mass, at, width in dense:
        ends += [at - width / 2, at + width / 2]
        held += mass
        if held >= 0.95 * whole:
            break
    return min(ends), max(ends)
