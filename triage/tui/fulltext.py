"""A page of text to read, to copy and to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from triage.report.exports import Export
from triage.report.lines import Line
from triage.tui import look
from triage.tui.actions import TEXT, bindings
from triage.tui.exporting import Exporting
from triage.tui.keybar import KeyBar
from triage.tui.tabbed import Paper


class TextPlace(Exporting):
    """Lines of text. `make` is called off the interface's thread; `file` is the name it is kept under."""

    place = TEXT
    BINDINGS = bindings(TEXT)
    AUTO_FOCUS = "Paper"

    def __init__(self, title: str, make: Callable[[], Sequence[Line]], file: str = "triage.txt") -> None:
        super().__init__()
        self._title, self._make, self._file = title, make, file
        self._lines: Sequence[Line] = ()

    @classmethod
    def of(cls, text: str, file: str) -> TextPlace:
        """A page of a text that is there already."""
        return cls(file, lambda: [Line(line) for line in text.splitlines()], file)

    def compose(self) -> ComposeResult:
        """One long text."""
        yield Static(Text(f"triage ▸ {self._title}   w keeps it, y copies it", style=look.DIM), id="title")
        yield Paper()
        yield KeyBar(TEXT)

    def fetch(self) -> Sequence[Line]:
        """Make the lines."""
        return self._make()

    def present(self, found: Sequence[Line]) -> None:
        """Show all lines."""
        self._lines = found
        self.query_one(Paper).write(found)

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(line.text for line in self._lines) + "\n"

    def export(self) -> Export | None:
        """The page; as JSON its lines."""
        if not self._lines:
            return None
        name = self._file.rpartition(".")[0] or self._file
        return Export(title=self._title, name=name, lines=self._lines, value=[line.text for line in self._lines])

    def action_copy_all(self) -> None:
        """Copy the text."""
        self.triage.copy_text(self.text)

    def action_save(self) -> None:
        """Ask for a file and write the text there."""
        self.triage.ask(
            "Write it into which file?", "readable by you alone", self._save, value=str(Path.cwd() / self._file)
        )

    def _save(self, answer: str | None) -> None:
        if answer:
            self.write_file(self.text, answer)
