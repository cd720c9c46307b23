"""Five real crashes and the page `triage explain` prints of each: docs/explained.md.

    python -m tests.lab.explained > docs/explained.md

Four are bugs of PHP that its own newer tests still set off here; the fifth is our faulty extension,
which writes to memory it has given back. Folders are written as they would be on a server.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from tests.lab import extension, faults, phpt
from triage.cli.main import triage
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash

_TESTS = (
    ("gh20906_1", "An address eight bytes below nothing", "Other tools call this one stack corruption, since the "
     "address looks like garbage. It is NULL minus eight: an empty reference, and the page says so."),
    ("gh17577", "Only with the JIT", "The stack ends in machine code that the JIT made. Experiment 1 below tells in "
     "an hour what no backtrace can."),
    ("gh19326", "Used after it was given back", "A generator's variables are freed while it still runs."),

)  # fmt: skip
_LAST = ("heap-then-crash", "The victim is not the cause", "Our own faulty extension wrote to a block it had given "
         "back. Later, PHP's own allocator handed out what that write had spoilt, and died in innocent code.")  # fmt: skip
_HEAD = """# Five crashes explained

What `triage explain` prints of five real crashes, made by `python -m tests.lab.explained` with the stripped PHP of
Debian 12. Four are bugs of PHP itself, set off by the regression tests of a newer release; the last is made by a
faulty extension. Only folder names were changed. Below every sentence, `--evidence` prints what in the core it
rests on.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One crash: its head, a word about it, and the page."""

    head: str
    about: str
    page: str


def pages(folder: Path) -> Iterator[Told]:
    """All five; one whose test does not kill this PHP is left out."""
    by_name = {test.name: test for test in phpt.tests(phpt.source())}
    for name, head, about in _TESTS:
        core = phpt.core_of(by_name[name], folder)
        if core is not None:
            page = explain(core).replace(str(by_name[name].path.parent), "/srv/shop")
            yield Told(f"{head} (GH-{by_name[name].number})", about, page)
    core = _extension(folder)
    if core is not None:
        yield Told(_LAST[1], _LAST[2], explain(core).replace(str(folder), "/srv/shop"))


def _extension(folder: Path) -> Path | None:
    php = find_php()
    if php is None:
        return None
    wanted = next(wanted for wanted in faults.PHP if wanted.name == _LAST[0])
    library = extension.build(folder / "faulty.so", php.version, "-s")
    script = folder / "page.php"
    script.write_text(f"<?php\n{wanted.code}\n")
    argv = (php.path, "-d", f"extension={library}", str(script))
    return crash(Process(argv=argv, folder=folder, env={}), folder / "last.core")


def explain(core: Path) -> str:
    """The page of one core."""
    done = CliRunner().invoke(triage, ["explain", str(core)], catch_exceptions=False)
    if done.exit_code:
        raise SystemExit(done.stderr)
    return done.stdout.rstrip("\n")


def main() -> None:
    """Print the document."""
    print(_HEAD)
    with tempfile.TemporaryDirectory() as place:
        for told in pages(Path(place)):
            print(f"## {told.head}\n\n{told.about}\n\n```\n{told.page}\n```\n")


if __name__ == "__main__":
    sys.exit(main())
