"""What is known beyond the one crash: how often it comes, and what else began with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_SECONDS_A_DAY = 86_400
_FEWEST = 2


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
