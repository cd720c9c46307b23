"""The terminal application: which screen is open, and whether the store has changed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events, work
from textual.filter import Monochrome, NoColor
from textual.theme import Theme

from triage.config import Settings
from triage.errors import TriageError
from triage.model import Crash, Frame
from triage.text import clean
from triage.tui import ahead
from triage.tui.copying import clip_file, keep
from triage.tui.doors import Doors
from triage.tui.glyphs import AsciiOnly, WithoutColour
from triage.tui.inbox import InboxPlace
from triage.tui.place import Place
from triage.tui.reader import Reader
from triage.tui.settings import Ui

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from textual.command import Provider

    from triage.tui.code import Code
    from triage.tui.found import Found
    from triage.tui.reading import Reading

_WATCH_SECONDS = 1.0
_IDLE = 3.0  # seconds without a key
_SWITCH = 0.001  # seconds a thread that reads may hold up a key; Python's own 5 ms are felt
_DARK = Theme(
    name="triage", primary="#56b4e9", secondary="#0072b2", accent="#e69f00", warning="#e69f00", error="#d55e00",
    success="#009e73", background="#16181d", surface="#1e2128", panel="#262a33", foreground="#d8dee9", dark=True,
)  # fmt: skip
_LIGHT = Theme(
    name="triage-light", primary="#0072b2", secondary="#56b4e9", accent="#a86f00", warning="#a86f00",
    error="#b54a00", success="#00785a", background="#fbfbf8", surface="#f0f0ec", panel="#e4e4de",
    foreground="#20242c", dark=False,
)  # fmt: skip
_THEMES = {"auto": "triage", "dark": "triage", "light": "triage-light", "ansi": "ansi-dark"}


def _commands() -> type[Provider]:
    from triage.tui.palette import Commands

    return Commands


class TriageApp(Doors):
    """Looks at one store; `label` is what the store is called on screen, `store` its URL for other processes."""

    CSS_PATH = "triage.tcss"
    COMMANDS = {_commands}  # noqa: RUF012 - Textual's own declaration
    COMMAND_PALETTE_BINDING = "ctrl+p"
    TITLE = "triage"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        reader: Reader,
        *,
        label: str,
        ui: Ui | None = None,
        settings: Settings | None = None,
        store: str = "",
        colour: bool = True,
        early: Future[Found] | None = None,
    ) -> None:
        super().__init__()
        self.reader = reader
        self._early = early
        self.label = label
        self.ui = ui or Ui()
        self.settings = settings or Settings()
        self.reading: Reading | None = None
        self.marked: list[str] = []
        self.in_browser = bool(os.environ.get("TRIAGE_SERVED"))
        self.store_url = store
        self._ahead = False
        self._touched = self._tidied = 0.0
        self._code: Code | None = None
        self.revision: object = None
        self._complaint: str | None = None
        self._behind = False
        self._use_filters(colour=colour)
        # Before the style sheets are read: a change of theme reads all of them anew.
        for theme in (_DARK, _LIGHT):
            self.register_theme(theme)
        self.theme = _THEMES[self.ui.theme]

    def _use_filters(self, *, colour: bool) -> None:
        # Textual takes an empty NO_COLOR for set, and draws in grey then; no-color.org says otherwise.
        wanted = colour and not os.environ.get("NO_COLOR")
        self.no_color = not wanted
        self._filters = [one for one in self._filters if not isinstance(one, Monochrome | NoColor)]
        if not wanted:
            self._filters.append(WithoutColour())
        if self.ui.ascii:
            self._filters.append(AsciiOnly())

    def on_mount(self) -> None:
        """Open the inbox and begin to watch."""
        self.set_keymap(dict(self.ui.keys))
        if self.no_color:
            self.add_class("plain")
        if not self.is_headless:
            # As an exception a signal may end in a callback, and leave the terminal as it is.
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        self.push_screen(InboxPlace())
        self.set_interval(_WATCH_SECONDS, self.watch_store)
        if not self.is_headless:
            self.set_interval(_WATCH_SECONDS, self.tidy)

    async def on_event(self, event: events.Event) -> None:
        """Note when a key or the mouse was used last."""
        if isinstance(event, events.InputEvent):
            self._touched = time.monotonic()
        await super().on_event(event)

    def tidy(self) -> None:
        """Collect garbage once nobody has pressed a key for a while, and only if somebody did since the last time."""
        if self._tidied < self._touched < time.monotonic() - _IDLE:
            gc.collect()
            self._tidied = time.monotonic()

    def on_unmount(self) -> None:
        """A batch does not go on without anybody to see its end: what it stored stays."""
        if self.reading is not None:
            self.reading.close()

    @work(thread=True, exclusive=True, group="watch")
    def watch_store(self) -> None:
        """Ask whether anything was added, off the interface's thread."""
        try:
            revision = self.reader.revision()
        except TriageError as error:
            self.call_later(self.complain, error)  # never waits, so the program can end meanwhile
            return
        self.call_later(self._seen, revision)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """A notice of a few seconds."""
        self.notify(clean(text), severity="error" if wrong else "information", markup=False, timeout=4)

    def complain(self, error: TriageError) -> None:
        """Say what is wrong with the store, once and not every second; the screen stays as it is."""
        self._behind = True
        if self._complaint != error.message:
            self._complaint = error.message
            text = error.message + (f" {error.help}" if error.help else "")
            self.notify(clean(text), severity="error", markup=False, timeout=10)

    def readable(self) -> None:
        """The store answered: the next error is news again."""
        self._complaint = None

    def _seen(self, revision: object) -> None:
        # Also the first time: what was saved since the first screen was read would be missed.
        changed = self._behind or revision != self.revision
        self.revision = revision
        if changed and not isinstance(self.screen, Place):
            self._behind = True  # something lies over the screen; it is read when the next change is looked for
        elif changed and isinstance(self.screen, Place):
            self._behind = False  # what could not be read before is read now
            self.screen.load()

    def show_help(self, place: str) -> None:
        """Keys, filters and words, over the screen."""
        from triage.tui.help import HelpPlace

        self.push_screen(HelpPlace(place, self.ui.keys))

    def explain_word(self, word: str) -> None:
        """One word of the glossary."""
        from triage.explain.glossary import terms

        meaning = next((term.meaning for term in terms() if term.name == word), "")
        self.notify(Text(f"{word}: {meaning}").plain, markup=False, timeout=15)

    def show_query(self, query: str) -> None:
        """A saved view: the inbox with that filter."""
        while not isinstance(self.screen, InboxPlace) and len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, InboxPlace):
            self.screen.set_query(query)

    def is_marked(self, name: str) -> bool:
        """Whether a cluster or crash is marked for a comparison."""
        return name in self.marked

    def toggle_mark(self, name: str) -> None:
        """Mark it, or unmark it; of more than two the oldest mark goes."""
        if name in self.marked:
            self.marked.remove(name)
        else:
            self.marked = [*self.marked, name][-2:]

    def source_of(self, crash: Crash, frame: Frame) -> Text:
        """The code at a frame, or why there is none."""
        if self._code is None:
            from triage.tui.code import Code  # loads what reads ELF files, which the first screen need not wait for

            self._code = Code(self.settings, self.ui)
        return self._code.of(crash, frame)

    def copy_text(self, text: str, why: str = "") -> None:
        """To the terminal's clipboard and into a file; `why` is said first."""
        self.copy_to_clipboard(text)
        first = clean(text.splitlines()[0] if text else "", limit=60)
        where = f"sent to the terminal's clipboard: {first}"
        try:
            where += f"\nand written to {keep(text, clip_file())}"
        except OSError as error:
            where += f"\n({clip_file()} cannot be written: {error.strerror})"
        self.notify(clean(f"{why}\n{where}" if why else where, keep_newlines=True), markup=False, timeout=4)

    def take_early(self) -> Future[Found] | None:
        """The first reading of the list, if it was begun before; it is good once."""
        early, self._early = self._early, None
        return early

    def ingest_line(self) -> str:
        """How far the reading of cores is, if it goes on."""
        return self.reading.line if self.reading is not None and self.reading.running else ""

    def open_ingest(self) -> None:
        """The screen of the batch that runs, or a question for what to read."""
        if self.reading is not None and self.reading.running:
            self.open_progress()
        elif self.may_read_cores():
            self.ask_for_folder(lambda path: self.read_cores([str(path)]), lambda wrong: self.say(wrong, wrong=True))

    def may_read_cores(self) -> bool:
        """Whether cores may be read from here now; says why not."""
        if self.in_browser or not self.store_url:
            self.say("cores can be read from a terminal only: triage batch FOLDER")
            return False
        if self.reading is not None and self.reading.running:
            self.say("cores are being read already: i shows how far that is")
            return False
        return True

    def read_cores(self, paths: Sequence[str], *, again: bool = False) -> None:
        """Begin to read, and show how far it is; `again` also reads what was read before."""
        from triage.tui.reading import Reading

        self.reading = Reading(paths, self.store_url, self.settings, again=again)
        self.open_progress()

    def open_doctor(self) -> None:
        """What `triage doctor` says, made in a process of its own."""
        from triage.tui.doctor import doctor_lines

        self.open_page("doctor", lambda: doctor_lines(self.settings), "doctor.txt")

    def begun(self) -> None:
        """The first list is on screen: what other screens need is loaded now, while nobody waits."""
        if not self._ahead:
            self._ahead = True
            self.run_worker(self._load_ahead, thread=True, group="ahead")

    def _load_ahead(self) -> None:
        ahead.load()
        if not self.is_headless:
            ahead.collect_less()


def run(
    reader: Reader, *, label: str, ui: Ui, settings: Settings, store: str, colour: bool, early: Future[Found]
) -> None:
    """Run the interface until the user leaves it. `early` is the first reading of the list (`found.begin`)."""
    sys.setswitchinterval(_SWITCH)
    app = TriageApp(reader, label=label, ui=ui, settings=settings, store=store, colour=colour, early=early)
    app.run()
    status = app.return_code
    del app
    gc.unfreeze()
    gc.collect()  # the reader of ELF files complains on stderr of what is left to the interpreter's end
    if status:
        raise SystemExit(status)
