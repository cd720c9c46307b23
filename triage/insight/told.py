"""What is known of a cluster's bug, and how to prove its cause, in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from triage import clock
from triage.explain import Statement
from triage.explain.service import Service, service
from triage.insight.correlate import answers
from triage.insight.known.lookup import Known
from triage.insight.known.trace import Match
from triage.insight.plan import KIND, Progress, Trial, needed
from triage.insight.why import Why
from triage.insight.words import rule, rule_text
from triage.model import Confidence
from triage.text import clean, plural

_LONG = 7.0
"""Days."""
_SAID = {
    "helps": "It helps: this is decided (20 to 1).",
    "no help": "It does not help: set it back.",
    "open": "Not decided yet",
}


def known(found: Known) -> Iterator[Statement]:
    """The user's own notes first, then bugs by signature, then changelogs."""
    if found.note:
        yield Statement(f"Your note on this cluster: {clean(found.note, limit=300)}", ("the note of this cluster",))
    for noted in found.noted:
        yield Statement(
            f"The same frames as {noted.cluster.id}, on which you noted: {clean(noted.cluster.note or '')}",
            (f"{noted.likeness:.0%} of what tells something on that stack is on this one",), Confidence.LIKELY,
        )  # fmt: skip
    for match in found.matches:
        yield _match(match, found)
    if not found.matches:
        yield _no_match(found)
    yield from _possible(found)


def _match(match: Match, found: Known) -> Statement:
    bug = match.bug
    how = "The same signature as" if match.same else f"Much like (not the same; {match.likeness:.0%} alike)"
    fixed = f"fixed in {', '.join(bug.fixed)}" if bug.fixed else "with a fix in no changelog known here"
    if bug.bug in found.fixed_here:
        here = "though the changelog of the PHP installed here names it as fixed already: then it is another one"
    else:
        here = "not in the changelog of the PHP installed here"
    entry = f" ({clean(bug.entry, limit=160)})" if bug.entry else ""
    return Statement(
        f"{how} {bug.bug}, {fixed}, {here}{entry}. The script that does it on your PHP is on file.",
        (f"its regression test killed PHP {bug.killed}; both have: {', '.join(match.shared[:6])}",),
        Confidence.LIKELY if match.same and bug.bug not in found.fixed_here else Confidence.GUESS,
        commands=(f"triage known show {bug.bug} > test.php   # what it is, and how to run it on a test machine",),
    )


def _no_match(found: Known) -> Statement:
    if not found.on_file:
        return Statement(
            "No bugs are on file to compare with. On a test machine with the same PHP packages:",
            ("the store has none",), commands=("triage known build php8.4   # takes some minutes",),
        )  # fmt: skip
    stale = f" They killed PHP {found.stale}, not this version: build them again." if found.stale else ""
    return Statement(
        f"None of the {plural(found.on_file, 'crash')} of fixed bugs on file has this signature. That does not mean "
        f"that nobody knows it.{stale}",
        (f"compared with {found.on_file} stacks",),
    )


def _possible(found: Known) -> Iterator[Statement]:
    if found.possible:
        lines = "; ".join(
            f"{one.entry.version} {one.entry.module}: {clean(one.entry.text, limit=110)} [{', '.join(one.words[:3])}]"
            for one in found.possible
        )
        yield Statement(
            f"Possibly fixed in a newer version, by words that both have: {lines}.",
            (f"out of {', '.join(found.changelogs)}; right in about half of the cases",),
            Confidence.LIKELY if found.likely else Confidence.GUESS,
        )
    if found.fixes:
        names = ", ".join(found.modules)
        yield Statement(
            f"Newer versions have {plural(found.fixes, 'crash fix')} in {names}.",
            (f"counted in {', '.join(found.changelogs)}",),
        )


def plan(why: Why) -> Iterator[Statement]:
    """Running experiments first, then those to start, then narrowing."""
    for one in why.progress:
        yield _progress(one)
    said = why.setup.found.said
    for trial in why.trials:
        yield _trial(why, trial)
    yield from _after(why)
    if said or why.setup.found.ranked:
        yield Statement(
            "Where a script or request is known that crashes: on a test machine, the smallest set of settings.",
            ("only an experiment proves a pair or triple; the comparison above says what to try first",),
            commands=(f"triage narrow --crash {why.crash.id} -- php SCRIPT.php",) if why.crash is not None else (),
        )


def _after(why: Why) -> Iterator[Statement]:
    """What the experiments tell, where there are several or where they leave something open."""
    if not why.trials:
        return
    answer = answers(why.setup.found.said)[0]
    if len(why.trials) > 1:
        yield Statement(
            "Leave the other servers as they are: they are the comparison. Both conditions are needed if each "
            "change by itself ends the crashes where it was made.",
            (f"candidate: {rule_text(answer.first)}",),
        )
    if answer.common and len(answer.common) < answer.first.size:
        yield Statement(
            f"If that ends the crashes it is the way out, and what else it takes can stay open: "
            f"{len(answer.rules)} rules have {rule(answer.common)} in common, and differ in the rest.",
            tuple(rule(one) for one in answer.rules[:8]),
        )


def _sooner(why: Why, trial: Trial) -> str:
    """How long it takes where half of the crashes fall, where one group of workers takes too long."""
    if why.rate is None or trial.days <= _LONG:
        return ""
    return f" Set so on half of all workers that have it, it takes {_time(needed(why.rate.crashes / 2))}."


def _rounded(number: float) -> str:
    """Two digits: `5,800,000`."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _trial(why: Why, trial: Trial) -> Statement:
    where = " ".join(part for part in (f"On {trial.host}" if trial.host else "On one server",
                                       f"in pool {trial.pool}" if trial.pool else "") if part)  # fmt: skip
    requests = f", about {_rounded(trial.requests)} requests," if trial.requests is not None else ""
    commands: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    if why.crash is not None and trial.attribute is not None:
        setup = service(why.crash)
        if trial.attribute.family == "extension":
            commands, undo = setup.without(trial.attribute.name)
        elif trial.pool is not None and setup.pools is not None and "=" in trial.change:
            commands, undo = _in_pool(trial, setup)
        elif trial.attribute.family == "option" and "=" in trial.change:
            commands, undo = setup.setting(trial.change)
    places = (("host", trial.host), ("pool", trial.pool))
    place = "".join(f" --{name} {shlex.quote(clean(value))}" for name, value in places if value)
    kept = shlex.quote(clean(trial.change))
    note = f"triage event add {kept} --kind {KIND}{place}   # then this page shows how it stands"
    often = f"{why.rate.crashes:.1f} a day" if why.rate is not None else "few"
    return Statement(
        f"{where}, set {clean(trial.change)}. {_time(trial.days)}{requests} without a crash there prove that it "
        f"helps (20 to 1).{_sooner(why, trial)}",
        (f"{often} now on all {why.rate.workers if why.rate else 0} workers that have it; the {trial.workers} there "
         f"had {trial.share:.0%} of the crashes; Wald's sequential test of the old rate against a twentieth of it",),
        commands=(*commands, note), undo=undo,
    )  # fmt: skip


def _in_pool(trial: Trial, setup: Service) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A setting for one pool of php-fpm; the file's name is the administrator's choice."""
    name, _, value = trial.change.partition("=")
    again = (setup.restart,) if setup.restart else ()
    line = f"php_admin_value[{name}] = {value}"
    return (
        (f"# put `{line}` at the end of the file in {setup.pools} that has [{clean(trial.pool or '')}]", *again),
        ("# take that line out again", *again),
    )


def _progress(one: Progress) -> Statement:
    since = clock.iso(clock.from_epoch(one.change.time))
    left = f": {_time(one.days)} more without a crash there decide it." if one.verdict == "open" and one.days else ""
    ended = _SAID[one.verdict] + (left or ("." if one.verdict == "open" else ""))
    return Statement(
        f"Experiment since {since}, {clean(one.change.what, limit=120)}: {plural(one.seen, 'crash')} where "
        f"{one.expected:.1f} were due. {ended}",
        (f"log odds {one.odds:+.1f}; decided at ±2.9",),
    )


def _time(days: float) -> str:
    if days >= 2:
        return f"{days:.0f} days"
    return f"{max(1, round(days * 24))} hours" if days >= 1 / 24 else f"{max(1, round(days * 1440))} minutes"
