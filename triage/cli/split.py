"""`triage split`: some crashes of a cluster are another bug."""

from __future__ import annotations

import click

from triage.cli.common import Chosen, options, print_json
from triage.text import plural
from triage.wire import regrouping_to_json


@click.command()
@click.argument("crashes", nargs=-1, required=True, metavar="CRASH…")
@click.option("--why", metavar="TEXT", help="The reason, for those who wonder later.")
@options
def command(crashes: tuple[str, ...], why: str | None, chosen: Chosen) -> None:
    """Put the crashes, all of one cluster, into a cluster of their own.

    Later crashes that are just like these follow them, and the two clusters are never joined by likeness.
    `triage clusters --undo NUMBER` takes it back.
    """
    with chosen.open_store() as store:
        change = store.split(crashes, why)
    if chosen.json:
        print_json(regrouping_to_json(change))
    else:
        moved = plural(len(crashes), "crash")
        chosen.say(f"{moved} of {change.cluster} moved to cluster {change.target} (change {change.number}).")
