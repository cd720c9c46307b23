"""Keys, the filter language and words explained; made from the registries, and searched by typing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from triage.explain.glossary import terms
from triage.query import keys_help
from triage.tui import look
from triage.tui.actions import ACTIONS, actions_of, with_keys

_WORDS = (
    ("cluster", "the crashes that are the same: they died in the same way, called from the same code"),
    ("frame", "one call of a stack. PHP frames are your code and PHP's built-in functions; C frames are the code of "
     "PHP itself, its extensions and the system. The innermost frame, where it died, is at the top"),
    ("proved, likely, guess", "how sure a sentence is: it can be seen in the core; it fits, and others might; a hint "
     "to be tested"),
    ("trust ●●●●", "how a C frame was found: ●●●● by the registers as they were, ●●●· by unwind tables, ●●·· by the "
     "frame pointer, ●··· by search"),
    ("regressed", "a cluster marked fixed crashed where the fix is rolled out"),
    ("pending", "a cluster marked fixed still crashes, where the fix is not rolled out yet"),
    ("awake", "a cluster was ignored until something that has happened"),
)  # fmt: skip

Entry = tuple[str, str, str]  # section, what to look up, what it means


class HelpPlace(ModalScreen[None]):
    """What works in `place` first. Typing searches; esc closes."""

    def __init__(self, place: str, keymap: Mapping[str, str]) -> None:
        super().__init__()
        self._place, self._keymap = place, keymap

    def compose(self) -> ComposeResult:
        """A field to search by, and the text."""
        with Vertical(id="help"):
            yield Input(placeholder="type to search keys, filters and words; esc closes", id="search")
            with VerticalScroll(can_focus=False):
                yield Static(help_text(self._place, self._keymap), id="entries", markup=False)

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#entries", Static).update(help_text(self._place, self._keymap, event.value))

    def on_key(self, event: events.Key) -> None:
        """Leave, or scroll: the field keeps the other keys."""
        text = self.query_one(VerticalScroll)
        nothing_typed = not self.query_one(Input).value
        if event.key == "escape" or (event.key in ("q", "question_mark") and nothing_typed):
            event.stop()
            event.prevent_default()
            self.dismiss()
        by = {"down": 1, "up": -1, "pagedown": text.size.height, "pageup": -text.size.height}.get(event.key)
        if by is not None:
            event.stop()
            event.prevent_default()
            text.scroll_relative(y=by, animate=False)


def entries(place: str, keymap: Mapping[str, str]) -> Iterator[Entry]:
    """Everything that can be looked up, in order."""
    here = actions_of(place)
    for action in (*here, *(one for one in ACTIONS if one not in here)):
        section = f"Keys here ({place})" if action in here else "Keys elsewhere"
        yield section, with_keys(action, keymap).key_text, f"{action.label}: {action.help}"
    for what, example, meaning in keys_help():
        yield "Filter (/): all must hold; ! negates, a,b is either, * is anything", what, f"{meaning}: {example}"
    for what, meaning in _WORDS:
        yield "Words", what, meaning
    for term in terms():
        yield "Words", term.name, term.meaning


def help_text(place: str, keymap: Mapping[str, str], words: str = "") -> Text:
    """The entries that hold all the words, under their sections."""
    wanted = words.lower().split()
    text, section = Text(), ""
    for head, what, meaning in entries(place, keymap):
        if not all(word in f"{what} {meaning}".lower() for word in wanted):
            continue
        if head != section:
            text.append(("\n" if section else "") + head + "\n", style=look.HEAD)
            section = head
        text.append(f"  {what:<15} ", style="bold")
        text.append(f"{meaning}\n")
    if not section:
        text.append("nothing has these words", style=look.DIM)
    text.rstrip()
    return text
