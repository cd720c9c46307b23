"""Going back to the cores: reading them again, and what is not kept of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from triage.model import Crash
from triage.report.lines import Line
from triage.tui.place import Place

_PATIENCE = 300  # seconds
_MOST = 50  # cores of a cluster that are read again, the newest


class Rereading(Place):
    """A screen about crashes whose cores may still be there."""

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the crash that is meant."""
        raise NotImplementedError

    def cores(self) -> Sequence[str]:
        """The paths of the cores that are meant; reads the store."""
        raise NotImplementedError

    def action_again(self) -> None:
        """Read the cores again, with the symbols and rules there are now."""
        if self.triage.may_read_cores():
            self.read(lambda: [core for core in self.cores()[:_MOST] if Path(core).is_file()], self._again)

    def _again(self, cores: list[str]) -> None:
        if not cores:
            self.triage.say("the core is gone: it cannot be read again", wrong=True)
            return
        self.triage.read_cores(cores, again=True)

    def action_values(self) -> None:
        """What the arguments of the PHP frames held. Values are not kept, so the core is read for them."""
        if self.triage.may_read_cores():
            self.with_crash(self._values)

    def _values(self, crash: Crash) -> None:
        argv = [sys.executable, "-m", "triage", "show", str(Path(crash.core).absolute()), "--values", "--no-color",
                "--section", "stack", "--section", "threads", "--section", "warnings"]  # fmt: skip
        settings = self.triage.settings
        argv += ["--sysroot", str(settings.sysroot)] if settings.sysroot else []
        if not Path(crash.core).is_file():
            self.triage.say(f"values are not kept, and the core {crash.core} is gone", wrong=True)
            return
        self.triage.open_page(f"values of {crash.id}", lambda: _told(argv), "values.txt")


def _told(argv: Sequence[str]) -> list[Line]:
    """What a command prints; the core is read in its own process, under its own limits."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="backslashreplace",
            timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [Line(f"the core could not be read within {_PATIENCE} s", "warn")]
    said = [Line(line) for line in done.stdout.splitlines()]
    return [*said, *(Line(line, "warn") for line in done.stderr.splitlines())]
