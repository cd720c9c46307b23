"""What all screens have in common: data loaded off the main thread, keys from the registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import work
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import get_current_worker

from triage.errors import TriageError
from triage.tui.rows import Rows

if TYPE_CHECKING:
    from triage.tui.app import TriageApp


class Place(Screen[None]):
    """A screen over the store. `fetch` runs in a thread and returns what `present` then shows."""

    place = ""
    AUTO_FOCUS = "Rows"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (132, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012 - Textual's own declaration

    ZOOMS: ClassVar[tuple[str, ...]] = ("", "-list-alone")
    _zoom = 0
    _home: TriageApp | None = None
    _read_at: object = None
    _read_once = False

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
        """The first time, and after coming back if the store has changed meanwhile."""
        if self._read_at != self.triage.revision or not self._read_once:
            self.load()

    def load(self) -> None:
        """Read and show, without holding up the keys."""
        self._read_at, self._read_once = self.triage.revision, True
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

    def read(self, work: Callable[[], object], then: Callable[..., None]) -> None:
        """Do something slow in a thread, and go on with what it brought; an error becomes a notice."""

        def run() -> None:
            try:
                found = work()
            except TriageError as error:
                self.triage.call_later(self.triage.complain, error)
                return
            self.triage.call_later(then, found)

        self.run_worker(run, thread=True, group="read")

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
        """Move the cursor, or the text, down."""
        self._move(1)

    def action_move_up(self) -> None:
        """Move up."""
        self._move(-1)

    def action_page_down(self) -> None:
        """A page down."""
        self._move(self._page())

    def action_page_up(self) -> None:
        """A page up."""
        self._move(-self._page())

    def action_first(self) -> None:
        """To the beginning."""
        moved = self.moved()
        if isinstance(moved, Rows):
            moved.move(0)
        elif moved is not None:
            moved.scroll_home(animate=False)

    def action_last(self) -> None:
        """To the end."""
        moved = self.moved()
        if isinstance(moved, Rows):
            moved.move_to_end()
        elif moved is not None:
            moved.scroll_end(animate=False)

    def moved(self) -> Rows | VerticalScroll | None:
        """The list or the text that the keys for moving are about: the one in focus, else the first on screen."""
        if isinstance(self.focused, Rows | VerticalScroll):
            return self.focused
        for widget in self.query("Rows, VerticalScroll"):
            if isinstance(widget, Rows | VerticalScroll) and visible(widget):
                return widget
        return None

    def _page(self) -> int:
        moved = self.moved()
        if isinstance(moved, Rows):
            return moved.page
        return max(1, moved.size.height - 1) if moved is not None else 1

    def _move(self, by: int) -> None:
        moved = self.moved()
        if isinstance(moved, Rows):
            moved.move_by(by)
        elif moved is not None:
            moved.scroll_relative(y=by, animate=False)

    def action_zoom(self) -> None:
        """The whole screen for one part of it; the next zoom, after the last all parts again."""
        self.remove_class(*filter(None, self.ZOOMS))
        self._zoom = (self._zoom + 1) % len(self.ZOOMS)
        if self.ZOOMS[self._zoom]:
            self.add_class(self.ZOOMS[self._zoom])

    def action_help(self) -> None:
        """Show the keys that work here."""
        self.triage.show_help(self.place)

    def action_palette(self) -> None:
        """Open the palette."""
        self.triage.action_command_palette()


def visible(widget: Widget) -> bool:
    """Whether neither it nor what it stands in is hidden."""
    return all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget))
