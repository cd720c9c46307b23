"""States of clusters: what a person decided, and whether that still holds.

`Until` is the condition under which an ignored cluster is shown again; `standing` holds a decision against
the crashes after it. Times are those of the crashes, never of their import: old cores that are
read late reopen nothing.
"""

from triage.states.rollout import Rollout, rollout
from triage.states.spike import spike, spikes
from triage.states.standing import Standing, Stretch, standing
from triage.states.until import Until, parse_until, resolve_until

__all__ = [
    "Rollout", "rollout", "Standing", "Stretch", "standing", "spike", "spikes", "Until", "parse_until",
    "resolve_until",
]  # fmt: skip
