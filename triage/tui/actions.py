"""Every key of the interface, once: bindings, footer, palette, help and docs/keys.md are made from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

INBOX, CLUSTER, LOOSE, CRASH, TEXT, COMPARE, INGEST = (
    "clusters", "one cluster", "crashes without a cluster", "one crash", "a page of text", "two crashes",
    "reading cores",
)  # fmt: skip
EVERYWHERE = (INBOX, CLUSTER, LOOSE, CRASH, TEXT, COMPARE, INGEST)
_LISTS = (INBOX, CLUSTER, LOOSE)
_ONE = (CLUSTER, CRASH)
_DECIDE = (INBOX, CLUSTER, CRASH)


@dataclass(frozen=True, slots=True)
class Action:
    """A thing to do. `keys` in Textual's words; `label` stands in the footer where `in_footer` says so.

    `group` is the heading it has in the palette.
    """

    name: str
    keys: tuple[str, ...]
    label: str
    help: str
    where: tuple[str, ...]
    group: str = "go"
    in_footer: bool = False

    @property
    def key_text(self) -> str:
        """The keys as a person writes them."""
        return " ".join(written(key) for key in self.keys)


_WRITTEN = {
    "question_mark": "?", "slash": "/", "escape": "esc", "down": "↓", "up": "↑", "enter": "⏎", "space": "space",
    "pagedown": "PgDn", "pageup": "PgUp", "home": "Home", "end": "End", "colon": ":", "full_stop": ".",
    "left_square_bracket": "[", "right_square_bracket": "]", "right": "→", "left": "←",
}  # fmt: skip


def written(key: str) -> str:
    """One key as a person writes it: `ctrl+p` as `^p`."""
    return _WRITTEN.get(key) or (f"^{key[5:]}" if key.startswith("ctrl+") else key)


ACTIONS = (
    Action("open", ("enter", "l", "right"), "open", "open what is under the cursor", _LISTS, in_footer=True),
    Action("back", ("escape", "h", "q", "left"), "back", "go back", (CLUSTER, LOOSE, CRASH, TEXT, COMPARE, INGEST),
           in_footer=True),
    Action("leave", ("q",), "quit", "end the program", (INBOX,)),
    Action("filter", ("slash",), "filter", "select clusters: is:open ext:redis last:7d (↑ brings back earlier ones)",
           (INBOX,), "view", in_footer=True),
    Action("drop_filter", ("escape",), "all", "drop the filter", (INBOX,), "view"),
    Action("merge_new", ("full_stop",), "new", "show what was triaged since the list was drawn", (INBOX,), "view"),
    Action("state", ("s",), "state", "decide: open, known, fixed or ignored", _DECIDE, "mark", in_footer=True),
    Action("note", ("n",), "note", "write a note", _DECIDE, "mark", in_footer=True),
    Action("undo", ("u",), "undo", "take the newest decision or note back", _DECIDE, "mark"),
    Action("mark", ("space",), "mark", "mark for a comparison", _LISTS, "mark"),
    Action("compare", ("d",), "compare", "compare two that are marked, or the marked one with this", _LISTS, "view"),
    *(Action(f"tab({number})", (str(number),), f"tab {number}", f"the {nth} tab", _ONE, "view")
      for number, nth in enumerate(("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth",
                                    "ninth"), 1)),
    Action("next_tab", ("tab",), "next tab", "the next tab", _ONE, "view"),
    Action("previous_tab", ("shift+tab",), "previous tab", "the tab before", _ONE, "view"),
    Action("next_one", ("right_square_bracket",), "next", "the next cluster, or the next (older) crash", _ONE),
    Action("previous_one", ("left_square_bracket",), "prev", "the one before", _ONE),
    Action("why", ("w",), "why", "with or without what each sentence rests on", (CLUSTER, CRASH), "view",
           in_footer=True),
    Action("toggle_native", ("t",), "PHP only", "show the PHP frames only, or all frames again", _ONE, "view",
           in_footer=True),
    Action("unfold", ("f",), "unfold", "show each frame of a recursion, or fold them again", (CRASH,), "view"),
    Action("source", ("o",), "source", "PHP source or machine code at the frame, or its facts", (CRASH,), "view"),
    Action("debug", ("g",), "gdb", "GDB on this core, in this terminal; quit comes back", _ONE, "debug",
           in_footer=True),
    Action("console", ("c",), "console", "ask GDB and php-* commands beside the stack", (CRASH,), "debug",
           in_footer=True),
    Action("edit", ("e",), "edit", "open the PHP file at the line, in $EDITOR", (CRASH,), "debug"),
    Action("again", ("R",), "read again", "read the core again, with the symbols and rules there are now", _ONE,
           "debug"),
    Action("values", ("m",), "values", "arguments' values, read from the core now; secrets stay hidden", (CRASH,),
           "view"),
    Action("bug", ("b",), "bug", "a report for PHP's bug tracker: read it, copy it, keep it", _ONE, "export"),
    Action("save", ("w",), "save", "write the text into a file", (TEXT,), "export", in_footer=True),
    Action("export", ("E",), "export", "write this view into a file: Markdown, HTML or JSON",
           (INBOX, CLUSTER, LOOSE, CRASH, TEXT, COMPARE), "export"),
    Action("copy", ("y",), "copy", "copy id, signature, backtrace, explanation or the command for GDB",
           (INBOX, CLUSTER, LOOSE, CRASH), "copy"),
    Action("copy_all", ("y",), "copy", "copy the whole text", (TEXT, COMPARE), "copy", in_footer=True),
    Action("swap", ("x",), "swap", "put the other one to the left", (COMPARE,), "view", in_footer=True),
    Action("equal_rows", ("e",), "equal", "show what is the same as well", (COMPARE,), "view", in_footer=True),
    Action("move_out", ("m",), "move", "put the right one into a cluster of its own", (COMPARE,), "mark"),
    Action("zoom", ("z",), "zoom", "the list alone, what is below it alone, both again",
           (INBOX, CLUSTER, LOOSE, CRASH, TEXT, COMPARE), "view"),
    Action("pin", ("p",), "pin", "keep what is shown of this row while the cursor moves on", (INBOX, CLUSTER, CRASH),
           "view"),
    Action("ingest", ("i",), "read cores", "triage the cores in a folder, watch, pause", (INBOX,), "go",
           in_footer=True),
    Action("pause", ("space",), "pause", "pause after this core, or go on", (INGEST,), "go", in_footer=True),
    Action("stop", ("x",), "stop", "stop after this core", (INGEST,), "go", in_footer=True),
    Action("doctor", ("D",), "doctor", "can this machine make usable cores?", (INBOX,), "go"),
    Action("palette", ("colon", "ctrl+p"), "palette", "find anything by its name", EVERYWHERE, "help"),
    Action("help", ("question_mark",), "keys", "keys, filters and words explained; type to search", EVERYWHERE,
           "help", in_footer=True),
    Action("reload", ("r",), "reload", "read the store again (it is watched anyway)", EVERYWHERE, "view"),
    Action("move_down", ("j", "down"), "down", "move down", EVERYWHERE),
    Action("move_up", ("k", "up"), "up", "move up", EVERYWHERE),
    Action("page_down", ("pagedown", "ctrl+f"), "page down", "one page down", EVERYWHERE),
    Action("page_up", ("pageup", "ctrl+b"), "page up", "one page up", EVERYWHERE),
    Action("first", ("home",), "first", "to the beginning", EVERYWHERE),
    Action("last", ("end", "G"), "last", "to the end", EVERYWHERE),
)  # fmt: skip

_MOVES = frozenset(("move_down", "move_up", "page_down", "page_up", "first", "last"))


def actions_of(place: str) -> tuple[Action, ...]:
    """The actions that work in one place, in order."""
    return tuple(action for action in ACTIONS if place in action.where)


def is_move(action: Action) -> bool:
    """Whether it only moves the cursor: nobody looks for that in a palette."""
    return action.name in _MOVES or action.name.startswith("tab(")


def bindings(place: str) -> list[BindingType]:
    """Textual's bindings for one place. Each has the id `place.action`, by which a keymap changes its keys."""
    return [
        Binding(
            ",".join(action.keys),
            action.name,
            action.label,
            show=action.in_footer,
            key_display=written(action.keys[0]),
            id=action.name,
        )
        for action in actions_of(place)
    ]


def with_keys(action: Action, keymap: Mapping[str, str]) -> Action:
    """The action with the keys that the user's settings give it."""
    chosen = keymap.get(action.name)
    return replace(action, keys=tuple(key.strip() for key in chosen.split(","))) if chosen else action
