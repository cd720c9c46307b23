"""Under which deploys each cluster crashed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, literal, select

from triage import clock
from triage.model import Change
from triage.query.deploys import deploys, running
from triage.store import surroundings
from triage.store.tables import crashes

_AT_ONCE = 100  # deploys in one statement, which has a branch for each


def crashed_under(connection: Connection) -> Mapping[str, Sequence[str]]:
    """By cluster, the deploys under which it crashed: on each host the newest that had reached it."""
    known = deploys(surroundings.changes(connection))
    found: defaultdict[str, set[str]] = defaultdict(set)
    for at in range(0, len(known), _AT_ONCE):
        later = known[at + _AT_ONCE] if at + _AT_ONCE < len(known) else None
        for cluster, host, time in _spans(connection, known[at : at + _AT_ONCE], later):
            under = running(known, host, time)
            if under is not None:
                found[cluster].add(under)
    return {cluster: sorted(names) for cluster, names in found.items()}


def _spans(
    connection: Connection, known: Sequence[Change], later: Change | None
) -> list[tuple[str, str | None, datetime]]:
    """(cluster, host, begin of a deploy's time) wherever there are crashes between it and the next."""
    begins = [clock.from_epoch(change.time) for change in known]
    later_ones = [(crashes.c.time < begin, at) for at, begin in enumerate(begins[1:])]
    span: ColumnElement[int] = case(*later_ones, else_=len(later_ones)) if later_ones else literal(0)
    within = [crashes.c.cluster.is_not(None), crashes.c.time >= begins[0]]
    if later is not None:
        within.append(crashes.c.time < clock.from_epoch(later.time))
    asked = select(crashes.c.cluster, crashes.c.host, span.label("span")).where(*within)
    rows = connection.execute(asked.distinct())
    return [(row.cluster, row.host, begins[row.span]) for row in rows]
