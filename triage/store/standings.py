"""What has become of clusters: their decisions held against the crashes, and how often they crash now.

Of a decision only those crashes are read that can bear on it, counted as it asks: whoever opens a list of many
clusters waits for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Row,
    Select,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)

from triage import clock
from triage.errors import UsageError
from triage.model import Cluster, Decision, Flag, State, Status
from triage.states import Rollout, Stretch, parse_until, rollout, spike, standing
from triage.states.spike import DAYS, RECENT
from triage.store import surroundings
from triage.store.columns import Moment
from triage.store.decisions import HELD, HOLDS_FROM, decision_of
from triage.store.tables import clusters, crashes, decisions

_HOUR = 3_600_000_000  # microseconds, the unit of stored times
_WATCHED = (State.FIXED, State.IGNORED)  # the states that crashes can bring to an end
_FIRST = func.min(crashes.c.time).label("first")
_LAST = func.max(crashes.c.time).label("last")
_TOTAL = func.count().label("total")
_PARTIAL = (
    select(crashes.c.cluster)
    .distinct()
    .where(crashes.c.cluster.is_not(None), crashes.c.status == Status.PARTIAL.value)
)


def with_standing(connection: Connection, found: list[Cluster], only: str | None) -> list[Cluster]:
    """The clusters with their decisions, and with the flags that follow; `only` if they are that one."""
    held = {row.cluster: decision_of(row) for row in connection.execute(_of(HELD, clusters.c.id, only))}
    watched = {name: one for name, one in held.items() if one.state in _WATCHED}
    after = _stretches(connection, watched) if watched else {}
    rollouts = _rollouts(connection, watched) if watched else {}
    partial = set(connection.scalars(_of(_PARTIAL, crashes.c.cluster, only)))
    at = clock.now()
    rates = _rates(connection, only, at)
    return [_stands(one, held.get(one.id), after, rollouts, partial, rates.get(one.id, (0, 0)), at) for one in found]


def _stands(
    cluster: Cluster,
    decision: Decision | None,
    after: Mapping[str, list[Stretch]],
    rollouts: Mapping[str, Rollout],
    partial: set[str],
    rate: tuple[int, int],
    at: datetime,
) -> Cluster:
    stands = standing(decision, after.get(cluster.id, ()), rollouts.get(cluster.id, Rollout()), now=at)
    flags, remarks = list(stands.flags), list(stands.remarks)
    why = spike(*rate, cluster.first_seen, at)
    if why is not None:
        flags.append(Flag.SPIKING)
        remarks.append(why)
    if cluster.id in partial:
        flags.append(Flag.PARTIAL)
    return replace(cluster, decision=decision, flags=tuple(flags), remarks=tuple(remarks))


def _of(statement: Select[Any], column: Column[Any], only: str | None) -> Select[Any]:
    return statement if only is None else statement.where(column == only)


def _rates(connection: Connection, only: str | None, at: datetime) -> dict[str, tuple[int, int]]:
    """By cluster, its crashes of the last day, and those of the four weeks before."""
    recent = func.sum(case((crashes.c.time > at - RECENT, 1), else_=0)).label("recent")
    since = literal(at - RECENT * (DAYS + 1), Moment)
    counted = select(crashes.c.cluster, recent, _TOTAL).where(
        crashes.c.cluster.is_not(None), crashes.c.time > since, crashes.c.time <= at
    )
    rows = connection.execute(_of(counted, crashes.c.cluster, only).group_by(crashes.c.cluster))
    return {row.cluster: (int(row.recent), row.total - int(row.recent)) for row in rows}


def _stretches(connection: Connection, watched: Mapping[str, Decision]) -> dict[str, list[Stretch]]:
    found: dict[str, list[Stretch]] = defaultdict(list)
    for statement in _questions(watched):
        for row in connection.execute(statement):
            hour = row.hour if row.hour is not None else int(row.first.timestamp()) // 3600
            found[row.cluster].append(
                Stretch(
                    host=row.host, version=row.runtime, hour=hour, count=row.total, first=row.first, last=row.last
                )
            )
    return found


def _questions(watched: Mapping[str, Decision]) -> Iterator[Select[Any]]:
    """Which clusters to ask what: the busiest hour or day of those ignored up to a rate, else where and in what."""
    kinds: dict[int, list[str]] = defaultdict(list)
    for name, decision in watched.items():
        kinds[_hours(decision)].append(name)
    for hours, names in kinds.items():
        yield _busiest(names, hours) if hours else _places(names)


def _hours(decision: Decision) -> int:
    """Over how many hours the crashes are counted for this decision; 0 if it asks for no rate."""
    if decision.state is State.FIXED:
        return 0
    try:
        until = parse_until(decision.until or "")
    except UsageError:
        return 0  # `standing` tells that it cannot be read
    if until.an_hour is not None:
        return 1
    return 24 if until.a_day is not None else 0


def _places(names: list[str]) -> Select[Any]:
    columns = (crashes.c.cluster, crashes.c.runtime, crashes.c.host)
    return _bearing(select(*columns, null().label("hour"), _TOTAL, _FIRST, _LAST), names).group_by(*columns)


def _busiest(names: list[str], hours: int) -> Select[Any]:
    """The hour (or the day, if 24) in which each cluster crashed most, the earliest of those alike."""
    unit = type_coerce(crashes.c.time, BigInteger) // (_HOUR * hours)
    counted = _bearing(select(crashes.c.cluster, unit.label("unit"), _TOTAL, _FIRST, _LAST), names)
    each = counted.group_by(crashes.c.cluster, unit).subquery()
    place = func.row_number().over(partition_by=each.c.cluster, order_by=(each.c.total.desc(), each.c.unit))
    ranked = select(each, place.label("place")).subquery()
    columns = (null().label("host"), null().label("runtime"), (ranked.c.unit * hours).label("hour"))
    found = select(ranked.c.cluster, *columns, ranked.c.total, ranked.c.first, ranked.c.last)
    return found.where(ranked.c.place == 1)


def _bearing(statement: Select[Any], names: list[str]) -> Select[Any]:
    """Crashes of these clusters after their decisions; all of them where the fix may have come before it.

    Of an ignored cluster to the microsecond: the hour in which it was decided is cut in two.
    """
    ignored = and_(decisions.c.state == State.IGNORED.value, crashes.c.time > HOLDS_FROM)
    anywhere = and_(decisions.c.fixed_in.is_not(None), decisions.c.since.is_(None))
    since = crashes.c.time >= func.coalesce(decisions.c.since, HOLDS_FROM)
    return (
        statement.join(clusters, clusters.c.id == crashes.c.cluster)
        .join(decisions, decisions.c.id == clusters.c.decision)
        .where(
            crashes.c.cluster.in_(names),
            crashes.c.time.is_not(None),
            or_(ignored, and_(decisions.c.state == State.FIXED.value, or_(anywhere, since))),
        )
    )


def _rollouts(connection: Connection, watched: Mapping[str, Decision]) -> dict[str, Rollout]:
    """Where the fixes run and since when, by the crashes under their versions and by what is on record."""
    named = {name: one for name, one in watched.items() if one.fixed_in and one.since is None}
    if not named:
        return {}
    seen = _first_seen_under(connection, {label for one in named.values() for label in _spellings(one.fixed_in)})
    changes = surroundings.changes(connection)
    before = _versions(connection, named)
    return {
        name: rollout(
            one, seen, {row.runtime for row in before[name] if row.first <= one.holds_from}, changes
        )
        for name, one in named.items()
    }  # fmt: skip


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


def _versions(connection: Connection, named: Mapping[str, Decision]) -> dict[str, Sequence[Row[Any]]]:
    """(`runtime`, `first`) of each cluster: under what it crashed, and first when."""
    rows = connection.execute(
        select(crashes.c.cluster, crashes.c.runtime, _FIRST)
        .where(crashes.c.cluster.in_(named), crashes.c.runtime.is_not(None), crashes.c.time.is_not(None))
        .group_by(crashes.c.cluster, crashes.c.runtime)
    )
    found: defaultdict[str, Any] = defaultdict(list)
    for row in rows:
        found[row.cluster].append(row)
    return found


def _spellings(fixed_in: str | None) -> tuple[str, ...]:
    """How `crashes.runtime` would spell it: a bare version is PHP's."""
    return (fixed_in, f"php {fixed_in}") if fixed_in else ()
