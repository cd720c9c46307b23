"""`triage clusters`: which crashes are the same."""

from __future__ import annotations

import click

from triage import clock
from triage.cli.common import Chosen, keys_option, options, print_json, print_rows
from triage.cli.explaining import explain, print_changes, print_incidents
from triage.model import Cluster, State
from triage.query import parse_query
from triage.text import clean
from triage.wire import cluster_to_json

_HEADER = ("cluster", "state", "count", "first_seen", "last_seen", "versions", "hosts", "title")

_NONE_YET = "No crashes yet. `triage batch /var/crash` triages a folder; `triage demo` shows how it looks."
_NONE_MATCH = "No cluster matches. `triage clusters --keys` lists what can be asked for."


@click.command()
@click.argument("query", nargs=-1)
@click.option("--explain", "pair", nargs=2, metavar="A B", help="Why two clusters or crashes are together or apart.")
@click.option("--changes", is_flag=True, help="List the merges and splits.")
@click.option("--incidents", is_flag=True, help="List clusters that may be victims of one memory corruption.")
@click.option("--undo", type=int, metavar="NUMBER", help="Take a merge or a split back.")
@keys_option
@options
def command(
    query: tuple[str, ...],
    chosen: Chosen,
    *,
    pair: tuple[str, str] | None,
    changes: bool,
    incidents: bool,
    undo: int | None,
) -> None:
    """List the clusters that QUERY selects, the one seen last first.

    \b
    triage clusters is:open                    what needs a look
    triage clusters ext:redis last:7d sort:n   with that extension, in the last week, most first
    triage clusters --keys                     all keys and what they mean
    """
    if pair is not None:
        explain(pair, chosen)
        return
    wanted = parse_query(" ".join(query))
    with chosen.open_store() as store:
        if undo is not None:
            print_changes([store.undo_regrouping(undo)], chosen)
            return
        if changes:
            print_changes(store.regroupings(), chosen)
            return
        if incidents:
            print_incidents(store.incidents(), chosen)
            return
        clusters = store.clusters(wanted)
    if chosen.json:
        print_json([cluster_to_json(cluster) for cluster in clusters])
    else:
        print_clusters(clusters, chosen, query=wanted.text)


def print_clusters(clusters: list[Cluster], chosen: Chosen, *, query: str = "") -> None:
    """A table on a terminal, tab-separated values elsewhere. `query` is what selected them."""
    if chosen.terminal:
        _table(clusters, chosen, query)
    else:
        print_rows(_HEADER, [_row(cluster) for cluster in clusters])


def _row(cluster: Cluster) -> tuple[object, ...]:
    return (
        cluster.id,
        cluster.state,
        cluster.count,
        clock.iso(cluster.first_seen) if cluster.first_seen else None,
        clock.iso(cluster.last_seen) if cluster.last_seen else None,
        ",".join(cluster.versions),
        ",".join(cluster.hosts),
        cluster.title,
    )


def _state(cluster: Cluster) -> str:
    """The state, or what has become of it: `regressed` says more than `fixed`."""
    if cluster.state is State.NEW or not cluster.remarks:
        return str(cluster.state)
    return str(cluster.flags[0])


def _table(clusters: list[Cluster], chosen: Chosen, query: str) -> None:
    """For a terminal: as wide as it is, the title last so that it takes what is left."""
    if not clusters:
        chosen.say(_NONE_MATCH if query else _NONE_YET)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cluster", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("N", justify="right", no_wrap=True)
    table.add_column("last", justify="right", no_wrap=True)
    table.add_column("what died ◂ called from", no_wrap=True, overflow="ellipsis")
    for cluster in clusters:
        last = clock.ago(cluster.last_seen) if cluster.last_seen else ""
        cells = (
            cluster.id,
            _state(cluster),
            str(cluster.count),
            last,
            clean(cluster.title),
        )
        table.add_row(*(Text(cell) for cell in cells))
    Console(no_color=not chosen.color, highlight=False).print(table)
