"""A screen of tabs: which are there, which is open, and its text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from triage.report.lines import Line
from triage.tui import look
from triage.tui.place import Place, visible
from triage.tui.rows import Rows
from triage.tui.tabs import Tab, TabBar

_MOST_LINES = 3000  # more than anybody reads, and what a screen can lay out at once


class Paper(VerticalScroll, can_focus=True, inherit_bindings=False):
    """Text to scroll through; it can be selected with the mouse."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(id="text", markup=False)

    def write(self, lines: Iterable[Line]) -> None:
        """Show these lines."""
        kept = list(lines)
        if len(kept) > _MOST_LINES:
            left = len(kept) - _MOST_LINES
            kept = [*kept[:_MOST_LINES], Line(f"… {left} more lines: `triage show -v` has them", "dim")]
        self.query_one("#text", Static).update(look.joined(kept))


class Tabbed(Place):
    """`TABS` are all there may be; those whose provider has nothing are left out."""

    TABS: ClassVar[tuple[Tab[Any], ...]] = ()
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self._view: Any = None
        self._shown: list[Tab[Any]] = []
        self._wanted = 0
        self.tab: str = self.TABS[0].name

    def show_tabs(self, view: Any) -> None:
        """Make the tabs of what was read; the open one stays open if it still exists."""
        self._view = view
        self._shown = [tab for tab in self.TABS if tab.exists(view)]
        if 0 < self._wanted <= len(self._shown):
            self.tab, self._wanted = self._shown[self._wanted - 1].name, 0
        if self.tab not in [tab.name for tab in self._shown]:
            self.tab = self._shown[0].name
        self._draw()

    def _draw(self) -> None:
        at = [tab.name for tab in self._shown].index(self.tab)
        self.query_one(TabBar).show([tab.title(self._view) for tab in self._shown], at)
        tab, paper = self._shown[at], self.query_one(Paper)
        if tab.lines is not None:
            paper.write(tab.lines(self._view))
        for widget in self.query(".body"):
            widget.display = widget.has_class(f"tab-{tab.name}") or (widget is paper and tab.lines is not None)
        self.focus_body()

    def focus_body(self) -> None:
        """Put the keys where the tab's content is; not while somebody types into a field."""
        if isinstance(self.focused, Input) and visible(self.focused):
            return
        for widget in self.query(".body"):
            if widget.display:
                target = widget if widget.can_focus else next(iter(widget.query(Rows)), None)
                if target is not None:
                    target.focus()
                return

    def action_tab(self, number: int) -> None:
        """Open a tab by its number, from 1; what is pressed before there are tabs is kept until then."""
        self._wanted = number if not self._shown else 0
        if 0 < number <= len(self._shown):
            self.tab = self._shown[number - 1].name
            self.query_one(Paper).scroll_home(animate=False)
            self._draw()
            self.tab_opened()

    def tab_opened(self) -> None:
        """Called when the reader opened a tab, for screens that read more then."""

    @on(TabBar.Chosen)
    def _clicked(self, event: TabBar.Chosen) -> None:
        self.action_tab(event.number + 1)

    def action_next_tab(self) -> None:
        """Open the next tab, after the last the first."""
        self._step(1)

    def action_previous_tab(self) -> None:
        """Open the tab before."""
        self._step(-1)

    def _step(self, step: int) -> None:
        names = [tab.name for tab in self._shown]
        if names:
            self.action_tab((names.index(self.tab) + step) % len(names) + 1)
