"""The comparison's answers in sentences, with what they cannot tell apart and where that would show."""

from __future__ import annotations

from collections.abc import Iterator

from triage.explain import Statement
from triage.insight.correlate import Answer, Candidate, answers, common
from triage.insight.why import Setup
from triage.insight.words import folded, rule, rule_text, small
from triage.model import Confidence
from triage.text import clean

_TOLD = 3
_PARTED = 3
_SAME = 3
_SIZES = {1: "if one condition is enough", 2: "if it takes two together", 3: "if it takes three together"}


def answered(setup: Setup) -> Iterator[Statement]:
    """What goes with the crashes: one answer for each number of conditions, the best first."""
    found = answers(setup.found.said)[:_TOLD]
    for rank, answer in enumerate(found):
        yield _answer(answer, setup, rank)
    if sum(len(answer.candidates) for answer in found) > 1:
        yield Statement(
            "Which of these it is the numbers do not prove; only an experiment does: see the plan below.",
            tuple(f"{rule_text(one)}: belief {one.belief:.0%}" for answer in found for one in answer.candidates),
        )


def _answer(answer: Answer, setup: Setup, rank: int) -> Statement:
    one, others = answer.first, answer.candidates[1:]
    said = [f"{_counted(one, setup)}.", *_together(one)]
    if others:
        named = "; ".join(_counted(other, setup) for other in others)
        more = f"; and {answer.more} or more others" if answer.more else ""
        said += [f"These crashes do not tell it from: {named}{more}.", *_parting(answer, setup)]
    low, high = one.gap[1:]
    belief = f"of all candidates and chance, {one.belief:.0%} of the belief is on this one"
    text = " ".join(said)
    sure = rank == 0 and answer.belief >= 0.5 and not answer.more
    return Statement(
        text if rank == 0 else f"Or, {_SIZES[one.size]}: {text}",
        (
            f"the shares differ by {one.gap[0]:.0%} (95 %: {low:.0%} to {high:.0%}); Fisher's exact p "
            f"{small(one.p)}, corrected for all that was tried {small(one.q)}",
            belief + (f", {answer.belief:.0%} on it and those it is not told from" if others else ""),
        ),
        Confidence.LIKELY if sure else Confidence.GUESS,
    )  # fmt: skip


def _counted(one: Candidate, setup: Setup) -> str:
    """`opcache.jit=tracing: 142/142 crashes, 31% of workers`."""
    whom = "of workers" if setup.against == "healthy" else "of the configurations of other crashes"
    return f"{rule_text(one)}: {one.hits}/{one.cases} crashes, {one.workers / max(1, one.all_workers):.0%} {whom}"


def _together(one: Candidate) -> Iterator[str]:
    """What is on the very same processes, so that no data can tell it apart, and how it could be."""
    groups = [group for group in one.alternatives[0] if len(folded(group)) > 1]
    if groups:
        also = ", ".join(folded(groups[0])[1:6])
        yield f"Always set together with it here: {also}. Change one of them on one server to tell them apart."
    if len(one.alternatives) > 1:
        yield f"The very same processes have {_others(one)}: no comparison can tell these apart."


def _others(one: Candidate) -> str:
    """The other rules, what all share said once: `opcache.jit=tracing with one of apc.shm_size=1, pcre.jit=1`."""
    shared = common(one.alternatives)
    rest = [[part for part in found if part not in shared] for found in one.alternatives[1:]]
    shown = [rule(parts) for parts in rest[:_SAME]]
    more = f" and {len(rest) - _SAME} more" if len(rest) > _SAME else ""
    if not shared:
        return "; ".join(shown) + more
    return f"{rule(shared)} and {'one of ' if len(rest) > 1 else ''}{', '.join(shown)}{more}"


def _parting(answer: Answer, setup: Setup) -> Iterator[str]:
    """The servers and pools on which tied candidates differ."""
    pairs = [pair for other in answer.candidates[1:] for pair in ((answer.first, other), (other, answer.first))]
    parted: dict[str, None] = {}
    for have, have_not in pairs:
        where = _place(have.masks.controls & ~have_not.masks.controls, setup)
        if where is not None:
            parted[f"{where} has {_own(have, have_not)} but not {_own(have_not, have)}"] = None
    if parted:
        shown = "; ".join(list(parted)[:_PARTED])
        speaks = "A crash there speaks for what is set there; a long time without one, against it."
        yield f"Where they part: {shown}. {speaks}"


def _own(one: Candidate, other: Candidate) -> str:
    """The conditions of one candidate that are none of the other's."""
    taken, its = other.alternatives[0], one.alternatives[0]
    return rule([part for part in its if part not in taken] or its)


def _place(mask: int, setup: Setup) -> str | None:
    """The first of the workers in `mask`, where they have a name."""
    at = (mask & -mask).bit_length() - 1
    return clean(setup.places[at], limit=60) if 0 <= at < len(setup.places) else None
