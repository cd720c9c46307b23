"""Why two crashes are one cluster or two, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from triage.cluster.similarity import DIFFERENT, GAP, MATCH, UNKNOWN, Comparison, Row, Weights
from triage.text import clean

_WIDTH = 34
_WHY = 120
_MARKS = {MATCH: "=", UNKNOWN: "?", GAP: " ", DIFFERENT: "≠"}
_SAID = {
    MATCH: "the same",
    UNKNOWN: "cannot be told: one of the builds has no name here; counts little",
    GAP: "only one of them has it",
    DIFFERENT: "not the same",
}


def lines(
    names: tuple[str, str], found: Comparison, given: Weights, *, together: bool, shared: tuple[str, ...]
) -> Iterator[str]:
    """The table and the sentence above it. `shared` are the exact keys that both have."""
    one, other = names
    yield verdict(names, found, given, together=together, shared=shared)
    yield ""
    for key in shared:
        yield f"  key of both: {clean(key, limit=110)}"
    if shared:
        yield ""
    yield f"  {'counts':>6}  {clean(one, limit=_WIDTH):<{_WIDTH}}   {clean(other, limit=_WIDTH)}"
    for row in found.rows:
        yield _row(row)
    yield ""
    yield from _sum(found, given)


def verdict(
    names: tuple[str, str], found: Comparison, given: Weights, *, together: bool, shared: tuple[str, ...]
) -> str:
    """One sentence: what is, and what the comparison says."""
    likeness = f"likeness {found.score:.2f}; {given.join:.2f} is needed to call two crashes the same"
    if together and shared:
        return f"{names[0]} and {names[1]} are one cluster: they share an exact key. ({likeness})"
    if together:
        return f"{names[0]} and {names[1]} are one cluster. ({likeness})"
    if found.score >= given.join and found.matched < given.evidence:
        return f"{names[0]} and {names[1]} are apart: what they share is too little to rest on. ({likeness})"
    if found.is_same(given):
        return (
            f"{names[0]} and {names[1]} are two clusters, but alike: each was known before the other came, or a "
            f"person keeps them apart. `triage merge` makes them one. ({likeness})"
        )
    return f"{names[0]} and {names[1]} are apart. ({likeness})"


def _row(row: Row) -> str:
    a, b = (clean(side or "—", limit=_WIDTH) for side in (row.a, row.b))
    said = _SAID[row.verdict]
    if row.why:
        said = f"{said.partition(':')[0]}: {clean(row.why, limit=_WHY)}"
    return f"  {row.weight:6.2f}  {a:<{_WIDTH}} {_MARKS[row.verdict]} {b:<{_WIDTH}}  {said}".rstrip()


def _sum(found: Comparison, given: Weights) -> Iterator[str]:
    against = sum(row.weight for row in found.rows if row.verdict in (GAP, DIFFERENT))
    unknown = sum(row.weight for row in found.rows if row.verdict == UNKNOWN)
    yield (
        f"  {found.matched:.2f} for, {against:.2f} against, {unknown:.2f} unknown (counted at "
        f"{given.unknown:.0%}): {found.score:.2f}"
    )
    yield "  Frames count the more, the nearer they are to the crash and the fewer bugs have them on their stacks."
