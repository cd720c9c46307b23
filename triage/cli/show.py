"""`triage show`: one crash whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json
from triage.errors import InputError, UsageError
from triage.model import Crash
from triage.pipeline import Pipeline
from triage.report.crash_text import SECTIONS, crash_lines, section
from triage.report.lines import Line
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
@click.option("--section", "sections", multiple=True, type=click.Choice(list(SECTIONS)),
              help="Show this part only, with all details. May be repeated.")  # fmt: skip
@click.option("--values", is_flag=True,
              help="Show arguments' values too, short and with secrets hidden. Needs the core.")  # fmt: skip
@options
def command(crash_or_core: str, sections: tuple[str, ...], values: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Show one crash whole: CRASH_OR_CORE is a crash's id or the path of a core."""
    if values:
        chosen = replace(chosen, settings=replace(chosen.settings, values=True))
        crash_or_core = _its_core(crash_or_core, chosen)
    crash = find(crash_or_core, chosen)
    if chosen.json:
        print_json(crash_to_json(crash))
        return
    if sections:
        for line in _parts(crash, sections):
            print(paint(line, color=chosen.color))
        return
    print_crash(crash, chosen)


def _its_core(crash_or_core: str, chosen: Chosen) -> str:
    """The path to read anew for a crash's values."""
    if is_path(crash_or_core):
        return crash_or_core
    path = find(crash_or_core, chosen).core
    if not Path(path).is_file():
        raise InputError(
            "not-there", f"the values of {crash_or_core} cannot be shown: they are not stored, and {path} is gone"
        )
    return str(Path(path).absolute())


def _parts(crash: Crash, names: tuple[str, ...]) -> Iterator[Line]:
    """The chosen sections, in the order they are always told."""
    for name in SECTIONS:
        if name in names:
            lines = list(section(crash, name))
            yield from lines or [Line(f"nothing to show for {name!r}: this crash has none", "dim")]


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
    if is_path(crash_or_core):
        path = Path(crash_or_core)
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


def is_path(crash_or_core: str) -> bool:
    """Whether what the user named is a file rather than an id."""
    path = Path(crash_or_core)
    return "/" in crash_or_core or path.exists() or path.is_symlink()


def paint(line: Line, *, color: bool) -> str:
    """The line with its look as terminal colours, or plain."""
    look = _LOOKS.get(line.look)
    return click.style(line.text, **look) if color and look else line.text  # type: ignore[arg-type]
