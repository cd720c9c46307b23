"""Perl processes that crash for real, with what caller() said just before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.interpreters import Call, Made, Program
from triage.demo.lab import Process, crash

SCRIPTS = Path(__file__).parent.parent.parent / "fixtures" / "perl"
CASES = ("main", "nested", "required", "compiled", "destroyed", "unpacked")
THREADED = "threaded"
_OWN = "Oracle::end_here"


def make(name: str, perl: Program, folder: Path) -> Made:
    """Let Perl crash in fixtures/perl/NAME.pl; the core lands in `folder`.

    Raises:
        NoCrash: when no core could be had.
    """
    scripts, run = perl.stage(SCRIPTS, folder)
    oracle = run / "oracle.txt"
    environment = {
        "TRIAGE_ORACLE": perl.inside(oracle),
        "TRIAGE_SCRIPTS": perl.inside(scripts),
        # A process that perl's own libraries of this machine must not reach.
        "PERL5LIB": "",
    }
    place = run if perl.root is None else perl.root
    argv = perl.command(perl.inside(scripts / f"{name}.pl"))
    core = crash(Process(argv=argv, folder=place, env=environment), folder / f"{name}.core")
    return Made(core, _told(oracle), perl.root)


def _told(oracle: Path) -> tuple[Call, ...]:
    """caller(N) tells from where sub N was called: the place belongs to the sub of caller(N+1)."""
    rows = [line.split("\t") for line in oracle.read_text().splitlines()]
    subs = [*(row[2] for row in rows[1:]), "{main}"]
    return tuple(Call(sub, row[0], int(row[1])) for sub, row in zip(subs, rows, strict=True))


def shown(crash_json: dict[str, Any]) -> list[Call]:
    """The Perl frames outside of the recorder, without sort blocks, which caller() does not tell."""
    thread = next(thread for thread in crash_json["threads"] if thread["crashed"])
    found = [
        Call("::".join(filter(None, (frame["class"], frame["function"]))), frame["file"], frame["line"])
        for frame in thread["frames"]
        if frame["kind"] == "perl" and frame["function"] != "(sort block)"
    ]
    recorder = next(at for at, call in enumerate(found) if call.function == _OWN)
    return found[recorder + 1 :]
