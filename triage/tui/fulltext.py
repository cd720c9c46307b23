"""Everything about one crash as text to scroll through."""

from __future__ import annotations

from rich.console import Group
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from triage.model import Crash
from triage.report.crash_text import crash_lines
from triage.tui import look
from triage.tui.actions import TEXT, bindings
from triage.tui.place import Place


class TextPlace(Place):
    """What `triage show -v` prints."""

    place = TEXT
    BINDINGS = bindings(TEXT)
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, crash: Crash) -> None:
        super().__init__()
        self._crash = crash

    def compose(self) -> ComposeResult:
        """One long text."""
        with VerticalScroll():
            yield Static(id="text")
        yield Footer()

    def fetch(self) -> Crash:
        """It is here already."""
        return self._crash

    def present(self, found: Crash) -> None:
        """Show all lines."""
        lines = [look.line(line.text, line.look) for line in crash_lines(found, details=True)]
        self.query_one("#text", Static).update(Group(*lines))

    def action_move_down(self) -> None:
        """Scroll down."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_move_up(self) -> None:
        """Scroll up."""
        self.query_one(VerticalScroll).scroll_up(animate=False)

    def action_page_down(self) -> None:
        """Scroll a page down."""
        self.query_one(VerticalScroll).scroll_page_down(animate=False)

    def action_page_up(self) -> None:
        """Scroll a page up."""
        self.query_one(VerticalScroll).scroll_page_up(animate=False)

    def action_first(self) -> None:
        """Scroll to the beginning."""
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_last(self) -> None:
        """Scroll to the end."""
        self.query_one(VerticalScroll).scroll_end(animate=False)
