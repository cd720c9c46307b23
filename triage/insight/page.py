"""What `why` found, in sentences with the evidence each rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from triage import clock
from triage.explain import Part, Statement
from triage.insight.answered import answered
from triage.insight.changes.ranking import Suspect, in_words
from triage.insight.correlate import Attribute
from triage.insight.told import known, plan
from triage.insight.why import Changed, Moment, Setup, Why
from triage.insight.words import each, folded, rule_text, small
from triage.model import Confidence
from triage.text import clean, plural

_SHARED = 12
_LOST = 5
_TOGETHER = 600.0
"""Seconds."""


def parts(why: Why) -> tuple[Part, ...]:
    """The page's parts, those with nothing to say left out."""
    told = (
        Part("What goes with it", (*_setup(why), *_places(why), *_moments(why.moments))),
        Part("What changed", tuple(_changed(why))),
        Part("Is it known", tuple(known(why.known))),
        Part("How to prove it", tuple(plan(why))),
    )
    return tuple(part for part in told if part.statements)


def _setup(why: Why) -> Iterator[Statement]:
    setup, found = why.setup, why.setup.found
    if found.reason == "too few crashes":
        yield from _too_few(why)
        return
    if setup.against == "nobody":
        yield Statement(
            "There is nothing to compare the settings with yet: no healthy worker was looked at, and there are no "
            "crashes of other kinds. Let cron run `triage baseline` on every server.",
            ("no snapshot and no other crash is in the store",),
        )
        return
    if not found.said:
        yield _silent(setup)
        return
    yield from answered(setup)
    if found.explained:
        names = "; ".join(_group(group) for group in found.explained[:6])
        yield Statement(
            f"More frequent among the crashes only because they go with the first of these: {names}.",
            (f"among those who have {rule_text(found.said[0])} they are no more frequent (Fisher, p > 0.05)",),
        )


def _too_few(why: Why) -> Iterator[Statement]:
    found = why.setup.found
    shared = ", ".join(each(found.shared)[:_SHARED])
    count = plural(found.cases, "crash")
    if shared:
        text = f"Too few crashes to tell what causes them ({count}; it takes 5, better 20). What all share, and " \
               f"not every other process: {shared}."  # fmt: skip
    else:
        text = f"Too few crashes to tell what causes them ({count}; it takes 5, better 20)."
    yield Statement(text, (f"{count} held against {found.controls} others",))


def _silent(setup: Setup) -> Statement:
    found, against = setup.found, _others(setup)
    if found.reason == "nothing differs":
        return Statement(
            "All that is compared are set up alike: nothing in the settings, extensions or versions sets the crashed "
            "processes apart.",
            (f"{plural(found.cases, 'crash')} and {found.controls} {against}",),
        )
    weak = [rule_text(one) for one in found.ranked[:3] if one.gap[0] > 0]
    hint = f" To try first, though not more than a hint: {'; '.join(weak)}." if weak else ""
    return Statement(
        f"No setting, extension or version stands out among the crashes beyond what chance does.{hint}",
        (f"{found.tried} combinations were tried on {plural(found.cases, 'crash')} and {found.controls} {against}",),
    )


def _others(setup: Setup) -> str:
    return "configurations of healthy workers" if setup.against == "healthy" else "configurations of other crashes"


def _group(group: frozenset[Attribute]) -> str:
    names = folded(group)
    return names[0] + (f" (and {len(names) - 1} more set with it)" if len(names) > 1 else "")


def _places(why: Why) -> Iterator[Statement]:
    found = why.places
    for one in found.said[:1]:
        if one.size == 1:
            yield Statement(
                f"By place: {rule_text(one)} has {one.hits} of {one.cases} crashes and "
                f"{one.workers / max(1, one.all_workers):.0%} of all that is compared. A place is no cause: see what "
                "is special there.",
                (f"Fisher's exact p {small(one.p)}, corrected {small(one.q)}",),
                Confidence.LIKELY,
            )


def _moments(moments: Iterable[Moment]) -> Iterator[Statement]:
    words = {"age": "worker's age", "requests": "requests a worker has served", "hour": "time of day"}
    for moment in moments:
        for one in moment.found.said[:1]:
            if one.size == 1:
                name = words.get(moment.family, moment.family)
                (attribute,) = next(iter(one.alternatives))[0]
                value = clean(attribute.value or attribute.name, limit=90)
                yield Statement(
                    f"By {name}: {value} has {one.hits} of {one.cases} crashes, and "
                    f"{one.workers / max(1, one.all_workers):.0%} of the others.",
                    (f"Fisher's exact p {small(one.p)}, corrected {small(one.q)}",),
                    Confidence.LIKELY,
                )


def _changed(why: Why) -> Iterator[Statement]:
    changed = why.changed
    if changed is None:
        return
    yield _since(why, changed)
    if changed.onset is None:
        yield from _fitting(changed)
        return
    if why.incident:
        names = ", ".join(f"{other.id} ({clean(other.title, limit=40)})" for other in why.incident[:4])
        yield Statement(
            f"{plural(len(why.incident), 'other cluster')} began about then as well: {names}. They may be one "
            "incident with one cause.",
            ("their first crashes lie in the same interval",), Confidence.GUESS,
        )  # fmt: skip
    for number, (suspect, back) in enumerate(zip(changed.suspects, changed.reverts, strict=False), 1):
        when = clock.iso(clock.from_epoch(suspect.change.time))
        loses = ""
        if back.loses:
            more = f" and {len(back.loses) - _LOST} more" if len(back.loses) > _LOST else ""
            loses = f" Going back loses these security fixes: {', '.join(back.loses[:_LOST])}{more}."
        yield Statement(
            f"Suspect {number}, {_words(suspect, changed)}: {clean(suspect.change.what, limit=300)} at {when}. "
            f"{back.note}{loses}",
            (f"{suspect.belief:.0%} of the belief, from {suspect.change.source}; {changed.reaching} of "
             f"{changed.known} known changes can have reached this process",),
            commands=back.commands,
        )  # fmt: skip
    yield _none(changed)


def _words(suspect: Suspect, changed: Changed) -> str:
    """How likely it is. Changes of the same minutes cannot be told apart by times: as likely as all together."""
    near = [one for one in changed.suspects if abs(one.change.time - suspect.change.time) <= _TOGETHER]
    if len(near) == 1:
        return suspect.words
    return f"{in_words(sum(one.belief for one in near))} (it or what else changed in those minutes)"


def _fitting(changed: Changed) -> Iterator[Statement]:
    """What would fit, where the times prove no beginning: to look at, not to revert."""
    shown = changed.ranking.shown
    if not shown or changed.ranking.none > 0.5:
        return
    lines = "; ".join(
        f"{clean(one.change.what, limit=120)} at {clock.iso(clock.from_epoch(one.change.time))} ({one.words})"
        for one in shown
    )
    yield Statement(
        f"If it began with a change all the same, these fit best: {lines}. Nothing to revert yet: see whether the "
        "crashes go back further than the records here.",
        tuple(f"{clean(one.change.what, limit=60)}: {one.belief:.0%} of the belief" for one in shown),
        Confidence.GUESS,
    )


def _none(changed: Changed) -> Statement:
    if not changed.reaching:
        return Statement(
            "No change is known here that can have reached this process. Tell of deploys with `triage event add`, "
            "run `triage why` where the crashes were, and let cron run `triage baseline`: it sees settings change.",
            (f"{plural(changed.known, 'known change')} in all",),
        )
    return Statement(
        f"That it was none of the {changed.reaching} changes known here: {in_words(changed.ranking.none)}.",
        (f"{changed.ranking.none:.0%} of the belief",),
    )


def _since(why: Why, changed: Changed) -> Statement:
    count, start = plural(why.cluster.count, "crash"), clock.iso(changed.start)
    step = changed.onset
    if step is None:
        return Statement(
            f"No beginning stands out: the times of the crashes fit one constant rate since {start}, when the "
            "records here begin, or they are too few.",
            (f"{count}; a step in their rate does not explain them 20 times better",),
        )
    low, high = clock.iso(clock.from_epoch(step.low)), clock.iso(clock.from_epoch(step.high))
    rare = "next to none before" if step.before < step.after / 50 else f"{step.before:.1f} a day before"
    before = "there were none before" if step.new else rare
    return Statement(
        f"It began between {low} and {high} (95 %): {step.after:.1f} a day since, {before}.",
        (f"{count} by their times since {start}; crashes of one host within 10 minutes count as one",),
        Confidence.LIKELY,
    )
