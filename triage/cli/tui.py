"""`triage tui`: the terminal interface."""

from __future__ import annotations

import sys

import click

from triage.cli.common import Chosen, options
from triage.errors import UsageError


@click.command()
@options
def command(chosen: Chosen) -> None:
    """Look through clusters, crashes and stacks. Follows the store while it is open."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the terminal interface needs a terminal",
            help="For scripts there are `triage clusters --json` and `triage show --json`.",
        )
    from triage.tui.app import run  # loads Textual, which the other verbs need not wait for

    with chosen.open_store() as store:
        run(store, label=store.name)
