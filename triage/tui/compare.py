"""Two crashes (or the newest of two clusters) side by side."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from triage.model import Crash, Regrouping
from triage.report.comparison import compare, comparison_lines
from triage.report.exports import Export
from triage.tui import look
from triage.tui.actions import COMPARE, bindings
from triage.tui.exporting import Exporting
from triage.tui.keybar import KeyBar
from triage.tui.tabbed import Paper


class ComparePlace(Exporting):
    """`a` and `b` are ids of crashes or clusters."""

    place = COMPARE
    BINDINGS = bindings(COMPARE)
    AUTO_FOCUS = "Paper"

    def __init__(self, a: str, b: str) -> None:
        super().__init__()
        self._names = [a, b]
        self._found: list[Crash] = []
        self._equal = False

    def compose(self) -> ComposeResult:
        """Title and text."""
        yield Static(id="title", markup=False)
        yield Paper()
        yield KeyBar(COMPARE)

    def fetch(self) -> list[Crash]:
        """Both crashes."""
        return [self._crash(name) for name in self._names]

    def _crash(self, name: str) -> Crash:
        reader = self.triage.reader
        rows = reader.crash_rows(name, limit=1) if name.startswith("C-") else []
        return reader.crash(rows[0].id if rows else name)

    def present(self, found: list[Crash]) -> None:
        """Show them."""
        self._found = found
        self._draw()

    def _draw(self) -> None:
        if not self._found:
            return
        title = Text("triage ▸ compare   ", style=look.DIM)
        title.append("  and  ".join(self._names), style="not dim bold")
        self.query_one("#title", Static).update(title)
        width = self.query_one(Paper).size.width - 2
        self.query_one(Paper).write(comparison_lines(compare(*self._found), width=width, equal=self._equal))

    def on_resize(self) -> None:
        """Fit the columns."""
        self._draw()

    def action_swap(self) -> None:
        """Put B to the left."""
        self._names.reverse()
        self._found = self._found[::-1]
        self._draw()

    def action_equal_rows(self) -> None:
        """Show what is the same as well."""
        self._equal = not self._equal
        self._draw()

    def export(self) -> Export | None:
        """All rows, as `triage diff --json` has them."""
        if not self._found:
            return None
        found = compare(*self._found)
        lines = list(comparison_lines(found, equal=True))
        return Export(title=" and ".join(self._names), name="compare", lines=lines, value=asdict(found))

    def action_move_out(self) -> None:
        """Put the right one into a cluster of its own."""
        if not self._found:
            return
        crash = self._found[1]
        if crash.cluster is None:
            self.triage.say(f"{crash.id} is in no cluster")
            return
        self.read(lambda: self.triage.reader.split([crash.id], "moved out of a comparison"), self._moved)

    def _moved(self, change: Regrouping) -> None:
        self.triage.say(f"moved to cluster {change.target}; triage clusters --undo {change.number} takes it back")
        self.load()

    def action_copy_all(self) -> None:
        """Copy the text."""
        if self._found:
            lines = comparison_lines(compare(*self._found), equal=True)
            self.triage.copy_text("\n".join(line.text for line in lines))
