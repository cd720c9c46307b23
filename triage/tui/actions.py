"""Every key of the interface, once: the bindings, the footer and the help page are made from this."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

INBOX, CLUSTER, CRASH, TEXT = "clusters", "one cluster", "one crash", "full text"
EVERYWHERE = (INBOX, CLUSTER, CRASH, TEXT)


@dataclass(frozen=True, slots=True)
class Action:
    """A thing to do. `keys` in Textual's words, `shown` in the footer if not empty."""

    name: str
    keys: tuple[str, ...]
    label: str
    help: str
    where: tuple[str, ...]
    in_footer: bool = True

    @property
    def key_text(self) -> str:
        """The keys as a person writes them."""
        return " ".join(_WRITTEN.get(key, key) for key in self.keys)


_WRITTEN = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "down": "↓",
    "up": "↑",
    "enter": "⏎",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
}

ACTIONS = (
    Action("move_down", ("j", "down"), "down", "move down", EVERYWHERE, in_footer=False),
    Action("move_up", ("k", "up"), "up", "move up", EVERYWHERE, in_footer=False),
    Action("open", ("enter", "l"), "open", "open what is under the cursor", (INBOX, CLUSTER)),
    Action("back", ("escape", "h", "q"), "back", "go back", (CLUSTER, CRASH, TEXT)),
    Action("leave", ("q",), "quit", "end the program", (INBOX,)),
    Action("filter", ("slash",), "filter", "show only clusters whose title holds some words", (INBOX,)),
    Action("drop_filter", ("escape",), "all", "drop the filter", (INBOX,), in_footer=False),
    Action("toggle_native", ("a",), "PHP only", "show the PHP frames only, or all frames again", (CRASH,)),
    Action("full_text", ("t",), "details", "registers, modules, options, every thread", (CRASH,)),
    Action("next_crash", ("n",), "next", "the next (older) crash of this cluster", (CRASH,)),
    Action("previous_crash", ("p",), "prev", "the one before it (newer)", (CRASH,)),
    Action("copy", ("y",), "copy id", "copy the id to the terminal's clipboard", (INBOX, CLUSTER, CRASH)),
    Action("reload", ("r",), "reload", "read the store again (it is watched anyway)", EVERYWHERE, in_footer=False),
    Action("help", ("question_mark",), "keys", "this page", EVERYWHERE),
    Action("page_down", ("pagedown", "ctrl+f"), "page down", "one page down", EVERYWHERE, in_footer=False),
    Action("page_up", ("pageup", "ctrl+b"), "page up", "one page up", EVERYWHERE, in_footer=False),
    Action("first", ("home", "g"), "first", "to the beginning", EVERYWHERE, in_footer=False),
    Action("last", ("end", "G"), "last", "to the end", EVERYWHERE, in_footer=False),
)


def actions_of(place: str) -> tuple[Action, ...]:
    """The actions that work in one place, in order."""
    return tuple(action for action in ACTIONS if place in action.where)


def bindings(place: str) -> list[BindingType]:
    """Textual's bindings for one place."""
    return [
        Binding(
            key,
            action.name,
            action.label,
            show=action.in_footer and number == 0,
            key_display=action.key_text.split()[0],
        )
        for action in actions_of(place)
        for number, key in enumerate(action.keys)
    ]
