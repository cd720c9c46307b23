"""What the candidates come to: for one condition, for two together, for three, the best and what equals it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from triage.insight.correlate.compare import Candidate, Rule
from triage.insight.correlate.search import TIED

MOST = 5
"""An answer names no more candidates than this: whoever is told of more has been told nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The best candidate of as many conditions, and those that are not 5 times less likely.

    `more` counts others as likely, beyond the five that are named (as far as they were kept); `belief`
    is theirs together, of all candidates and none.
    """

    candidates: tuple[Candidate, ...]
    more: int

    @property
    def first(self) -> Candidate:
        """The best one."""
        return self.candidates[0]

    @property
    def belief(self) -> float:
        """Of all that are kept."""
        return sum(one.belief for one in self.candidates)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All that is tied: rules that select the same processes, and those of the tied candidates."""
        return tuple(rule for one in self.candidates for rule in one.alternatives)

    @property
    def common(self) -> Rule:
        """The conditions that every one of its rules has."""
        return common(self.rules)


def common(rules: Sequence[Rule]) -> Rule:
    """The conditions that all these rules have, in the first one's order."""
    return tuple(part for part in rules[0] if all(part in rule for rule in rules[1:]))


def answers(candidates: Sequence[Candidate]) -> tuple[Answer, ...]:
    """The answers that ranked candidates hold, one for each number of conditions, in the candidates' order."""
    sizes: dict[int, list[Candidate]] = {}
    for one in candidates:
        sizes.setdefault(one.size, []).append(one)
    return tuple(_answer(group) for group in sizes.values())


def _answer(group: Sequence[Candidate]) -> Answer:
    least = group[0].belief / exp(TIED)
    tied = [one for one in group if one.belief >= least]
    return Answer(tuple(tied[:MOST]), len(tied[MOST:]))
