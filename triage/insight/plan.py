"""Which experiment proves a candidate, how long it takes, and how far one that runs has come.

The test is Wald's sequential one: is the crash's rate on the changed servers still the old one, or down to a
twentieth? Each crash-free hour speaks for the second, each crash there for the first; at 20 to 1 it is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

from triage.insight.correlate import Attribute
from triage.insight.narrow.values import words
from triage.model import Change, Crash, Snapshot

_LEFT = 0.05
_DECIDED = log(19)
_DAY = 86_400.0
KIND = "experiment"

Place = tuple[str, str | None]
"""A host and a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The crash's present rate: `crashes` a day on all that can crash, which are `workers` workers.

    `requests` is how many requests those serve a day, `None` where no snapshot tells.
    """

    crashes: float
    workers: int
    requests: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One group of workers set otherwise. `change` is what to set there (`opcache.jit=disable`), empty: nothing.

    `days` and `requests` without a crash prove that it helps, at the group's share of the crashes and of the load.
    """

    host: str | None
    pool: str | None
    workers: int
    attribute: Attribute | None
    change: str
    days: float
    requests: float | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How an experiment stands: `seen` crashes where `expected` were due, `odds` (log) that it helps.

    `verdict` is `helps`, `no help` or `open`; `days` are still needed without a crash, 0 once decided.
    """

    change: Change
    seen: int
    expected: float
    odds: float
    verdict: str
    days: float


def needed(expected_a_day: float) -> float:
    """Days without a crash until it is proven, when that many crashes a day were due."""
    return _DECIDED / (1 - _LEFT) / expected_a_day if expected_a_day > 0 else float("inf")


def load(crashes_a_day: float, snapshots: Sequence[Snapshot]) -> Load:
    """The load of those who can crash, from snapshots of them."""
    workers = sum(snapshot.workers for snapshot in snapshots)
    seconds = requests = 0
    for snapshot in snapshots:
        for age, count in zip(snapshot.ages, snapshot.requests, strict=False):
            if age > 0:
                seconds, requests = seconds + age, requests + count
    rate = requests / seconds * _DAY * workers if seconds >= 60 and requests else None
    return Load(crashes=crashes_a_day, workers=workers, requests=rate)


def trials(
    conditions: Sequence[frozenset[Attribute]], affected: Sequence[Snapshot], rate: Load, fell: Mapping[Place, int]
) -> Iterator[Trial]:
    """A group of workers for each condition set back: those that crashed most. `fell`: crashes of each place.

    Where there is none to spare for a condition it has to wait.
    """
    seen = {
        (one.host, one.pool): fell.get((one.host, one.pool), 0) + fell.get((one.host, None), 0) for one in affected
    }
    groups = sorted(affected, key=lambda one: (-seen[one.host, one.pool], -one.workers, one.host, one.pool or ""))
    whole, workers = sum(seen.values()), max(1, rate.workers)
    for group, part in zip(conditions, groups, strict=False):
        # With no crash seen there, half a one may have been due.
        share = max(0.5, seen[part.host, part.pool]) / whole if whole else part.workers / workers
        attribute, days = _foremost(group), needed(rate.crashes * share)
        requests = rate.requests * part.workers / workers * days if rate.requests is not None else None
        yield Trial(host=part.host, pool=part.pool, workers=part.workers, attribute=attribute,
                    change=otherwise(attribute), days=days, requests=requests, share=share)  # fmt: skip


def _foremost(group: frozenset[Attribute]) -> Attribute:
    """Of attributes that are always together the one that can be switched: a setting, else an extension."""
    order = {"option": 0, "extension": 1}
    return min(group, key=lambda one: (order.get(one.family, 2), one))


def otherwise(attribute: Attribute) -> str:
    """How to set it otherwise: `opcache.jit=disable`, `extension apcu off`, `another PHP than 8.2.36`."""
    if attribute.family == "extension":
        return f"extension {attribute.name} off"
    if attribute.family != "option":
        return f"another {attribute.name or attribute.family} than {attribute.value}"
    if attribute.name in words():
        return f"{attribute.name}={words()[attribute.name][0]}"
    if attribute.value.lower() in ("1", "on"):
        return f"{attribute.name}=0"
    if attribute.value.lower() in ("", "0", "off"):
        return f"{attribute.name}=1"
    return f"{attribute.name} back to its default (take its line out)"


def progress(change: Change, crashes: Sequence[Crash], before: float, share: float, now: float) -> Progress:
    """How an experiment stands. `before` is the old rate in crashes a day, of which its servers had `share`."""
    here = [crash for crash in crashes if there(crash, change)]
    due = before * share
    expected = due * max(0.0, now - change.time) / _DAY
    odds = len(here) * log(_LEFT) + expected * (1 - _LEFT)
    verdict = "helps" if odds >= _DECIDED else "no help" if odds <= -_DECIDED else "open"
    left = (_DECIDED - odds) / (1 - _LEFT) / due if verdict == "open" and due > 0 else 0.0
    return Progress(change=change, seen=len(here), expected=expected, odds=odds, verdict=verdict, days=left)


def there(crash: Crash, change: Change) -> bool:
    """Whether a crash fell on what a change changed, after it."""
    if crash.time is None or crash.time.timestamp() < change.time:
        return False
    pool = crash.runtime.worker.pool if crash.runtime is not None and crash.runtime.worker is not None else None
    return (change.host is None or crash.host == change.host) and (change.pool is None or pool == change.pool)
