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
        self._unreadable: str | None = None

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
            self.call_from_thread(self._lost, error)
            return
        self.call_from_thread(self._seen, revision)

    def _lost(self, error: TriageError) -> None:
        """Complain once, not every second."""
        if self._unreadable != error.message:
            self._unreadable = error.message
            self.notify(clean(error.message), severity="error", markup=False, timeout=10)

    def _seen(self, revision: object) -> None:
        self._unreadable = None
        changed, self._revision = self._revision not in (None, revision), revision
        if changed and isinstance(self.screen, Place):
            self.screen.load()

    def show_help(self, place: str) -> None:
        """The keys of a place, over it."""
        self.push_screen(HelpPlace(place))


def run(reader: Reader, *, label: str) -> None:
    """Run the interface until the user leaves it."""
    TriageApp(reader, label=label).run()
