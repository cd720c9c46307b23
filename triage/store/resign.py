"""Bring the keys of a store to the rules of this program, without moving a crash."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection, delete, select

from triage.cluster.assign import words_of
from triage.cluster.profile import profile_of
from triage.cluster.signature import rules, signature_of
from triage.store.book import SqlBook
from triage.store.tables import clusters, crashes, exemplars, meta, words
from triage.store.upsert import upsert
from triage.wire import crash_from_json

_NEWEST = 20


def is_due(connection: Connection) -> bool:
    """Whether the store's keys were made by other rules, or other lists of the user's."""
    return connection.scalar(select(meta.c.value).where(meta.c.key == "rules")) != _rules()


def resign(connection: Connection) -> int:
    """Let each cluster learn the new keys of its newest crashes; returns how many crashes were read.

    Every crash stays where it is, and with it what persons decided: old keys go on leading there. Where
    the new rules give crashes of two clusters one key, the cluster that had it first keeps it.
    """
    connection.execute(delete(words))
    connection.execute(delete(exemplars))
    book, read = SqlBook(connection), 0
    for cluster in connection.scalars(select(clusters.c.id).order_by(clusters.c.id)).all():
        newest = select(crashes.c.record).where(crashes.c.cluster == cluster)
        for record in connection.scalars(newest.order_by(crashes.c.time.desc(), crashes.c.id).limit(_NEWEST)).all():
            read += _learn(book, cluster, record)
    upsert(connection, meta, {"key": "rules", "value": _rules()}, key="key")
    return read


def _learn(book: SqlBook, cluster: str, record: str) -> int:
    try:
        crash = crash_from_json(json.loads(record))
    except ValueError:
        return 0  # such a record is told by name when somebody asks for the crash
    if crash.signature is None:
        return 0
    signature, profile = signature_of(crash), profile_of(crash)
    book.learn(cluster, (signature.key, *signature.aliases), profile, words_of(profile))
    return 1


def _rules() -> int:
    """The rules as a number that fits 63 bits."""
    return int(hashlib.sha256(rules().encode()).hexdigest()[:15], 16)
