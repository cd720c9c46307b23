"""A comparison as JSON."""

from __future__ import annotations

from triage.cluster.similarity import Comparison, Weights
from triage.wire import Json


def to_json(
    names: tuple[str, str], found: Comparison, given: Weights, *, together: bool, shared: tuple[str, ...]
) -> Json:
    """The object that `triage clusters --explain A B --json` prints."""
    return {
        "a": names[0],
        "b": names[1],
        "together": together,
        "shared_keys": list(shared),
        "score": round(found.score, 4),
        "needed": given.join,
        "matched": round(found.matched, 4),
        "evidence_needed": given.evidence,
        "rows": [
            {"a": row.a, "b": row.b, "verdict": row.verdict, "weight": round(row.weight, 4), "why": row.why}
            for row in found.rows
        ],
    }
