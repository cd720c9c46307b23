"""`triage why`: what goes with a cluster, what changed when it began, whether it is known, and what to try."""

from __future__ import annotations

from dataclasses import asdict

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.show import paint
from triage.explain import Part
from triage.insight.correlate import answers
from triage.insight.page import parts
from triage.insight.why import Why, investigate
from triage.report.explain_text import part_lines
from triage.report.lines import Line
from triage.text import clean, plural


@click.command()
@click.argument("cluster")
@click.option("--evidence", is_flag=True, help="Below every sentence, the numbers it rests on.")
@options
def command(cluster: str, evidence: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Look for the cause of a cluster: CLUSTER is its id.

    Holds the cluster's crashes against healthy workers (`triage baseline`) and other crashes, against what was
    changed on the machine (dpkg, ini files, `triage event`), and against the bugs on file (`triage known`).
    """
    with chosen.open_store() as store:
        why = investigate(store, store.cluster(cluster))
        told = parts(why)
    if chosen.json:
        print_json(_to_json(why, told))
        return
    for line in (*_head(why), *part_lines(told, evidence=evidence)):
        print(paint(line, color=chosen.color))


def _head(why: Why) -> tuple[Line, ...]:
    cluster = why.cluster
    hosts = plural(len(cluster.hosts), "host")
    first = Line(clean(cluster.title), "title")
    second = Line(f"  cluster     {cluster.id}: {plural(cluster.count, 'crash')} on {hosts}")
    if not why.unread:
        return first, second
    note = f"  left out    {plural(why.unread, 'crash')} without a readable interpreter"
    return first, second, Line(note, "warn")


def _to_json(why: Why, told: tuple[Part, ...]) -> dict[str, object]:
    return {
        "cluster": why.cluster.id,
        "crashes": why.cluster.count,
        "compared": {"with": why.setup.against, "cases": why.setup.found.cases, "controls": why.setup.found.controls,
                     "reason": why.setup.found.reason},
        "candidates": [
            {
                "conditions": [sorted(one.text for one in group) for group in candidate.alternatives[0]],
                "alternatives": len(candidate.alternatives), "crashes": candidate.hits, "workers": candidate.workers,
                "all_workers": candidate.all_workers, "p": candidate.p, "q": candidate.q, "belief": candidate.belief,
                "difference": list(candidate.gap),
            }
            for candidate in why.setup.found.said
        ],
        "answers": [
            {"conditions": answer.first.size, "belief": answer.belief, "more": answer.more,
             "candidates": [why.setup.found.said.index(one) for one in answer.candidates]}
            for answer in answers(why.setup.found.said)
        ],
        "onset": asdict(why.changed.onset) if why.changed and why.changed.onset else None,
        "suspects": [
            {"what": one.change.what, "time": one.change.time, "kind": one.change.kind, "belief": one.belief,
             "revert": list(back.commands), "checked": back.checked, "loses": list(back.loses)}
            for one, back in zip(why.changed.suspects, why.changed.reverts, strict=True)
        ] if why.changed else [],
        "incident": [other.id for other in why.incident],
        "parts": [asdict(part) for part in told],
    }  # fmt: skip
