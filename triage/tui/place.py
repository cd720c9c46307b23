"""What all screens have in common: data loaded off the main thread, keys from the registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from textual import work
from textual.screen import Screen
from textual.worker import get_current_worker

from triage.errors import TriageError
from triage.text import clean
from triage.tui.rows import Rows

if TYPE_CHECKING:
    from triage.tui.app import TriageApp


class Place(Screen[None]):
    """A screen over the store. `fetch` runs in a thread and returns what `present` then shows."""

    place = ""
    AUTO_FOCUS = "Rows"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012 - Textual's own declaration

    _home: TriageApp | None = None

    @property
    def triage(self) -> TriageApp:
        """The application; known for good once asked for, as a reading thread may outlive its screen."""
        if self._home is None:
            self._home = cast("TriageApp", self.app)
        return self._home

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
        if self.triage.is_running:
            self._load()

    @work(thread=True, exclusive=True, group="load")
    def _load(self) -> None:
        self.guarded(self.fetch, self.present)

    def guarded(self, fetch: Callable[[], Any], display: Callable[[Any], None]) -> None:
        """In a worker thread: fetch, then display; an error of the store becomes a notice.

        A thread cannot be stopped, so what an overtaken one brings home is dropped: it would
        replace what was asked for later.
        """
        worker = get_current_worker()
        try:
            found = fetch()
        except TriageError as error:
            if not worker.is_cancelled:
                self.triage.call_later(self.triage.complain, error)
            return
        if not worker.is_cancelled:
            self.call_later(self._show, display, found)

    def _show(self, display: Callable[[Any], None], found: Any) -> None:
        if self.is_attached:  # it may have been left while the thread was reading
            self.triage.readable()
            display(found)

    def action_back(self) -> None:
        """Go back to the screen before."""
        self.triage.pop_screen()

    def action_reload(self) -> None:
        """Read the store again."""
        self.triage.readable()  # whoever asks again wants to be told again
        self.load()

    def action_move_down(self) -> None:
        """Move the cursor down."""
        self.query_one(Rows).move_by(1)

    def action_move_up(self) -> None:
        """Move the cursor up."""
        self.query_one(Rows).move_by(-1)

    def action_page_down(self) -> None:
        """Move the cursor a page down."""
        rows = self.query_one(Rows)
        rows.move_by(rows.page)

    def action_page_up(self) -> None:
        """Move the cursor a page up."""
        rows = self.query_one(Rows)
        rows.move_by(-rows.page)

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self.query_one(Rows).move(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self.query_one(Rows).move_to_end()

    def action_help(self) -> None:
        """Show the keys that work here."""
        self.triage.show_help(self.place)

    def copy(self, what: str | None) -> None:
        """Put an id on the terminal's clipboard."""
        if what:
            self.triage.copy_to_clipboard(what)
            self.triage.notify(f"sent to the terminal's clipboard: {clean(what, limit=60)}", markup=False, timeout=2)
