"""Rules that say what happened in plain words, each with the evidence it rests on."""

from __future__ import annotations

from triage.diagnose.case import Case
from triage.diagnose.rules import RULES
from triage.model import Finding

__all__ = ["diagnose", "Case"]


def diagnose(case: Case) -> tuple[Finding, ...]:
    """What the rules can say about this crash: the most telling finding, or none."""
    for rule in RULES:
        finding = rule(case)
        if finding is not None:
            return (finding,)
    return ()
