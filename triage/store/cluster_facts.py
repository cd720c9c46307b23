"""Keeps what the crashes of a cluster can be asked for true when crashes change clusters."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from triage.query.facts import Fact, facts_of
from triage.store.tables import crashes, facts
from triage.store.upsert import insert_missing
from triage.wire import crash_from_json

_HELD = select(facts.c.key, facts.c.value).where(facts.c.cluster == bindparam("of"))


def unite(connection: Connection, cluster: str, into: str) -> None:
    """Add one cluster's facts to another's, whose crashes it now has."""
    held = connection.execute(_HELD, {"of": cluster})
    insert_missing(connection, facts, [{"key": row.key, "cluster": into, "value": row.value} for row in held])


def rebuild(connection: Connection, clusters: Iterable[str]) -> None:
    """Work out the facts of clusters anew, from the records of the crashes they have now."""
    for cluster in clusters:
        records = connection.scalars(select(crashes.c.record).where(crashes.c.cluster == cluster))
        found = set[Fact]().union(*(facts_of_record(record) for record in records))
        connection.execute(delete(facts).where(facts.c.cluster == cluster))
        if found:
            rows = [{"key": key, "cluster": cluster, "value": value} for key, value in sorted(found)]
            connection.execute(insert(facts), rows)


def facts_of_record(record: str) -> frozenset[Fact]:
    """The facts of a stored record; a record that cannot be read has none."""
    try:
        return facts_of(crash_from_json(json.loads(record)))
    except ValueError:
        return frozenset()  # such a record is told by name when somebody asks for the crash
