"""Whether crashes come much more often than they use to."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

DAYS = 28
"""How far back the usual rate is looked at."""
RECENT = timedelta(days=1)
"""The time that is held against it."""
_FEWEST, _TIMES, _CHANCE = 5, 3.0, 0.001


def spikes(count: int, usual: float) -> bool:
    """Whether that many are thrice the `usual` number, and more than chance gives (Poisson, 1 in 1000)."""
    if count < _FEWEST or count < _TIMES * usual:
        return False
    below = (
        sum(math.exp(-usual + k * math.log(usual) - math.lgamma(k + 1)) for k in range(count)) if usual > 0 else 1.0
    )
    return usual == 0 or 1.0 - below < _CHANCE


def spike(recent: int, earlier: int, first: datetime | None, now: datetime) -> str | None:
    """Why a cluster spikes now, or None.

    `recent` are its crashes of the last 24 hours, `earlier` those of the 28 days before; `first` is when it crashed
    first. Of a cluster that was not there a day before, no rate is usual.
    """
    if first is None:
        return None
    days = min(float(DAYS), (now - RECENT - first) / timedelta(days=1))
    if days < 1.0 or not spikes(recent, earlier / days):
        return None
    usual = earlier / days
    often = f"about {usual:.1f}" if usual >= 0.1 else "almost none"
    return f"{recent} crashes in 24 hours, where {often} would have been usual (raw counts: the traffic is not known)"
