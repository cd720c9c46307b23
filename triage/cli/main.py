"""The command `triage`: finds the verb, turns errors into sentences and exit statuses.

A verb's module is imported only when the verb is used, so that `triage --help` stays quick.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from triage import __version__
from triage.errors import EXIT_USAGE, TriageError, UsageError
from triage.text import clean

VERBS = {
    "demo": "make real crashes with the interpreters found here and triage them",
    "batch": "triage every core under the given paths into the store",
    "clusters": "list the clusters: which crashes are the same",
    "merge": "make one cluster part of another",
    "split": "put crashes of a cluster into a cluster of their own",
    "list": "list the crashes",
    "show": "show one crash whole; a core's path needs no store",
    "explain": "what happened in plain words, the evidence, what to do next",
    "mark": "say what is decided about a cluster: new, known, fixed, ignored",
    "why": "what goes with a cluster, what changed, whether it is known, what to try",
    "baseline": "keep how healthy workers are set up, to hold crashes against",
    "event": "record what was changed on the servers",
    "known": "bugs of PHP that kill the PHP of this machine, changelogs",
    "narrow": "the smallest set of options and extensions with which a command still crashes",
    "diff": "two crashes side by side: what is the same, where they part",
    "debug": "GDB on the core, everything set up, with commands for PHP",
    "bug": "a report of a crash, ready for PHP's bug tracker",
    "report": "what is new, for cron: silent when nothing is",
    "doctor": "will this host produce usable cores? each failing check with its fix",
    "pack": "one archive with a core and every binary and debug file it needs",
    "prune": "delete cores that are not needed any more; their records stay",
    "collect": "takes cores from the kernel: a program for kernel.core_pattern",
    "tui": "the terminal interface: clusters, crashes, stacks",
}


class _ReaderGone(Exception):
    """A broken pipe under a name that click does not know: it would end with status 1 by itself."""


class Verbs(click.Group):
    """The group of verbs, each loaded from `triage.cli.VERB` when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order a reader needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f"triage.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 — a wrong verb module is a defect of ours
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their modules."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="triage")
def triage() -> None:
    """Reads core dumps of PHP (and other) processes and says what happened.

    \b
    triage demo                  see it work on real crashes, made here and now
    triage batch /var/crash      triage all cores in a folder
    triage tui                   look through them
    triage show CORE             one core, whole
    """
    from triage import lists  # not for --help: these take a quarter of its time
    from triage.config import lists_folder

    folder = lists_folder()
    wrong = lists.use_folder(folder) if folder.is_dir() else None
    if wrong is not None:
        raise UsageError(
            wrong, help="Correct the list, or move it aside: it adds to the lists that triage comes with."
        )


def run() -> NoReturn:
    """Entry point of the installed command. Never returns."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if sys.stdout is None or sys.stderr is None:  # the kernel starts the taker of cores without either
        nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end the run
    try:
        status = triage.main(standalone_mode=False)
        sys.stdout.flush()  # a reader that has gone shows here, not when Python ends
    except TriageError as error:
        _complain(error.message, error.help)
        status = error.exit_status
    except click.exceptions.Exit as leaving:
        status = leaving.exit_code
    except click.ClickException as error:
        error.show()
        status = EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        status = 128 + signal.SIGINT
    except (BrokenPipeError, _ReaderGone):
        # The reader (head, less) has gone; nothing is left to say, and Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status if isinstance(status, int) else 0)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End through the normal way out, so that GDB is stopped and temporary files are removed."""
    raise SystemExit(128 + number)


def _complain(message: str, help: str | None) -> None:
    print(f"triage: {clean(message, keep_newlines=True)}", file=sys.stderr)
    if help:
        print(f"  {clean(help, keep_newlines=True)}", file=sys.stderr)
