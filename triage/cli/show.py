"""`triage show`: one crash whole."""

from __future__ import annotations

from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json
from triage.errors import InputError, UsageError
from triage.model import Crash
from triage.pipeline import Pipeline
from triage.report.crash_text import Line, crash_lines
from triage.wire import crash_to_json

_LOOKS = {
    "title": {"bold": True},
    "head": {"bold": True, "fg": "cyan"},
    "php": {"fg": "green"},
    "dim": {"dim": True},
    "warn": {"fg": "yellow"},
}


@click.command()
@click.argument("crash_or_core")
@options
def command(crash_or_core: str, chosen: Chosen) -> None:
    """Show one crash whole: CRASH_OR_CORE is a crash's id or the path of a core."""
    crash = find(crash_or_core, chosen)
    if chosen.json:
        print_json(crash_to_json(crash))
        return
    print_crash(crash, chosen)


def print_crash(crash: Crash, chosen: Chosen) -> None:
    """The crash as text for people; -v adds registers, modules and timing."""
    for line in crash_lines(crash, details=chosen.verbose > 0):
        print(paint(line, color=chosen.color))


def find(crash_or_core: str, chosen: Chosen) -> Crash:
    """The crash of that id, or the one in the core at that path, triaged now and not stored.

    Raises:
        UsageError: when it is neither.
        InputError: when the file cannot be triaged.
    """
    path = Path(crash_or_core)
    if "/" in crash_or_core or path.exists() or path.is_symlink():
        with Pipeline(chosen.settings) as pipeline:
            outcome = pipeline.triage(path)
        if outcome.crash is None:
            failure = outcome.failure
            raise InputError(
                failure.code if failure else "error",
                f"{crash_or_core}: {failure.message if failure else 'cannot be triaged'}",
            )
        return outcome.crash
    with chosen.open_store() as store:
        try:
            return store.crash(crash_or_core)
        except UsageError as error:
            raise UsageError(error.message, help=error.help or "A core's path works too.") from error


def paint(line: Line, *, color: bool) -> str:
    """The line with its look as terminal colours, or plain."""
    look = _LOOKS.get(line.look)
    return click.style(line.text, **look) if color and look else line.text  # type: ignore[arg-type]
