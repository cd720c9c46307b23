"""`triage list`: the crashes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import click

from triage import clock
from triage.cli.common import Chosen, keys_option, options, print_json, print_rows
from triage.config import user_name
from triage.model import CrashRow
from triage.query import Query, crash_matches, deploys, parse_query
from triage.store import Store
from triage.text import clean
from triage.wire import crash_row_to_json

_HEADER = ("crash", "status", "time", "host", "pid", "signal", "runtime", "cluster", "script", "core", "title")
_PAGE = 1000
_NONE_YET = "No crashes yet. `triage batch /var/crash` triages a folder of cores."
_NONE_MATCH = "No crash matches. `triage list --keys` lists what can be asked for."


@click.command()
@click.argument("query", nargs=-1)
@keys_option
@click.option("--cluster", metavar="CLUSTER", help="Only the crashes of this cluster.")
@options
def command(query: tuple[str, ...], cluster: str | None, chosen: Chosen) -> None:
    """List the crashes that QUERY selects, newest first.

    \b
    triage list host:web3 last:24h       on that host, in the last day
    triage list phpfn:Cart::merge        with that method in the stack
    """
    wanted = parse_query(" ".join(query))
    with chosen.open_store() as store:
        rows = list(_selected(store, store.cluster(cluster).id if cluster else None, wanted))
    if chosen.json:
        print_json([crash_row_to_json(row) for row in rows])
    elif chosen.terminal:
        for row in rows:
            print(_line(row))
        if not rows:
            chosen.say(_NONE_MATCH if wanted.terms else _NONE_YET)
    else:
        print_rows(_HEADER, [_cells(row) for row in rows])


def _selected(store: Store, cluster: str | None, query: Query) -> Iterator[CrashRow]:
    clusters = {one.id: one for one in store.clusters()} if query.terms else {}
    deployed = deploys(store.changes()) if query.terms else []
    offset, me = 0, user_name()
    while page := store.crash_rows(cluster, limit=_PAGE, offset=offset):
        offset += len(page)
        for row in page:
            own = clusters.get(row.cluster or "")
            whole = partial(store.crash, row.id)
            if not query.terms or crash_matches(query, row, own, whole, me=me, deployed=deployed):
                yield row


def _cells(row: CrashRow) -> tuple[object, ...]:
    return (
        row.id,
        str(row.status),
        clock.iso(row.time) if row.time else None,
        row.host,
        row.pid,
        row.signal,
        row.runtime,
        row.cluster,
        row.script,
        row.core,
        row.title,
    )


def _line(row: CrashRow) -> str:
    when = clock.iso(row.time) if row.time else ""
    return (
        f"{row.id:<17} {when:<20} {row.signal or '':<8} {clean(row.cluster or '', limit=10):<10} "
        f"{clean(row.title or '', limit=70)}"
    )
