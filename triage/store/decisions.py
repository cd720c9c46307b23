"""What persons decided about clusters: kept for ever, read back, and held against the crashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from triage import clock
from triage.model import Cluster, Decision, Flag, State, Status
from triage.states import Rollout, Stretch, standing
from triage.store.tables import clusters, crashes, decisions

_FIELDS = ("state", "at", "by", "note", "bug", "until", "fixed_in", "since", "began", "undone", "undone_by")
_HOUR = 3_600_000_000  # microseconds, the unit of stored times
_DAY = 24 * _HOUR
_WATCHED = (State.FIXED, State.IGNORED)  # the states that crashes can bring to an end
_FIRST = func.min(crashes.c.time).label("first")
_HOLDS_FROM = func.coalesce(decisions.c.began, decisions.c.at)
_HELD = select(decisions).join(clusters, clusters.c.decision == decisions.c.id)
_PARTIAL = (
    select(crashes.c.cluster)
    .distinct()
    .where(crashes.c.cluster.is_not(None), crashes.c.status == Status.PARTIAL.value)
)


def put(connection: Connection, cluster: str, decision: Decision) -> None:
    """Add a decision; it holds from now on."""
    row = {name: getattr(decision, name) for name in _FIELDS} | {"cluster": cluster, "state": decision.state.value}
    made = connection.execute(insert(decisions).values(row).returning(decisions.c.id)).scalar_one()
    _hold(connection, cluster, made, decision)


def undo(connection: Connection, cluster: str, *, at: datetime, by: str | None) -> Decision | None:
    """Take the decision that holds back, so that the one before holds again; returns it, None if there is none."""
    valid = and_(decisions.c.cluster == cluster, decisions.c.undone.is_(None))
    newest = connection.execute(select(decisions).where(valid).order_by(decisions.c.id.desc()).limit(2)).all()
    if not newest:
        return None
    gone = {"undone": at, "undone_by": by}
    connection.execute(update(decisions).where(decisions.c.id == newest[0].id).values(gone))
    before = newest[1] if len(newest) > 1 else None
    _hold(connection, cluster, before.id if before else None, _decision(before) if before else None)
    return _decision(newest[0])


def history(connection: Connection, cluster: str) -> list[Decision]:
    """Every decision about a cluster, the newest first."""
    rows = connection.execute(select(decisions).where(decisions.c.cluster == cluster).order_by(decisions.c.id.desc()))
    return [_decision(row) for row in rows]


def busiest_day(connection: Connection, cluster: str, *, before: datetime) -> int:
    """The most crashes that a cluster had on one day (UTC) up to that time; 0 if none."""
    day = type_coerce(crashes.c.time, BigInteger) // _DAY
    counts = select(func.count().label("n")).where(crashes.c.cluster == cluster, crashes.c.time <= before)
    return connection.scalar(select(func.max(counts.group_by(day).subquery().c.n))) or 0


def with_standing(connection: Connection, found: list[Cluster], only: str | None) -> list[Cluster]:
    """The clusters with their decisions, and with the flags that follow from them; `only` if they are that one."""
    held = {row.cluster: _decision(row) for row in connection.execute(_of(_HELD, clusters.c.id, only))}
    watched = {name: one for name, one in held.items() if one.state in _WATCHED}
    after = _stretches(connection, only) if watched else {}
    rollouts = _rollouts(connection, watched, only) if watched else {}
    partial = set(connection.scalars(_of(_PARTIAL, crashes.c.cluster, only)))
    at = clock.now()
    return [_stands(one, held.get(one.id), after, rollouts, partial, at) for one in found]


def _stands(
    cluster: Cluster,
    decision: Decision | None,
    after: Mapping[str, list[Stretch]],
    rollouts: Mapping[str, Rollout],
    partial: set[str],
    at: datetime,
) -> Cluster:
    stands = standing(decision, after.get(cluster.id, ()), rollouts.get(cluster.id, Rollout()), now=at)
    also = (Flag.PARTIAL,) if cluster.id in partial else ()
    return replace(cluster, decision=decision, flags=stands.flags + also, remarks=stands.remarks)


def _of(statement: Select[Any], column: Column[Any], only: str | None) -> Select[Any]:
    return statement if only is None else statement.where(column == only)


def _stretches(connection: Connection, only: str | None) -> dict[str, list[Stretch]]:
    hour = (type_coerce(crashes.c.time, BigInteger) // _HOUR).label("hour")
    held = and_(clusters.c.id == crashes.c.cluster, clusters.c.state.in_(_WATCHED))
    grouped = (
        select(
            crashes.c.cluster, crashes.c.host, crashes.c.runtime, hour, func.count().label("total"),
            func.min(crashes.c.time).label("first"), func.max(crashes.c.time).label("last"),
        )
        .join(clusters, held)
        .join(decisions, decisions.c.id == clusters.c.decision)
        .where(crashes.c.time.is_not(None), _can_matter())
        .group_by(crashes.c.cluster, crashes.c.host, crashes.c.runtime, hour)
    )  # fmt: skip
    found: dict[str, list[Stretch]] = defaultdict(list)
    for row in connection.execute(_of(grouped, crashes.c.cluster, only)):
        found[row.cluster].append(
            Stretch(
                host=row.host, version=row.runtime, hour=row.hour, count=row.total, first=row.first, last=row.last
            )
        )
    return found


def _can_matter() -> ColumnElement[bool]:
    """Crashes after the decision; all of them where the fix may have come before it.

    Of an ignored cluster to the microsecond: the hour in which it was decided is cut in two.
    """
    ignored = and_(decisions.c.state == State.IGNORED.value, crashes.c.time > _HOLDS_FROM)
    anywhere = and_(decisions.c.fixed_in.is_not(None), decisions.c.since.is_(None))
    since = crashes.c.time >= func.coalesce(decisions.c.since, _HOLDS_FROM)
    return or_(ignored, and_(decisions.c.state == State.FIXED.value, or_(anywhere, since)))


def _rollouts(connection: Connection, watched: Mapping[str, Decision], only: str | None) -> dict[str, Rollout]:
    """Where the versions run that fix something, and since when, by the crashes under them."""
    spelled = {name: _spellings(one.fixed_in) for name, one in watched.items() if one.fixed_in}
    if not spelled:
        return {}
    seen = _first_seen_under(connection, {label for labels in spelled.values() for label in labels})
    first = _of(select(crashes.c.cluster, crashes.c.runtime, _FIRST), crashes.c.cluster, only)
    versions: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(first.group_by(crashes.c.cluster, crashes.c.runtime)):
        versions[row.cluster].append(row)
    return {name: _rollout(watched[name], seen, versions[name], mine) for name, mine in spelled.items()}


def _first_seen_under(connection: Connection, labels: set[str]) -> dict[str, dict[str | None, datetime]]:
    """By version and host, the time of the first crash under it."""
    rows = connection.execute(
        select(crashes.c.runtime, crashes.c.host, _FIRST)
        .where(crashes.c.runtime.in_(labels), crashes.c.time.is_not(None))
        .group_by(crashes.c.runtime, crashes.c.host)
    )
    seen: dict[str, dict[str | None, datetime]] = defaultdict(dict)
    for row in rows:
        seen[row.runtime][row.host] = row.first
    return seen


def _spellings(fixed_in: str) -> tuple[str, ...]:
    """How `crashes.runtime` would spell it: a bare version is PHP's."""
    return (fixed_in, f"php {fixed_in}")


def _rollout(
    decision: Decision,
    seen: Mapping[str, Mapping[str | None, datetime]],
    versions: Sequence[Row[Any]],
    labels: tuple[str, ...],
) -> Rollout:
    label = next((one for one in labels if one in seen), None)
    if label is None:
        return Rollout()
    before = {row.runtime for row in versions if row.runtime and row.first and row.first <= decision.holds_from}
    return Rollout(hosts=seen[label], version=label, before=frozenset(before - {label}))


def _hold(connection: Connection, cluster: str, number: int | None, decision: Decision | None) -> None:
    values = {
        "decision": number,
        "state": (decision.state if decision else State.NEW).value,
        "note": decision.note if decision else None,
    }
    connection.execute(update(clusters).where(clusters.c.id == cluster).values(values))


def _decision(row: Row[Any]) -> Decision:
    given = {name: getattr(row, name) for name in _FIELDS}
    return Decision(**given | {"state": State(given["state"])})
