"""The report as a file for node_exporter's textfile collector (Prometheus text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage.model import Cluster, State
from triage.report.news import Kind, News
from triage.text import clean

_SERIES = 100
"""Clusters with a series of their own: the most frequent ones; all others are summed."""
_TITLE = 120


def prom_lines(news: News, clusters: Sequence[Cluster]) -> Iterator[str]:
    """The metrics, one line each with their comments."""
    yield from _metric("triage_report_timestamp_seconds", "gauge", "When this was written.",
                       [({}, news.until.timestamp())])  # fmt: skip
    if news.newest is not None:
        yield from _metric("triage_last_arrival_timestamp_seconds", "gauge", "When the last core came in.",
                           [({}, news.newest.timestamp())])  # fmt: skip
    states = [({"state": state.value}, sum(c.state is state for c in clusters)) for state in State]
    yield from _metric("triage_clusters", "gauge", "Kinds of crash known, by state.", states)
    kinds = [({"kind": kind.value}, len(news.of(kind))) for kind in Kind]
    yield from _metric("triage_news", "gauge", "Clusters in this report, by why they are in it.", kinds)
    yield from _metric("triage_unreadable_inputs", "gauge", "Inputs in this report that gave no crash.",
                       [({}, len(news.unread))])  # fmt: skip
    ranked = sorted(clusters, key=lambda cluster: (-cluster.count, cluster.id))
    rows: list[tuple[dict[str, str], float]] = [
        ({"cluster": c.id, "state": c.state.value, "title": clean(c.title, limit=_TITLE)}, c.count)
        for c in ranked[:_SERIES]
    ]
    if len(ranked) > _SERIES:
        rows.append(({"cluster": "other", "state": "", "title": ""}, sum(c.count for c in ranked[_SERIES:])))
    yield from _metric("triage_crashes_total", "counter", "Crashes triaged, by cluster.", rows)
    seen = [({"cluster": c.id}, c.last_seen.timestamp()) for c in ranked[:_SERIES] if c.last_seen is not None]
    yield from _metric("triage_last_crash_timestamp_seconds", "gauge", "The last crash of a cluster.", seen)


def _metric(name: str, kind: str, help_: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"
    for labels, value in rows:
        text = ",".join(f'{label}="{_escaped(given)}"' for label, given in labels.items())
        yield f"{name}{{{text}}} {value:.0f}" if text else f"{name} {value:.0f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
