"""A list with a cursor, which draws only the rows on screen: a hundred thousand cost as little as ten.

Textual's own DataTable lays out every row, which takes seconds from some ten thousand on, and
loses the cursor's row when the rows are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from triage.tui.fit import crop

_GAP = 2
_MARK = "▸ "
Cells = tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column `width` cells wide, plus its `share` of what is left over.

    `since` is the least width of the list at which it is shown at all, `until` the first at which it is not;
    `keep` says which end of a value stays when it is too long; `right` sets it to the right.
    """

    label: str
    width: int
    share: int = 0
    since: int = 0
    until: int = 1 << 20
    keep: str = "start"
    right: bool = False


class Rows(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of text under named columns. Each row has a key, and the cursor stays on its key.

    It has no keys of its own: those come from the registry of actions, by way of the screen.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--head", "rows--cursor"}
    cursor: reactive[int] = reactive(0, repaint=True)

    class Moved(Message):
        """The cursor is on another row, or its row may have changed."""

    class Opened(Message):
        """The row under the cursor was clicked."""

    class Headed(Message):
        """The head of a column was clicked; `label` is what stands there."""

        def __init__(self, label: str) -> None:
            super().__init__()
            self.label = label

    class Viewed(Message):
        """Other rows than before are on screen."""

    def __init__(self, columns: Sequence[Column], *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._keys: Sequence[str] = ()
        self._cells: Callable[[str], Cells | None] = lambda key: None

    @property
    def current(self) -> str | None:
        """The key of the row under the cursor."""
        return self._keys[self.cursor] if 0 <= self.cursor < len(self._keys) else None

    @property
    def keys(self) -> Sequence[str]:
        """All keys in order."""
        return self._keys

    @property
    def row_count(self) -> int:
        """How many rows there are, on screen or not."""
        return len(self._keys)

    @property
    def page(self) -> int:
        """How many rows fit, at least one."""
        return max(1, self.size.height - 1)

    @property
    def visible_rows(self) -> range:
        """The rows on screen, as places in the list."""
        top = self.scroll_offset.y
        return range(top, min(len(self._keys), top + self.page))

    def fill(self, keys: Sequence[str], cells: Callable[[str], Cells | None]) -> None:
        """Show these rows; `cells` is asked for each as it is drawn, and says None if it is not known yet.

        The cursor stays on its key. So does the view, unless it is at the top, where what
        is new should be seen.
        """
        before, chosen = self.cursor, self.current
        self._keys, self._cells = keys, cells
        self.virtual_size = Size(self.size.width, len(keys) + 1)
        at = _place(keys, chosen, before)
        top = self.scroll_offset.y + (at - before if self.scroll_offset.y else 0)
        self.set_reactive(Rows.cursor, at)
        self._scroll_top(top)
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())
        self.post_message(self.Viewed())

    def move(self, to: int) -> None:
        """Put the cursor on a row, the first or last if `to` is beyond."""
        self.cursor = min(max(0, to), max(0, len(self._keys) - 1))

    def move_by(self, rows: int) -> None:
        """Move the cursor up (negative) or down."""
        self.move(self.cursor + rows)

    def move_to_end(self) -> None:
        """Put the cursor on the last row."""
        self.move(len(self._keys) - 1)

    def watch_cursor(self) -> None:
        """Keep the cursor on screen and tell the others."""
        self._reveal()
        self.post_message(self.Moved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell that other rows are to be seen."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Viewed())

    def on_resize(self) -> None:
        """Fit the new size."""
        self.virtual_size = Size(self.size.width, len(self._keys) + 1)
        self._reveal()
        self.refresh()
        self.post_message(self.Viewed())

    def on_click(self, event: events.Click) -> None:
        """The first click on a row moves the cursor there, the next opens it."""
        at = event.y - 1 + self.scroll_offset.y
        if event.y == 0:
            label = self._head_at(event.x)
            if label is not None:
                self.post_message(self.Headed(label))
        if event.y < 1 or not 0 <= at < len(self._keys):
            return
        if at == self.cursor:
            self.post_message(self.Opened())
        self.move(at)

    def _reveal(self) -> None:
        """Scroll just as far as the cursor needs."""
        top = self.scroll_offset.y
        if self.cursor < top:
            self._scroll_top(self.cursor)
        elif self.cursor >= top + self.page:
            self._scroll_top(self.cursor - self.page + 1)

    def _scroll_top(self, row: int) -> None:
        self.scroll_to(y=max(0, row), animate=False, immediate=True, force=True)

    def render_line(self, y: int) -> Strip:
        """The heads of the columns, then the rows the scroll position asks for."""
        if y == 0:
            heads = tuple(Text(column.label) for column in self._columns)
            return self._strip("  ", heads, self.get_component_rich_style("rows--head"))
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._keys):
            return Strip.blank(self.size.width, self.rich_style)
        cells = self._cells(self._keys[at]) or (Text("…"),)
        if at == self.cursor:
            return self._strip(_MARK, cells, self.get_component_rich_style("rows--cursor"))
        return self._strip("  ", cells, self.rich_style)

    def _strip(self, mark: str, cells: Cells, style: Style) -> Strip:
        # One text of all cells: on its own, a text without spans would be rendered without its style.
        line = Text(mark)
        for cell, column, width in zip(cells, self._columns, self._widths(), strict=False):
            if width:
                line.append_text(_fitted(cell, column, width)).append(" " * _GAP)
        strip = Strip(Segment.apply_style(line.render(self.app.console), style))
        return strip.adjust_cell_length(self.size.width, style)

    def _head_at(self, x: int) -> str | None:
        end = len(_MARK)
        for column, width in zip(self._columns, self._widths(), strict=True):
            end += width + _GAP if width else 0
            if width and x < end:
                return column.label
        return None

    def _widths(self) -> list[int]:
        """How wide each column is now; 0 for one that is left out."""
        room = self.scrollable_content_region.width  # without the bar for scrolling
        shown = [column for column in self._columns if column.since <= room < column.until]
        fixed = sum(column.width + _GAP for column in shown) - _GAP + len(_MARK)
        shares = sum(column.share for column in shown) or 1
        left = max(0, room - fixed)
        return [column.width + left * column.share // shares if column in shown else 0 for column in self._columns]


def _place(keys: Sequence[str], chosen: str | None, before: int) -> int:
    """Where the cursor goes in new rows: to its key, else as near as can be to where it was."""
    if before < len(keys) and keys[before] == chosen:
        return before  # spares a search through all of them in the common case
    try:
        return keys.index(chosen) if chosen is not None else 0
    except ValueError:
        return min(before, max(0, len(keys) - 1))


def _fitted(cell: Text, column: Column, width: int) -> Text:
    text = crop(cell, width, keep=column.keep)
    lack = width - text.cell_len
    if column.right:
        text.pad_left(lack)
    else:
        text.pad_right(lack)
    return text


def listed(items: Iterable[tuple[str, Cells]]) -> tuple[list[str], Callable[[str], Cells | None]]:
    """What `fill` takes, from a short list of rows made beforehand."""
    rows = dict(items)
    return list(rows), rows.get
