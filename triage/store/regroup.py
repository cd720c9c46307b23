"""What a person says belongs together or does not. All run within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, select

from triage.cluster.profile import profile_of
from triage.cluster.signature import signature_of
from triage.errors import UsageError
from triage.model import Crash, Regrouping, Signature
from triage.store import regroupings
from triage.store.book import SqlBook
from triage.store.columns import digest
from triage.store.tables import crashes, redirects
from triage.wire import crash_from_json

_MOST_READ = 2000  # crashes left behind whose keys are looked at before a key is given away


def merge(connection: Connection, cluster: str, into: str, why: str | None) -> Regrouping:
    """Redirect one cluster to another.

    Raises:
        UsageError: when both are one already.
    """
    if cluster == into:
        raise UsageError(
            f"both are cluster {into} already", help="`triage clusters --changes` shows when they became one."
        )
    return regroupings.get(connection, regroupings.merge(connection, cluster, into, by="user", why=why))


def split(connection: Connection, ids: Sequence[str], why: str | None) -> Regrouping:
    """Put crashes into a cluster of their own.

    Raises:
        UsageError: when they are of several clusters, of none, or all that their cluster has.
    """
    found = connection.execute(select(crashes.c.cluster, crashes.c.record).where(crashes.c.id.in_(ids))).all()
    origins = {row.cluster for row in found}
    if len(origins) != 1 or None in origins:
        names = ", ".join(sorted(str(origin) for origin in origins))
        raise UsageError(f"these crashes are not of one cluster, but of {names}", help="Split one cluster at a time.")
    origin = origins.pop()
    others = select(crashes.c.record).where(crashes.c.cluster == origin, crashes.c.id.not_in(ids)).limit(_MOST_READ)
    left = connection.scalars(others).all()
    if not left:
        raise UsageError(f"these are all the crashes of {origin}", help="There is nothing to split them from.")
    moved = [_read(row.record) for row in found]
    staying = {key for record in left for key in _keys(_read(record))}
    own = {key for crash in moved for key in _keys(crash)} - staying
    into = SqlBook(connection).create(_signature(moved[0]))
    number = regroupings.split(connection, origin, into, ids, [digest(key) for key in own], why=why)
    book = SqlBook(connection)
    for crash in moved:
        book.learn(into, [key for key in _keys(crash) if key in own], profile_of(crash), ())
    return regroupings.get(connection, number)


def undo(connection: Connection, number: int) -> Regrouping:
    """Take a change back.

    Raises:
        UsageError: when there is no such change, or it was taken back before.
    """
    undone = regroupings.undo(connection, number)
    if undone is None:
        raise UsageError(f"there is no change {number} to take back", help="`triage clusters --changes` lists them.")
    return undone


def whole(connection: Connection, cluster: str) -> list[str]:
    """The cluster and all that was merged into it."""
    found = [cluster]
    for known in found:
        found += connection.scalars(select(redirects.c.cluster).where(redirects.c.target == known)).all()
    return found


def _read(record: str) -> Crash:
    return crash_from_json(json.loads(record))


def _signature(crash: Crash) -> Signature:
    return crash.signature or signature_of(crash)


def _keys(crash: Crash) -> tuple[str, ...]:
    signature = _signature(crash)
    return (signature.key, *signature.aliases)
