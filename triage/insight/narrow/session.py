"""One narrowing: from the whole configuration to the smallest, resumable, within a budget, with runs counted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triage.insight.narrow.ddmin import ddmin, tries
from triage.insight.narrow.items import Command, Item
from triage.insight.narrow.oracle import Oracle, Place

_CERTAIN = 3
"""So many crashes in so many runs, and it is taken as one that always comes."""
_FIRST = 60
_ENOUGH = 6
"""Crashes seen before the probability is taken as known well enough."""
_ERROR = 0.05


class OutOfBudget(Exception):
    """The budget is used up; what is known so far is in the session."""


class NoCrash(Exception):
    """The whole configuration does not crash (or not that way). The message says what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be spent: runs of the command, seconds."""

    runs: int = 2000
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """The result. `needed` is the smallest set found; `chance` the crash's probability in one run.

    `tries` is how often each set was run before it was called harmless, `error` the probability that any of those
    calls was wrong; `verified` tells that each item left was tried once more. `others` are crashes elsewhere.
    """

    needed: tuple[Item, ...]
    items: int
    place: Place
    chance: float
    tries: int
    error: float
    runs: int
    tests: int
    verified: bool
    others: dict[str, int] = field(default_factory=dict)


class Session:
    """The tests of one narrowing. Results are kept in `state`, so that a later run goes on where this one ended."""

    def __init__(self, command: Command, items: Sequence[Item], oracle: Oracle, budget: Budget, state: Path | None,
                 *, same: Callable[[Place, Place], bool], say: Callable[[str], None]) -> None:  # fmt: skip
        self._command = command
        self._items = tuple(items)
        self._oracle = oracle
        self._budget = budget
        self._same = same
        self._say = say
        self._state = state
        self._known: dict[str, tuple[int, bool]] = {}
        self._spent = 0
        self._tests = 0
        self._begun = time.monotonic()
        self.best: tuple[Item, ...] = tuple(items)
        self.place: Place | None = None
        self.chance = 1.0
        self.tries = 1
        self.others: Counter[str] = Counter()
        self._load()

    def run(self, wanted: Place | None = None) -> Narrowed:
        """Narrow down.

        Raises:
            NoCrash, OutOfBudget: see there.
        """
        if self.place is None:
            self._look(wanted)
        assert self.place is not None  # noqa: S101 — `_look` raises otherwise
        kept = ddmin(self._items, self._crashes)
        kept = self._verify(kept)
        return Narrowed(
            needed=tuple(sorted(kept, key=lambda item: (not item.loads, item))), items=len(self._items),
            place=self.place, chance=self.chance, tries=self.tries, runs=self._spent, tests=self._tests,
            error=min(1.0, self._tests * (1 - self.chance) ** self.tries), verified=True, others=dict(self.others),
        )  # fmt: skip

    def _look(self, wanted: Place | None) -> None:
        """Run the whole configuration until the crash and its probability are known."""
        seen: Counter[Place] = Counter()
        ended, runs = "", 0
        while runs < _FIRST:
            place, ended = self._once(self._items)
            runs += 1
            if place is not None:
                seen[place] += 1
            top = self._count(seen, wanted)
            if (top == runs == _CERTAIN) or (top >= _ENOUGH and runs >= 4 * _CERTAIN):
                break
        target = wanted or (seen.most_common(1)[0][0] if seen else None)
        hits = self._count(seen, target)
        if target is None or hits == 0:
            saw = ", ".join(f"{place.text} ({count} times)" for place, count in seen.most_common(3))
            what = f" that way; seen: {saw}" if saw else f"; the last run said: {ended[-300:].strip()!r}"
            raise NoCrash(f"in {runs} runs with all {len(self._items)} lines it did not crash{what}")
        self.place = target
        self.chance = 1.0 if hits == runs else max(0.02, (hits - 0.5) / runs)
        expected = 4 * max(4, len(self._items).bit_length()) * 2
        self.tries = tries(self.chance, _ERROR / expected)
        often = "It comes each time." if self.tries == 1 else f"Each test takes up to {self.tries} runs."
        self._say(f"{target.text}: in {hits} of {runs} runs. {often}")
        self._save()

    def _count(self, seen: Counter[Place], target: Place | None) -> int:
        if target is None:
            return seen.most_common(1)[0][1] if seen else 0
        return sum(count for place, count in seen.items() if self._same(place, target))

    def _once(self, items: Sequence[Item]) -> tuple[Place | None, str]:
        if self._spent >= self._budget.runs or time.monotonic() - self._begun > self._budget.seconds:
            raise OutOfBudget
        self._spent += 1
        ran, place = self._oracle.run(self._command.argv(items))
        return place, ran.output

    def crashes(self, items: Sequence[Item]) -> bool:
        """Whether these items crash that way, within the same budget."""
        return self._crashes(items)

    def crashes_as(self, argv: Sequence[str]) -> bool:
        """Whether another command crashes that way."""
        for _ in range(self.tries):
            if self._spent >= self._budget.runs:
                raise OutOfBudget
            self._spent += 1
            _, place = self._oracle.run(argv)
            if place is not None and self.place is not None and self._same(place, self.place):
                return True
        return False

    def _crashes(self, items: Sequence[Item], *, double: bool = False) -> bool:
        """Whether these items crash that way: as soon as one run does, and not before enough have not."""
        key = _key(items)
        done, found = self._known.get(key, (0, False))
        enough = self.tries * (2 if double and self.tries > 1 else 1)
        self._tests += key not in self._known
        while not found and done < enough:
            place, _ = self._once(items)
            done += 1
            found = place is not None and self.place is not None and self._same(place, self.place)
            if place is not None and not found:
                self.others[place.text] += 1
        self._known[key] = (done, found)
        if found and len(items) < len(self.best):
            self.best = tuple(items)
            self._say(f"{len(self.best)} of {len(self._items)} left after {self._spent} runs")
        self._save()
        return found

    def _verify(self, kept: list[Item]) -> list[Item]:
        """Try each item left once more, twice as often: a wrong "harmless" only keeps too much."""
        if not self._crashes(kept, double=True):
            kept = list(self.best)
        at = 0
        while at < len(kept):
            rest = [*kept[:at], *kept[at + 1 :]]
            if self._crashes(rest, double=True):
                kept, at = rest, 0
            else:
                at += 1
        return kept

    def _load(self) -> None:
        try:
            found = json.loads(self._state.read_text()) if self._state is not None else None
        except (OSError, ValueError):
            return  # nothing to go on with
        if not isinstance(found, dict) or found.get("of") != self._identity():
            return
        self._known = {key: (int(done), bool(hit)) for key, (done, hit) in found["known"].items()}
        self.place, self.chance, self.tries = Place(*found["place"]), found["chance"], found["tries"]
        self._say(f"going on where the last run ended ({len(self._known)} tests known)")

    def _save(self) -> None:
        if self._state is None or self.place is None:
            return
        place = (self.place.signal, self.place.module, self.place.offset)
        state = {
            "of": self._identity(),
            "place": place,
            "chance": self.chance,
            "tries": self.tries,
            "known": self._known,
        }
        self._state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._state.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(state, file)
        part.replace(self._state)

    def _identity(self) -> str:
        return _key(self._items) + ":" + " ".join((self._command.program, *self._command.rest))


def _key(items: Sequence[Item]) -> str:
    return hashlib.sha256("\n".join(sorted(item.text for item in items)).encode("utf-8", "replace")).hexdigest()[:24]
