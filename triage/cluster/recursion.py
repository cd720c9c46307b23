"""Two recursions side by side: the functions that call each other, in no order that means anything."""

from __future__ import annotations

from triage.cluster.profile import Profile, engine_method
from triage.cluster.relation import Relation, relation
from triage.cluster.shape import NATIVE, SCRIPT, Step
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
    worth,
)


def cycles(a: Profile, b: Profile, given: Weights) -> list[Row]:
    """Two recursions: the functions that call each other, in any order."""
    rows: list[Row] = []
    left, lone = list(b.steps), list(a.steps)
    for wanted in (MATCH, UNKNOWN):
        for step in tuple(lone):
            found = ((other, _recurs(step, other, a, b, given)) for other in left)
            twin = max(
                (pair for pair in found if pair[1].verdict == wanted), key=lambda pair: pair[1].sure, default=None
            )
            if twin is not None:
                lone.remove(step)
                left.remove(twin[0])
                rows += _cycle_pair(step, *twin, given)
    rows += [Row(text(step), None, *_alone(step, a, b, given)) for step in lone]
    return rows + [Row(None, text(step), *_alone(step, b, a, given)) for step in left]


def _alone(step: Step, own: Profile, other: Profile, given: Weights) -> tuple[str, float, str | None]:
    """What a function of a recursion counts that the other has not got, or has inlined."""
    weight = _cycle_worth(step, given)
    if are_other_builds(own, other) and any(f"calls {step.name}" in one.traits for one in other.steps):
        return UNKNOWN, weight, HIDDEN
    return GAP, weight * of_lone(own, other, given), None


def _recurs(one: Step, other: Step, a: Profile, b: Profile, given: Weights) -> Relation:
    """How two functions of recursions stand to each other.

    A method that the engine calls by a name of its own, as `__get`, is one in another's program as well, where its
    class has another name. Within one build classes tell: that is one shop's program.
    """
    if one.name != other.name and are_other_builds(a, b):
        method = engine_method(one)
        if method is not None and method == engine_method(other):
            return Relation(MATCH, 1.0 - given.owner, f"{method}() of another class, which the engine calls")
    return relation(one, other, given)


def _cycle_pair(one: Step, other: Step, found: Relation, given: Weights) -> list[Row]:
    whole = _cycle_worth(one, given) + _cycle_worth(other, given)
    rows = [Row(text(one), text(other), found.verdict, whole * found.sure, found.why)]
    if found.sure < 1.0:
        doubt = UNKNOWN if found.verdict == MATCH and one.kind == NATIVE else DIFFERENT
        rows.append(Row(text(one), text(other), doubt, whole * (1.0 - found.sure)))
    return rows


def _cycle_worth(step: Step, given: Weights) -> float:
    """In a recursion the script's own functions are the cause: they count as much as any."""
    return 1.0 if step.kind == SCRIPT else worth(step, given)
