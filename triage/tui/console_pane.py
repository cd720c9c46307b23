"""A pane that asks GDB and our php-* commands about the crash on screen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from triage.config import Settings
from triage.errors import TriageError
from triage.model import Crash
from triage.text import clean
from triage.tui import look

if TYPE_CHECKING:
    from triage.debug.console import DebugConsole

_MOST_LINES = 5000
_LEAVING = 3.0  # seconds
_PLACEHOLDER = "php-why, php-bt, bt, info registers, x/5i $pc … (esc closes, ^c interrupts)"
_HELLO = "ours: {}; php-why leads through the crash. Everything else goes to GDB."


class ConsolePane(Vertical):
    """Hidden until it is opened. Everything is answered in a thread of its own: GDB may take its time."""

    class Answered(Message):
        """Lines have come, or the console was opened or could not be."""

        def __init__(self, lines: list[str], look: str = "") -> None:
            super().__init__()
            self.lines, self.look = lines, look

    def __init__(self) -> None:
        super().__init__(id="console")
        self._lines: list[Text] = []
        self._typed: list[str] = []
        self._back = 0
        self._talk: Talk | None = None

    def compose(self) -> ComposeResult:
        """What was said, and a line to type."""
        with VerticalScroll(id="said", can_focus=False):
            yield Static(id="lines", markup=False)
        yield Input(placeholder=_PLACEHOLDER, id="ask-gdb")

    def toggle(self, crash: Crash) -> None:
        """Open it on a crash, or close it."""
        if self.display:
            self.close()
        else:
            self._open(crash)

    def _open(self, crash: Crash) -> None:
        triage = self.screen.triage  # type: ignore[attr-defined]
        if triage.in_browser:
            triage.say("no console in a browser: GDB runs commands, and whoever reaches the page would reach them")
            return
        self.display = True
        self.screen.add_class("talking")
        self.query_one(Input).focus()
        self._lines.clear()
        self._say([f"opening {crash.core} …"], look.DIM)
        self._talk = Talk(Path(crash.core), triage.settings, self)
        self._talk.start()

    def close(self) -> None:
        """Stop GDB and hide."""
        self.display = False
        self.screen.remove_class("talking")
        if self._talk is not None:
            self._talk.end()
            self._talk = None
        focus = getattr(self.screen, "focus_body", None)
        if focus is not None:
            focus()

    def on_unmount(self) -> None:
        """GDB does not outlive the screen."""
        if self._talk is not None:
            self._talk.end()
            self._talk.wait(_LEAVING)

    @on(Input.Submitted)
    def _typed_line(self, event: Input.Submitted) -> None:
        event.stop()
        line = event.value.strip()
        event.input.value = ""
        if line in ("quit", "q", "exit"):
            self.close()
        elif line and self._talk is not None:
            self._typed.append(line)
            self._back = 0
            self._say([f"> {line}"], "bold")
            self._talk.ask(line)

    def on_key(self, event: events.Key) -> None:
        """Earlier lines with ↑ and ↓, esc to close, Ctrl-C for GDB, PgUp and PgDn to scroll."""
        said = self.query_one("#said", VerticalScroll)
        actions: dict[str, Callable[[], object]] = {
            "escape": self.close,
            "ctrl+c": lambda: self._talk.interrupt() if self._talk else None,
            "up": lambda: self._recall(1),
            "down": lambda: self._recall(-1),
            "pageup": lambda: said.scroll_page_up(animate=False),
            "pagedown": lambda: said.scroll_page_down(animate=False),
        }
        act = actions.get(event.key)
        if act is not None:
            event.stop()
            event.prevent_default()
            act()

    def _recall(self, step: int) -> None:
        self._back = min(max(0, self._back + step), len(self._typed))
        field = self.query_one(Input)
        field.value = self._typed[-self._back] if self._back else ""
        field.cursor_position = len(field.value)  # it stands at the beginning else

    @on(Answered)
    def _answered(self, event: Answered) -> None:
        event.stop()
        self._say(event.lines, event.look)

    def _say(self, lines: list[str], style: str = "") -> None:
        self._lines += [Text(clean(line), style=style) for line in lines]
        del self._lines[:-_MOST_LINES]
        self.query_one("#lines", Static).update(Text("\n").join(self._lines))
        self.query_one("#said", VerticalScroll).scroll_end(animate=False)


class Talk:
    """A thread that opens the core, and answers line after line."""

    def __init__(self, core: Path, settings: Settings, pane: ConsolePane) -> None:
        self._core, self._settings, self._pane = core, settings, pane
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._console: DebugConsole | None = None
        self._thread = threading.Thread(target=self._run, name="triage-console", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, line: str) -> None:
        """Answer this, after what was asked before."""
        self._lines.put(line)

    def interrupt(self) -> None:
        """Stop what GDB does now."""
        if self._console is not None:
            self._console.interrupt()

    def end(self) -> None:
        """Stop after what is being answered; what GDB does now is interrupted."""
        self._lines.put(None)
        self.interrupt()

    def wait(self, seconds: float) -> None:
        """Wait for the end of it."""
        self._thread.join(seconds)

    def _run(self) -> None:
        from triage.debug.console import DebugConsole  # loads the readers of cores, which no other screen needs

        try:
            with DebugConsole(self._core, self._settings) as console:
                self._console = console
                words = ", ".join(name.split()[0] for name, _ in console.commands)
                self._tell([_HELLO.format(words)], look.DIM)
                while (line := self._lines.get()) is not None:
                    self._tell(console.ask(line))
        except TriageError as error:
            self._tell([text for text in (error.message, error.help) if text], look.WARN)

    def _tell(self, lines: list[str], style: str = "") -> None:
        if self._pane.is_attached:
            self._pane.post_message(ConsolePane.Answered(lines, style))
