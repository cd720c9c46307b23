"""What a migration works out from the records that an older store holds."""

from __future__ import annotations

from sqlalchemy import Connection, text

from triage import clock
from triage.model import State
from triage.store.cluster_facts import facts_of_record
from triage.store.columns import spell, unspell

_EPOCH = clock.from_epoch(0)
_FORMER = "an earlier triage"  # schema 1 kept neither who decided nor when


def decisions(connection: Connection) -> None:
    """Make a first decision of each state or note that is not the initial one. When it was made is not known: now."""
    given = text("SELECT id, state, note FROM triage_clusters WHERE state <> :new OR note IS NOT NULL")
    made = text(
        'INSERT INTO triage_decisions (cluster, "at", "by", state, note) VALUES (:cluster, :at, :by, :state, :note)'
    )
    at = int((clock.now() - _EPOCH).total_seconds() * 1_000_000)
    for row in connection.execute(given, {"new": State.NEW.value}).all():
        values = {"cluster": row.id, "at": at, "by": _FORMER, "state": row.state, "note": row.note}
        connection.execute(made, values)
    connection.execute(
        text(
            "UPDATE triage_clusters SET decision ="
            " (SELECT max(id) FROM triage_decisions WHERE triage_decisions.cluster = triage_clusters.id)"
        )
    )


def facts(connection: Connection) -> None:
    """Fill the facts of every cluster from the records of its crashes; a record that cannot be read has none."""
    known: set[tuple[str, str, str]] = set()
    clusters = connection.execute(text("SELECT id FROM triage_clusters")).scalars().all()
    for cluster in clusters:
        records = connection.execute(
            text("SELECT record FROM triage_crashes WHERE cluster = :cluster"), {"cluster": cluster}
        )
        for record in records.scalars():
            known.update((key, unspell(cluster), value) for key, value in facts_of_record(record))
    rows = [{"key": key, "cluster": spell(cluster), "value": spell(value)} for key, cluster, value in sorted(known)]
    if rows:
        connection.execute(
            text('INSERT INTO triage_facts ("key", cluster, value) VALUES (:key, :cluster, :value)'), rows
        )
