"""From what a person writes to the cluster or crash that is meant."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, bindparam, select

from triage.errors import UsageError
from triage.store import reads
from triage.store.tables import clusters, crashes, redirects

_CANDIDATES = 5
_TARGET = select(redirects.c.target).where(redirects.c.cluster == bindparam("merged"))


def cluster_id(connection: Connection, name: str) -> str:
    """The cluster that `name` means; where it was merged, the one it is part of now.

    Raises:
        UsageError: when none, or more than one, is meant; names candidates.
    """
    named = _resolve(connection, clusters.c.id, name, "cluster", reads.newest_clusters(_CANDIDATES))
    return root(connection, named)


def crash_id(connection: Connection, name: str) -> str:
    """The crash that `name` means; raises UsageError as `cluster_id` does."""
    return _resolve(connection, crashes.c.id, name, "crash", reads.newest_crashes(_CANDIDATES))


def _resolve(connection: Connection, ids: Column[Any], name: str, noun: str, recent: reads.Rows) -> str:
    """The id that `name` means: itself, or the only one that begins with it."""
    whole: str | None = connection.scalar(reads.exactly(ids, name))
    if whole is not None:
        return whole
    found = list(connection.scalars(reads.starting(ids, name, _CANDIDATES + 1))) if name else []
    if not found:
        known = list(connection.scalars(recent))
        help_ = f"The newest are: {', '.join(known)}" if known else f"The store holds no {noun} yet."
        raise UsageError(f"no {noun} is called {name!r}", help=help_)
    if len(found) > 1:
        more = " …" if len(found) > _CANDIDATES else ""
        raise UsageError(
            f"{name!r} is the beginning of more than one {noun}",
            help=f"Give more of it: {', '.join(found[:_CANDIDATES])}{more}",
        )
    only: str = found[0]
    return only


def root(connection: Connection, cluster: str) -> str:
    """Where a cluster is now."""
    seen = {cluster}
    while True:
        target = connection.scalar(_TARGET, {"merged": cluster})
        if target is None or target in seen:
            return cluster
        seen.add(target)
        cluster = target
