"""`triage baseline`: keep how healthy workers are set up, to hold crashes against."""

from __future__ import annotations

from dataclasses import asdict

import click

from triage import clock
from triage.cli.common import Chosen, options, print_json, print_rows
from triage.errors import EXIT_SOME_FAILED
from triage.insight import baseline
from triage.model import Snapshot
from triage.text import clean, plural


@click.command()
@click.option("--show", is_flag=True, help="Print what is kept, and read nothing.")
@options
def command(show: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Keep a snapshot of the PHP workers that run here and are well.

    Run it as root, from cron, about once an hour:

    \b
    17 * * * *  root  triage baseline -q --store /var/lib/triage/triage.db

    A few workers of each pool are read in place, some 50 ms each; nothing is stopped and nothing is dumped.
    `triage why` then says which settings the crashed workers have and the healthy ones lack.
    """
    if show:
        with chosen.open_store() as store:
            _print(store.snapshots(), chosen)
        return
    taken = baseline.take()
    with chosen.open_store() as store:
        for snapshot in taken.snapshots:
            store.add_snapshot(snapshot)
    if chosen.json:
        print_json([_to_json(snapshot) for snapshot in taken.snapshots])
    for failure in taken.failures:
        chosen.say(f"not read: {failure}")
    if not taken.snapshots and not taken.failures:
        chosen.say("No PHP workers run here (php-fpm, Apache with PHP, php-cgi): nothing was kept.")
    elif taken.snapshots:
        workers = sum(snapshot.workers for snapshot in taken.snapshots)
        pools = len({snapshot.pool for snapshot in taken.snapshots})
        chosen.say(f"kept: {plural(workers, 'worker')} of {plural(pools, 'pool')}, "
                   f"{plural(len(taken.snapshots), 'configuration')}")  # fmt: skip
    if taken.failures and not taken.snapshots:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _print(snapshots: list[Snapshot], chosen: Chosen) -> None:
    if chosen.json:
        print_json([_to_json(snapshot) for snapshot in snapshots])
        return
    header = ("host", "pool", "php", "workers", "options", "extensions", "first_seen", "last_seen")
    print_rows(header, [
        (clean(one.host), one.pool, one.version, one.workers, len(one.options), len(one.extensions),
         clock.iso(one.first_seen), clock.iso(one.last_seen)) for one in snapshots
    ])  # fmt: skip


def _to_json(snapshot: Snapshot) -> dict[str, object]:
    return asdict(snapshot) | {
        "first_seen": clock.iso(snapshot.first_seen), "last_seen": clock.iso(snapshot.last_seen)
    }  # fmt: skip
