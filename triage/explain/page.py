"""The page: parts with heads, in the order a reader in production needs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from triage.explain import place
from triage.explain.context import Context, waiting
from triage.explain.experiments import experiments
from triage.explain.service import Service, service
from triage.explain.statement import Statement
from triage.explain.steps import steps
from triage.model import Confidence, Crash, Finding, Topic
from triage.text import plural

__all__ = ["Page", "Part", "Statement", "write_page"]

_SURE = {
    Confidence.PROVED: "Proved, since it can be seen in the core",
    Confidence.LIKELY: "Likely, since it fits, but other explanations are possible",
    Confidence.GUESS: "A guess, a weak hint to be tested",
}
_SCATTERED = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A head and what is stated under it."""

    head: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One crash explained. `title` is the crash's own."""

    title: str
    crash: str
    parts: tuple[Part, ...]


def write_page(crash: Crash, context: Context) -> Page:
    """Explain a crash; every statement carries what it rests on."""
    setup = service(crash)
    parts = (
        Part("What happened", tuple(_happened(crash))),
        Part(
            f"In which {crash.runtime.language} code" if crash.runtime is not None else "Where",
            tuple(place.code(crash)),
        ),
        Part("For which request", tuple(place.request(crash))),
        Part("How sure is this", tuple(_sure(crash, context))),
        Part("What to do first", tuple(_steps(crash, setup))),
        Part("How to find out more", tuple(_experiments(crash, context, setup))),
    )
    title = crash.signature.title if crash.signature is not None else "a crash"
    return Page(title, crash.id, tuple(part for part in parts if part.statements))


def _happened(crash: Crash) -> Iterator[Statement]:
    fault = next((finding for finding in crash.findings if finding.topic is Topic.FAULT), None)
    if fault is None:
        signal = crash.signal.name if crash.signal is not None else "an unknown signal"
        yield Statement(
            f"The process ended with {signal}. What kind of fault that was, the core does not tell.",
            (f"signal {signal}, and no rule found its evidence",),
        )
    else:
        yield Statement(fault.title + ".", fault.evidence, fault.confidence)
        yield Statement(fault.explanation, fault.evidence)
    for finding in crash.findings:
        if finding.topic in (Topic.DAMAGE, Topic.CLUE, Topic.SETUP):
            yield Statement(f"{finding.title}. {finding.explanation}", finding.evidence, finding.confidence)
    for finding in crash.findings:
        if finding.topic is Topic.CIRCUMSTANCE:
            yield Statement(f"{finding.title}. {finding.explanation}", finding.evidence, finding.confidence)


def _sure(crash: Crash, context: Context) -> Iterator[Statement]:
    for finding in crash.findings:
        if finding.topic is Topic.JUDGEMENT:
            yield Statement(f"{finding.title}. {finding.explanation}", finding.evidence, finding.confidence)
    for sure, what in _SURE.items():
        told = [finding for finding in crash.findings if finding.confidence is sure]
        if told:
            names = "; ".join(_short(finding) for finding in told)
            yield Statement(f"{what}: {names}.", tuple(f"{f.rule}: {f.evidence[0]}" for f in told))
    if context.together >= _SCATTERED:
        yield Statement(
            f"{context.together} other kinds of crash began within a day of this one. Many different stacks that "
            "begin together are mostly victims of one cause: look for what changed then, not at any one stack.",
            (f"{context.together} other clusters in the store were first seen within 24 hours of this one",),
            Confidence.GUESS,
        )
    for warning in crash.warnings[:3]:
        yield Statement(f"Not known: {warning}", ("said while the core was read",))


def _short(finding: Finding) -> str:
    text = finding.title.split(": ", 1)[0] if len(finding.title) > 90 else finding.title
    return text[0].lower() + text[1:] if not text[:2].isupper() and text.split()[0] not in ("PHP's", "PHP") else text


def _steps(crash: Crash, setup: Service) -> Iterator[Statement]:
    for step in steps(crash, setup):
        yield Statement(step.text, step.because, commands=step.commands, undo=step.undo)


def _experiments(crash: Crash, context: Context, setup: Service) -> Iterator[Statement]:
    found = experiments(crash, setup)
    for item in found:
        yield Statement(
            f"{item.name[0].upper()}{item.name[1:]}: {item.asks}",
            item.because,
            commands=item.commands,
            undo=item.undo,
            outcomes=item.outcomes,
            control=item.control,
        )
    if any(item.canary for item in found):
        often = plural(context.count, "crash")
        yield Statement(
            f"How long to wait on the changed server: {waiting(context)} One thing at a time, on one server, and "
            "leave the others as they are: they are the comparison.",
            (f"{often} of this kind known; if r a day are expected, none in 3/r days happens by chance in 5 of 100 "
             "cases (exp(-3))",),
        )  # fmt: skip
    if context.cluster is not None:
        yield Statement(
            "What all these crashes have that healthy workers lack, what changed when they began, whether the bug is "
            f"known, and which experiment proves it: triage why {context.cluster}",
            (f"{plural(context.count, 'crash')} in this cluster",),
        )
