"""The statistics the comparisons rest on, exact where numbers are small; no dependency.

Counts are integers, probabilities natural floats. Sources: Fisher 1922; Benjamini and Hochberg 1995;
Newcombe 1998 (method 10, from Wilson's score interval).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, lgamma, log, sqrt

_Z95 = 1.959964


@lru_cache(maxsize=65536)
def log_choose(total: int, taken: int) -> float:
    """The logarithm of `total` over `taken`."""
    return lgamma(total + 1) - lgamma(taken + 1) - lgamma(total - taken + 1)


def log_add(terms: Sequence[float]) -> float:
    """The logarithm of the sum of `exp(term)`; minus infinity for none."""
    top = max(terms, default=float("-inf"))
    return top if top == float("-inf") else top + log(sum(exp(term - top) for term in terms))


@lru_cache(maxsize=65536)
def fisher(hits: int, cases: int, others: int, controls: int) -> float:
    """One-sided exact p: `hits` of `cases` or more, if they were drawn from the same as `others` of `controls`."""
    marked, total = hits + others, cases + controls
    every = log_choose(total, cases)
    most = min(cases, marked)
    terms = [log_choose(marked, k) + log_choose(total - marked, cases - k) - every for k in range(hits, most + 1)]
    return min(1.0, exp(log_add(terms)))


def adjusted(values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's q for each p, in the order given."""
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    found, least = [1.0] * len(values), 1.0
    for rank, at in enumerate(order):
        least = min(least, values[at] * len(values) / (len(values) - rank))
        found[at] = least
    return found


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share; all of it for no observations."""
    if total == 0:
        return 0.0, 1.0
    share, z = hits / total, _Z95
    centre = share + z * z / (2 * total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def difference(hits: int, cases: int, others: int, controls: int) -> tuple[float, float, float]:
    """`(difference of the two shares, low, high)`, 95 %."""
    one, two = hits / cases, others / controls
    low1, high1 = wilson(hits, cases)
    low2, high2 = wilson(others, controls)
    gap = one - two
    return gap, gap - sqrt((one - low1) ** 2 + (high2 - two) ** 2), gap + sqrt((high1 - one) ** 2 + (two - low2) ** 2)
