"""Five real crashes and the page `triage explain` prints of each: docs/explained.md.

    python -m tests.lab.explained > docs/explained.md

Four are bugs of PHP that its own newer tests still set off here; the fifth is our faulty extension,
which writes to memory it has given back. Folders are written as they would be on a server.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from tests.lab import extension, faults, phpt
from triage.cli.main import triage
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash
from triage.explain import Context, write_page
from triage.report.explain_text import page_lines
from triage.wire import crash_from_json

_TESTS = (
    ("gh20906_1", "An address eight bytes below nothing", "Tools that look at the address alone take it for garbage. "
     "It is NULL minus eight: an empty reference."),
    ("gh17106", "Code that opcache's optimizer got wrong", "Text where an address should be, and nothing on the "
     "stack that could have put it there. The first experiment, the optimizer off, is the one that stops it."),
    ("gh17463", "A size that was negative", "The stack shows the cause itself: a fill that never ended."),
    ("gh15168", "A recursion without end", "The stack ran out while json_encode() called itself through user code."),
)  # fmt: skip
_LAST = ("heap-then-crash", "The victim is not the cause", "Our own faulty extension wrote to a block it had given "
         "back. Later PHP's own allocator met what that write had spoilt, and died in innocent code.")  # fmt: skip
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
            page = explain(core, by_name[name].path.parent)
            yield Told(f"{head} (GH-{by_name[name].number})", about, page)
    core = _extension(folder)
    if core is not None:
        yield Told(_LAST[1], _LAST[2], explain(core, folder))


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


def explain(core: Path, folder: Path) -> str:
    """The page of one core, its folder written as `/srv/shop`."""
    done = CliRunner().invoke(triage, ["show", str(core), "--json"], catch_exceptions=False)
    if done.exit_code:
        raise SystemExit(done.stderr)
    crash_ = crash_from_json(json.loads(done.stdout.replace(str(folder), "/srv/shop")))
    return "\n".join(line.text for line in page_lines(write_page(crash_, Context())))


def main() -> None:
    """Print the document."""
    print(_HEAD)
    with tempfile.TemporaryDirectory() as place:
        for told in pages(Path(place)):
            print(f"## {told.head}\n\n{told.about}\n\n```\n{told.page}\n```\n")


if __name__ == "__main__":
    main()
