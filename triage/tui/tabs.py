"""Tabs of a screen: each made by a provider, and there only when the provider has something to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from triage.report.lines import Line

View = TypeVar("View")
_SHORTEST = 4  # characters of a title that are left of it


@dataclass(frozen=True)  # no slots: typing notes the parameter on the object
class Tab(Generic[View]):
    """A tab. `lines` gives its text; a tab of widgets has none, and `there` tells whether it is shown."""

    name: str
    title: Callable[[View], str]
    lines: Callable[[View], Iterable[Line]] | None = None
    there: Callable[[View], bool] | None = None

    def exists(self, view: View) -> bool:
        """Whether it has something to show; of its lines only the first is made for that."""
        if self.there is not None or self.lines is None:
            return self.there is None or self.there(view)
        return next(iter(self.lines(view)), None) is not None


class TabBar(Static):
    """The names of the tabs with the digits that open them; a click opens one too."""

    class Chosen(Message):
        """A tab was clicked; `number` counts from 0."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__(id="tabs", markup=False)
        self._ends: list[int] = []
        self._titles: list[str] = []
        self._active = 0

    def show(self, titles: Sequence[str], active: int) -> None:
        """Draw the titles; the active one stands out by reverse, with colours or without."""
        self._titles, self._active = list(titles), active
        self._draw()

    def on_resize(self) -> None:
        """Fit the titles."""
        self._draw()

    def _draw(self) -> None:
        gap, titles = " ", self._titles
        if self._width(titles, gap) > self.size.width > 0:
            gap, titles = "", fitted(titles, self._active, self.size.width - 4 * len(titles))
        text, self._ends = Text(no_wrap=True, overflow="ellipsis"), []
        for number, title in enumerate(titles):
            text.append(f" {number + 1} {title} ", style="reverse bold" if number == self._active else "")
            self._ends.append(text.cell_len)
            text.append(gap)
        self.update(text)

    def _width(self, titles: Sequence[str], gap: str) -> int:
        return sum(len(title) + 4 + len(gap) for title in titles) - len(gap)

    def on_click(self, event: events.Click) -> None:
        """Find the title under the pointer."""
        at = event.x - self.gutter.left
        number = next((number for number, end in enumerate(self._ends) if at < end), None)
        if number is not None:
            self.post_message(self.Chosen(number))


def fitted(titles: Sequence[str], active: int, room: int) -> list[str]:
    """Titles that take no more than `room` characters together: the longest are cut first, the active one never."""
    cut = list(titles)
    while sum(map(len, cut)) > room:
        others = [at for at in range(len(cut)) if at != active and len(cut[at]) > _SHORTEST]
        if not others:
            break
        longest = max(others, key=lambda at: len(cut[at]))
        cut[longest] = cut[longest].rstrip("…")[:-1] + "…" if cut[longest].endswith("…") else cut[longest][:-2] + "…"
    return cut
