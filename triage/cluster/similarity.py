"""How alike two crashes are: their stacks laid side by side, each frame weighed by place and rarity.

The score is matched weight over comparable weight. What only one of the two could name is not
comparable across builds and counts neither for nor against, beyond a small doubt; within one build
unnamed code is compared exactly, by its address.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from triage.cluster.circumstances import beside
from triage.cluster.normalize import instruction, words
from triage.cluster.profile import MOST_STEPS, Profile
from triage.cluster.recursion import cycles
from triage.cluster.relation import Relation, relation
from triage.cluster.shape import BUILT_IN, NATIVE, Step
from triage.cluster.weighing import (
    DIFFERENT,
    GAP,
    HIDDEN,
    MATCH,
    UNKNOWN,
    Row,
    Weights,
    are_other_builds,
    of_lone,
    text,
    weights,
    worth,
)

__all__ = ["DIFFERENT", "GAP", "MATCH", "UNKNOWN", "Comparison", "Row", "Weights", "compare", "text", "weights"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two crashes compared. `score` from 0 to 1; `matched` the weight it rests on."""

    score: float
    matched: float
    rows: tuple[Row, ...]

    def is_same(self, given: Weights) -> bool:
        """Whether this is enough to call them one."""
        return self.score >= given.join and self.matched >= given.evidence


@dataclass(frozen=True, slots=True)
class _Weighed:
    step: Step
    weight: float
    at: int


def compare(a: Profile, b: Profile, given: Weights | None = None) -> Comparison:
    """Lay two crashes side by side."""
    given = given or weights()
    if a.overflow != b.overflow:
        return Comparison(0.0, 0.0, (Row(_kind(a), _kind(b), DIFFERENT, 1.0),))
    rows = [*(cycles(a, b, given) if a.overflow else _stacks(a, b, given)), *beside(a, b, given)]
    matched = sum(row.weight for row in rows if row.verdict == MATCH)
    against = sum(row.weight for row in rows if row.verdict in (GAP, DIFFERENT))
    doubt = given.unknown * sum(row.weight for row in rows if row.verdict == UNKNOWN)
    total = matched + against + doubt
    return Comparison(matched / total if total else 0.0, matched, tuple(rows))


def _kind(found: Profile) -> str:
    return "stack overflow" if found.overflow else "no stack overflow"


def _stacks(a: Profile, b: Profile, given: Weights) -> Iterator[Row]:
    """Native code, the door to it, and what is outside of the door, from the crash outwards."""
    one, other = _parts(a), _parts(b)
    inside, within = one.inside, other.inside
    if are_other_builds(a, b) and a.fault == b.fault:
        hidden, unseen = _hidden(inside, within, given), _hidden(within, inside, given)
        yield from (Row(text(w.step), None, UNKNOWN, w.weight, HIDDEN) for w in _weigh(inside[:hidden], given))
        yield from (Row(None, text(w.step), UNKNOWN, w.weight, HIDDEN) for w in _weigh(within[:unseen], given))
        inside, within = inside[hidden:], within[unseen:]
    yield from _align(_weigh(inside, given), _weigh(within, given), given, of_lone(a, b, given))
    if one.door is not None and other.door is not None:
        against = given.other * (given.depths if _may_be_anywhere(a) or _may_be_anywhere(b) else 1.0)
        yield from _doors(one.door, other.door, given, against)
    yield from _align(
        _weigh(one.outside, given, given.outside), _weigh(other.outside, given, given.outside), given, 1
    )


_HIDDEN_FRAMES = 2


def _hidden(long: Sequence[Step], short: Sequence[Step], given: Weights) -> int:
    """How many of the innermost frames another build may have inlined: its innermost function calls them too."""
    for at, caller in enumerate(long[1 : _HIDDEN_FRAMES + 1], 1):
        is_called = short and f"calls {long[at - 1].name}" in short[0].traits
        if is_called and relation(caller, short[0], given).verdict == MATCH:
            return at
    return 0


_OUTSIDE = 3  # what is farther out than so many frames from the door is another day's page


class _Parts(NamedTuple):
    inside: tuple[Step, ...]
    door: Step | None
    outside: tuple[Step, ...]


def _parts(found: Profile) -> _Parts:
    steps = found.steps[:MOST_STEPS]
    at = next((at for at, step in enumerate(steps) if step.kind != NATIVE), len(steps))
    return _Parts(steps[:at], steps[at] if at < len(steps) else None, steps[at + 1 : at + 1 + _OUTSIDE])


def _may_be_anywhere(found: Profile) -> bool:
    """Whether it died where earlier damage shows, whatever is at work: in the allocator or the collector."""
    return found.heap is not None or any(step.name in words("collector.txt") for step in found.steps[:1])


def _doors(a: Step, b: Step, given: Weights, against: float) -> Iterator[Row]:
    """What the script had called, or was doing: the same in every build. `against` weighs two built-in functions."""
    same = a.name == b.name
    if a.kind != b.kind:
        yield Row(text(a), text(b), DIFFERENT, given.opcode, "a built-in function, and script code by itself")
    elif a.kind == BUILT_IN:
        verdict, weight = (MATCH, 2 * worth(a, given)) if same else (DIFFERENT, against)
        yield Row(text(a), text(b), verdict, weight, "the built-in function at work")
    else:
        yield Row(text(a), text(b), MATCH if same else DIFFERENT, given.script)
        if a.opcode and b.opcode:
            same = instruction(a.opcode) == instruction(b.opcode)
            yield Row(a.opcode, b.opcode, MATCH if same else DIFFERENT, given.opcode, "what the script was doing")


def _weigh(steps: Sequence[Step], given: Weights, factor: float = 1.0) -> list[_Weighed]:
    """The steps with what they count: the nearer to the crash and the rarer, the more."""
    weighed: list[_Weighed] = []
    at = 0
    for step in steps:
        weighed.append(_Weighed(step, math.exp(-given.decay * at) * worth(step, given) * factor, at))
        if not step.helper:
            at += 1
    return weighed


def _align(a: Sequence[_Weighed], b: Sequence[_Weighed], given: Weights, gap: float) -> list[Row]:
    """The alignment that matches most weight, as rows from the crash outwards. `gap` is what a lone frame counts."""
    width = len(b) + 1
    best = [0.0] * ((len(a) + 1) * width)
    verdicts = [[relation(one.step, other.step, given) for other in b] for one in a]
    gains = [[_gain(a[i], b[j], found, given) for j, found in enumerate(row)] for i, row in enumerate(verdicts)]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            here = max(best[(i + 1) * width + j], best[i * width + j + 1])
            if gains[i][j] > 0:
                here = max(here, best[(i + 1) * width + j + 1] + gains[i][j])
            best[i * width + j] = here
    rows: list[Row] = []
    i = j = 0
    while i < len(a) and j < len(b):
        gain = gains[i][j]
        here = best[i * width + j]
        if gain > 0 and here == best[(i + 1) * width + j + 1] + gain:
            rows.extend(_pair(a[i], b[j], verdicts[i][j], given))
            i, j = i + 1, j + 1
        elif here == best[(i + 1) * width + j]:
            rows.append(Row(text(a[i].step), None, GAP, a[i].weight * gap))
            i += 1
        else:
            rows.append(Row(None, text(b[j].step), GAP, b[j].weight * gap))
            j += 1
    rows += [Row(text(one.step), None, GAP, one.weight * gap) for one in a[i:]]
    rows += [Row(None, text(other.step), GAP, other.weight * gap) for other in b[j:]]
    return rows


def _gain(a: _Weighed, b: _Weighed, found: Relation, given: Weights) -> float:
    if found.verdict == MATCH:
        return (a.weight + b.weight) * _nearness(a, b, given) * max(found.sure, 0.4)
    # To explain two frames by each other is better than to leave both unexplained, and worse than a match.
    return 0.4 * min(a.weight, b.weight) * _nearness(a, b, given) if found.verdict == UNKNOWN else 0.0


def _nearness(a: _Weighed, b: _Weighed, given: Weights) -> float:
    """What is left of a match at another distance from the crash."""
    return math.exp(-given.offset * abs(a.at - b.at))


def _pair(a: _Weighed, b: _Weighed, found: Relation, given: Weights) -> list[Row]:
    whole = a.weight + b.weight
    if found.verdict == UNKNOWN:
        # Where it died is what matters: not to know whether that is the same place is a larger doubt.
        doubt = whole * (given.first if a.at == b.at == 0 else 1.0) * found.sure
        rows = [Row(text(a.step), text(b.step), UNKNOWN, doubt)]
        if found.sure < 1.0:
            rows.append(Row(text(a.step), text(b.step), DIFFERENT, whole * (1.0 - found.sure)))
        return rows
    near = _nearness(a, b, given)
    rows = [Row(text(a.step), text(b.step), MATCH, whole * near * found.sure, found.why)]
    if found.sure < 1.0:
        rows.append(Row(text(a.step), text(b.step), UNKNOWN, whole * near * (1.0 - found.sure)))
    if near < 1.0:
        rows.append(Row(text(a.step), text(b.step), DIFFERENT, whole * (1.0 - near)))
    return rows
