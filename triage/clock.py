"""The only clock: everything that asks for the time asks here, so tests can answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def from_epoch(seconds: float) -> datetime:
    """A UTC time from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def told(seconds: float | None) -> datetime | None:
    """The same for a number that a core or a file tells; `None` for what is no time between the years 1 and 9999."""
    try:
        return None if seconds is None else from_epoch(seconds)
    except (OverflowError, OSError, ValueError):
        return None


def written(text: str, form: str) -> datetime | None:
    """A time in this machine's zone that somebody wrote down, as strptime reads it; `None` for what is none."""
    try:
        return datetime.strptime(text, form).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def iso(moment: datetime) -> str:
    """ISO 8601 with whole seconds and a trailing Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(moment: datetime, *, at: datetime | None = None) -> str:
    """How long ago, in the largest whole unit: `5m`, `2h`, `9d`; `now` under a minute."""
    seconds = int(((at or now()) - moment).total_seconds())
    if seconds < 60:
        return "now"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    raise AssertionError("unreachable")


class Stopwatch:
    """Collects how long each named stage took, in seconds."""

    def __init__(self, read: Callable[[], float] = time.perf_counter) -> None:
        self._read = read
        self.laps: dict[str, float] = {}

    def lap(self, stage: str, work: Callable[[], T]) -> T:
        """Do the work of one stage and time it; a stage entered twice adds up."""
        begun = self._read()
        try:
            return work()
        finally:
            self.laps[stage] = round(self.laps.get(stage, 0.0) + self._read() - begun, 6)


def deadline(seconds: float) -> Callable[[], float]:
    """A function that tells how many seconds are left, never below zero."""
    end = time.monotonic() + seconds
    return lambda: max(0.0, end - time.monotonic())
