"""`triage diff`: two crashes side by side."""

from __future__ import annotations

import shutil
from dataclasses import asdict

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.show import find, is_path, paint
from triage.errors import UsageError
from triage.model import Crash
from triage.report.comparison import compare, comparison_lines


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--equal", is_flag=True, help="Also list what is the same.")
@options
def command(a: str, b: str, equal: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Show what two crashes have in common and where they part.

    A and B are ids of crashes, paths of cores, or ids of clusters, whose newest crash stands for them.
    """
    found = compare(_crash(a, chosen), _crash(b, chosen))
    if chosen.json:
        print_json(asdict(found) | {"alike": round(found.alike, 3)})
        return
    width = shutil.get_terminal_size((100, 24)).columns if chosen.terminal else 100
    for line in comparison_lines(found, width=width, equal=equal):
        print(paint(line, color=chosen.color))


def _crash(name: str, chosen: Chosen) -> Crash:
    if is_path(name) or not name.startswith("C-"):
        return find(name, chosen)
    with chosen.open_store() as store:
        rows = store.crash_rows(name, limit=1)
        if not rows:
            raise UsageError(f"the cluster {name} has no crashes left")
        return store.crash(rows[0].id)
