"""`triage debug`: GDB on the core, everything set up, with commands for PHP; or questions, answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from triage.cli.common import Chosen, options
from triage.cli.show import find, is_path
from triage.debug.answers import Answers
from triage.debug.opened import Opened, opened
from triage.errors import InputError
from triage.gdb.interactive import Console, run_gdb
from triage.gdb.locate import find_gdb
from triage.gdb.target import target_of
from triage.text import clean

_BANNER = """GDB on {core}. Commands beside GDB's own:
{commands}
php-why leads through the crash question by question; help php-heap explains one; quit leaves.
"""


@click.command()
@click.argument("crash_or_core")
@click.option("--guide", is_flag=True, help="No GDB: questions about the crash, each answered from the core.")
@click.option("-c", "--command", "commands", multiple=True, metavar="COMMAND",
              help="Run this command and leave. May be repeated.")  # fmt: skip
@click.option("--source-dir", "sources", multiple=True, type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Folder GDB may show source files from. May be repeated.")  # fmt: skip
@click.option("--unconfined", is_flag=True, help="GDB without its sandbox: for cores and programs you trust.")
@options
def command(
    crash_or_core: str,
    guide: bool,  # noqa: FBT001
    commands: tuple[str, ...],
    sources: tuple[Path, ...],
    unconfined: bool,  # noqa: FBT001
    chosen: Chosen,
) -> None:
    """Open GDB on a core, with sysroot and symbols set and commands for PHP loaded.

    \b
    php-bt               native and PHP frames in one stack
    php-frame [N]        one PHP frame: arguments, variables
    php-zval ADDRESS     a PHP value; also php-string, php-hash
    php-ini [TEXT]       ini settings
    php-heap ADDRESS     what is this address?
    php-why [QUESTION]   questions about the crash, each answered from the core
    """
    path = _core(crash_or_core, chosen)
    with opened(path, chosen.settings) as core:
        answers = Answers(core)
        if guide:
            _guide(answers, interactive=sys.stdin.isatty() and not commands)
            return
        status = _gdb(core, answers, commands, chosen, Confinement(sources, unconfined))
    if status:
        raise click.exceptions.Exit(1)


def _core(crash_or_core: str, chosen: Chosen) -> Path:
    if is_path(crash_or_core):
        return Path(crash_or_core)
    path = Path(find(crash_or_core, chosen).core)
    if not path.is_file():
        raise InputError("not-there", f"{crash_or_core} cannot be debugged: its core {path} is gone")
    return path


@dataclass(frozen=True, slots=True)
class Confinement:
    """What GDB may see beside the core and its files, or that nothing holds it."""

    sources: tuple[Path, ...]
    off: bool


def _gdb(core: Opened, answers: Answers, commands: tuple[str, ...], chosen: Chosen, held: Confinement) -> int:
    gdb = find_gdb(chosen.settings.gdb)
    target = target_of(core.core, core.finder)
    reading = core.interpreter.read() if core.interpreter is not None else None
    offered = {name: (item.usage, item.summary) for name, item in answers.commands.items()}
    console = Console(offered, answers.answer, reading.unwinding if reading is not None else None)
    if not commands:
        listed = "\n".join(f"  {name + ' ' + usage:<22} {summary}" for name, (usage, summary) in offered.items())
        chosen.say(_BANNER.format(core=core.input, commands=listed))
    for note in core.notes:
        chosen.say(note)
    return run_gdb(gdb, target, console, commands, held.sources, confined=not held.off)


def _guide(answers: Answers, *, interactive: bool) -> None:
    """All questions in turn; on a terminal the reader chooses."""
    question = answers.guide.questions[0] if answers.guide.questions else None
    while question is not None:
        print("\n".join(clean(line) for line in (f"{question.text}", *question.answer, "")))
        following = answers.guide.after(question)
        if not interactive:
            question = following
            continue
        listed = ", ".join(item.word for item in answers.guide.questions)
        offer = f"Enter: {following.text}" if following is not None else "Enter: leave"
        chosen = next(_typed(f"[{offer}  |  {listed}  |  q] "), "q").strip()
        if chosen in ("q", "quit", "exit"):
            return
        question = answers.guide.find(chosen) or (following if not chosen else question)


def _typed(prompt: str) -> Iterator[str]:
    """A line the user types; none at the end of input."""
    try:
        yield input(prompt)
    except EOFError:
        print()
