"""The doctor's report as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage.doctor import Check, Grade, Report
from triage.doctor.probe import Probed
from triage.report.lines import Line, wrapped
from triage.text import clean

_LOOKS = {Grade.PASS: "php", Grade.WARN: "warn", Grade.FAIL: "head"}


def doctor_lines(reports: Sequence[Report], machine: Sequence[Check], *, details: bool) -> Iterator[Line]:
    """Everything that is not as it should be with its fix; the rest in one line each with `details`."""
    for report in reports:
        yield Line(clean(report.title), "title")
        yield from _checks(report.checks, details=details)
        yield from _verdict(report)
        yield Line("")
    yield Line("This machine", "title")
    yield from _checks(machine, details=details)


def _checks(checks: Sequence[Check], *, details: bool) -> Iterator[Line]:
    for check in checks:
        if check.grade is Grade.PASS and not details:
            continue
        first, *more = wrapped(f"{check.grade}  {check.name}: {check.says}", _LOOKS[check.grade])
        yield first
        yield from more
        for line in check.fix:
            yield Line(f"        {clean(line)}")
    good = [check.name for check in checks if check.grade is Grade.PASS]
    if good and not details:
        yield from wrapped(f"PASS  {', '.join(good)}", "dim")


def _verdict(report: Report) -> Iterator[Line]:
    dumps = report.prediction.dumps if report.prediction is not None else None
    if dumps is None:
        text = "=> Whether a crash here leaves a core cannot be told from here."
    elif not dumps:
        text = "=> A crash here leaves NO core."
    elif report.passed:
        text = "=> A crash here leaves a core that can be used."
    else:
        text = "=> A crash here leaves a core, but not a good one: see FAIL."
    yield from wrapped(text, "title")


def probe_lines(probed: Sequence[Probed]) -> Iterator[Line]:
    """What the probes found."""
    for one in probed:
        yield Line("")
        yield Line(clean(one.title), "title")
        grade = Grade.PASS if one.passed else Grade.FAIL
        for said in one.says:
            yield from wrapped(f"{grade}  {said}", _LOOKS[grade])
        if one.frames:
            yield from wrapped("      " + " < ".join(one.frames), "dim")
