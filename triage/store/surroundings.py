"""What the store keeps beside crashes (snapshots, changes, bugs on file), and crashes in bulk for comparing.

All statements run in the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from triage.model import Change, Crash, KnownBug, Snapshot
from triage.store.columns import digest
from triage.store.tables import changes as change_rows
from triage.store.tables import crashes as crash_rows
from triage.store.tables import known_bugs as bug_rows
from triage.store.tables import snapshots as snapshot_rows
from triage.store.upsert import upsert
from triage.wire import crash_from_json

R = TypeVar("R", Change, KnownBug, Snapshot)
_SAMPLES = 50


def crashes(connection: Connection, cluster: str, limit: int, *, others: bool = False) -> Iterator[Crash | None]:
    """The newest crashes of a cluster, or of all others; `None` for a record that cannot be read."""
    own = crash_rows.c.cluster.is_distinct_from(cluster) if others else crash_rows.c.cluster == cluster
    newest = select(crash_rows.c.record).where(own).order_by(crash_rows.c.time.desc().nulls_last(), crash_rows.c.id)
    for record in connection.scalars(newest.limit(limit)):
        try:
            yield crash_from_json(json.loads(record))
        except ValueError:
            yield None  # `show` of that crash says what is wrong; a comparison goes on without it


def crash_times(connection: Connection, cluster: str | None) -> list[tuple[datetime, str | None]]:
    """`(time, host)`, the earliest first."""
    wanted = select(crash_rows.c.time, crash_rows.c.host).where(crash_rows.c.time.is_not(None))
    if cluster is not None:
        wanted = wanted.where(crash_rows.c.cluster == cluster)
    return [(row.time, row.host) for row in connection.execute(wanted.order_by(crash_rows.c.time))]


def put_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Insert, or bring up to date the row of the same configuration."""
    alike = (snapshot.host, snapshot.pool, snapshot.sapi, snapshot.version, dict(snapshot.options),
             dict(snapshot.extensions), dict(snapshot.libraries))  # fmt: skip
    key = digest(json.dumps(alike, sort_keys=True))
    known = connection.scalar(select(snapshot_rows.c.record).where(snapshot_rows.c.digest == key))
    if known is not None:
        before = _read(Snapshot, known)
        snapshot = replace(
            snapshot, first_seen=min(before.first_seen, snapshot.first_seen),
            last_seen=max(before.last_seen, snapshot.last_seen),
            ages=(*before.ages, *snapshot.ages)[-_SAMPLES:],
            requests=(*before.requests, *snapshot.requests)[-_SAMPLES:],
            scripts=(*before.scripts, *snapshot.scripts)[-_SAMPLES:],
        )  # fmt: skip
    row = {"digest": key, "last_seen": snapshot.last_seen, "record": _written(snapshot)}
    upsert(connection, snapshot_rows, row, key="digest")


def snapshots(connection: Connection) -> list[Snapshot]:
    """All, the last seen first."""
    wanted = select(snapshot_rows.c.record).order_by(snapshot_rows.c.last_seen.desc(), snapshot_rows.c.digest)
    return [_read(Snapshot, record) for record in connection.scalars(wanted)]


def put_change(connection: Connection, change: Change) -> None:
    """Insert, or replace the same one."""
    key = digest(json.dumps((change.time, change.host, change.what)))
    row = {"digest": key, "time": datetime.fromtimestamp(change.time, UTC), "record": _written(change)}
    upsert(connection, change_rows, row, key="digest")


def changes(connection: Connection) -> list[Change]:
    """All, the earliest first."""
    wanted = select(change_rows.c.record).order_by(change_rows.c.time, change_rows.c.digest)
    return [_read(Change, record) for record in connection.scalars(wanted)]


def put_known_bug(connection: Connection, bug: KnownBug) -> None:
    """Insert, or replace the same one."""
    row = {"digest": digest(json.dumps((bug.bug, bug.signature))), "bug": bug.bug, "record": _written(bug)}
    upsert(connection, bug_rows, row, key="digest")


def known_bugs(connection: Connection) -> list[KnownBug]:
    """All, by name."""
    wanted = select(bug_rows.c.record).order_by(bug_rows.c.bug, bug_rows.c.digest)
    return [_read(KnownBug, record) for record in connection.scalars(wanted)]


def _written(record: Change | KnownBug | Snapshot) -> str:
    """JSON in ASCII."""
    return json.dumps(asdict(record), default=datetime.isoformat, separators=(",", ":"))


def _read(kind: type[R], text: str) -> R:
    found: dict[str, Any] = json.loads(text)
    known = {field.name for field in fields(kind)}
    return kind(**{name: _value(name, value) for name, value in found.items() if name in known})


def _value(name: str, value: Any) -> Any:
    if name in ("first_seen", "last_seen"):
        return datetime.fromisoformat(value)
    if isinstance(value, list):
        return tuple(value)
    if name in ("packages", "options") and isinstance(value, Mapping):
        return {key: tuple(pair) if isinstance(pair, list) else pair for key, pair in value.items()}
    return value
