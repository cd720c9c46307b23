"""Small questions over a screen: one line of text, or one of a few choices."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from triage.text import clean
from triage.tui import look


class Ask(ModalScreen[str | None]):
    """Asks for a line of text; the answer is the line, or None when the reader leaves with esc."""

    BINDINGS = [Binding("escape", "leave", "leave")]  # noqa: RUF012 - Textual's own declaration

    def __init__(self, question: str, hint: str, value: str = "") -> None:
        super().__init__()
        self._question, self._hint, self._value = question, hint, value

    def compose(self) -> ComposeResult:
        """Question, field, hint."""
        with Vertical(id="ask"):
            yield Static(Text(clean(self._question), style="bold"))
            yield Input(value=self._value, id="answer")
            yield Static(Text(f"{self._hint}   ⏎ ok   esc leave", style=look.DIM))

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)


Choice = tuple[str, str, str]
"""The key to press, a word, and what it does."""


class Choose(ModalScreen[str | None]):
    """Lets the reader press one of a few keys; the answer is the key, or None."""

    def __init__(self, question: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._question, self._choices = question, choices

    def compose(self) -> ComposeResult:
        """The choices, a line each."""
        text = Text(clean(self._question) + "\n", style="bold")
        for key, word, meaning in self._choices:
            text.append(f" {key} ", style="reverse")
            text.append(f" {word:<11}", style="bold")
            text.append(f"{clean(meaning)}\n", style="not bold")
        text.append("esc leave", style=f"not bold {look.DIM}")
        with Vertical(id="ask"):
            yield Static(text)

    def on_key(self, event: object) -> None:
        """Take a choice, or leave; every other key is for nobody."""
        key = getattr(event, "key", "")
        getattr(event, "stop", lambda: None)()
        if key in {choice[0] for choice in self._choices}:
            self.dismiss(key)
        elif key in ("escape", "q"):
            self.dismiss(None)
