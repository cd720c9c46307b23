"""How often the true change is found among others from crash times alone, and how often a change is seen in none.

    nice .venv/bin/python scripts/bench/onset.py [--streams 300]

A stream is a machine's life of 30 or 90 days with 10 to 100 changes (updates of packages, settings, deploys) at
random times. One of them, drawn by the weights of lists/kinds.json, raises the crash rate. Library updates are
packages of the whole system; the crashed process maps the files of one in five of them, and its cores tell
which: `logs` ranks all changes, `logs+cores` those that can have reached the process. Brackets: the rule of thumb
"the last change before the first crash". `first three` are those `triage why` lists; without a
step seen it lists them as what would fit, with no way back, so `and three` counts those told as suspects.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from triage.insight.changes import kinds
from triage.insight.changes.onset import DAY, Stream, onset, stream
from triage.insight.changes.ranking import rank
from triage.model import Change

# How often each kind of change comes on a server that is looked after.
OFTEN = {
    "php": 2,
    "extension": 2,
    "ini": 3,
    "pool": 2,
    "deploy": 10,
    "composer": 3,
    "library": 12,
    "restart": 3,
    "other": 3,
}
MAPPED = 0.2


@dataclass(frozen=True)
class Cell:
    days: int
    events: int
    before: float
    after: float
    late: float = 0.0


def poisson(rng: random.Random, start: float, end: float, rate: float) -> list[float]:
    times, at = [], start
    while rate > 0:
        at += rng.expovariate(rate) * DAY
        if at >= end:
            break
        times.append(at)
    return times


def life(rng: random.Random, cell: Cell) -> tuple[Stream, list[Change], Change, set[int]]:
    """A stream, its changes, the true one, and which of them reached the process."""
    span = cell.days * DAY
    names = list(OFTEN)
    drawn = rng.choices(names, [OFTEN[name] for name in names], k=cell.events)
    times = [rng.uniform(0.03, 0.97) * span for _ in drawn]
    reached = {at for at, kind in enumerate(drawn) if kind != "library" or rng.random() < MAPPED}
    weights = kinds.weights()
    able = sorted(reached)
    at = rng.choices(able, [weights[drawn[one]] for one in able])[0] if able else 0
    reached.add(at)
    changes = [
        Change(time=time, kind=kind, what=str(n), source="")
        for n, (time, kind) in enumerate(zip(times, drawn, strict=True))
    ]
    begin = times[at] + (rng.expovariate(1 / cell.late) * 3600 if cell.late else 0)
    crashes = poisson(rng, 0, min(begin, span), cell.before) + poisson(rng, begin, span, cell.after)
    return stream(((time, "h") for time in crashes), 0, span), changes, changes[at], reached


def line(cell: Cell, streams: int) -> tuple[list[float], int]:
    """Shares: first, three (logs); first, three (logs+cores); thumb; step; step and three. And how many streams."""
    got, usable = [0] * 7, 0
    for seed in range(streams * 3):
        rng = random.Random(f"{cell}{seed}")
        found, changes, truth, reached = life(rng, cell)
        if len(found.times) < 2:
            continue  # nobody asks before there are two crashes
        usable += 1
        for place, able in ((0, changes), (2, [changes[at] for at in sorted(reached)])):
            order = [suspect.change for suspect in rank(found, able).shown]
            got[place] += order[:1] == [truth]
            got[place + 1] += truth in order
        first = [change for change in changes if change.time <= found.times[0]]
        got[4] += bool(first) and max(first, key=lambda change: change.time) is truth
        step = onset(found) is not None
        got[5] += step
        got[6] += step and truth in order
        if usable == streams:
            break
    return [number / usable for number in got], usable


def main() -> int:
    """Print both tables; 0 when they keep what is asked."""
    options = argparse.ArgumentParser()
    options.add_argument("--streams", type=int, default=300)
    streams = options.parse_args().streams
    kept = True
    print(
        "crashes a day   days changes |   logs: first three | logs+cores: first three"
        " | [last before first] | step seen, and three"
    )
    for days, events in ((30, 10), (30, 40), (90, 40), (90, 100)):
        for before, after, late in ((0, 0.5, 0), (0, 2, 0), (0, 10, 0), (1, 4, 0), (0, 2, 6)):
            cell = Cell(days, events, before, after, late)
            share, _ = line(cell, streams)
            asked = (before, after, late, events) == (0, 2, 0, 40)
            enough = share[3] >= 0.95
            kept = kept and (enough or not asked)
            print(f"{before:>3} -> {after:<4}{' late' if late else '     '}  {days:>4} {events:>7} |         "
                  f"{share[0]:6.1%} {share[1]:6.1%} |          {share[2]:6.1%} {share[3]:6.1%} |"
                  f"            [{share[4]:6.1%}] | {share[5]:6.1%} {share[6]:6.1%}"
                  f"  {('ok' if enough else 'SHORT') if asked else ''}", flush=True)  # fmt: skip
    print("\nno change at all: a step is seen in")
    for days in (30, 90):
        for rate in (0.1, 0.2, 1, 4, 10):
            seen = 0
            for seed in range(streams):
                rng = random.Random(f"{days}{rate}{seed}")
                found = stream(((time, "h") for time in poisson(rng, 0, days * DAY, rate)), 0, days * DAY)
                seen += onset(found) is not None
            kept = kept and seen / streams <= 0.01
            mark = "ok" if seen / streams <= 0.01 else "SHORT"
            print(f"  {rate:>4} a day, {days} days: {seen / streams:.1%} of {streams}  {mark}", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
