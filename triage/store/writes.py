"""The rows of what came in. All is written within one `writer` transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from triage.cluster.assign import NEW, place
from triage.cluster.profile import load
from triage.filing import Filed, FiledCrash, facts_in
from triage.model import Signature
from triage.model.record import changed
from triage.store import incidents, regroupings, twins
from triage.store.book import SqlBook, retitle
from triage.store.columns import digest
from triage.store.incidents import Victim
from triage.store.recent import Recent
from triage.store.tables import crashes, facts, inputs, keys, pins
from triage.store.upsert import insert_missing, upsert_all


class Writer:
    """Writes outcomes one after another; rows wait until `flush`, or until a statement would look for them."""

    def __init__(self, connection: Connection, recent: Recent) -> None:
        self._connection = connection
        self._recent = recent
        self._crashes: list[dict[str, Any]] = []
        self._victims: dict[str, Victim] = {}
        self._inputs: list[dict[str, Any]] = []

    def put(self, filed: Filed, stamp: str | None, *, is_new: bool) -> Filed:
        """Insert or replace what became of an input, and its crash if it has one; returns it with its cluster.

        `is_new` tells that it never came in before.
        """
        if filed.crash is not None:
            filed = changed(filed, crash=self.put_crash(filed.crash, is_new=is_new))
        self._inputs.append(_input_row(filed, stamp))
        return filed

    def put_crash(self, crash: FiledCrash, *, is_new: bool) -> FiledCrash:
        """The same for a crash alone."""
        cluster = None if crash.signature is None else self._assign(crash, crash.signature)
        placed = changed(crash, cluster=cluster)
        self._crashes.append(_crash_row(placed))
        if crash.signature is not None:
            self._victims[crash.id] = Victim(crash.incident, is_new)
        if cluster is not None:
            self._add_facts(cluster, crash.facts)
        if self._recent.logs is not False:
            self.flush()
        twins.drop_log_twins(self._connection, placed, self._recent)
        return placed

    def flush(self) -> None:
        """Write all that waits."""
        upsert_all(self._connection, crashes, self._crashes, key="id")
        incidents.put(self._connection, self._victims)
        put_inputs(self._connection, self._inputs)
        self._crashes, self._victims, self._inputs = [], {}, []

    def _add_facts(self, cluster: str, told: str) -> None:
        """Most crashes of a cluster say what earlier ones said: asking first spares two hundred writes."""
        recent = self._recent
        mark = (cluster, digest(told))
        if mark in recent.told:
            return
        if cluster not in recent.facts:
            rows = self._connection.execute(select(facts.c.key, facts.c.value).where(facts.c.cluster == cluster))
            recent.facts[cluster] = {(row.key, row.value) for row in rows}
        news = facts_in(told) - recent.facts[cluster]
        recent.facts[cluster] |= news
        recent.told.add(mark)
        # Two writers queue on the revision, but one that began before may have added the same.
        rows_ = [{"key": key, "cluster": cluster, "value": value} for key, value in sorted(news)]
        insert_missing(self._connection, facts, rows_)

    def _assign(self, crash: FiledCrash, signature: Signature) -> str:
        """The crash's cluster: where a person put it, or where its keys or its likeness belong."""
        book = SqlBook(self._connection, self._recent)
        pinned = self._pinned(crash.id)
        if pinned is not None:
            return book.root(pinned)
        look = (signature.key, signature.aliases, crash.profile)
        cluster = self._recent.settled.get(look)
        if cluster is None:
            self.flush()  # a merge moves rows
            changes = self._recent.changes
            placed = place(signature, load(crash.profile), book)
            cluster = placed.cluster
            if placed.rule == NEW:
                return cluster
            if changes == self._recent.changes:
                self._recent.settled[look] = cluster
        self._came(crash.id, signature, cluster)
        return cluster

    def _came(self, crash: str, signature: Signature, cluster: str) -> None:
        """A crash came to a cluster that was there: its title holds for this one too, and merges know of it."""
        settled = self._recent.titles.setdefault(cluster, set())
        if signature.title not in settled:
            if retitle(self._connection, cluster, signature.title):
                settled.clear()
            settled.add(signature.title)
        origin = self._origin(signature.key)
        if origin is not None and origin != cluster:
            regroupings.follow(self._connection, crash, origin, cluster)

    def _pinned(self, crash: str) -> str | None:
        """Where a person put the crash."""
        if self._recent.pins is None:
            self._recent.pins = self._connection.scalar(select(pins.c.crash).limit(1)) is not None
        if not self._recent.pins:
            return None
        found: str | None = self._connection.scalar(select(pins.c.cluster).where(pins.c.crash == crash))
        return found

    def _origin(self, key: str) -> str | None:
        """The cluster that learned a key."""
        origins = self._recent.origins
        if key not in origins:
            found: str | None = self._connection.scalar(select(keys.c.cluster).where(keys.c.digest == digest(key)))
            if found is None:
                return None
            origins[key] = found
        return origins[key]


def put_inputs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or replace what became of inputs."""
    upsert_all(connection, inputs, rows, key="digest")


def _input_row(filed: Filed, stamp: str | None) -> dict[str, Any]:
    failure = filed.failure
    return {
        "digest": digest(filed.core),
        "path": filed.core,
        "stamp": stamp,
        "status": filed.status.value,
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
        "crash": filed.crash.id if filed.crash else None,
    }


def _crash_row(crash: FiledCrash) -> dict[str, Any]:
    return {
        "id": crash.id,
        "cluster": crash.cluster,
        "core": crash.core,
        "status": crash.status.value,
        "time": crash.time,
        "host": crash.host,
        "pid": crash.pid,
        "executable": crash.executable,
        "signal": crash.signal,
        "runtime": crash.runtime,
        "script": crash.script,
        "title": crash.signature.title if crash.signature else None,
        "record": crash.text,
    }
