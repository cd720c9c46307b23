"""Ways to other screens. Each screen is loaded when it is first opened, or in the quiet after the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

if TYPE_CHECKING:
    from triage.report.lines import Line
    from triage.tui.ask import Choice

Answer = Callable[[str | None], None]


class Doors(App[None]):
    """The part of the application that opens screens."""

    def open_cluster(self, cluster: str, among: Sequence[str]) -> None:
        """One cluster of those in a list."""
        from triage.tui.cluster import ClusterPlace

        self.push_screen(ClusterPlace(cluster, among))

    def open_crash(self, crash: str, among: Sequence[str]) -> None:
        """One crash of those in a list."""
        from triage.tui.crash import CrashPlace

        self.push_screen(CrashPlace(crash, among))

    def open_loose(self) -> None:
        """The crashes in no cluster."""
        from triage.tui.loose import LoosePlace

        self.push_screen(LoosePlace())

    def open_comparison(self, a: str, b: str) -> None:
        """Two side by side."""
        from triage.tui.compare import ComparePlace

        self.push_screen(ComparePlace(a, b))

    def open_progress(self) -> None:
        """The batch that runs."""
        from triage.tui.ingest import IngestPlace

        self.push_screen(IngestPlace())

    def open_text(self, text: str, file: str) -> None:
        """A page to read; `file` is the name it is kept under."""
        from triage.tui.fulltext import TextPlace

        self.push_screen(TextPlace.of(text, file))

    def open_page(self, title: str, make: Callable[[], Sequence[Line]], file: str) -> None:
        """A page whose lines take time to make."""
        from triage.tui.fulltext import TextPlace

        self.push_screen(TextPlace(title, make, file))

    def ask(self, question: str, hint: str, then: Answer, *, value: str = "") -> None:
        """Ask for a line of text."""
        from triage.tui.ask import Ask

        self.push_screen(Ask(question, hint, value), then)

    def choose(self, question: str, choices: Sequence[Choice], then: Answer) -> None:
        """Let one of a few keys be pressed."""
        from triage.tui.ask import Choose

        self.push_screen(Choose(question, choices), then)

    def ask_for_folder(self, then: Callable[[Path], object], complain: Callable[[str], object]) -> None:
        """Ask for cores to read."""

        def answered(answer: str | None) -> None:
            if answer:
                path = Path(answer).expanduser()
                if path.exists():
                    then(path)
                else:
                    complain(f"{path} is not there")

        self.ask("Read the cores in which folder?", "a file or a folder", answered, value="/var/crash")
