"""What many crashes tell together (`triage why`), as lines for the tabs of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from triage.explain import Part
from triage.model import Cluster
from triage.report.explain_text import part_lines
from triage.report.lines import Line
from triage.tui.reader import Reader

if TYPE_CHECKING:
    from triage.store import Store

CHANGED, KNOWN = "What changed", "Is it known"


def insight(reader: Reader, cluster: Cluster) -> tuple[Part, ...]:
    """What goes with a cluster, what changed, whether it is known, and how to prove it. Takes a second or more."""
    from triage.insight.page import parts  # here, as the first screen need not wait until all that is loaded
    from triage.insight.why import investigate

    return parts(investigate(cast("Store", reader), cluster))


def insight_lines(found: tuple[Part, ...] | None, *heads: str, evidence: bool) -> Iterator[Line]:
    """The parts with these heads; without heads, those that have no place of their own."""
    if found is None:
        yield Line("  being worked out …", "dim")
        return
    for part in found:
        if (part.head in heads) if heads else (part.head not in (CHANGED, KNOWN)):
            yield from part_lines((part,), evidence=evidence)
