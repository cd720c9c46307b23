"""`triage merge`: two clusters are one, and stay so."""

from __future__ import annotations

import click

from triage.cli.common import Chosen, options, print_json
from triage.wire import regrouping_to_json


@click.command()
@click.argument("cluster")
@click.argument("into")
@click.option("--why", metavar="TEXT", help="The reason, for those who wonder later.")
@options
def command(cluster: str, into: str, why: str | None, chosen: Chosen) -> None:
    """Make CLUSTER part of INTO, for later crashes as well.

    CLUSTER's id stays good: it leads to INTO. `triage clusters --undo NUMBER` takes it back, and the two
    are then kept apart.
    """
    with chosen.open_store() as store:
        change = store.merge(cluster, into, why)
    if chosen.json:
        print_json(regrouping_to_json(change))
    else:
        chosen.say(f"{change.cluster} is part of {change.target} now (change {change.number}).")
