"""Text cut to a width, at the end that matters less."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text


def crop(text: Text, width: int, *, keep: str = "start") -> Text:
    """A copy at most `width` cells wide; `keep` is `start`, or `end` as a path and its line want it."""
    if text.cell_len <= width:
        return text.copy()
    if keep == "end":
        cut = max(0, len(text) - max(0, width - 1))
        while cell_len(text.plain[cut:]) > width - 1:  # wide characters take two cells
            cut += 1
        return Text("…", style=text.style) + text[cut:]
    short = text.copy()
    short.truncate(width, overflow="ellipsis")
    return short
