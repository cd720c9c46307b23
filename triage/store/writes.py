"""The statements that change the store. All run within one `writer` transaction of the caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from triage.model import Crash, Outcome, Runtime, Signature, State
from triage.query.facts import Fact, facts_of
from triage.store.columns import digest
from triage.store.tables import clusters, crashes, facts, inputs, meta
from triage.wire import crash_to_json

_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}

_ID_DIGITS = 6
_CALLED_FROM, _SEVERAL = " ◂ ", "several callers"
_INDEXED_LENGTH = 200  # PostgreSQL refuses long values in an index, and a core's text may be any length


def raise_revision(connection: Connection) -> None:
    """Say that the store changed. Done first, it also makes writers queue on this row."""
    connection.execute(update(meta).where(meta.c.key == "revision").values(value=meta.c.value + 1))


def put_crash(connection: Connection, crash: Crash) -> Crash:
    """Insert or replace the crash; returns it with its cluster."""
    cluster = None if crash.signature is None else _assign(connection, crash.signature)
    placed = replace(crash, cluster=cluster)
    upsert(connection, crashes, _crash_row(placed), key="id")
    if cluster is not None:
        _add_facts(connection, cluster, facts_of(placed))
    return placed


def _add_facts(connection: Connection, cluster: str, found: frozenset[Fact]) -> None:
    """Most crashes of a cluster say what earlier ones said: asking first spares two hundred writes."""
    rows = connection.execute(select(facts.c.key, facts.c.value).where(facts.c.cluster == cluster))
    news = found - {(row.key, row.value) for row in rows}
    if news:
        values = [{"key": key, "cluster": cluster, "value": value} for key, value in sorted(news)]
        # Two writers queue on the revision, but one that began before may have added the same.
        connection.execute(_INSERTS[connection.dialect.name](facts).on_conflict_do_nothing(), values)


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


def _assign(connection: Connection, signature: Signature) -> str:
    key = digest(signature.key)
    known = connection.execute(select(clusters.c.id, clusters.c.title).where(clusters.c.digest == key)).first()
    if known is None:
        return _create_cluster(connection, signature, key)
    title = shared_title(known.title, signature.title)
    if title != known.title:
        connection.execute(update(clusters).where(clusters.c.digest == key).values(title=title))
    found: str = known.id
    return found


def shared_title(known: str, new: str) -> str:
    """A title that is true of the crashes so far and of one more.

    A title reads `where it died ◂ called from`; the same key may be reached by several callers.
    Titles with nothing in common are a later triage's better words for the same key.
    """
    if known == new:
        return known
    one, other = known.split(_CALLED_FROM), new.split(_CALLED_FROM)
    alike = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    return _CALLED_FROM.join([*alike, _SEVERAL]) if alike else new


def _create_cluster(connection: Connection, signature: Signature, key: str) -> str:
    row = {
        "id": _free_id(connection, key),
        "digest": key,
        "signature": signature.key,
        "title": signature.title,
        "state": State.NEW.value,
    }
    connection.execute(insert(clusters).values(row))
    return row["id"]


def _free_id(connection: Connection, key: str) -> str:
    for length in range(_ID_DIGITS, len(key) + 1):
        candidate = f"C-{key[:length]}"
        if connection.scalar(select(clusters.c.id).where(clusters.c.id == candidate)) is None:
            return candidate
    raise AssertionError("two signatures with one SHA-256")


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


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], *, key: str) -> None:
    """Insert a row, or replace the one with the same key."""
    statement = _INSERTS[connection.dialect.name](table).values(dict(row))
    fresh = {name: statement.excluded[name] for name in row if name != key}
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=fresh))
