"""What a migration works out from the records that an older store holds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, text

from triage import clock
from triage.model import Frame, Request, Runtime, State, Worker
from triage.query.facts import Fact, facts_from, told_by
from triage.store.cluster_facts import facts_of_record
from triage.store.columns import spell

Say = Callable[[str], object]
"""Told how far a step is that takes long."""

_QUIET = 2.0  # seconds between two such remarks
_BATCH = 200
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


def facts(connection: Connection, say: Say) -> None:
    """Fill the facts of every cluster from the records of its crashes; a record that cannot be read has none."""
    clusters = connection.execute(text("SELECT id FROM triage_clusters")).scalars().all()
    reader = _by_parts if connection.dialect.name == "sqlite" else _whole
    told = time.monotonic()
    for number, cluster in enumerate(clusters):
        if time.monotonic() - told > _QUIET:
            told = time.monotonic()
            say(f"bringing the store up to date: {number} of {len(clusters)} clusters")
        found = set[Fact]().union(*reader(connection, cluster))
        rows = [{"key": key, "cluster": cluster, "value": spell(value)} for key, value in sorted(found)]
        if rows:
            connection.execute(_ADD, rows)


def _whole(connection: Connection, cluster: str) -> Iterator[frozenset[Fact]]:
    records = text("SELECT record FROM triage_crashes WHERE cluster = :cluster")
    # For this statement only: set on the connection it would hold for what follows, which takes many rows at once.
    with connection.execute(records, {"cluster": cluster}, execution_options={"yield_per": _BATCH}) as rows:
        for record in rows.scalars():
            yield facts_of_record(record)


def _by_parts(connection: Connection, cluster: str) -> Iterator[frozenset[Fact]]:
    """The database takes from each record what facts are made of, and leaves out what it said before: the crashes of
    a cluster are much alike, and to read each whole takes minutes for a hundred thousand."""
    for row in connection.execute(_PARTS, {"cluster": cluster}):
        try:
            yield _facts_of_parts(row)
        except (ValueError, TypeError):
            continue  # as of a record that cannot be read


def _facts_of_parts(row: Row[Any]) -> frozenset[Fact]:
    status, signal = json.loads(row.basics)
    frames = [
        Frame(kind=kind, function=function, class_name=class_name, file=file)
        for kind, function, class_name, file in json.loads(row.frames or "[]")
    ]
    runtime = None
    if row.runtime is not None:
        sapi, pool, uri, script, extensions, options = json.loads(row.runtime)
        runtime = Runtime(
            name="", sapi=sapi, script=script, extensions=extensions or {}, options=options or {},
            worker=Worker(pool=pool), request=Request(method=None, uri=uri),
        )  # fmt: skip
    rules = [rule for rule, _ in json.loads(row.rules or "[]")]
    return facts_from(told_by(status=status, signal=signal, rules=rules, frames=frames, runtime=runtime))


_ADD = text('INSERT INTO triage_facts ("key", cluster, value) VALUES (:key, :cluster, :value)')
# More than one path each: only then does json_extract give JSON, in which odd characters stay escaped.
_PARTS = text(
    """
    SELECT DISTINCT json_extract(record, '$.status', '$.signal.name') AS basics,
      (SELECT json_group_array(json_extract(finding.value, '$.rule', '$.topic'))
         FROM json_each(record, '$.findings') AS finding) AS rules,
      (SELECT json_group_array(json_extract(frame.value, '$.kind', '$.function', '$.class', '$.file'))
         FROM json_each(record, '$.threads') AS thread, json_each(thread.value, '$.frames') AS frame
        WHERE json_extract(thread.value, '$.crashed')) AS frames,
      CASE WHEN json_type(record, '$.runtime') = 'object' THEN json_extract(record,
        '$.runtime.sapi', '$.runtime.worker.pool', '$.runtime.request.uri', '$.runtime.script',
        '$.runtime.extensions', '$.runtime.options') END AS runtime
    FROM triage_crashes WHERE cluster = :cluster AND json_valid(record)
    """
)
