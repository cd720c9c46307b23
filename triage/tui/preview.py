"""What is said about a cluster at a glance: the same words below the list and on top of the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from triage import clock
from triage.model import Cluster
from triage.report.decision_text import decided
from triage.text import clean
from triage.tui import look

if TYPE_CHECKING:
    from triage.explain import Page


def preview(cluster: Cluster, page: Page | None, code: str | None) -> Text:
    """A few lines, the most telling first: what, since when, what to try."""
    text = Text()
    text.append(f"{cluster.id}  ", style=look.DIM)
    text.append(clean(cluster.title, limit=160) + "\n", style="bold")
    for sentence in cluster.remarks:
        text.append(f"! {clean(sentence)}\n", style=look.WARN)
    what, sure, first = verdict(page)
    text.append(clean(what, limit=300))
    if sure is not None:
        text.append("  ").append_text(sure)
    text.append("\n")
    rows = (
        ("PHP code", code),
        ("Since", since(cluster)),
        ("Try first", first),
        ("Decided", decided(cluster.decision) if cluster.decision else None),
        ("Runs", ", ".join((*cluster.versions, *cluster.hosts))),
    )
    return text.append_text(look.labelled(rows))


def verdict(page: Page | None) -> tuple[str, Text | None, str | None]:
    """What happened, how sure that is, and the first thing to do."""
    if page is None:
        return "", None, None
    parts = {part.head: part.statements for part in page.parts}
    happened = parts.get("What happened", ())
    steps = parts.get("What to do first", ())
    sure = happened[0].confidence if happened else None
    return (
        happened[0].text if happened else "What kind of fault this is, is not known.",
        look.sure(sure) if sure is not None else None,
        steps[0].text if steps else None,
    )


def since(cluster: Cluster) -> str | None:
    """The first crash, and how long ago the last was."""
    if cluster.first_seen is None or cluster.last_seen is None:
        return None
    first, last = clock.iso(cluster.first_seen), clock.ago(cluster.last_seen)
    return f"{first}, last {last if last == 'now' else last + ' ago'}"
