"""Crashes of which too little could be read to put them into a cluster."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from triage.model import Crash, CrashRow
from triage.report.exports import Export
from triage.report.lines import Line
from triage.text import plural
from triage.tui import look
from triage.tui.actions import LOOSE, bindings
from triage.tui.cluster import CRASH_COLUMNS, row_cells
from triage.tui.comparing import Comparing
from triage.tui.copying import Copying
from triage.tui.exporting import Exporting
from triage.tui.keybar import KeyBar
from triage.tui.rows import Rows, listed
from triage.wire import crash_row_to_json

_MOST = 2000


class LoosePlace(Copying, Comparing, Exporting):
    """A list of them, newest first."""

    place = LOOSE
    BINDINGS = bindings(LOOSE)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[CrashRow] = []

    def compose(self) -> ComposeResult:
        """Title and list."""
        yield Static(id="title", markup=False)
        yield Rows(CRASH_COLUMNS)
        yield KeyBar(LOOSE)

    def fetch(self) -> list[CrashRow]:
        """The crashes."""
        return self.triage.reader.loose_rows(limit=_MOST)

    def present(self, found: list[CrashRow]) -> None:
        """Fill the list."""
        self._rows = found
        title = Text("triage ▸ ", style=look.DIM)
        title.append(f"{plural(len(found), 'crash')} without a usable stack, in no cluster", style="not dim bold")
        self.query_one("#title", Static).update(title)
        self.marked_changed()

    def marked_changed(self) -> None:
        """Draw the marks."""
        self.query_one(Rows).fill(*listed((row.id, self._cells(row)) for row in self._rows))

    def _cells(self, row: CrashRow) -> tuple[Text, ...]:
        cells = row_cells(row)
        return (Text("◆ ").append_text(cells[0]), *cells[1:]) if self.triage.is_marked(row.id) else cells

    @on(Rows.Opened)
    def action_open(self) -> None:
        """Open the crash under the cursor."""
        rows = self.query_one(Rows)
        if rows.current is not None:
            self.triage.open_crash(rows.current, rows.keys)

    def export(self) -> Export | None:
        """The list, as `triage list --json` has it."""
        if not self._rows:
            return None
        title = f"{plural(len(self._rows), 'crash')} without a usable stack"
        lines = [Line("  ".join(cell.plain for cell in row_cells(row))) for row in self._rows]
        return Export(title=title, name="crashes", lines=lines, value=[crash_row_to_json(row) for row in self._rows])

    def copy_id(self) -> str | None:
        """The id of the crash under the cursor."""
        return self.query_one(Rows).current

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the crash under the cursor."""
        chosen = self.copy_id()
        if chosen is not None:
            self.read(lambda: self.triage.reader.crash(chosen), then)
