"""Merges and splits: made, written down, and taken back. All run within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, insert, select, update

from triage import clock
from triage.model import Regrouping
from triage.store.cluster_facts import rebuild, unite
from triage.store.columns import DIGEST_LENGTH
from triage.store.tables import apart, crashes, exemplars, keys, moves, pins, redirects, regroupings
from triage.store.upsert import insert_missing, upsert

# Making a statement takes longer than carrying it out: a merge, which one crash can make several of, has these made.
_NUMBER = select(func.max(regroupings.c.number))
_WRITE_DOWN, _LEAD, _WRITE_MOVES = insert(regroupings), insert(redirects), insert(moves)
_OF_CLUSTER = crashes.c.cluster == bindparam("origin")
_ITS_CRASHES = select(crashes.c.id, crashes.c.cluster).where(_OF_CLUSTER)
_MOVE_THEM = update(crashes).where(_OF_CLUSTER).values(cluster=bindparam("target"))
_TOGETHER = delete(apart).where(apart.c.one == bindparam("first"), apart.c.other == bindparam("second"))


def merge(connection: Connection, cluster: str, into: str, *, by: str, why: str | None) -> int:
    """Redirect a cluster, and what is redirected to it, to another; returns the change's number."""
    number = _log(connection, "merge", cluster, into, by, why)
    _note_moves(connection, number, connection.execute(_ITS_CRASHES, {"origin": cluster}))
    connection.execute(_MOVE_THEM, {"origin": cluster, "target": into})
    connection.execute(_LEAD, {"cluster": cluster, "target": into, "change": number})
    unite(connection, cluster, into)
    first, second = sorted((cluster, into))
    connection.execute(_TOGETHER, {"first": first, "second": second})
    return number


def split(
    connection: Connection, cluster: str, into: str, ids: Sequence[str], own: Sequence[str], *, why: str | None
) -> int:
    """Move crashes out of their cluster for good.

    `own` are digests of the keys that none of the crashes left behind has: they go along, so that
    later crashes with them follow.
    """
    number = _log(connection, "split", cluster, into, "user", why)
    _move(connection, number, into, crashes.c.id.in_(ids))
    for id_ in ids:
        upsert(connection, pins, {"crash": id_, "cluster": into}, key="crash")
    connection.execute(update(keys).where(keys.c.digest.in_(own)).values(cluster=into))
    of_key = func.substr(exemplars.c.id, 1, DIGEST_LENGTH)  # see cluster.assign.exemplar_id
    connection.execute(update(exemplars).where(of_key.in_(own)).values(cluster=into))
    first, second = sorted((cluster, into))
    insert_missing(connection, apart, [{"one": first, "other": second}])
    rebuild(connection, (cluster, into))
    return number


def undo(connection: Connection, number: int) -> Regrouping | None:
    """Take a change back; `None` when there is no such change, or it was taken back before."""
    row = connection.execute(select(regroupings).where(regroupings.c.number == number)).first()
    if row is None or row.undone is not None:
        return None
    for move in connection.execute(select(moves.c.crash, moves.c.origin).where(moves.c.change == number)).all():
        where = (crashes.c.id == move.crash, crashes.c.cluster == row.target)
        connection.execute(update(crashes).where(*where).values(cluster=move.origin))
        connection.execute(delete(pins).where(pins.c.crash == move.crash, pins.c.cluster == row.target))
    first, second = sorted((row.cluster, row.target))
    if row.kind == "merge":
        connection.execute(delete(redirects).where(redirects.c.change == number))
        insert_missing(connection, apart, [{"one": first, "other": second}])
    else:
        connection.execute(update(keys).where(keys.c.cluster == row.target).values(cluster=row.cluster))
        connection.execute(update(exemplars).where(exemplars.c.cluster == row.target).values(cluster=row.cluster))
        connection.execute(_TOGETHER, {"first": first, "second": second})
    rebuild(connection, (row.cluster, row.target))
    connection.execute(update(regroupings).where(regroupings.c.number == number).values(undone=clock.now()))
    return get(connection, number)


def follow(connection: Connection, crash: str, origin: str, root: str) -> None:
    """Write down that a crash came to `root` through merges, so that it goes back with them."""
    cluster = origin
    while cluster != root:
        row = connection.execute(select(redirects).where(redirects.c.cluster == cluster)).first()
        if row is None:
            return
        insert_missing(connection, moves, [{"change": row.change, "crash": crash, "origin": cluster}])
        cluster = row.target


def listed(connection: Connection) -> list[Regrouping]:
    """All changes, the newest first."""
    rows = connection.execute(select(regroupings).order_by(regroupings.c.number.desc())).all()
    return [Regrouping(**row._asdict()) for row in rows]


def get(connection: Connection, number: int) -> Regrouping:
    """One change, by its number."""
    row = connection.execute(select(regroupings).where(regroupings.c.number == number)).one()
    return Regrouping(**row._asdict())


def _log(connection: Connection, kind: str, cluster: str, target: str, by: str, why: str | None) -> int:
    number = int(connection.scalar(_NUMBER) or 0) + 1
    row = {"number": number, "kind": kind, "cluster": cluster, "target": target, "by": by, "why": why}
    connection.execute(_WRITE_DOWN, {**row, "time": clock.now()})
    return number


def _move(connection: Connection, number: int, into: str, which: ColumnElement[bool]) -> None:
    _note_moves(connection, number, connection.execute(select(crashes.c.id, crashes.c.cluster).where(which)))
    connection.execute(update(crashes).where(which).values(cluster=into))


def _note_moves(connection: Connection, number: int, found: Iterable[Row[tuple[str, str]]]) -> None:
    rows = [{"change": number, "crash": row.id, "origin": row.cluster} for row in found]
    if rows:
        connection.execute(_WRITE_MOVES, rows)
