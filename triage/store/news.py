"""When things came in, and what reports have told: the statements behind `triage report`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from triage import clock
from triage.filing import Filed
from triage.store.columns import digest, spell
from triage.store.recent import Recent
from triage.store.tables import arrivals, clusters, crashes, inputs, reports
from triage.store.upsert import insert_missing, inserting

_BATCH = 500
_TICK = timedelta(microseconds=1)
_CRASH, _INPUT = "crash:", "input:"


@dataclass(frozen=True, slots=True)
class Reported:
    """Up to when a series of reports has told, and when it last had something to say."""

    covered: datetime
    spoke: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What came in since a time: crash ids by cluster, clusters that had none before, inputs that gave no crash."""

    crashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()


def arrive(connection: Connection, found: Sequence[Filed], recent: Recent) -> list[bool]:
    """Note the first time that outcomes come in, and tell of each whether it is now. A later time changes nothing."""
    keys = [_key(one) for one in found]
    known = _arrived(connection, keys) if len(keys) > 1 else frozenset[str]()  # one is tried: the insert tells
    first = {key: at for at, key in reversed(list(enumerate(keys))) if key not in known}
    rows = []
    for key in sorted(first, key=first.__getitem__):
        recent.latest = moment(connection) if recent.latest is None else max(clock.now(), recent.latest + _TICK)
        rows.append({"key": key, "at": recent.latest})
    added = insert_missing(connection, arrivals, rows)
    return [first.get(key) == at for at, key in enumerate(keys)] if len(keys) > 1 else [added == 1]


def _arrived(connection: Connection, keys: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for at in range(0, len(keys), _BATCH):
        found.update(connection.scalars(select(arrivals.c.key).where(arrivals.c.key.in_(keys[at : at + _BATCH]))))
    return frozenset(found)


def _key(found: Filed) -> str:
    crash = found.crash
    return f"{_CRASH}{spell(crash.id)}" if crash is not None else f"{_INPUT}{digest(found.core)}"


def moment(connection: Connection) -> datetime:
    """Now; just after what came in and what was reported last where the clock has been set back since.

    Within a writing transaction: these wait for each other, so what is written later has a later time, and a
    report that tells up to this moment leaves nothing out and tells nothing twice.
    """
    covered: datetime | None = connection.scalar(select(func.max(reports.c.covered)))
    before = [found for found in (newest_arrival(connection), covered) if found is not None]
    now = clock.now()
    return max(now, *(found + _TICK for found in before)) if before else now


def arrived(connection: Connection, since: datetime) -> Arrived:
    """What came in after `since`."""
    keys = list(connection.scalars(select(arrivals.c.key).where(arrivals.c.at > since)))
    ids = [key.removeprefix(_CRASH) for key in keys if key.startswith(_CRASH)]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for at in range(0, len(ids), _BATCH):
        wanted = select(crashes.c.id, crashes.c.cluster).where(crashes.c.id.in_(ids[at : at + _BATCH]))
        for row in connection.execute(wanted):
            if row.cluster is not None:
                found[row.cluster].append(row.id)
    totals = _totals(connection) if found else {}
    return Arrived(
        crashes={cluster: tuple(sorted(members)) for cluster, members in found.items()},
        new=frozenset(cluster for cluster, members in found.items() if totals.get(cluster) == len(members)),
        unread=_paths(connection, [key.removeprefix(_INPUT) for key in keys if key.startswith(_INPUT)]),
    )


def _totals(connection: Connection) -> dict[str, int]:
    counted = select(crashes.c.cluster, func.count().label("n")).where(crashes.c.cluster.is_not(None))
    return {row.cluster: row.n for row in connection.execute(counted.group_by(crashes.c.cluster))}


def _paths(connection: Connection, digests: list[str]) -> frozenset[str]:
    paths: set[str] = set()
    for at in range(0, len(digests), _BATCH):
        wanted = select(inputs.c.path).where(inputs.c.digest.in_(digests[at : at + _BATCH]))
        paths.update(connection.scalars(wanted))
    return frozenset(paths)


def counts(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """Crashes that happened within a time, by cluster."""
    within = (crashes.c.cluster.is_not(None), crashes.c.time > since, crashes.c.time <= until)
    rows = connection.execute(select(crashes.c.cluster, func.count().label("n")).where(*within).group_by(
        crashes.c.cluster))  # fmt: skip
    return {row.cluster: row.n for row in rows}


def versions(connection: Connection) -> list[tuple[str, datetime]]:
    """Each version of an interpreter that crashed, with its first crash, oldest first."""
    first = func.min(crashes.c.time).label("first")
    rows = connection.execute(
        select(crashes.c.runtime, first).where(crashes.c.runtime.is_not(None)).group_by(crashes.c.runtime)
    )
    return sorted(((row.runtime, row.first) for row in rows if row.first is not None), key=lambda pair: pair[1])


def newest_arrival(connection: Connection) -> datetime | None:
    """When the last crash or failure came in."""
    found: datetime | None = connection.scalar(select(func.max(arrivals.c.at)))
    return found


def last_report(connection: Connection, name: str) -> Reported | None:
    """What the series of that name told last."""
    row = connection.execute(select(reports).where(reports.c.name == name)).first()
    return Reported(row.covered, row.spoke) if row is not None else None


def put_report(connection: Connection, name: str, told: Reported) -> None:
    """Say that the series has told up to a time."""
    statement = inserting(connection.dialect.name, reports).values(name=name, covered=told.covered, spoke=told.spoke)
    fresh = {"covered": statement.excluded.covered, "spoke": statement.excluded.spoke}
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=fresh))


def states(connection: Connection) -> dict[str, int]:
    """Clusters by state, those without crashes left out."""
    used = select(crashes.c.cluster).where(crashes.c.cluster.is_not(None)).distinct()
    rows = connection.execute(
        select(clusters.c.state, func.count().label("n")).where(clusters.c.id.in_(used)).group_by(clusters.c.state)
    )
    return {row.state: row.n for row in rows}
