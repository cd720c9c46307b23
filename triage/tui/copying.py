"""Copying: to the terminal's clipboard (OSC 52) and, since that gives no answer, into a file as well."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from triage.config import cache_folder
from triage.model import Crash
from triage.tui.place import Place

_CHOICES = (
    ("i", "id", "the id of what is on screen"),
    ("s", "signature", "the key under which equal crashes meet"),
    ("b", "backtrace", "the whole stack as text"),
    ("m", "markdown", "the explanation, for a ticket"),
    ("c", "command", "the command that opens GDB on this core"),
)


def backtrace(crash: Crash) -> str:
    """The crashed thread's stack as text."""
    from triage.report.stack import stack_lines

    thread = crash.crashed_thread
    return "\n".join(line.text for line in stack_lines(thread.frames)) if thread else "no stack is known"


def markdown(crash: Crash) -> str:
    """The explanation as Markdown: heads, and everything else verbatim."""
    from triage.explain import Context, write_page
    from triage.report.explain_text import page_lines

    lines = list(page_lines(write_page(crash, Context()), evidence=True))
    body = [f"## {line.text}" if line.look == "head" else line.text for line in lines[1:]]
    stack = f"## The stack, innermost first\n\n```\n{backtrace(crash)}\n```"
    return f"# `{lines[0].text.replace('`', '')}`\n\n" + "\n".join(body) + f"\n\n{stack}\n"


def gdb_command(crash: Crash, program: str) -> str:
    """What to type for GDB on the core."""
    return shlex.join([*shlex.split(program), "debug", crash.core])


WHAT: Mapping[str, Callable[[Crash], str]] = {
    "i": lambda crash: crash.id,
    "s": lambda crash: crash.signature.key if crash.signature else "",
    "b": backtrace,
    "m": markdown,
    "c": lambda crash: gdb_command(crash, os.environ.get("TRIAGE_PROGRAM") or "triage"),
}


def clip_file() -> Path:
    """The file that holds what was copied last."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return (Path(base) / "triage" if base else cache_folder()) / "clip.txt"


def keep(text: str, path: Path) -> Path:
    """Write a private file, 0600, in a folder made 0700; returns its path. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path


class Copying(Place):
    """A screen from which something can be copied, or written up."""

    def copy_id(self) -> str | None:
        """The id of what the cursor is on."""
        raise NotImplementedError

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Read the crash that is meant, off the interface's thread, and go on with it."""
        raise NotImplementedError

    def action_bug(self) -> None:
        """The report for the bug tracker."""
        from triage.report.bug_report import bug_report

        self.with_crash(lambda crash: self.triage.open_text(bug_report(crash), "bug.md"))

    def action_copy(self) -> None:
        """Ask what, and copy it."""
        if self.copy_id() is None:
            self.triage.say("there is nothing here to copy")
            return
        self.triage.choose("What to copy?", _CHOICES, self._copy_chosen)

    def _copy_chosen(self, key: str | None) -> None:
        if key == "i":
            self.triage.copy_text(self.copy_id() or "")
        elif key is not None:
            self.with_crash(lambda crash: self.triage.copy_text(WHAT[key](crash)))
