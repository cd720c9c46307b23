"""A line of text with its look, and the two ways to break long text into lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from triage.text import clean

WIDTH = 76


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its look: `title`, `head`, `php`, `native`, `dim`, `warn` or plain."""

    text: str
    look: str = "plain"


def wrapped(text: str, look: str = "plain") -> Iterator[Line]:
    """Text broken at spaces, indented as the text begins, later lines deeper; made safe to show."""
    line = "  "
    deeper = " " * (4 + len(text) - len(text.lstrip(" ")))
    for word in clean(text).split(" "):
        if len(line) + len(word) > WIDTH and line.strip():
            yield Line(line.rstrip(), look)
            line = deeper
        line += word + " "
    yield Line(line.rstrip(), look)


def listing(label: str, items: Iterable[str]) -> Iterator[Line]:
    """`label` and the items after it, separated by commas; nothing when there are none."""
    line = f"  {label:<11} "
    for item in items:
        piece = clean(item, limit=100) + ", "
        if len(line) + len(piece) > WIDTH and line.strip():
            yield Line(line.rstrip())
            line = " " * 14
        line += piece
    if line.strip() and line.strip() != label:
        yield Line(line.rstrip().rstrip(","))
