"""Whether a decision still holds, in the light of the crashes after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from triage import clock
from triage.errors import UsageError
from triage.model import Decision, Flag, State
from triage.states.rollout import Rollout
from triage.states.until import Until, in_words, parse_until
from triage.text import plural

_NAMED = 3  # hosts or versions in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Crashes of one cluster, told apart by what the decision asks for: host, version, or hours of the clock.

    `hour` counts hours since 1970, and is that of `first` where hours do not matter; `first` and `last` are crash
    times. `host` and `version` are None where they are not known, or do not matter.
    """

    host: str | None
    version: str | None
    hour: int
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What follows from a decision and the crashes after it; `remarks` say why, one a flag."""

    flags: tuple[Flag, ...] = ()
    remarks: tuple[str, ...] = ()


def standing(decision: Decision | None, after: Sequence[Stretch], rollout: Rollout, *, now: datetime) -> Standing:
    """Hold a decision against crashes. `after` may hold earlier ones as well: they are told apart by their times."""
    if decision is not None and decision.state is State.FIXED:
        return _fixed(decision, after, rollout)
    if decision is not None and decision.state is State.IGNORED and decision.until:
        return _ignored(decision, after, now)
    return Standing()


def _fixed(decision: Decision, after: Sequence[Stretch], rollout: Rollout) -> Standing:
    rolled_out = _rolled_out(decision, rollout)
    back = [one for one in after if _is_back(one, rolled_out(one.host), rollout)]
    if back:
        newest = max(back, key=lambda one: one.last)
        since = rolled_out(newest.host)
        where = f" on {newest.host}" if newest.host else ""
        fix = f"the fix ({decision.fixed_in})" if decision.fixed_in else "the fix"
        there = clock.iso(since or newest.first)
        by = f" ({rollout.event})" if rollout.event and rollout.event != decision.fixed_in else ""
        return _flagged(
            Flag.REGRESSED, f"crashed again{where} at {clock.iso(newest.last)}; {fix} is there since {there}{by}"
        )
    waiting = [one for one in after if one.last >= decision.holds_from]
    if decision.fixed_in is None or not waiting:
        return Standing()
    hosts = _listed(one.host or "an unnamed host" for one in waiting)
    text = f"still crashes on {hosts}, where {decision.fixed_in} is not rolled out yet"
    if not rollout.known:
        text += ", as far as is known: `triage event add` tells of a deploy"
    return _flagged(Flag.PENDING, text)


def _rolled_out(decision: Decision, rollout: Rollout) -> Callable[[str | None], datetime | None]:
    """For a host, since when it has the fix; `None` if it has it not."""
    everywhere = decision.since or (decision.holds_from if decision.fixed_in is None else None)
    return lambda host: everywhere or rollout.since(host)


def _is_back(one: Stretch, since: datetime | None, rollout: Rollout) -> bool:
    if since is None or one.last < since:
        return False
    # A host may go on with an old build beside the new one: what crashed before says nothing of the fix.
    return rollout.version is None or one.version == rollout.version or one.version not in rollout.before


def _ignored(decision: Decision, after: Sequence[Stretch], now: datetime) -> Standing:
    try:
        until = parse_until(decision.until or "")
    except UsageError as error:
        return _flagged(Flag.AWAKE, f"its condition cannot be read: {error.message}")
    why = _true_now(until, [one for one in after if one.first > decision.holds_from], now)
    return Standing() if why is None else _flagged(Flag.AWAKE, f"it was ignored {in_words(until)}: {why}")


def _true_now(until: Until, after: Sequence[Stretch], now: datetime) -> str | None:
    """Why the condition is true, or None."""
    if until.date is not None:
        return "that day has come" if now >= until.date else None
    if until.versions:
        others = {one.version for one in after if one.version} - set(until.versions)
        return f"it did under {_listed(others)}" if others else None
    if until.more is not None:
        count = sum(one.count for one in after)
        return f"{plural(count, 'crash')} since" if count >= until.more else None
    if until.an_hour is not None:
        return _too_many(after, until.an_hour, "h")
    return _too_many(after, until.a_day or 0, "d")


def _too_many(after: Iterable[Stretch], limit: int, unit: str) -> str | None:
    counts: Counter[int] = Counter()
    for one in after:
        counts[one.hour if unit == "h" else one.hour // 24] += one.count
    at, most = max(counts.items(), key=lambda item: item[1], default=(0, 0))
    if most <= limit:
        return None
    when = clock.iso(clock.from_epoch(at * (3600 if unit == "h" else 86400)))
    return f"{plural(most, 'crash')} in the hour from {when}" if unit == "h" else f"{most} on {when[:10]}"


def _flagged(flag: Flag, remark: str) -> Standing:
    return Standing(flags=(flag,), remarks=(remark,))


def _listed(names: Iterable[str]) -> str:
    every = sorted(set(names))
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
