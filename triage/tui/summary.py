"""The texts of one cluster's tabs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from textwrap import wrap

from triage import clock
from triage.explain import Context, Page, Part, write_page
from triage.explain.context import context_of
from triage.model import Change, Cluster, Crash, Decision
from triage.report.decision_text import decided, history_lines
from triage.report.explain_text import statement_lines
from triage.report.lines import Line, wrapped
from triage.text import clean, plural
from triage.tui.insight import CHANGED, KNOWN, insight_lines
from triage.tui.preview import since, verdict

_BAR = 40
_GLANCE = 62  # characters beside the labels of the summary
_LONGEST_TIMELINE = 60  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """Everything the tabs of one cluster are made of."""

    cluster: Cluster
    newest: Crash | None = None
    page: Page | None = None
    decisions: tuple[Decision, ...] = ()
    days: Mapping[int, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    evidence: bool = False
    insight: tuple[Part, ...] | None = None


def explained(crash: Crash | None, clusters: list[Cluster]) -> Page | None:
    """The page about a crash, in the light of all clusters."""
    return None if crash is None else write_page(crash, context_of(crash, clusters) if clusters else Context())


def summary_lines(view: ClusterView) -> Iterator[Line]:
    """The first tab: decision, onset, verdict, steps, and with `evidence` what each sentence rests on."""
    cluster = view.cluster
    for sentence in cluster.remarks:
        yield from wrapped(f"! {sentence}", "warn")
    for label, value in _glance(view):
        if value:
            first, *more = wrap(clean(value), _GLANCE) or [""]
            yield Line(f"  {label:<11} {first}", "title" if label == "what died" else "plain")
            yield from (Line(f"  {'':<11} {rest}", "title" if label == "what died" else "plain") for rest in more)
    if view.page is None:
        return
    known: set[str] = set()
    for part in view.page.parts:
        yield Line("")
        yield Line(part.head, "head")
        numbered = any(statement.commands for statement in part.statements)
        for at, statement in enumerate(part.statements, 1):
            number = f"{at}. " if numbered else ""
            yield from statement_lines(statement, number, known, evidence=view.evidence)


def _glance(view: ClusterView) -> Iterator[tuple[str, str | None]]:
    """What a reader in a hurry needs, in an order that fits a small screen."""
    cluster = view.cluster
    what, sure, first = verdict(view.page)
    yield "what died", f"{what}  [{sure}]" if sure is not None else what
    yield "crashes", f"{cluster.count}, {_spread(cluster)}"
    yield "since", since(cluster)
    yield "versions", clean(", ".join(cluster.versions), limit=200)
    yield "try first", first
    yield "decided", decided(cluster.decision) if cluster.decision else "nothing yet: s decides, n notes"


def _spread(cluster: Cluster) -> str:
    if not cluster.hosts:
        return "on hosts that are not known"
    names = ", ".join(cluster.hosts[:4]) + (" …" if len(cluster.hosts) > 4 else "")
    return clean(f"on {plural(len(cluster.hosts), 'host')} ({names})", limit=200)


def timeline_lines(view: ClusterView) -> Iterator[Line]:
    """A bar a day, from the first crash on, with what was changed and decided in between."""
    cluster = view.cluster
    if cluster.first_seen is None or cluster.last_seen is None or not view.days:
        return
    last = max(view.days)
    first = max(min(view.days), last - _LONGEST_TIMELINE + 1)
    most = max(view.days.values())
    if min(view.days) < first:
        earlier = sum(count for day, count in view.days.items() if day < first)
        yield Line(
            f"  {'before':<11} {plural(earlier, 'crash')}; the {_LONGEST_TIMELINE} days to the last are below", "dim"
        )
    events = _events(view)
    for day in range(first, last + 1):
        count = view.days.get(day, 0)
        bar = "█" * max(1, round(_BAR * count / most)) if count else ""
        yield Line(f"  {_date(day):<11} {bar} {count or ''}".rstrip(), "plain" if count else "dim")
        for event in events.get(_date(day), ()):
            yield from wrapped(f"            ── {event}", "head")
    yield Line("")
    yield Line(
        f"  first crash {clock.iso(cluster.first_seen)}, last {clock.iso(cluster.last_seen)} (days are UTC)", "dim"
    )
    yield from insight_lines(view.insight, CHANGED, evidence=view.evidence)


def _date(day: int) -> str:
    return f"{clock.from_epoch(0) + timedelta(days=day):%Y-%m-%d}"


def _events(view: ClusterView) -> dict[str, list[str]]:
    """What was changed on its hosts and what was decided about it, by day, in order."""
    told = [(decision.at, f"{decision.by or '?'}: {decided(decision)}") for decision in view.decisions]
    hosts = (None, *view.cluster.hosts)
    for change in view.changes:
        if change.host in hosts:
            where = " ".join(part for part in (change.host, change.pool) if part)
            told.append(
                (clock.from_epoch(change.time), f"{change.kind}: {change.what}" + (f" ({where})" if where else ""))
            )
    found: dict[str, list[str]] = {}
    for at, text in sorted(told, key=lambda one: one[0]):
        found.setdefault(f"{at:%Y-%m-%d}", []).append(f"{at:%H:%M} {text}")
    return found


def bug_lines(view: ClusterView) -> Iterator[Line]:
    """What is linked and noted, and the history of decisions."""
    decision = view.cluster.decision
    if decision is not None and decision.bug:
        yield Line(f"  bug         {clean(decision.bug)}")
    if view.cluster.note:
        yield from wrapped(f"note        {view.cluster.note}")
    if view.decisions:
        yield Line("")
        yield Line("Decided so far, the newest first", "head")
    for text in history_lines(view.decisions):
        yield from wrapped(text)
    yield from insight_lines(view.insight, KNOWN, evidence=view.evidence)


def correlation_lines(view: ClusterView) -> Iterator[Line]:
    """What goes with it, and how to prove that it is the cause."""
    yield from insight_lines(view.insight, evidence=view.evidence)
