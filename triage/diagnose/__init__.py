"""Rules that say what happened in plain words, each with the evidence it rests on."""

from __future__ import annotations

from triage.diagnose.case import Case
from triage.diagnose.rules import AROUND, CLUES, FAULTS, JUDGEMENTS
from triage.model import Finding

__all__ = ["diagnose", "Case"]


def diagnose(case: Case) -> tuple[Finding, ...]:
    """What the rules can say about this crash: the fault first, then clues, circumstances and judgements."""
    fault = next((finding for rule in FAULTS if (finding := rule(case)) is not None), None)
    found = [fault] if fault is not None else []
    found += [finding for rule in (*CLUES, *AROUND) if (finding := rule(case)) is not None]
    for judge in JUDGEMENTS:
        finding = judge(case, tuple(found))
        if finding is not None:
            found.append(finding)
    return tuple(found)
