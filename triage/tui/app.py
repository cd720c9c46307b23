"""The terminal application: which screen is open, and whether the store has changed."""

from __future__ import annotations

from textual import work
from textual.app import App

from triage.errors import TriageError
from triage.text import clean
from triage.tui.help import HelpPlace
from triage.tui.inbox import InboxPlace
from triage.tui.place import Place
from triage.tui.reader import Reader

_WATCH_SECONDS = 1.0


class TriageApp(App[None]):
    """Looks at one store; `label` is what the store is called on screen."""

    CSS_PATH = "triage.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "triage"

    def __init__(self, reader: Reader, *, label: str) -> None:
        super().__init__()
        self.reader = reader
        self.label = label
        self._revision: object = None
        self._complaint: str | None = None
        self._behind = False

    def on_mount(self) -> None:
        """Open the inbox and begin to watch."""
        self.theme = "nord"
        self.push_screen(InboxPlace())
        self.set_interval(_WATCH_SECONDS, self.watch_store)

    @work(thread=True, exclusive=True, group="watch")
    def watch_store(self) -> None:
        """Ask whether anything was added, off the interface's thread."""
        try:
            revision = self.reader.revision()
        except TriageError as error:
            self.call_later(self.complain, error)  # never waits, so the program can end meanwhile
            return
        self.call_later(self._seen, revision)

    def complain(self, error: TriageError) -> None:
        """Say what is wrong with the store, once and not every second; the screen stays as it is."""
        self._behind = True
        if self._complaint != error.message:
            self._complaint = error.message
            text = error.message + (f" {error.help}" if error.help else "")
            self.notify(clean(text), severity="error", markup=False, timeout=10)

    def readable(self) -> None:
        """The store answered: the next error is news again."""
        self._complaint = None

    def _seen(self, revision: object) -> None:
        # Also the first time: what was saved since the first screen was read would be missed.
        changed = self._behind or revision != self._revision
        self._revision = revision
        if changed and isinstance(self.screen, Place):
            self._behind = False  # what could not be read before is read now
            self.screen.load()

    def show_help(self, place: str) -> None:
        """The keys of a place, over it."""
        self.push_screen(HelpPlace(place))


def run(reader: Reader, *, label: str) -> None:
    """Run the interface until the user leaves it."""
    TriageApp(reader, label=label).run()
