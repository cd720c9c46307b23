"""Which known change the beginning of the crashes fits, with "none of them" as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from triage.insight.changes import kinds
from triage.insight.changes.onset import Stream, anywhere
from triage.insight.statistics import log_add
from triage.model import Change

_HOUR = 3600.0
_DELAYS = ((0.0, 0.7), (1.0, 0.08), (3.0, 0.08), (6.0, 0.06), (12.0, 0.05), (24.0, 0.03))
"""A change may take hold late (caches fill, the code path is rare): hours, and how likely."""
_NONE = 1.0
"""Prior weight of a cause that is in no log."""

_SHOWN = 3
_BELIEVED = 0.02


@dataclass(frozen=True, slots=True)
class Suspect:
    """A change and how likely it is the cause: `belief` from 0 to 1, among all changes and "none of them"."""

    change: Change
    belief: float

    @property
    def words(self) -> str:
        """The likelihood in words."""
        return in_words(self.belief)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The suspects, the likeliest first, and the belief in none of them."""

    suspects: tuple[Suspect, ...]
    none: float

    @property
    def shown(self) -> tuple[Suspect, ...]:
        """Those worth showing: three, and none that hardly anything speaks for."""
        return tuple(suspect for suspect in self.suspects[:_SHOWN] if suspect.belief >= _BELIEVED)


def in_words(belief: float) -> str:
    """A probability as a word or two that does not promise more than it says."""
    for least, words in ((0.9, "very likely"), (0.6, "likely"), (0.3, "possible"), (0.1, "less likely")):
        if belief >= least:
            return words
    return "unlikely"


def rank(found: Stream, changes: Sequence[Change]) -> Ranking:
    """Rank changes by how well a step in the rate at their time explains the crashes."""
    weights = kinds.weights()
    inside = [change for change in changes if found.start < change.time < found.end]
    terms = [log(weights.get(change.kind, weights["other"])) + _likelihood(found, change.time) for change in inside]
    outside = log(_NONE) + log_add([anywhere(found), found.constant()])
    whole = log_add([*terms, outside])
    order = sorted(range(len(inside)), key=lambda at: (-terms[at], -inside[at].time))
    return Ranking(tuple(Suspect(inside[at], exp(terms[at] - whole)) for at in order), exp(outside - whole))


def _likelihood(found: Stream, time: float) -> float:
    """Of a step up at that time or somewhat later; a step down explains no crashes."""
    terms = []
    for hours, share in _DELAYS:
        at = time + hours * _HOUR
        if at < found.end and found.rises(at):
            terms.append(log(share) + found.split(at))
    return log_add(terms) if terms else float("-inf")
