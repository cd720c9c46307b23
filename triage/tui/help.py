"""The page of keys, made from the registry of actions."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from triage.tui import look
from triage.tui.actions import ACTIONS, Action

_WORDS = (
    "A cluster holds the crashes that are the same. In a stack, PHP frames are your code (and PHP's "
    "built-in functions), C frames are the code of PHP, its extensions and the system. The innermost "
    "frame, where the process died, is at the top; each frame was called by the one below it."
)


class HelpPlace(ModalScreen[None]):
    """Keys that work in `place` first, the others below."""

    BINDINGS = [Binding(key, "dismiss", "close") for key in ("escape", "q", "question_mark", "h")]  # noqa: RUF012

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """One box of text."""
        with VerticalScroll(id="help"):
            yield Static(help_text(self._place))


def help_text(place: str) -> Text:
    """All keys, those of `place` first."""
    here = [action for action in ACTIONS if place in action.where]
    elsewhere = [action for action in ACTIONS if place not in action.where]
    text = Text()
    text.append(f"Keys here ({place})\n", style=look.HEAD)
    text.append_text(_lines(here))
    if elsewhere:
        text.append("\nKeys elsewhere\n", style=look.HEAD)
        text.append_text(_lines(elsewhere))
    text.append(f"\n{_WORDS}\n", style=look.DIM)
    return text


def _lines(actions: list[Action]) -> Text:
    text = Text()
    for action in actions:
        text.append(f"  {action.key_text:<9}", style="bold")
        text.append(f"{action.help}\n")
    return text
