"""Under which deploy a crash happened, by the changes on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from triage.model import Change

KIND = "deploy"  # of insight's kinds of changes


def deploys(changes: Sequence[Change]) -> list[Change]:
    """The deploys among changes, the earliest first. Those in one pool only are left out: which pool a crash was in,
    a list of crashes does not tell."""
    found = [change for change in changes if change.kind == KIND and change.pool is None]
    return sorted(found, key=lambda change: change.time)


def running(known: Sequence[Change], host: str | None, time: datetime | None) -> str | None:
    """The newest deploy that had reached the host by then; `known` as `deploys` gives them."""
    if time is None:
        return None
    moment = time.timestamp()
    reached = (change for change in reversed(known) if change.time <= moment and change.host in (None, host))
    newest = next(reached, None)
    return newest.what if newest is not None else None
