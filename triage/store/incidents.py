"""Victims of one memory corruption, found together though their stacks differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from triage.model import Incident
from triage.store.columns import digest
from triage.store.tables import crashes, victims
from triage.store.upsert import upsert_all


class Victim(NamedTuple):
    """What a crash is a victim of (`cluster.incident`), `None` where it is of nothing known.

    `is_new` tells that the crash never came in before.
    """

    incident: str | None
    is_new: bool


def put(connection: Connection, found: Mapping[str, Victim]) -> None:
    """Write down what crashes, by id, are victims of."""
    rows = [
        {"crash": crash, "digest": digest(one.incident), "incident": one.incident}
        for crash, one in found.items()
        if one.incident is not None
    ]
    upsert_all(connection, victims, rows, key="crash")
    gone = [crash for crash, one in found.items() if one.incident is None and not one.is_new]
    if gone:
        connection.execute(delete(victims).where(victims.c.crash.in_(gone)))


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
