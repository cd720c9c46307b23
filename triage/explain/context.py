"""What is known beyond the one crash: how often it comes, and what else began with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from triage.model import Cluster, Crash

_SECONDS_A_DAY = 86_400
_FEWEST = 2
_TOGETHER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The cluster a crash belongs to. `together` counts other clusters that began within a day of this one."""

    cluster: str | None = None
    count: int = 1
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    hosts: int = 1
    together: int = 0

    @property
    def per_day(self) -> float | None:
        """Crashes a day on one host, `None` where there are too few to tell."""
        if self.count < _FEWEST or self.first_seen is None or self.last_seen is None:
            return None
        days = (self.last_seen - self.first_seen).total_seconds() / _SECONDS_A_DAY
        return (self.count - 1) / days / max(1, self.hosts) if days > 0 else None


def context_of(crash: Crash, clusters: Sequence[Cluster]) -> Context:
    """What `clusters`, all of a store, say about a crash that is in it."""
    own = next((cluster for cluster in clusters if cluster.id == crash.cluster), None)
    if own is None:
        return Context()
    return Context(
        cluster=own.id, count=own.count, first_seen=own.first_seen, last_seen=own.last_seen, hosts=len(own.hosts),
        together=sum(_began_together(own, other) for other in clusters),
    )  # fmt: skip


def _began_together(own: Cluster, other: Cluster) -> bool:
    if other.id == own.id or other.first_seen is None or own.first_seen is None:
        return False
    return abs(other.first_seen - own.first_seen) <= _TOGETHER


def waiting(context: Context) -> str:
    """How long a canary has to run without a crash before that means anything (95 %)."""
    rate = context.per_day
    if rate is None:
        return (
            "Wait three times as long as usually lies between two crashes on one server: only then is it 95 % sure "
            "that their absence is no chance."
        )
    days = 3 / rate
    span = f"{days:.0f} days" if days >= 2 else f"{max(1, round(days * 24))} hours"
    often = f"{rate:.1f} a day" if rate >= 0.1 else f"one in {1 / rate:.0f} days"
    return (
        f"This crash came {context.count} times, {often} on each server. If none comes on the changed server for "
        f"{span}, it is 95 % sure that this is no chance."
    )
