"""What a report tells: the kinds of crash that are new, back after their fix, or more frequent than they were.

News are counted from when crashes came in; rates from when they happened. So an old core that is read
late is told once, and is no wave of crashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from triage.explain import Context, write_page
from triage.explain.statement import Statement
from triage.model import Cluster, Flag, Outcome, State
from triage.states.spike import DAYS, spikes
from triage.store import Arrived, Store

_DAY = timedelta(days=1)
_EPOCH_DAY = 86400


class Kind(StrEnum):
    """Why a cluster is told of."""

    REGRESSED = "regressed"
    NEW = "new"
    SPIKING = "spiking"
    AWAKE = "awake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One cluster and why it is told. `count` are its crashes within the report's time, `daily` those of the last
    28 days, oldest first; `why` is a sentence."""

    kind: Kind
    cluster: Cluster
    count: int
    why: str
    daily: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that changed at a time: a fix, a version seen for the first time."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What to do first, and for which cluster."""

    cluster: str
    statement: Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The content of one report. `since` to `until` is what it covers, `since` None for everything until now.

    `crashes` came in within that time, `before` happened in as long a time before it. `daily` counts all
    crashes of the last 28 days, `others` are kinds that crashed as they did before.
    """

    since: datetime | None
    until: datetime
    items: tuple[Item, ...]
    unread: tuple[Outcome, ...]
    crashes: int
    before: int
    others: int
    hosts: tuple[str, ...]
    daily: tuple[int, ...]
    marks: tuple[Mark, ...]
    first: First | None
    newest: datetime | None

    @property
    def any(self) -> bool:
        """Whether there is something a person should know."""
        return bool(self.items or self.unread)

    def of(self, kind: Kind) -> tuple[Item, ...]:
        """The items of one kind."""
        return tuple(item for item in self.items if item.kind is kind)


_ORDER = tuple(Kind)


def gather(store: Store, since: datetime | None, until: datetime) -> News:
    """Read the news of a time from the store; `since` None takes everything that was never told."""
    begin = since or datetime.fromtimestamp(0, until.tzinfo)
    clusters = store.clusters()
    arrived = store.arrived(begin)
    happened = store.counts(begin, until)
    days = store.per_day(until - DAYS * _DAY)
    items = tuple(_items(clusters, arrived, happened, days, since, until))
    told = {item.cluster.id for item in items}
    touched = set(arrived.crashes) | set(happened)
    return News(
        since=since,
        until=until,
        items=items,
        unread=tuple(outcome for outcome in store.failures() if outcome.core in arrived.unread),
        crashes=sum(max(len(arrived.crashes.get(name, ())), happened.get(name, 0)) for name in touched),
        before=sum(store.counts(begin - (until - begin), begin).values()) if since is not None else 0,
        others=len(touched - told),
        hosts=tuple(sorted({host for cluster in clusters if cluster.id in touched for host in cluster.hosts})),
        daily=_series(_summed(days), until),
        marks=tuple(_marks(clusters, store.versions(), until)),
        first=_first(store, items, clusters),
        newest=store.newest_arrival(),
    )


def _items(
    clusters: Sequence[Cluster],
    arrived: Arrived,
    happened: Mapping[str, int],
    days: Mapping[str, Mapping[int, int]],
    since: datetime | None,
    until: datetime,
) -> Iterator[Item]:
    found = []
    for cluster in clusters:
        came = len(arrived.crashes.get(cluster.id, ()))
        told = _told(cluster, came, arrived, happened.get(cluster.id, 0), days.get(cluster.id, {}), since, until)
        if told is not None:
            count = max(came, happened.get(cluster.id, 0))
            daily = _series(days.get(cluster.id, {}), until)
            found.append(Item(kind=told[0], cluster=cluster, count=count, why=told[1], daily=daily))
    yield from sorted(found, key=lambda item: (_ORDER.index(item.kind), -item.count, item.cluster.id))


def _told(
    cluster: Cluster,
    came: int,
    arrived: Arrived,
    happened: int,
    days: Mapping[int, int],
    since: datetime | None,
    until: datetime,
) -> tuple[Kind, str] | None:
    """Why the cluster is news, if it is."""
    if came and Flag.REGRESSED in cluster.flags:
        return Kind.REGRESSED, cluster.remarks[0] if cluster.remarks else "it crashed where its fix is rolled out"
    if came and Flag.AWAKE in cluster.flags:
        return Kind.AWAKE, cluster.remarks[0] if cluster.remarks else "it was ignored until now"
    if cluster.state in (State.IGNORED, State.FIXED):
        return None
    if cluster.id in arrived.new and cluster.state is State.NEW:
        return Kind.NEW, "not seen before"
    usual = _usual(cluster, days, since, until) if since is not None else None
    if usual is not None and spikes(happened, usual):
        often = f"about {usual:.1f}" if usual >= 0.1 else "almost none"
        return Kind.SPIKING, f"{happened} times, where {often} would have been usual"
    return None


def _usual(cluster: Cluster, days: Mapping[int, int], since: datetime, until: datetime) -> float | None:
    """Crashes to expect in this time by the days before it; `None` while it is younger than that."""
    begin = max(cluster.first_seen or since, until - DAYS * _DAY)
    span = (since - begin) / _DAY
    if span < 1.0:
        return None
    last = int(since.timestamp() // _EPOCH_DAY)
    earlier = sum(count for day, count in days.items() if day < last)
    return earlier / max(1.0, last - begin.timestamp() // _EPOCH_DAY) * ((until - since) / _DAY)


def _series(days: Mapping[int, int], until: datetime) -> tuple[int, ...]:
    last = int(until.timestamp() // _EPOCH_DAY)
    return tuple(days.get(day, 0) for day in range(last - DAYS + 1, last + 1))


def _summed(days: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for counts in days.values():
        for day, count in counts.items():
            total[day] = total.get(day, 0) + count
    return total


def _marks(clusters: Sequence[Cluster], versions: Sequence[tuple[str, datetime]], until: datetime) -> Iterator[Mark]:
    begin = until - DAYS * _DAY
    for version, first in versions[1:]:  # the first one seen is no change
        if first >= begin:
            yield Mark(at=first, text=f"first crash of {version}")
    for cluster in clusters:
        decision = cluster.decision
        if decision is not None and decision.state is State.FIXED:
            at = decision.since or decision.holds_from
            if begin <= at <= until:
                where = f" in {decision.fixed_in}" if decision.fixed_in else ""
                yield Mark(at=at, text=f"{cluster.id} fixed{where}")


def _first(store: Store, items: Sequence[Item], clusters: Sequence[Cluster]) -> First | None:
    for item in items:
        newest = store.crash_rows(item.cluster.id, limit=1)
        if not newest:
            continue
        page = write_page(store.crash(newest[0].id), _context(item.cluster, clusters))
        part = next((part for part in page.parts if part.head == "What to do first"), None)
        if part is not None:
            return First(cluster=item.cluster.id, statement=part.statements[0])
    return None


def _context(cluster: Cluster, clusters: Sequence[Cluster]) -> Context:
    begun = cluster.first_seen
    near = [
        other for other in clusters
        if begun and other.first_seen and other.id != cluster.id and abs(other.first_seen - begun) <= _DAY
    ]  # fmt: skip
    return Context(
        cluster=cluster.id,
        count=cluster.count,
        first_seen=begun,
        last_seen=cluster.last_seen,
        hosts=len(cluster.hosts) or 1,
        together=len(near),
    )
