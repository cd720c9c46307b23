"""`triage explain`: what happened in plain words, the evidence, what to do next."""

from __future__ import annotations

from dataclasses import asdict

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.show import find, is_path, paint
from triage.errors import UsageError
from triage.explain import Context, Page, write_page
from triage.explain.context import context_of
from triage.model import Crash
from triage.report.explain_text import page_lines


@click.command()
@click.argument("cluster_or_crash")
@click.option("--evidence", is_flag=True, help="Below every sentence, what in the core it rests on.")
@options
def command(cluster_or_crash: str, evidence: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Explain a crash on one page, for people who know PHP and no C.

    CLUSTER_OR_CRASH is a cluster's or crash's id, or the path of a core. Of a cluster its newest crash
    is told, and how often it comes.
    """
    crash, context = _found(cluster_or_crash, chosen)
    page = write_page(crash, context)
    if chosen.json:
        print_json(_to_json(page))
        return
    for line in page_lines(page, evidence=evidence):
        print(paint(line, color=chosen.color))


def _to_json(page: Page) -> dict[str, object]:
    return asdict(page)


def _found(name: str, chosen: Chosen) -> tuple[Crash, Context]:
    if is_path(name):
        return find(name, chosen), Context()
    with chosen.open_store() as store:
        clusters = store.clusters()
        try:
            crash = store.crash(name)
        except UsageError as error:
            own = [cluster for cluster in clusters if cluster.id.startswith(name)]
            if len(own) != 1 or not own[0].crashes:
                raise UsageError(
                    error.message, help=f"{error.help or ''} A cluster's id or a core's path work too.".strip()
                ) from error
            newest = store.crash_rows(own[0].id, limit=1)
            crash = store.crash(newest[0].id)
    return crash, context_of(crash, clusters)
