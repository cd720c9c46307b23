"""Decisions about clusters, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from triage import clock
from triage.model import Decision, State
from triage.states.until import in_words, parse_until


def decided(decision: Decision) -> str:
    """One decision in a line: `fixed in 8.2.30, bug #1: note`."""
    parts = [f"{decision.state}{_condition(decision)}"]
    if decision.bug:
        parts.append(f"bug {decision.bug}")
    text = ", ".join(parts)
    return f"{text}: {decision.note}" if decision.note else text


def _condition(decision: Decision) -> str:
    if decision.state is State.FIXED:
        where = f" in {decision.fixed_in}" if decision.fixed_in else ""
        since = f", rolled out {clock.iso(decision.since)}" if decision.since else ""
        return where + since
    if decision.state is State.IGNORED and decision.until:
        return f" {in_words(parse_until(decision.until))}"
    return ""


def history_lines(decisions: Iterable[Decision]) -> Iterator[str]:
    """A line a decision, as given (the newest first)."""
    for decision in decisions:
        gone = f"  (taken back {clock.iso(decision.undone)} by {decision.undone_by})" if decision.undone else ""
        yield f"{clock.iso(decision.at)}  {decision.by or '?':<10}  {decided(decision)}{gone}"
