"""Which conditions, alone or two or three together, single out the crashes best.

Two rules that select the same crashes and the same workers cannot be told apart by any data: they are one
candidate, and what speaks for each adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from typing import TypeVar

from triage.insight.correlate.attributes import Masks
from triage.insight.correlate.evidence import Evidence, price
from triage.insight.statistics import log_add

Name = TypeVar("Name")

_SUPPORT = 0.55
"""A cause that a cluster's crashes mostly lack is none of this cluster."""
_BEAM = 60
"""Pairs that are tried with a third condition: the best, and those of the best single ones."""
TIED = log(5)
"""What is not 5 times less likely than the best is not told from it: odds below 3 are "not worth more than a bare
mention", those from 20 "strong" (Kass and Raftery 1995)."""


@dataclass(frozen=True, slots=True)
class Extent:
    """One candidate: whom it selects, and the smallest rules that do so, as indexes into the attribute groups."""

    masks: Masks
    rules: tuple[tuple[int, ...], ...]
    weight: float
    """Log posterior weight, relative to "nothing of this has to do with it" before any prior for that."""

    @property
    def place(self) -> float:
        """What it is ranked by, highest first: the simpler comes first unless it is 5 times less likely.

        It is the cheaper experiment, and mostly one of the conditions of the other.
        """
        return self.weight - TIED * (len(self.rules[0]) - 1)


@dataclass(frozen=True, slots=True)
class Side:
    """The controls' weights: how many workers a set of them stands for."""

    weights: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Whether each stands for as many as any other."""
        return len(set(self.weights)) <= 1

    def count(self, mask: int) -> int:
        """The workers in `mask`."""
        if self.even:
            return mask.bit_count() * (self.weights[0] if self.weights else 0)
        return sum(weight for at, weight in enumerate(self.weights) if mask >> at & 1)

    @property
    def total(self) -> int:
        """All workers."""
        return sum(self.weights)


def groups(found: Mapping[Name, Masks], cases: int) -> dict[Masks, list[Name]]:
    """Attributes that are always there together, as one; those that too few crashes have are left out."""
    least = max(1, int(cases * _SUPPORT))
    together: dict[Masks, list[Name]] = {}
    for name, masks in found.items():
        if masks.cases.bit_count() >= least:
            together.setdefault(masks, []).append(name)
    return together


class Search:
    """The search for one comparison. `attributes` is how many there were before any was left out."""

    def __init__(self, grouped: Sequence[tuple[Masks, int]], evidence: Evidence, side: Side, cases: int,
                 attributes: int) -> None:  # fmt: skip
        """`grouped`: masks of each group and how many attributes it stands for."""
        self._grouped = grouped
        self._evidence = evidence
        self._side = side
        self._least = max(1, int(cases * _SUPPORT))
        self._prices = [price(max(attributes, 3), size) for size in (1, 2, 3)]
        self._total = side.total
        self._counts: dict[int, float] = {}

    def run(self) -> list[Extent]:
        """Every candidate, the best first."""
        singles = [((at,), masks) for at, (masks, _) in enumerate(self._grouped)]
        pairs = list(self._pairs())
        triples = self._triples(pairs)
        found: dict[Masks, list[tuple[float, tuple[int, ...]]]] = {}
        for rule, masks in (*singles, *pairs, *triples):
            weight = self._weight(rule, masks)
            found.setdefault(masks, []).append((weight, rule))
        extents = [_extent(masks, rules) for masks, rules in found.items()]
        return sorted(extents, key=lambda extent: -extent.place)

    def _pairs(self) -> Iterator[tuple[tuple[int, ...], Masks]]:
        for (one, (first, _)), (two, (second, _)) in combinations(enumerate(self._grouped), 2):
            cases = first.cases & second.cases
            controls = first.controls & second.controls
            if cases.bit_count() >= self._least and controls not in (first.controls, second.controls):
                yield (one, two), Masks(cases, controls)

    def _triples(self, pairs: Iterable[tuple[tuple[int, ...], Masks]]) -> Iterator[tuple[tuple[int, ...], Masks]]:
        best = sorted(pairs, key=lambda pair: -self._fit(pair[1]))[:_BEAM]
        done = set()
        for (one, two), masks in best:
            for at, (third, _) in enumerate(self._grouped):
                cases, controls = masks.cases & third.cases, masks.controls & third.controls
                rule = tuple(sorted((one, two, at)))
                if controls == masks.controls or cases.bit_count() < self._least or rule in done:
                    continue
                done.add(rule)
                yield rule, Masks(cases, controls)

    def share(self, controls: int) -> float:
        """The share of the workers, kept off 0 and 1: the controls are a sample only."""
        found = self._counts.get(controls)
        if found is None:
            found = self._counts[controls] = (self._side.count(controls) + 0.5) / (self._total + 1)
        return found

    def _fit(self, masks: Masks) -> float:
        return self._evidence.of(masks.cases.bit_count(), self.share(masks.controls))

    def _weight(self, rule: tuple[int, ...], masks: Masks) -> float:
        ways = 0.0
        for at in rule:
            ways += _log_count(self._grouped[at][1])
        return self._prices[len(rule) - 1] + ways + self._fit(masks)


def _log_count(count: int) -> float:
    return log_add([0.0] * count)


def _extent(masks: Masks, rules: list[tuple[float, tuple[int, ...]]]) -> Extent:
    shortest = min(len(rule) for _, rule in rules)
    kept = tuple(rule for _, rule in sorted(rules, reverse=True) if len(rule) == shortest)
    return Extent(masks, kept, log_add([weight for weight, _ in rules]))
