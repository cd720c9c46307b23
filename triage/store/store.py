"""The store: what was triaged, kept between runs."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Row

from triage.config import user_name
from triage.errors import Busy, TriageError
from triage.filing import Filed, filed
from triage.model import (
    Change,
    Cluster,
    Crash,
    CrashRow,
    Decision,
    Failure,
    Incident,
    KnownBug,
    Outcome,
    Regrouping,
    Snapshot,
    State,
    Status,
)
from triage.query import Filter, Query, ordered
from triage.states import resolve_until
from triage.store import decisions, news, reads, regroupings, surroundings, twins
from triage.store.backend import Backend, Engines, explained
from triage.store.columns import digest
from triage.store.deployed import crashed_under
from triage.store.names import cluster_id, crash_id
from triage.store.news import Arrived, Reported
from triage.store.recent import Recent
from triage.store.revision import raise_revision, revision
from triage.store.standings import with_standing
from triage.wire import crash_from_json

if TYPE_CHECKING:
    from triage.cluster.profile import Profile

# What groups crashes (`writes`, `regroup`, `resign`, `incidents`) is imported where it is used: whoever only reads
# (the first screen of the interface) need not wait until it is loaded.
_AT_ONCE = 500  # as many values as every database takes in one statement


@dataclass(frozen=True, slots=True)
class InputStamp:
    """What tells a file from one that took its place: size, modification time, inode."""

    size: int
    mtime_ns: int
    inode: int


class Store:
    """Crashes, their clusters and the inputs they came from, in one database.

    Made by `open_store`, closed by leaving its `with`. Each method is one transaction, may be
    called from any thread, and raises a TriageError when the database cannot be used: Busy
    when another program keeps it locked, EnvironmentLacks when it is damaged, unreachable or
    not writable.
    """

    def __init__(self, backend: Backend, engines: Engines) -> None:
        self._backend = backend
        self._engines = engines
        self._recent = Recent()
        self._saving = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._engines.reader.dispose()

    @property
    def name(self) -> str:
        """How to call this store in messages: a path, or a URL without its password."""
        return self._backend.name

    def seen(self, path: str, stamp: InputStamp) -> Outcome | None:
        """The earlier outcome if this very input gave a crash; `None` if it is new or failed."""
        with self._reading() as connection:
            row = connection.execute(reads.done_input(path, _stamp_text(stamp))).first()
        if row is None:
            return None
        # The record may name another path, where the same crash was found as well.
        crash = replace(self._crash(row.record, row.id), core=path, cluster=row.cluster)
        return Outcome(core=path, status=Status(row.status), crash=crash)

    def done(self, inputs: Iterable[tuple[str, InputStamp]]) -> set[str]:
        """The paths of those inputs that `seen` would tell of."""
        wanted = {digest(path): (path, _stamp_text(stamp)) for path, stamp in inputs}
        digests, found = list(wanted), set[str]()
        with self._reading() as connection:
            for at in range(0, len(digests), _AT_ONCE):
                for row in connection.execute(reads.done_inputs(digests[at : at + _AT_ONCE])):
                    path, stamp = wanted[row.digest]
                    if row.stamp == stamp:
                        found.add(path)
        return found

    def save(self, outcome: Outcome, stamp: InputStamp | None) -> Outcome:
        """Keep what became of one input; returns it with the crash's cluster set.

        A crash of a known id, and an earlier outcome of the same path, are replaced. Without
        a stamp the input is triaged again next time.
        """
        (kept,) = self._save([(filed(outcome), stamp)])
        if outcome.crash is None or kept.crash is None:
            return outcome
        return replace(outcome, crash=replace(outcome.crash, cluster=kept.crash.cluster))

    def save_all(self, given: Sequence[tuple[Filed, InputStamp | None]]) -> list[Filed]:
        """The same for several at once, in one transaction.

        The first that cannot be kept raises; those before it are kept.
        """
        if not given:
            return []
        try:
            return self._save(given)
        except Busy:
            raise
        except TriageError:
            if len(given) == 1:
                raise
            return [kept for one in given for kept in self._save([one])]

    def _save(self, given: Sequence[tuple[Filed, InputStamp | None]]) -> list[Filed]:
        from triage.store import writes

        with self._saving, explained(self._backend):
            with self._engines.writer.begin() as connection:
                risen = raise_revision(connection)
                self._recent.begin(risen)
                fresh = news.arrive(connection, [one for one, _ in given], self._recent)
                writer = writes.Writer(connection, self._recent)
                kept = [
                    writer.put(one, None if stamp is None else _stamp_text(stamp), is_new=is_new)
                    for (one, stamp), is_new in zip(given, fresh, strict=True)
                ]
                writer.flush()
            self._recent.done(risen)
        return kept

    def clusters(self, query: Query | None = None, *, members: bool = True) -> list[Cluster]:
        """The clusters that have crashes, the one that crashed last first; those a query selects, if given.

        Without `members` their crashes are not named (`Cluster.crashes` is empty), which spares much time
        where there are many.
        """
        with self._reading() as connection:
            found = _clusters(connection, None, members=members)
            if query is None:
                return found
            chosen = Filter(query, lambda key: _values(connection, key), me=user_name())
            return ordered((cluster for cluster in found if chosen.cluster(cluster)), query.sort)

    def cluster(self, id_or_prefix: str) -> Cluster:
        """One cluster, by its id or the beginning of it.

        Raises:
            UsageError: when no cluster, or more than one, is meant; names candidates.
        """
        with self._reading() as connection:
            return _clusters(connection, cluster_id(connection, id_or_prefix))[0]

    def mark(self, cluster: str, decision: Decision) -> Cluster:
        """Add what a person decided about a cluster; it holds from now on. Returns the cluster as it is then.

        What is given for `until` is made to last: see `triage.states.resolve_until`. A decision other than
        IGNORED has none.

        Raises:
            UsageError: as `cluster()` does, and for a condition that is none.
        """
        with self._writing() as connection:
            id_ = cluster_id(connection, cluster)
            decisions.put(connection, id_, _resolved(connection, id_, decision))
            return _clusters(connection, id_)[0]

    def undo(self, cluster: str, *, at: datetime, by: str | None) -> tuple[Cluster, Decision | None]:
        """Take the newest decision back; returns the cluster as it is then, and what was taken back, if anything."""
        with self._writing() as connection:
            id_ = cluster_id(connection, cluster)
            gone = decisions.undo(connection, id_, at=at, by=by)
            return _clusters(connection, id_)[0], gone

    def decisions(self, cluster: str) -> list[Decision]:
        """All that was ever decided about a cluster, the newest first; those undone too."""
        with self._reading() as connection:
            return decisions.history(connection, cluster_id(connection, cluster))

    def per_day(self, since: datetime, cluster: str | None = None) -> dict[str, dict[int, int]]:
        """Crashes a day (UTC, as days since 1970) from a time on, by cluster; days without any are left out."""
        counts: defaultdict[str, dict[int, int]] = defaultdict(dict)
        with self._reading() as connection:
            for row in connection.execute(reads.per_day(cluster, since)):
                counts[row.cluster][row.day] = row.total
        return counts

    def merge(self, cluster: str, into: str, why: str | None = None) -> Regrouping:
        """Make one cluster part of another, for all crashes to come as well.

        Raises:
            UsageError: when either is not known, or both are one already.
        """
        from triage.store import regroup

        with self._writing() as connection:
            return regroup.merge(connection, cluster_id(connection, cluster), cluster_id(connection, into), why)

    def split(self, crashes_: Sequence[str], why: str | None = None) -> Regrouping:
        """Put crashes of one cluster into a cluster of their own, and keep them there.

        Raises:
            UsageError: when a crash is not known, they are of several clusters, or they are all of one.
        """
        from triage.store import regroup

        with self._writing() as connection:
            return regroup.split(connection, [crash_id(connection, name) for name in crashes_], why)

    def undo_regrouping(self, number: int) -> Regrouping:
        """Take a merge or a split back. Raises UsageError when there is no such change."""
        from triage.store import regroup

        with self._writing() as connection:
            return regroup.undo(connection, number)

    def incidents(self) -> list[Incident]:
        """Clusters that look like victims of one memory corruption, that with most crashes first."""
        from triage.store import incidents

        with self._reading() as connection:
            return incidents.listed(connection)

    def resign(self) -> int:
        """Bring the keys to the rules of this program; no crash moves. Returns how many crashes were read."""
        from triage.store import resign

        with self._reading() as connection:
            if not resign.is_due(connection):
                return 0
        with self._writing() as connection:
            return resign.resign(connection)

    def regroupings(self) -> list[Regrouping]:
        """Every merge and split, the newest first."""
        with self._reading() as connection:
            return regroupings.listed(connection)

    def exemplars(self, cluster: str) -> list[Profile]:
        """The crashes that stand for a cluster in comparisons; raises UsageError as `cluster()` does."""
        from triage.cluster.profile import load
        from triage.store import regroup

        with self._reading() as connection:
            found = reads.exemplars(regroup.whole(connection, cluster_id(connection, cluster)))
            return [load(row.profile) for row in connection.execute(found)]

    def crash(self, id_or_prefix: str) -> Crash:
        """One crash whole; raises UsageError as `cluster()` does."""
        with self._reading() as connection:
            id_ = crash_id(connection, id_or_prefix)
            row = connection.execute(reads.record(id_)).one()
        return replace(self._crash(row.record, id_), cluster=row.cluster)

    def crash_rows(self, cluster: str | None = None, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        """Crashes as lists show them, newest first; of one cluster if given (id or prefix)."""
        with self._reading() as connection:
            within = None if cluster is None else cluster_id(connection, cluster)
            rows = connection.execute(reads.crash_rows(within, limit, offset))
            return [_crash_row(row) for row in rows]

    def crashes(self, cluster: str, limit: int = 300) -> list[Crash]:
        """The newest crashes of a cluster (its whole id), whole; records that cannot be read are left out."""
        with self._reading() as connection:
            return [crash for crash in surroundings.crashes(connection, cluster, limit) if crash is not None]

    def other_crashes(self, cluster: str, limit: int = 300) -> list[Crash]:
        """The newest crashes that are not of this cluster, as `crashes`."""
        with self._reading() as connection:
            return [
                crash for crash in surroundings.crashes(connection, cluster, limit, others=True) if crash is not None
            ]

    def crash_times(self, cluster: str | None = None) -> list[tuple[datetime, str | None]]:
        """`(time, host)` of all crashes, or of a cluster's, the earliest first."""
        with self._reading() as connection:
            return surroundings.crash_times(connection, cluster)

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Keep what healthy workers are like; the same configuration of a host and pool is one row."""
        with self._writing() as connection:
            surroundings.put_snapshot(connection, snapshot)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, the last seen first."""
        with self._reading() as connection:
            return surroundings.snapshots(connection)

    def add_change(self, change: Change) -> None:
        """Keep a change; the same one twice is one."""
        with self._writing() as connection:
            surroundings.put_change(connection, change)

    def changes(self) -> list[Change]:
        """All changes, the earliest first."""
        with self._reading() as connection:
            return surroundings.changes(connection)

    def add_known_bugs(self, bugs: Iterable[KnownBug]) -> None:
        """Keep bugs; the same bug with the same signature is replaced."""
        with self._writing() as connection:
            for bug in bugs:
                surroundings.put_known_bug(connection, bug)

    def known_bugs(self) -> list[KnownBug]:
        """All bugs on file, by name."""
        with self._reading() as connection:
            return surroundings.known_bugs(connection)

    def loose_rows(self, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        """Crashes that no signature could be made for, and that are in no cluster therefore; newest first."""
        with self._reading() as connection:
            return [_crash_row(row) for row in connection.execute(reads.loose_rows(limit, offset))]

    def loose_count(self) -> int:
        """How many crashes are in no cluster."""
        with self._reading() as connection:
            return int(connection.scalar(reads.loose_count()) or 0)

    def failures(self) -> list[Outcome]:
        """The inputs that gave no crash when last tried, by path."""
        with self._reading() as connection:
            found = [_failed(row) for row in connection.execute(reads.failed_inputs())]
        return sorted(found, key=lambda outcome: outcome.core)

    def has_core(self, pid: int, time: datetime | None) -> bool:
        """Whether a crash of that process, within a minute of that time, is known from its core."""
        with self._reading() as connection:
            return twins.has_core(connection, pid, time)

    def arrived(self, since: datetime) -> Arrived:
        """What came in after a time, whatever the time of the crashes themselves."""
        with self._reading() as connection:
            return news.arrived(connection, since)

    def counts(self, since: datetime, until: datetime) -> dict[str, int]:
        """Crashes that happened within a time, by cluster; clusters without any are left out."""
        with self._reading() as connection:
            return news.counts(connection, since, until)

    def versions(self) -> list[tuple[str, datetime]]:
        """Each interpreter version that crashed, with its first crash, oldest first."""
        with self._reading() as connection:
            return news.versions(connection)

    def newest_arrival(self) -> datetime | None:
        """When the last crash, or input that gave none, came in."""
        with self._reading() as connection:
            return news.newest_arrival(connection)

    def last_report(self, name: str) -> Reported | None:
        """What the series of reports of that name told last; `None` if it never did."""
        with self._reading() as connection:
            return news.last_report(connection, name)

    def moment(self) -> datetime:
        """Now, or later where the clock was set back: what is stored came in before, what follows comes after."""
        with self._writing() as connection:
            return news.moment(connection)

    def reported(self, name: str, told: Reported) -> None:
        """Say up to when that series has told."""
        with self._writing() as connection:
            news.put_report(connection, name, told)

    def revision(self) -> int:
        """A number that rises with every commit, whoever makes it."""
        with self._reading() as connection:
            return int(connection.scalar(revision()) or 0)

    @contextmanager
    def lock(self, what: str = "") -> Iterator[None]:
        """Hold a lock of this store: that of batches, or of something else by name. Free when the process ends.

        Raises:
            Busy: when another run holds it; the message names its pid.
        """
        with explained(self._backend), self._backend.lock(self._engines, what):
            yield

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with explained(self._backend), self._engines.reader.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with explained(self._backend), self._engines.writer.begin() as connection:
            raise_revision(connection)
            yield connection

    def _crash(self, record: str, id_: str) -> Crash:
        try:
            return crash_from_json(json.loads(record))
        except ValueError as error:
            raise TriageError(
                f"the record of crash {id_} in {self.name} cannot be read: {error}",
                help="Triage its core again.",
            ) from error


def _stamp_text(stamp: InputStamp) -> str:
    # Text: an inode is unsigned and may not fit a database's 64-bit integers.
    return f"{stamp.size}:{stamp.mtime_ns}:{stamp.inode}"


def _clusters(connection: Connection, cluster: str | None, *, members: bool = True) -> list[Cluster]:
    """All clusters that have crashes, or one, in a few statements however many there are; the last to crash first."""
    ids = _by_cluster(connection, reads.members(cluster)) if members else defaultdict(list)
    places: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(reads.places(cluster)):
        places[row.cluster].append(row)
    found = [
        _cluster(row, places[row.id], tuple(ids[row.id]))
        for row in connection.execute(reads.cluster_rows(cluster))
        if row.id in places or cluster is not None
    ]
    found.sort(key=lambda one: (-one.last_seen.timestamp() if one.last_seen else math.inf, one.id))
    return with_standing(connection, found, cluster)


def _cluster(row: Row[Any], places: Sequence[Row[Any]], members: tuple[str, ...]) -> Cluster:
    return Cluster(
        id=row.id,
        title=row.title,
        signature=row.signature,
        count=sum(place.total for place in places),
        first_seen=min((place.first for place in places if place.first is not None), default=None),
        last_seen=max((place.last for place in places if place.last is not None), default=None),
        state=State(row.state),
        crashes=members,
        versions=_names(place.runtime for place in places),
        hosts=_names(place.host for place in places),
        note=row.note,
    )


def _names(found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in found if name is not None}))


def _resolved(connection: Connection, cluster: str, decision: Decision) -> Decision:
    if decision.state is not State.IGNORED:
        return replace(decision, until=None)
    versions = _names(place.runtime for place in connection.execute(reads.places(cluster)))
    busiest = decisions.busiest_day(connection, cluster, before=decision.at)
    until = resolve_until(decision.until, now=decision.at, busiest_day=busiest, versions=versions)
    return replace(decision, until=str(until))


def _values(connection: Connection, key: str) -> Mapping[str, Sequence[str]]:
    """What the crashes of each cluster have for a key of the filter language."""
    return crashed_under(connection) if key == "deploy" else _by_cluster(connection, reads.values_of(key))


def _by_cluster(connection: Connection, pairs: reads.Rows) -> defaultdict[str, list[str]]:
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(pairs):
        grouped[row.cluster].append(row.value)
    return grouped


def _crash_row(row: Row[Any]) -> CrashRow:
    return CrashRow(**{**row._asdict(), "status": Status(row.status)})


def _failed(row: Row[Any]) -> Outcome:
    failure = None if row.code is None else Failure(code=row.code, message=row.message)
    return Outcome(core=row.path, status=Status(row.status), failure=failure)
