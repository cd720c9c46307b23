"""The best that any method can do on the correlation bench's fleets: Bayes' rule with all that the bench knows.

It is told what no tool can know: how many conditions the cause has, that 3 to 50 % of the hosts have it, that one
crash in ten is unrelated, and that the others are spread evenly over those who have it. What it picks is the most
probable set of hosts, so no method picks the right one more often on average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from math import log

from triage.insight.correlate import Attribute
from triage.insight.correlate.search import TIED


def ranked(hosts: Sequence[frozenset[Attribute]], fell: Sequence[int], size: int, unrelated: float) -> list[
    tuple[int, float]
]:  # fmt: skip
    """Each set of hosts a cause of `size` (1 or 2) conditions can have, as bits, and its log weight; best first."""
    rules = Counter(_selected(hosts, size))
    weights = {extent: log(count) + _likelihood(extent, fell, len(hosts), unrelated)
               for extent, count in rules.items()}  # fmt: skip
    return sorted(weights.items(), key=lambda pair: -pair[1])


def tied(found: Sequence[tuple[int, float]], most: int) -> list[int]:
    """The best and those not 5 times less likely, `most` of them."""
    return [extent for extent, weight in found[:most] if weight >= found[0][1] - TIED]


def _selected(hosts: Sequence[frozenset[Attribute]], size: int) -> Iterable[int]:
    have: dict[Attribute, int] = {}
    for at, host in enumerate(hosts):
        for attribute in sorted(host):
            have[attribute] = have.get(attribute, 0) | 1 << at
    least, most = max(1, 0.03 * len(hosts)), 0.5 * len(hosts)
    if size == 1:
        return (extent for extent in have.values() if least <= extent.bit_count() <= most)
    return (one & other for one, other in combinations(have.values(), 2)
            if least <= (one & other).bit_count() <= most and one & other not in (one, other))  # fmt: skip


def _likelihood(extent: int, fell: Sequence[int], hosts: int, unrelated: float) -> float:
    hits = sum(extent >> host & 1 for host in fell)
    outside = unrelated / hosts
    return hits * log((1 - unrelated) / extent.bit_count() + outside) + (len(fell) - hits) * log(outside)
