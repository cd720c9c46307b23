"""B-cubed precision, recall and F1, and how sure a difference is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BCubed:
    """Precision: how much of a trace's cluster is its bug. Recall: how much of its bug is in its cluster."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall) if self.precision else 0.0


def per_trace(labels: Sequence[str], clusters: Sequence[object]) -> list[tuple[float, float]]:
    """(precision, recall) of each trace."""
    both = Counter(zip(labels, clusters, strict=True))
    bugs, sizes = Counter(labels), Counter(clusters)
    return [(both[b, c] / sizes[c], both[b, c] / bugs[b]) for b, c in zip(labels, clusters, strict=True)]


def bcubed(labels: Sequence[str], clusters: Sequence[object]) -> BCubed:
    """B-cubed over all traces."""
    found = per_trace(labels, clusters)
    return BCubed(sum(p for p, _ in found) / len(found), sum(r for _, r in found) / len(found))


def bootstrap(labels: Sequence[str], ours: Sequence[object], theirs: Sequence[object], rounds: int = 2000
              ) -> tuple[float, float, float, float, float]:  # fmt: skip
    """(difference of F1, its 2.5 and 97.5 percentile, and those of our F1), resampling whole bugs."""
    mine, other = per_trace(labels, ours), per_trace(labels, theirs)
    of_bug: dict[str, list[int]] = {}
    for at, label in enumerate(labels):
        of_bug.setdefault(label, []).append(at)
    sums = [(len(at), *(sum(values[i][k] for i in at) for values in (mine, other) for k in (0, 1)))
            for at in of_bug.values()]  # fmt: skip
    dice = random.Random(5)
    differences, own = [], []
    for _ in range(rounds):
        drawn = dice.choices(sums, k=len(sums))
        count = sum(row[0] for row in drawn)
        p, r, q, s = (sum(row[k] for row in drawn) / count for k in (1, 2, 3, 4))
        own.append(BCubed(p, r).f1)
        differences.append(own[-1] - BCubed(q, s).f1)
    differences.sort()
    own.sort()
    low, high = int(rounds * 0.025), int(rounds * 0.975)
    whole = bcubed(labels, ours).f1 - bcubed(labels, theirs).f1
    return whole, differences[low], differences[high], own[low], own[high]


def versions(found: Iterable[tuple[str, str, object]], old: str = "7.4", new: str = "8.2"
             ) -> dict[str, tuple[float, bool]]:  # fmt: skip
    """Of `(bug, condition, cluster)`: each bug that died on both versions, with two figures.

    The share of pairs of crashes, one of each, in one cluster; and whether most of both are in the same.
    """
    by_bug: dict[str, tuple[list[object], list[object]]] = {}
    for bug, condition, label in found:
        if old in condition or new in condition:
            by_bug.setdefault(bug, ([], []))[old not in condition].append(label)
    shares = {}
    for bug, (olds, news) in by_bug.items():
        if olds and news:
            share = sum(o == n for o in olds for n in news) / (len(olds) * len(news))
            shares[bug] = share, Counter(olds).most_common(1)[0][0] == Counter(news).most_common(1)[0][0]
    return shares
