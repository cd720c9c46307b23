"""`triage bug`: a report of a crash, ready for PHP's bug tracker."""

from __future__ import annotations

import os
from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.show import find
from triage.errors import UsageError
from triage.report.bug_report import bug_report


@click.command()
@click.argument("crash_or_core")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it into this file.")
@click.option("--paths", is_flag=True, help="Keep the full paths of your scripts.")
@options
def command(crash_or_core: str, output: Path | None, paths: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Write a report of one crash in the form PHP's bug tracker asks for (Markdown).

    Request, arguments, host and pid are left out, secrets are hidden, and paths of scripts are cut to
    their last two parts. Read it before you publish it: names of classes and functions are in it.
    """
    report = bug_report(find(crash_or_core, chosen), paths=paths)
    if chosen.json:
        print_json({"report": report})
    elif output is None:
        print(report, end="")
    else:
        _write(output, report)
        chosen.say(f"written to {output}; read it, then open a new issue at https://github.com/php/php-src/issues")


def _write(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", help="Give another file with -o.") from error
