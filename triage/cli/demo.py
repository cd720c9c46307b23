"""`triage demo`: real crashes, made here and now, and what the program says of them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import click

from triage.cli import batch, clusters
from triage.cli.common import Chosen, options, print_json, program
from triage.cli.show import print_crash
from triage.config import data_folder
from triage.demo.crashes import PYTHON_STORY, Php, command_line, find_php, playable, python_command
from triage.demo.lab import NoCrash, Process, crash
from triage.errors import EnvironmentLacks
from triage.gdb.locate import Gdb, find_gdb
from triage.text import plural
from triage.wire import cluster_to_json


@dataclass(frozen=True, slots=True)
class _Plan:
    """One crash to make."""

    name: str
    story: str
    argv: tuple[str, ...]
    stack: int | None = None


@click.command()
@options
def command(chosen: Chosen) -> None:
    """Make a handful of real crashes with the interpreters found here, triage them, print the result.

    Everything stays in one folder of its own (under the XDG data folder), which the next demo
    replaces; --store URL puts the crashes into another store.
    """
    folder = data_folder() / "demo"
    gdb = find_gdb(chosen.settings.gdb)
    php = find_php()
    chosen.say(_tools(php, gdb))
    cores = _make(_plans(php, folder), folder, gdb, chosen)
    if chosen.settings.store is None:
        (folder / "triage.db").unlink(missing_ok=True)
        chosen = replace(chosen, settings=replace(chosen.settings, store=str(folder / "triage.db")))
    outcomes: list[batch.Result] = []
    tally = batch.run(cores, chosen, outcomes.append)
    if chosen.json:
        _print_json(outcomes, chosen)
    else:
        chosen.say(tally.sentence() + "\n")
        _print(outcomes, chosen)
    if tally.failed:
        raise click.exceptions.Exit(1)


def _tools(php: Php | None, gdb: Gdb) -> str:
    found = f"{php.text} ({php.path})" if php else "no PHP here (apt install php-cli); only Python is shown"
    return f"Interpreter: {found}\nDebugger:    {gdb.version_text} ({gdb.origin})\n"


def _plans(php: Php | None, folder: Path) -> list[_Plan]:
    source = resources.files("triage.demo") / "php"
    scripts = folder / "php"
    with resources.as_file(source) as packaged:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        shutil.copytree(packaged, scripts)
    plans = []
    if php is not None:
        for scene in playable(php):
            plans.append(_Plan(scene.name, scene.story, command_line(scene, php, scripts), scene.stack))
    plans.append(_Plan("python", PYTHON_STORY, python_command()))
    return plans


def _make(plans: list[_Plan], folder: Path, gdb: Gdb, chosen: Chosen) -> list[Path]:
    """Crash each; one that does not crash is named, and the others go on."""
    made = []
    (folder / "cores").mkdir(mode=0o700)
    for plan in plans:
        chosen.say(f"  crash  {plan.name:<14} {plan.story}")
        place = folder / "run"
        place.mkdir(mode=0o700)
        try:
            process = Process(argv=plan.argv, folder=place, env={}, stack=plan.stack)
            made.append(crash(process, folder / "cores" / f"{plan.name}.core", gdb))
        except NoCrash as reason:
            chosen.say(f"         no core: {reason.message}")
        finally:
            shutil.rmtree(place)
    if not made:
        raise EnvironmentLacks(
            "no crash could be made here",
            help="Cores must be allowed (ulimit -H -c is not 0), or GDB must be allowed to start a program.",
        )
    return made


def _print_json(outcomes: list[batch.Result], chosen: Chosen) -> None:
    with chosen.open_store() as store:
        found = [cluster_to_json(cluster) for cluster in store.clusters()]
        cores = [json.loads(batch.line(each)) for each in outcomes]
        print_json({"store": store.name, "cores": cores, "clusters": found})


def _print(outcomes: list[batch.Result], chosen: Chosen) -> None:
    crashes = [outcome.crash for outcome in outcomes if outcome.crash is not None]
    with chosen.open_store() as store:
        clusters.print_clusters(store.clusters(), chosen)
        name = store.name
        first = store.crash(crashes[0].id) if crashes else None
    if first is not None:
        print()
        print_crash(first, chosen)
    sys.stdout.flush()
    chosen.say(
        f"\n{plural(len(crashes), 'crash')} in the store. Look around:\n"
        f"  {program()} tui --store {name}\n"
        f"  {program()} show --store {name} {crashes[0].id if crashes else 'CRASH'}"
    )
