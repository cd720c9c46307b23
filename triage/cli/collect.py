"""`triage collect`: the kernel's pipe for cores."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from triage.collect.keep import Bounds
from triage.collect.take import Told, take

FOLDER = "/var/lib/triage/cores"
_NICE = 10


@click.command()
@click.argument("pid", type=int)
@click.argument("user", type=int)
@click.argument("signal", type=int)
@click.argument("time", type=float)
@click.argument("host", default="")
@click.argument("executable", default="")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where cores go.")
@click.option("--first", type=int, default=5, show_default=True, help="Cores of one program kept in an hour; then …")
@click.option("--nth", type=int, default=10, show_default=True, help="… only every so many-th.")
@click.option("--total", type=int, default=20, show_default=True, metavar="GB", help="All cores together.")
@click.option("--largest", type=int, default=16, show_default=True, metavar="GB", help="One core; more is cut off.")
def command(
    pid: int, user: int, signal: int, time: float, host: str, executable: str,
    folder: Path, first: int, nth: int, total: int, largest: int,
) -> None:  # fmt: skip
    """Take one core from standard input, as the kernel hands it over.

    \b
    install -d -m 0700 /var/lib/triage/cores
    sysctl -w kernel.core_pattern='|/usr/local/bin/triage collect %P %u %s %t %h %E'
    triage batch /var/lib/triage/cores

    The process is looked at while it still exists. A program that crashes again and again keeps its
    first cores of an hour and then some; the facts about each crash are always kept. Runs as the folder's
    owner, without any of root's rights.
    """
    os.umask(0o077)
    os.nice(_NICE)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = Told(pid=pid, user=user, signal=signal, time=time, host=host, executable=executable.replace("!", "/"))
    bounds = Bounds(first=first, nth=max(1, nth), total=total << 30, largest=largest << 30)
    take(told, sys.stdin.buffer, folder, bounds)
