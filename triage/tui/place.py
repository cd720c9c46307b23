"""What all screens have in common: data loaded off the main thread, keys from the registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from textual import work
from textual.screen import Screen

from triage.errors import TriageError
from triage.text import clean
from triage.tui.rows import Rows

if TYPE_CHECKING:
    from triage.tui.app import TriageApp


class Place(Screen[None]):
    """A screen over the store. `fetch` runs in a thread and returns what `present` then shows."""

    place = ""
    AUTO_FOCUS = "Rows"

    @property
    def triage(self) -> TriageApp:
        """The application."""
        return cast("TriageApp", self.app)

    @abstractmethod
    def fetch(self) -> Any:
        """Read from the store; runs in a thread of its own."""

    @abstractmethod
    def present(self, found: Any) -> None:
        """Show what `fetch` returned; runs on the interface's thread."""

    def on_screen_resume(self) -> None:
        """Also after coming back: the store may have changed meanwhile."""
        self.load()

    def load(self) -> None:
        """Read and show, without holding up the keys."""
        self._load()

    @work(thread=True, exclusive=True, group="load")
    def _load(self) -> None:
        self.guarded(self.fetch, self.present)

    def guarded(self, fetch: Callable[[], Any], display: Callable[[Any], None]) -> None:
        """In a worker thread: fetch, then display; an error of the store becomes a notice."""
        try:
            found = fetch()
        except TriageError as error:
            self.triage.call_from_thread(self.complain, error)
            return
        self.triage.call_from_thread(self._show, display, found)

    def _show(self, display: Callable[[Any], None], found: Any) -> None:
        if self.is_attached:  # it may have been left while the thread was reading
            display(found)

    def complain(self, error: TriageError) -> None:
        """Say what is wrong with the store; the screen stays as it is."""
        text = error.message + (f" {error.help}" if error.help else "")
        self.triage.notify(clean(text), severity="error", markup=False, timeout=10)

    def action_back(self) -> None:
        """Go back to the screen before."""
        self.triage.pop_screen()

    def action_reload(self) -> None:
        """Read the store again."""
        self.load()

    def action_move_down(self) -> None:
        """Move the cursor down."""
        self.query_one(Rows).action_cursor_down()

    def action_move_up(self) -> None:
        """Move the cursor up."""
        self.query_one(Rows).action_cursor_up()

    def action_help(self) -> None:
        """Show the keys that work here."""
        self.triage.show_help(self.place)

    def copy(self, what: str | None) -> None:
        """Put an id on the terminal's clipboard."""
        if what:
            self.triage.copy_to_clipboard(what)
            self.triage.notify(f"copied {what}", markup=False, timeout=2)
