"""`triage list`: the crashes."""

from __future__ import annotations

import click

from triage import clock
from triage.cli.common import Chosen, options, print_json, print_rows
from triage.model import CrashRow
from triage.text import clean
from triage.wire import crash_row_to_json

_HEADER = ("crash", "status", "time", "host", "pid", "signal", "runtime", "cluster", "script", "core", "title")
_PAGE = 1000


@click.command()
@click.option("--cluster", metavar="CLUSTER", help="Only the crashes of this cluster.")
@options
def command(cluster: str | None, chosen: Chosen) -> None:
    """List the crashes, newest first."""
    with chosen.open_store() as store:
        name = store.cluster(cluster).id if cluster else None
        rows: list[CrashRow] = []
        while page := store.crash_rows(name, limit=_PAGE, offset=len(rows)):
            rows.extend(page)
    if chosen.json:
        print_json([crash_row_to_json(row) for row in rows])
    elif chosen.terminal:
        for row in rows:
            print(_line(row))
        if not rows:
            chosen.say("No crashes yet. `triage batch /var/crash` triages a folder of cores.")
    else:
        print_rows(_HEADER, [_cells(row) for row in rows])


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
