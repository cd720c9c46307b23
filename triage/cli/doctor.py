"""`triage doctor`: will this host produce usable cores?"""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.show import paint
from triage.doctor import Check, Grade, Report, examine, machine, php_processes, read_host, tools
from triage.doctor.probe import Probed, probe
from triage.errors import EXIT_SOME_FAILED
from triage.report.doctor_text import doctor_lines, probe_lines


@click.command()
@click.option("--probe", "probing", is_flag=True,
              help="Also crash a worker of a php-fpm of its own, with production's PHP and ini.")  # fmt: skip
@options
def command(probing: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Would a crash of each running php-fpm pool leave a core that can be used?

    Every check that fails comes with the line that mends it. Exit status 1 when something fails.
    Nothing is changed, and no production process is touched. -v tells the checks that pass as well.
    """
    processes = php_processes()
    host = read_host()
    reports = examine(processes, host)
    general = (*_reach(reports), *machine(host, processes), *tools(processes, chosen.settings.gdb))
    masters = [process for process in processes if process.role == "master"]
    probed = [one for master in masters for one in probe(master, chosen.settings)] if probing else []
    if chosen.json:
        print_json(_to_json(reports, general, probed))
    else:
        for line in doctor_lines(reports, general, details=chosen.verbose > 0):
            print(paint(line, color=chosen.color))
        for line in probe_lines(probed):
            print(paint(line, color=chosen.color))
    failed = any(check.grade is Grade.FAIL for check in general) or not all(report.passed for report in reports)
    if failed or not all(one.passed for one in probed):
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _reach(reports: list[Report]) -> tuple[Check, ...]:
    """Whether the processes could be looked at."""
    checks = []
    if not reports:
        says = "no running php-fpm was found" + ("" if os.geteuid() == 0 else " that this user may look at")
        checks.append(Check(name="php-fpm", grade=Grade.WARN, says=says, fix=("start it, then run this again",)))
    if os.geteuid() != 0:
        says = "not root: processes of other users, and what they may write, cannot be looked at"
        checks.append(Check(name="rights", grade=Grade.WARN, says=says, fix=("sudo triage doctor",)))
    return tuple(checks)


def _to_json(reports: list[Report], machine: tuple[Check, ...], probed: list[Probed]) -> dict[str, object]:
    return {
        "reports": [{**asdict(report), "passed": report.passed} for report in reports],
        "machine": [asdict(check) for check in machine],
        "probes": [{**asdict(one), "passed": one.passed} for one in probed],
    }
