"""When an ignored cluster is shown again.

A person may write `100 more`, `>5/h`, `>20/d`, `2026-12-01`, `30d`, `php changes`, or nothing. What is kept
is always a condition that needs no memory: `version changes` becomes `not php 8.2.29`, nothing becomes more
than twice the busiest day so far. There is no "for ever".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from triage import clock
from triage.errors import UsageError

_MORE = re.compile(r"(\d{1,9})(?:\s+more)?", re.I)
_RATE = re.compile(r">?\s*(\d{1,9})\s*/\s*([hd])", re.I)
_DAYS = re.compile(r"(\d{1,4})\s*d", re.I)
_CHANGES = re.compile(r"(?:php|python|version)\s+changes", re.I)
_NOT = "not "
_HELP = "Write `100 more`, `>5/h`, `>20/d`, `2026-12-01`, `30d` or `php changes`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """One condition; exactly one of the fields is set. `versions` are those under which it stays ignored."""

    more: int | None = None
    an_hour: int | None = None
    a_day: int | None = None
    date: datetime | None = None
    versions: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.more is not None:
            return f"{self.more} more"
        if self.an_hour is not None:
            return f">{self.an_hour}/h"
        if self.a_day is not None:
            return f">{self.a_day}/d"
        if self.date is not None:
            return f"{self.date:%Y-%m-%d}"
        return _NOT + ", ".join(self.versions)


def resolve_until(text: str | None, *, now: datetime, busiest_day: int, versions: Sequence[str]) -> Until:
    """The condition that `text` means for a cluster with these `versions` and that many crashes on its busiest day.

    Raises:
        UsageError: when it is none.
    """
    given = (text or "").strip()
    if not given:
        return Until(a_day=2 * max(1, busiest_day))
    if _CHANGES.fullmatch(given):
        if not versions:
            raise UsageError(
                "of this cluster no version is known, so none can change",
                help="Choose another condition for --until.",
            )
        return Until(versions=tuple(versions))
    days = _DAYS.fullmatch(given)
    if days:
        return Until(date=now + timedelta(days=int(days[1])))
    until = parse_until(given)
    if until.date is not None and until.date <= now:
        raise UsageError(f"--until {given} has passed already", help="Give a day to come.")
    return until


def parse_until(text: str) -> Until:
    """The inverse of `str(until)`; also takes what a person writes in its place. Raises UsageError."""
    given = text.strip()
    if given.startswith(_NOT):
        return Until(versions=tuple(part.strip() for part in given.removeprefix(_NOT).split(",")))
    if found := _MORE.fullmatch(given):
        return Until(more=int(found[1]))
    if found := _RATE.fullmatch(given):
        number = int(found[1])
        return Until(an_hour=number) if found[2].lower() == "h" else Until(a_day=number)
    try:
        return Until(date=datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC))
    except ValueError as error:
        raise UsageError(f"{given!r} is no condition to wake up at", help=_HELP) from error


def in_words(until: Until) -> str:
    """The condition for people: `until it crashes more than 5 times within an hour`."""
    if until.more is not None:
        return f"until it has crashed {until.more} more times"
    if until.an_hour is not None:
        return f"until it crashes more than {until.an_hour} times within an hour"
    if until.a_day is not None:
        return f"until it crashes more than {until.a_day} times within a day"
    if until.date is not None:
        return f"until {clock.iso(until.date)[:10]}"
    return f"until it crashes under another version than {', '.join(until.versions)}"
