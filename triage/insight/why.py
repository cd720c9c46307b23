"""All that is asked about one cluster: what goes with it, since when, after what, and whether it is known."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from triage import clock
from triage.insight.changes import kinds
from triage.insight.changes.onset import Onset, onset, stream
from triage.insight.changes.packages import narrowed, owners
from triage.insight.changes.ranking import Ranking, Suspect, rank
from triage.insight.changes.revert import Revert, revert
from triage.insight.changes.scan import between, scan
from triage.insight.correlate import Answer, Candidate, Comparison, Rule, Unit, answers, compare
from triage.insight.correlate.units import CONFIGURATION, MOMENTS, PLACES, moments_of, of_crash, of_snapshot, only
from triage.insight.known.lookup import Known, look_up
from triage.insight.plan import KIND, Load, Progress, Trial, load, progress, there, trials
from triage.model import Change, Cluster, Crash, Snapshot
from triage.store import Store

_LEAST = 5
_LOOK_BACK = 90 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The comparison of settings, and with whom: `healthy` workers, or `crashes` of other kinds, or nobody.

    `places` names each of the healthy, in the order of the comparison's masks.
    """

    found: Comparison
    against: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """One circumstance (script, request, age, …) held against others."""

    family: str
    found: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Since when, and after which change. `known` counts the changes that were looked at.

    `reaching` are those that can have reached the process. `reverts` has the way back for each suspect that is shown.
    """

    start: datetime
    onset: Onset | None
    ranking: Ranking
    known: int
    reaching: int
    reverts: tuple[Revert, ...] = ()

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """Those worth showing with their way back, where a beginning was found."""
        return self.ranking.shown if self.onset is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What is known of a cluster's cause. `incident` are other clusters that began within the same interval."""

    cluster: Cluster
    crash: Crash | None
    setup: Setup
    places: Comparison
    moments: tuple[Moment, ...]
    changed: Changed | None
    incident: tuple[Cluster, ...] = ()
    unread: int = 0
    known: Known = field(default_factory=Known)
    trials: tuple[Trial, ...] = ()
    rate: Load | None = None
    progress: tuple[Progress, ...] = ()


def investigate(store: Store, cluster: Cluster) -> Why:
    """Gather everything about a cluster. Reads this machine's logs when crashes come from it."""
    own, others = store.crashes(cluster.id), store.other_crashes(cluster.id)
    snapshots = store.snapshots()
    units = [unit for unit in map(of_crash, own) if unit is not None]
    elsewhere = [unit for unit in map(of_crash, others) if unit is not None]
    changed = _changed(store, cluster, own, snapshots)
    setup = _setup(units, elsewhere, snapshots)
    said, a_day = setup.found.said, _a_day(cluster, changed)
    answer = answers(said)[0] if said else None
    affected = [one for one in snapshots if said and _has(one, said[0])]
    rate = load(a_day, affected) if a_day and affected else None
    return Why(
        cluster=cluster,
        crash=own[0] if own else None,
        setup=setup,
        places=_places(units, elsewhere, snapshots),
        moments=tuple(_moments(units, elsewhere, snapshots)),
        changed=changed,
        incident=_incident(store, cluster, changed),
        unread=len(own) - len(units),
        known=look_up(store, cluster, own),
        trials=tuple(trials(_to_try(answer), affected, rate, _fell(own))) if answer and rate is not None else (),
        rate=rate,
        progress=tuple(_progress(store, own, snapshots, a_day)),
    )


def _a_day(cluster: Cluster, changed: Changed | None) -> float | None:
    """Crashes a day since they began, `None` where there are too few to tell."""
    if changed is not None and changed.onset is not None:
        return changed.onset.after
    if cluster.count < _LEAST or cluster.first_seen is None or cluster.last_seen is None:
        return None
    days = (cluster.last_seen - cluster.first_seen).total_seconds() / 86_400
    return (cluster.count - 1) / days if days > 0 else None


def _to_try(answer: Answer) -> Rule:
    """The conditions to set back: what all that cannot be told apart has, else those of the best."""
    return answer.common or answer.first.alternatives[0]


def _fell(own: Sequence[Crash]) -> Counter[tuple[str, str | None]]:
    """How many crashes each host's pools had."""
    workers = ((crash.host, crash.runtime.worker) for crash in own if crash.host and crash.runtime is not None)
    return Counter((host or "", worker.pool if worker is not None else None) for host, worker in workers)


def _has(snapshot: Snapshot, candidate: Candidate) -> bool:
    """Whether these workers have what a candidate names."""
    own = of_snapshot(snapshot).attributes
    return all(group <= own for group in candidate.alternatives[0])


def _progress(
    store: Store, own: Sequence[Crash], snapshots: Sequence[Snapshot], a_day: float | None
) -> Iterable[Progress]:
    """The experiments on record that began after the crashes did."""
    first = min((crash.time.timestamp() for crash in own if crash.time is not None), default=None)
    for change in store.changes():
        if change.kind != KIND or first is None or change.time < first:
            continue
        before = [crash for crash in own if crash.time is not None and crash.time.timestamp() < change.time]
        days = (change.time - first) / 86_400
        rate = len(before) / days if days > 0 and len(before) > 1 else a_day or 0.0
        yield progress(change, own, rate, _share(change, before), clock.now().timestamp())


def _share(change: Change, before: Sequence[Crash]) -> float:
    """The share of the crashes that fell, before, where the experiment is; half a crash if none did."""
    whole = replace(change, time=0.0)
    there = sum(1 for crash in before if there(crash, whole))
    return max(0.5, there) / max(1, len(before))


def _setup(units: Sequence[Unit], elsewhere: Sequence[Unit], snapshots: Sequence[Snapshot]) -> Setup:
    cases = [only(unit, CONFIGURATION) for unit in units]
    if snapshots:
        controls = [only(of_snapshot(snapshot), CONFIGURATION) for snapshot in snapshots]
        return Setup(found=compare(cases, controls), against="healthy", places=tuple(map(_place, snapshots)))
    distinct = {unit.configuration: only(unit, CONFIGURATION) for unit in elsewhere}
    against = "crashes" if distinct else "nobody"
    return Setup(found=compare(cases, list(distinct.values())), against=against)


def _place(snapshot: Snapshot) -> str:
    return f"pool {snapshot.pool} on {snapshot.host}" if snapshot.pool else snapshot.host


def _places(units: Sequence[Unit], elsewhere: Sequence[Unit], snapshots: Sequence[Snapshot]) -> Comparison:
    controls = [of_snapshot(snapshot) for snapshot in snapshots] or list(elsewhere)
    return compare([only(unit, PLACES) for unit in units], [only(unit, PLACES) for unit in controls])


def _moments(units: Sequence[Unit], elsewhere: Sequence[Unit], snapshots: Sequence[Snapshot]) -> Iterable[Moment]:
    healthy = [unit for snapshot in snapshots for unit in moments_of(snapshot)]
    for family in MOMENTS:
        cases = [only(unit, (family,)) for unit in units]
        for pool in (healthy, elsewhere):
            controls = [one for one in (only(unit, (family,)) for unit in pool) if one.attributes]
            if len(controls) >= _LEAST:
                yield Moment(family, compare([one for one in cases if one.attributes], controls))
                break


def _changed(store: Store, cluster: Cluster, own: Sequence[Crash], snapshots: Sequence[Snapshot]) -> Changed | None:
    times = [(time.timestamp(), host or "") for time, host in store.crash_times(cluster.id)]
    if not times:
        return None
    changes = _changes(store, own, snapshots)
    start, end = _observed(store, changes, snapshots, times[0][0]), clock.now().timestamp()
    found = stream(times, start, max(end, times[-1][0] + 1))
    mapped = frozenset(owners({module.path for crash in own[:20] for module in crash.modules}).values())
    reaching = [one for one in (narrowed(change, mapped) for change in changes) if one is not None]
    possible = [change for change in reaching if not _too_late(change, own)]
    ranking = rank(found, possible)
    step = onset(found)
    return Changed(
        start=clock.from_epoch(start), onset=step, ranking=ranking, known=len(changes), reaching=len(possible),
        reverts=tuple(revert(suspect.change) for suspect in ranking.shown) if step is not None else (),
    )  # fmt: skip


def _changes(store: Store, own: Sequence[Crash], snapshots: Sequence[Snapshot]) -> list[Change]:
    """What people told, what snapshots saw, and what this machine's logs tell if crashes come from here."""
    here = platform.node()
    pools = {
        crash.runtime.worker.pool for crash in own if crash.runtime is not None and crash.runtime.worker is not None
    }
    found = [*store.changes(), *between(snapshots, frozenset(pools) or None)]
    if any(crash.host == here for crash in own):
        scripts = {crash.runtime.script for crash in own if crash.runtime is not None and crash.runtime.script}
        found += scan(here, sorted(scripts))
    return list({(change.time, change.host, change.what): change for change in found}.values())


def _observed(store: Store, changes: Sequence[Change], snapshots: Sequence[Snapshot], first: float) -> float:
    """Since when crashes would have been noticed: the first crash of any kind, snapshot or change told of.

    Logs reach further back than that, and so do changes: cores may have been kept all the while.
    """
    every = [time.timestamp() for time, _ in store.crash_times()[:1]]
    seen = [snapshot.first_seen.timestamp() for snapshot in snapshots]
    logged = [change.time for change in changes if first - _LOOK_BACK <= change.time < first]
    return min([first - 1, *every, *seen, *(time - 1 for time in logged)])


def _too_late(change: Change, own: Sequence[Crash]) -> bool:
    """Whether most workers that crashed after a change had started before it, so that it cannot have reached them."""
    if change.kind not in kinds.start_kinds():
        return False
    after = [crash for crash in own if crash.time is not None and crash.time.timestamp() >= change.time]
    started = [crash.runtime.worker.started for crash in after if crash.runtime is not None and crash.runtime.worker]
    known = [moment.timestamp() for moment in started if moment is not None]
    return len(known) >= 2 and sum(moment < change.time for moment in known) > len(known) / 2


def _incident(store: Store, cluster: Cluster, changed: Changed | None) -> tuple[Cluster, ...]:
    """Other clusters whose first crash lies within this one's onset interval, or within an hour of it."""
    step = changed.onset if changed is not None else None
    if step is None:
        return ()
    return tuple(
        other for other in store.clusters()
        if other.id != cluster.id and other.first_seen is not None
        and step.low - 3600 <= other.first_seen.timestamp() <= step.high + 86_400
    )  # fmt: skip
