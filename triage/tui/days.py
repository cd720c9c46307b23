"""Days as lists draw them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from triage import clock


def since_days(moment: datetime, days: int) -> datetime:
    """Midnight (UTC) so that `days` days, that of `moment` included, follow."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)


def last_days(counts: Mapping[int, int], now: datetime, days: int) -> list[int]:
    """Crashes on each of the last `days` days, the oldest first."""
    today = (now - clock.from_epoch(0)).days
    return [counts.get(day, 0) for day in range(today - days + 1, today + 1)]
