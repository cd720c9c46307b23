"""The statements that change the store. All run within one `writer` transaction of the caller."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from triage.cluster.assign import NEW, place
from triage.cluster.profile import profile_of
from triage.model import Crash, Outcome, Runtime, Signature
from triage.query.facts import Fact, facts_of
from triage.store import incidents, regroupings
from triage.store.book import SqlBook, retitle
from triage.store.columns import digest
from triage.store.recent import Recent
from triage.store.tables import crashes, facts, inputs, keys, pins
from triage.store.upsert import insert_missing, upsert
from triage.wire import crash_to_json

_INDEXED_LENGTH = 200  # PostgreSQL refuses long values in an index, and a core's text may be any length


def put_crash(connection: Connection, crash: Crash, recent: Recent, *, is_new: bool) -> Crash:
    """Insert or replace the crash; returns it with its cluster. `is_new` tells that it never came in before."""
    cluster = None if crash.signature is None else _assign(connection, crash, crash.signature, recent)
    placed = replace(crash, cluster=cluster)
    upsert(connection, crashes, _crash_row(placed), key="id")
    if crash.signature is not None:
        incidents.put(connection, placed, is_new=is_new)
    if cluster is not None:
        _add_facts(connection, cluster, facts_of(placed), recent)
    return placed


def _add_facts(connection: Connection, cluster: str, found: frozenset[Fact], recent: Recent) -> None:
    """Most crashes of a cluster say what earlier ones said: asking first spares two hundred writes."""
    if cluster not in recent.facts:
        rows = connection.execute(select(facts.c.key, facts.c.value).where(facts.c.cluster == cluster))
        recent.facts[cluster] = {(row.key, row.value) for row in rows}
    news = found - recent.facts[cluster]
    recent.facts[cluster] |= news
    if news:
        # Two writers queue on the revision, but one that began before may have added the same.
        insert_missing(
            connection, facts, [{"key": key, "cluster": cluster, "value": value} for key, value in sorted(news)]
        )


def put_input(connection: Connection, outcome: Outcome, stamp: str | None) -> None:
    """Insert or replace what became of the input at `outcome.core`."""
    failure = outcome.failure
    row = {
        "digest": digest(outcome.core),
        "path": outcome.core,
        "stamp": stamp,
        "status": outcome.status.value,
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
        "crash": outcome.crash.id if outcome.crash else None,
    }
    upsert(connection, inputs, row, key="digest")


def _assign(connection: Connection, crash: Crash, signature: Signature, recent: Recent) -> str:
    """The crash's cluster: where a person put it, or where its keys or its likeness belong."""
    book = SqlBook(connection, recent)
    pinned = _pinned(connection, crash, recent)
    if pinned is not None:
        return book.root(pinned)
    placed = place(signature, profile_of(crash), book)
    if placed.rule != NEW:
        settled = recent.titles.setdefault(placed.cluster, set())
        if signature.title not in settled:
            if retitle(connection, placed.cluster, signature.title):
                settled.clear()
            settled.add(signature.title)
        origin = _origin(connection, signature.key, recent)
        if origin is not None and origin != placed.cluster:
            regroupings.follow(connection, crash.id, origin, placed.cluster)
    return placed.cluster


def _pinned(connection: Connection, crash: Crash, recent: Recent) -> str | None:
    """Where a person put the crash."""
    if recent.pins is None:
        recent.pins = connection.scalar(select(pins.c.crash).limit(1)) is not None
    if not recent.pins:
        return None
    found: str | None = connection.scalar(select(pins.c.cluster).where(pins.c.crash == crash.id))
    return found


def _origin(connection: Connection, key: str, recent: Recent) -> str | None:
    """The cluster that learned a key."""
    if key not in recent.origins:
        found: str | None = connection.scalar(select(keys.c.cluster).where(keys.c.digest == digest(key)))
        if found is None:
            return None
        recent.origins[key] = found
    return recent.origins[key]


def _crash_row(crash: Crash) -> dict[str, Any]:
    runtime = crash.runtime
    return {
        "id": crash.id,
        "cluster": crash.cluster,
        "core": crash.core,
        "status": crash.status.value,
        "time": crash.time,
        "host": None if crash.host is None else crash.host[:_INDEXED_LENGTH],
        "pid": crash.pid,
        "executable": crash.executable,
        "signal": crash.signal.name if crash.signal else None,
        "runtime": _label(runtime) if runtime else None,
        "script": runtime.script if runtime else None,
        "title": crash.signature.title if crash.signature else None,
        "record": json.dumps(crash_to_json(crash), separators=(",", ":")),
    }


def _label(runtime: Runtime) -> str:
    label = f"{runtime.name} {runtime.version}" if runtime.version else runtime.name
    return label[:_INDEXED_LENGTH]
