"""One crash known twice: from its core and from the kernel's log. The core's record is the one that stays."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from triage.filing import FiledCrash
from triage.store.columns import spell
from triage.store.recent import Recent
from triage.store.tables import arrivals, crashes, inputs

LOG = "kernel-log:"
_NEAR = timedelta(seconds=60)


def has_core(connection: Connection, pid: int, time: datetime | None) -> bool:
    """Whether a crash of that process at that time is known from a core."""
    if time is None:
        return False
    return connection.scalar(select(crashes.c.id).where(_near(pid, time), ~_from_log()).limit(1)) is not None


def drop_log_twins(connection: Connection, crash: FiledCrash, recent: Recent) -> None:
    """Remove what the kernel's log told of a crash whose core is here now."""
    if crash.core.startswith(LOG):
        recent.logs = True
    if recent.logs is None:
        recent.logs = connection.scalar(select(crashes.c.id).where(_from_log()).limit(1)) is not None
    if not recent.logs or crash.pid is None or crash.time is None or crash.core.startswith(LOG):
        return
    twins = list(connection.scalars(select(crashes.c.id).where(_near(crash.pid, crash.time), _from_log())))
    for twin in twins:
        connection.execute(delete(inputs).where(inputs.c.crash == twin))
        connection.execute(delete(crashes).where(crashes.c.id == twin))
        connection.execute(delete(arrivals).where(arrivals.c.key == f"crash:{spell(twin)}"))


def _near(pid: int, time: datetime) -> ColumnElement[bool]:
    return and_(crashes.c.pid == pid, crashes.c.time >= time - _NEAR, crashes.c.time <= time + _NEAR)


def _from_log() -> ColumnElement[bool]:
    return func.substr(crashes.c.core, 1, len(LOG)) == LOG
