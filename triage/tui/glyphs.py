"""What is done to every character and colour on its way to the screen, for terminals that can do less."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_ASCII = {
    "●": "*", "▲": "^", "◆": "!", "✓": "+", "▸": ">", "◂": "<", "→": ">", "←": "<", "↑": "^", "↓": "v", "⏎": "~",
    "…": "~", "·": ".", "—": "-", "≠": "!", "├": "+", "│": "|", "┄": "-", "─": "-", "━": "=", "┆": "|",
    "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┌": "+", "┐": "+", "└": "+", "┘": "+", "▔": "-",
    "▎": "|", "▊": "|", "▌": "|", "▐": "|", "▕": "|", "█": "#",
}  # fmt: skip
_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " ..::||##"


class AsciiOnly(LineFilter):
    """Draws with ASCII alone; each cell keeps its place."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line in ASCII."""
        return [Segment(ascii_text(text), style, control) for text, style, control in segments]


def ascii_text(text: str) -> str:
    """`text` in ASCII, as many cells wide."""
    return text if text.isascii() else "".join(_ascii_char(char) for char in text)


def _ascii_char(char: str) -> str:
    if char.isascii():
        return char
    if char in _BARS:
        return _ASCII_BARS[_BARS.index(char)]
    return _ASCII.get(char) or "?" * cell_len(char)


class WithoutColour(LineFilter):
    """No colour at all: NO_COLOR. What colour tells is told by a word, bold or reverse beside it."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line without colours."""
        return [Segment(text, _plain(style), control) for text, style, control in segments]


def _plain(style: Style | None) -> Style | None:
    return style and Style(
        bold=style.bold, dim=None, italic=style.italic, underline=style.underline, reverse=style.reverse
    )


def sparkline(counts: Sequence[int]) -> str:
    """Bars for counts, one cell each; the highest is full, none is an empty place at the bottom."""
    most = max(counts, default=0)
    return "".join(_bar(count, most) for count in counts)


def _bar(count: int, most: int) -> str:
    if not count:
        return "▁" if most else " "
    return _BARS[max(2, round(8 * count / most))]
