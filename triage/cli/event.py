"""`triage event`: tell triage what was changed, and let it look for itself."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime

import click

from triage import clock
from triage.cli.common import Chosen, options, print_json, print_rows
from triage.errors import UsageError
from triage.insight.changes import kinds
from triage.insight.changes.scan import scan
from triage.model import Change
from triage.text import plural


@click.group()
def command() -> None:
    """What was changed on the servers, for `triage why` to hold crashes against."""


@command.command()
@click.argument("what")
@click.option("--kind", type=click.Choice(sorted(kinds.weights())), default="deploy", show_default=True)
@click.option("--at", metavar="TIME", help="When, as 2026-11-24T08:30 (local time) or with a zone. Default: now.")
@click.option("--host", help="On which host only. Default: on all.")
@click.option("--pool", help="In which php-fpm pool only. Default: in all.")
@options
def add(what: str, kind: str, at: str | None, host: str | None, pool: str | None, chosen: Chosen) -> None:
    """Record a change: WHAT is a few words, such as a release's name.

    \b
    In a deploy script:      triage event add "shop 2026.47.1"
    An experiment begins:    triage event add "opcache.jit=disable" --kind experiment --host web-3
    """
    time = clock.now() if at is None else _time(at)
    change = Change(time=time.timestamp(), kind=kind, what=what, source="triage event add", host=host, pool=pool)
    with chosen.open_store() as store:
        store.add_change(change)
    if chosen.json:
        print_json(asdict(change))
    chosen.say(f"kept: {what} ({kind}) at {clock.iso(time)}")


@command.command("list")
@options
def list_(chosen: Chosen) -> None:
    """What is on record, the earliest first."""
    with chosen.open_store() as store:
        changes = store.changes()
    if chosen.json:
        print_json([asdict(change) for change in changes])
        return
    rows = [(clock.iso(clock.from_epoch(one.time)), one.kind, one.host, one.what, one.source) for one in changes]
    print_rows(("time", "kind", "host", "what", "source"), rows)


@command.command("scan")
@click.option(
    "--project", "projects", multiple=True, metavar="FOLDER", help="A project's folder: git, composer.lock."
)
@options
def scan_(projects: tuple[str, ...], chosen: Chosen) -> None:
    """Record what this host's own logs tell: dpkg, ini and pool files, php-fpm's restarts, git.

    `triage why` looks by itself where the crashes come from the host it runs on. Where many hosts share one
    store, let cron run this on each.
    """
    found = scan(platform.node(), [f"{project}/any" for project in projects])
    with chosen.open_store() as store:
        for change in found:
            store.add_change(change)
    if chosen.json:
        print_json([asdict(change) for change in found])
    chosen.say(f"kept: {plural(len(found), 'change')}")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time", help="Write it as 2026-11-24T08:30.") from error
