"""The statements that ask the store. Each is built here and run by `store.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Select, func, select, type_coerce

from triage.model import Status
from triage.store.columns import Exact, digest, spell
from triage.store.tables import clusters, crashes, facts, inputs
from triage.store.tables import exemplars as exemplar_table

Rows = Select[Any]

_DAY = 86_400_000_000  # microseconds, the unit of stored times

_LISTED = (
    crashes.c.id,
    crashes.c.core,
    crashes.c.status,
    crashes.c.time,
    crashes.c.host,
    crashes.c.pid,
    crashes.c.executable,
    crashes.c.signal,
    crashes.c.runtime,
    crashes.c.script,
    crashes.c.cluster,
    crashes.c.title,
)


def done_inputs(digests: Sequence[str]) -> Rows:
    """`digest` and `stamp` of those inputs that gave a crash when last tried."""
    return (
        select(inputs.c.digest, inputs.c.stamp)
        .join(crashes, crashes.c.id == inputs.c.crash)
        .where(inputs.c.digest.in_(digests), inputs.c.status.in_([Status.OK.value, Status.PARTIAL.value]))
    )


def done_input(path: str, stamp: str) -> Rows:
    """`status`, and the crash's `record` and `cluster`, of this very input if it was triaged."""
    return (
        select(inputs.c.status, crashes.c.id, crashes.c.cluster, crashes.c.record)
        .join(crashes, crashes.c.id == inputs.c.crash)
        .where(
            inputs.c.digest == digest(path),
            inputs.c.stamp == stamp,
            inputs.c.status.in_([Status.OK.value, Status.PARTIAL.value]),
        )
    )


def failed_inputs() -> Rows:
    """`path`, `status`, `code`, `message`."""
    columns = (inputs.c.path, inputs.c.status, inputs.c.code, inputs.c.message)
    return select(*columns).where(inputs.c.status == Status.ERROR.value)


def record(crash: str) -> Rows:
    """The `record` of one crash, and its `cluster`: merges move it without rewriting the record."""
    return select(crashes.c.record, crashes.c.cluster).where(crashes.c.id == crash)


def crash_rows(cluster: str | None, limit: int, offset: int) -> Rows:
    """The columns of a CrashRow, newest first, crashes of unknown time last."""
    listed = _within(select(*_LISTED), cluster)
    return listed.order_by(crashes.c.time.desc().nulls_last(), crashes.c.id).limit(limit).offset(offset)


def loose_rows(limit: int, offset: int) -> Rows:
    """The columns of a CrashRow of crashes that no signature could be made for, newest first."""
    listed = select(*_LISTED).where(crashes.c.cluster.is_(None))
    return listed.order_by(crashes.c.time.desc().nulls_last(), crashes.c.id).limit(limit).offset(offset)


def loose_count() -> Rows:
    """How many those are."""
    return select(func.count()).select_from(crashes).where(crashes.c.cluster.is_(None))


def cluster_rows(cluster: str | None) -> Rows:
    """The clusters' own columns."""
    columns = (clusters.c.id, clusters.c.title, clusters.c.signature, clusters.c.state, clusters.c.note)
    wanted = select(*columns)
    return wanted if cluster is None else wanted.where(clusters.c.id == cluster)


def places(cluster: str | None) -> Rows:
    """By `cluster`, `runtime` and `host`: how many crashes (`total`), the time of the `first` and of the `last`."""
    place = (crashes.c.cluster, crashes.c.runtime, crashes.c.host)
    counted = select(
        *place,
        func.count().label("total"),
        func.min(crashes.c.time).label("first"),
        func.max(crashes.c.time).label("last"),
    )
    return _within(counted.where(crashes.c.cluster.is_not(None)), cluster).group_by(*place)


def members(cluster: str | None) -> Rows:
    """(`cluster`, crash id as `value`), the newest crash of each cluster first."""
    every = select(crashes.c.cluster, crashes.c.id.label("value")).where(crashes.c.cluster.is_not(None))
    return _within(every, cluster).order_by(crashes.c.cluster, crashes.c.time.desc().nulls_last(), crashes.c.id)


def values_of(key: str) -> Rows:
    """(`cluster`, `value`) for each value that a fact has in each cluster."""
    return select(facts.c.cluster, facts.c.value).where(facts.c.key == key)


def per_day(cluster: str | None, since: datetime) -> Rows:
    """(`cluster`, `day`, `total`): crashes a day (UTC, days since 1970) from a time on."""
    day = (type_coerce(crashes.c.time, BigInteger) // _DAY).label("day")
    counted = select(crashes.c.cluster, day, func.count().label("total"))
    counted = _within(counted.where(crashes.c.cluster.is_not(None), crashes.c.time >= since), cluster)
    return counted.group_by(crashes.c.cluster, day)


def exemplars(members: Sequence[str]) -> Rows:
    """The `profile` of each exemplar of these clusters."""
    return select(exemplar_table.c.profile).where(exemplar_table.c.cluster.in_(members)).order_by(exemplar_table.c.id)


def exactly(column: Column[Any], name: str) -> Rows:
    """The id `name` itself."""
    return select(column).where(column == name)


def starting(column: Column[Any], prefix: str, limit: int) -> Rows:
    """Ids that begin with `prefix`. Not LIKE: its rules for case differ between databases."""
    head = func.substr(column, 1, len(spell(prefix)), type_=Exact)
    return select(column).where(head == prefix).order_by(column).limit(limit)


def newest_crashes(limit: int) -> Rows:
    """Ids of the newest crashes."""
    return select(crashes.c.id).order_by(crashes.c.time.desc().nulls_last(), crashes.c.id).limit(limit)


def newest_clusters(limit: int) -> Rows:
    """Ids of the clusters that crashed last."""
    last = func.max(crashes.c.time)
    known = select(crashes.c.cluster).where(crashes.c.cluster.is_not(None)).group_by(crashes.c.cluster)
    return known.order_by(last.desc().nulls_last(), crashes.c.cluster).limit(limit)


def _within(statement: Rows, cluster: str | None) -> Rows:
    return statement if cluster is None else statement.where(crashes.c.cluster == cluster)
