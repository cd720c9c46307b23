"""A list with a cursor that stays on its row when the data under it changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.widgets import DataTable

_PADDING = 2
_SCROLLBAR = 2
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column; the one without a width takes what is left."""

    label: str
    width: int | None = None


class Rows(DataTable[Text]):
    """Rows of text under named columns. Each row has a key; cells are never read as markup."""

    def __init__(self, columns: Sequence[Column], *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)
        self._wanted = tuple(columns)
        self._lines: list[tuple[str, tuple[Text, ...]]] = []

    @property
    def current(self) -> str | None:
        """The key of the row under the cursor."""
        at = self.cursor_row
        return self._lines[at][0] if 0 <= at < len(self._lines) else None

    @property
    def keys(self) -> list[str]:
        """All keys in order."""
        return [key for key, _ in self._lines]

    def fill(self, data: Iterable[tuple[str, tuple[Text, ...]]]) -> None:
        """Show these rows; the cursor and what is on screen stay where they are, as far as they can."""
        chosen, top = self.current, self.scroll_y
        before = self.cursor_row
        self._lines = list(data)
        self.clear(columns=True)
        rest = self.size.width - sum(column.width or 0 for column in self._wanted)
        rest -= _PADDING * len(self._wanted) + _SCROLLBAR
        for column in self._wanted:
            self.add_column(Text(column.label), width=column.width or max(_NARROWEST, rest))
        for key, cells in self._lines:
            self.add_row(*cells, key=key)
        if not self._lines:
            return
        keys = self.keys
        at = keys.index(chosen) if chosen in keys else min(max(before, 0), len(keys) - 1)
        self.move_cursor(row=at, scroll=False)
        self.call_after_refresh(self._restore, top)

    def _restore(self, top: float) -> None:
        self.scroll_to(y=top, animate=False, force=True)
        self.call_after_refresh(self._scroll_cursor_into_view)

    def on_resize(self) -> None:
        """Give the free column its share of the new width."""
        self.fill(self._lines)
