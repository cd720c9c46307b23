"""How well "the crashes come from those who have this" explains where the crashes are.

The crashes fall on configurations. With no cause among the attributes they fall as the workers do; with a
cause, most of them (nine in ten, give or take) fall on those that have it, spread as the workers are. How
evenly they are spread over configurations is unknown: one sick host takes many. So the shares are drawn from
a Dirichlet whose concentration is summed over (Pólya 1931), and repeated crashes of one configuration weigh
less the lumpier the whole is. What is left depends on two numbers only, how many crashes and what share of the
workers have the attributes, so it is tabulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma, log

from triage.insight.statistics import log_add

# How sharply configurations differ in crashes for reasons of their own: wildly, much, little, hardly.
_CONCENTRATIONS = (0.3, 2.0, 20.0, 400.0)
_INSIDE, _OUTSIDE = 18.0, 2.0
"""Beta prior of the share of a cluster's crashes that its cause explains: 90 % on average, mostly 75 to 98 %."""
_RARE = 2.0
"""Beta(1, 3) prior of the share of workers that have the cause, a quarter on average: most run what is tested."""


class Evidence:
    """Log marginal likelihoods, relative to "no attribute has to do with it"."""

    def __init__(self, lumps: Sequence[int], configurations: int) -> None:
        """`lumps`: how many crashes each crashing configuration took; `configurations`: how many there are."""
        self._total = sum(lumps)
        self._spread = max(configurations, len(lumps), 1)
        self._prior = [self._uneven(lumps, kappa) for kappa in _CONCENTRATIONS]
        self._null = log_add(self._prior)
        self._known: dict[tuple[int, float], float] = {}

    def _uneven(self, lumps: Sequence[int], kappa: float) -> float:
        """The likelihood of this lumpiness when nothing but chance is at work."""
        whole = kappa * self._spread
        inner = sum(lgamma(kappa + lump) - lgamma(kappa) for lump in lumps)
        return lgamma(whole) - lgamma(whole + self._total) + inner

    def of(self, hits: int, share: float) -> float:
        """For attributes that `hits` crashes and a `share` of the workers have (above 0, below 1)."""
        found = self._known.get((hits, share))
        if found is None:
            found = self._known[hits, share] = self._compute(hits, share)
        return found

    def _compute(self, hits: int, share: float) -> float:
        missed = self._total - hits
        split = (
            lgamma(_INSIDE + hits) + lgamma(_OUTSIDE + missed) - lgamma(_INSIDE + _OUTSIDE + self._total)
            - lgamma(_INSIDE) - lgamma(_OUTSIDE) + lgamma(_INSIDE + _OUTSIDE)
        )  # fmt: skip
        terms = []
        for kappa, prior in zip(_CONCENTRATIONS, self._prior, strict=True):
            whole = kappa * self._spread
            inside, outside = whole * share, whole * (1 - share)
            terms.append(
                prior + lgamma(whole + self._total) - lgamma(whole)
                + lgamma(inside) - lgamma(inside + hits) + lgamma(outside) - lgamma(outside + missed)
            )  # fmt: skip
        return split + log_add(terms) - self._null + log(1 + _RARE) + _RARE * log(1 - share)


def price(attributes: int, size: int, shares: Sequence[float] = (0.75, 0.22, 0.03)) -> float:
    """The log prior of one rule of `size` conditions among `attributes`: the more there are, the less each."""
    return log(shares[size - 1]) - sum(log((attributes - at) / (at + 1)) for at in range(size))
