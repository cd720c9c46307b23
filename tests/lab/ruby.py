"""Ruby processes that crash for real, with what caller_locations() said just before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.interpreters import Call, Made, Program
from triage.demo.lab import Process, crash

SCRIPTS = Path(__file__).parent.parent.parent / "fixtures" / "ruby"
CASES = ("main", "nested", "deep", "long", "threads")
_OWN = "end_here"


def make(name: str, ruby: Program, folder: Path) -> Made:
    """Let Ruby crash in fixtures/ruby/NAME.rb; the core lands in `folder`.

    Raises:
        NoCrash: when no core could be had.
    """
    scripts, run = ruby.stage(SCRIPTS, folder)
    oracle = run / "oracle.txt"
    place = run if ruby.root is None else ruby.root
    argv = ruby.command("--disable-gems", ruby.inside(scripts / f"{name}.rb"))
    environment = {"TRIAGE_ORACLE": ruby.inside(oracle)}
    core = crash(Process(argv=argv, folder=place, env=environment), folder / f"{name}.core")
    rows = [line.split("\t") for line in oracle.read_text().splitlines()]
    return Made(core, tuple(Call(row[0], row[1], int(row[2])) for row in rows), ruby.root)


def shown(crash_json: dict[str, Any]) -> list[Call]:
    """The Ruby frames outside of the recorder."""
    thread = next(thread for thread in crash_json["threads"] if thread["crashed"])
    found = [
        Call(frame["function"], frame["file"], frame["line"]) for frame in thread["frames"] if frame["kind"] == "ruby"
    ]
    recorder = next(at for at, call in enumerate(found) if call.function == _OWN)
    return found[recorder + 1 :]
