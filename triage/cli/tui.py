"""`triage tui`: the terminal interface."""

from __future__ import annotations

import gc
import os
import sys

import click

from triage.cli.common import Chosen, options
from triage.errors import EnvironmentLacks, UsageError


@click.command()
@click.option("--serve", "serving", is_flag=True, help="In a browser instead, on this machine only.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="For --serve.")
@options
def command(serving: bool, port: int, chosen: Chosen) -> None:  # noqa: FBT001
    """Look through clusters, crashes and stacks. Follows the store while it is open.

    Keys, colours and folders are set in config.toml, see docs/tui.md. `?` lists the keys.
    """
    if serving:
        _serve(port, chosen)
        return
    if not os.environ.get("TRIAGE_SERVED") and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the terminal interface needs a terminal",
            help="For scripts there are `triage clusters --json` and `triage show --json`.",
        )
    gc.disable()  # nothing of what is loaded now is garbage; it is turned on when the first list is there
    from triage.tui.found import begin

    with chosen.open_store() as store:
        early = begin(store)
        from triage.tui.app import run  # loads Textual, which the other verbs need not wait for
        from triage.tui.settings import read_settings

        run(
            store, label=store.name, ui=read_settings(), settings=chosen.settings, store=chosen.store,
            colour=not chosen.plain, early=early,
        )  # fmt: skip


def _serve(port: int, chosen: Chosen) -> None:
    from triage.tui.serve import serve

    settings = chosen.settings
    arguments = ["--store", chosen.store]
    arguments += ["--sysroot", str(settings.sysroot)] if settings.sysroot else []
    for folder in settings.debug_dirs:
        arguments += ["--debug-dir", str(folder)]
    try:
        serve(arguments, port)
    except OSError as error:
        raise EnvironmentLacks(
            f"port {port} cannot be used: {error.strerror or error}", help="Choose another with --port."
        ) from error
