"""Reading cores: how far it is, what could not be read and why."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from triage.report.lines import Line, wrapped
from triage.text import plural
from triage.tui import look
from triage.tui.actions import INGEST, bindings
from triage.tui.keybar import KeyBar
from triage.tui.place import Place
from triage.tui.reading import Progress, Reading
from triage.tui.tabbed import Paper

_TICK = 0.25
_BAR = 30


class IngestPlace(Place):
    """Follows the batch that the application runs; leaving the screen does not end it."""

    place = INGEST
    BINDINGS = bindings(INGEST)
    AUTO_FOCUS = "Paper"

    def compose(self) -> ComposeResult:
        """Progress above, problems below."""
        yield Static(id="title", markup=False)
        yield Static(id="progress", markup=False)
        yield Paper()
        yield KeyBar(INGEST)

    def on_mount(self) -> None:
        """Draw now and then."""
        self.set_interval(_TICK, self._draw)
        self._draw()

    def fetch(self) -> None:
        """Nothing is read from the store."""

    def present(self, found: None) -> None:
        """Draw."""
        self._draw()

    def _draw(self) -> None:
        reading = self.triage.reading
        if reading is None:
            return
        title = Text("triage ▸ reading cores   ", style=look.DIM)
        title.append_text(look.say(" ".join(reading.paths), "not dim bold", limit=200))
        self.query_one("#title", Static).update(title)
        self.query_one("#progress", Static).update(progress_text(reading))
        self.query_one(Paper).write(problem_lines(reading.progress))

    def action_pause(self) -> None:
        """Pause before the next core, or go on."""
        if self.triage.reading is not None and self.triage.reading.running:
            self.triage.reading.toggle_pause()
            self._draw()

    def action_stop(self) -> None:
        """Stop after this core; again: at once."""
        if self.triage.reading is not None and self.triage.reading.running:
            self.triage.reading.stop()
            self._draw()


def progress_text(reading: Reading) -> Text:
    """A bar, what came of it so far, and how long it will take."""
    progress = reading.progress
    share = progress.done / progress.total if progress.total else 0.0
    text = Text("█" * round(_BAR * share), style=look.SPIKE)
    text.append("·" * (_BAR - round(_BAR * share)), style=look.DIM)
    total = "?" if progress.total is None else str(progress.total)
    text.append(f"  {progress.done} of {total} cores  {_state(reading)}\n", style="default")
    parts = [plural(progress.crashes, "crash")]
    if progress.partial:
        parts.append(f"{progress.partial} with gaps")
    if progress.failed:
        parts.append(f"{progress.failed} could not be read")
    text.append(", ".join(parts) + (f"   last: {progress.last}" if progress.last else ""), style="default")
    return text


def _state(reading: Reading) -> str:
    progress = reading.progress
    if not reading.running:
        took = f"in {progress.seconds:.0f} s" if progress.seconds is not None else ""
        return {0: f"done {took}", 1: f"done {took}, some could not be read"}.get(
            progress.status or 0, f"ended with status {progress.status}"
        )
    if reading.stopping:
        return "stopping after this core (x again: at once)"
    if reading.paused:
        return "paused before the next core; space goes on"
    return "space pauses, x stops, esc hides (it goes on)"


def problem_lines(progress: Progress) -> Iterator[Line]:
    """Each input that gave no crash, or one with gaps, with the reason."""
    for problem in progress.problems:
        yield from wrapped(problem, "warn")
    for said in progress.said:
        yield from wrapped(said, "dim")
    if not progress.problems and not progress.said:
        yield Line("  nothing amiss so far", "dim")
