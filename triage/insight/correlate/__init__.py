"""What goes with a cluster: its crashes held against other processes, attribute by attribute and together."""

from __future__ import annotations

from triage.insight.correlate.answers import Answer, answers, common
from triage.insight.correlate.attributes import Attribute, Unit
from triage.insight.correlate.compare import Candidate, Comparison, Rule, compare

__all__ = ["Answer", "Attribute", "Candidate", "Comparison", "Rule", "Unit", "answers", "common", "compare"]
