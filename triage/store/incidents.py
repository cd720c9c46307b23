"""Victims of one memory corruption, found together though their stacks differ."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select

from triage.cluster.incident import incident_of
from triage.model import Crash, Incident
from triage.store.columns import digest
from triage.store.tables import crashes, victims
from triage.store.upsert import upsert


def put(connection: Connection, crash: Crash, *, is_new: bool) -> None:
    """Write down what the crash is a victim of; nothing where it is none. `is_new`: it never came in before."""
    incident = incident_of(crash)
    if incident is None:
        if not is_new:
            connection.execute(delete(victims).where(victims.c.crash == crash.id))
        return
    upsert(connection, victims, {"crash": crash.id, "digest": digest(incident), "incident": incident}, key="crash")


def listed(connection: Connection) -> list[Incident]:
    """What more than one cluster shares, the one with most crashes first."""
    rows = connection.execute(
        select(
            victims.c.incident,
            crashes.c.cluster,
            func.count().label("total"),
            func.min(crashes.c.time).label("first_seen"),
            func.max(crashes.c.time).label("last_seen"),
        )
        .join(crashes, crashes.c.id == victims.c.crash)
        .where(crashes.c.cluster.is_not(None))
        .group_by(victims.c.incident, crashes.c.cluster)
        .order_by(victims.c.incident, crashes.c.cluster)
    ).all()
    found = []
    for name in dict.fromkeys(row.incident for row in rows):
        mine = [row for row in rows if row.incident == name]
        if len(mine) < 2:
            continue
        firsts = [row.first_seen for row in mine if row.first_seen]
        lasts = [row.last_seen for row in mine if row.last_seen]
        found.append(
            Incident(
                what=name,
                clusters=tuple(row.cluster for row in mine),
                count=sum(row.total for row in mine),
                first_seen=min(firsts, default=None),
                last_seen=max(lasts, default=None),
            )
        )
    return sorted(found, key=lambda incident: (-incident.count, incident.what))
