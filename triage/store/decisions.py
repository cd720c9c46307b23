"""What persons decided about clusters: kept for ever, and read back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, func, insert, select, type_coerce, update

from triage.model import Decision, State
from triage.store.tables import clusters, crashes, decisions

_FIELDS = ("state", "at", "by", "note", "bug", "until", "fixed_in", "since", "began", "undone", "undone_by")
_DAY = 86_400_000_000  # microseconds, the unit of stored times
HOLDS_FROM = func.coalesce(decisions.c.began, decisions.c.at)
HELD = select(decisions).join(clusters, clusters.c.decision == decisions.c.id)
"""The decisions that hold now."""


def put(connection: Connection, cluster: str, decision: Decision) -> None:
    """Add a decision; it holds from now on."""
    row = {name: getattr(decision, name) for name in _FIELDS} | {"cluster": cluster, "state": decision.state.value}
    made = connection.execute(insert(decisions).values(row).returning(decisions.c.id)).scalar_one()
    _hold(connection, cluster, made, decision)


def undo(connection: Connection, cluster: str, *, at: datetime, by: str | None) -> Decision | None:
    """Take the decision that holds back, so that the one before holds again; returns it, None if there is none."""
    valid = and_(decisions.c.cluster == cluster, decisions.c.undone.is_(None))
    newest = connection.execute(select(decisions).where(valid).order_by(decisions.c.id.desc()).limit(2)).all()
    if not newest:
        return None
    gone = {"undone": at, "undone_by": by}
    connection.execute(update(decisions).where(decisions.c.id == newest[0].id).values(gone))
    before = newest[1] if len(newest) > 1 else None
    _hold(connection, cluster, before.id if before else None, decision_of(before) if before else None)
    return decision_of(newest[0])


def history(connection: Connection, cluster: str) -> list[Decision]:
    """Every decision about a cluster, the newest first."""
    rows = connection.execute(select(decisions).where(decisions.c.cluster == cluster).order_by(decisions.c.id.desc()))
    return [decision_of(row) for row in rows]


def busiest_day(connection: Connection, cluster: str, *, before: datetime) -> int:
    """The most crashes that a cluster had on one day (UTC) up to that time; 0 if none."""
    day = type_coerce(crashes.c.time, BigInteger) // _DAY
    counts = select(func.count().label("n")).where(crashes.c.cluster == cluster, crashes.c.time <= before)
    return connection.scalar(select(func.max(counts.group_by(day).subquery().c.n))) or 0


def _hold(connection: Connection, cluster: str, number: int | None, decision: Decision | None) -> None:
    values = {
        "decision": number,
        "state": (decision.state if decision else State.NEW).value,
        "note": decision.note if decision else None,
    }
    connection.execute(update(clusters).where(clusters.c.id == cluster).values(values))


def decision_of(row: Row[Any]) -> Decision:
    """The decision of a row of `decisions`."""
    given = {name: getattr(row, name) for name in _FIELDS}
    return Decision(**given | {"state": State(given["state"])})
