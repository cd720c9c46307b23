"""One crash: the verdict, the merged stack, and everything about the frame under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import Footer, Static

from triage import clock
from triage.folding import Repeat, fold
from triage.model import Crash, Frame
from triage.text import clean
from triage.tui import look
from triage.tui.actions import CRASH, bindings
from triage.tui.fulltext import TextPlace
from triage.tui.place import Place
from triage.tui.rows import Column, Rows, listed

_COLUMNS = (
    Column("", 3),
    Column("the stack, innermost first", 20, share=2),
    Column("where", 18, share=1, keep="end"),
)


class CrashPlace(Place):
    """One crash; `among` are the ids to go to with next and previous."""

    place = CRASH
    BINDINGS = bindings(CRASH)

    def __init__(self, crash: str, among: Sequence[str] = ()) -> None:
        super().__init__()
        self._chosen = crash
        self._among = among
        self._crash: Crash | None = None
        self._items: list[Frame | Repeat] = []
        self._script_only = False

    def compose(self) -> ComposeResult:
        """Verdict, stack, frame, keys."""
        yield Static(id="title")
        yield Static(id="verdict")
        yield Rows(_COLUMNS)
        yield Static(id="frame")
        yield Footer()

    def fetch(self) -> Crash:
        """The crash whole."""
        return self.triage.reader.crash(self._chosen)

    def present(self, found: Crash) -> None:
        """Show it; the cursor stays if this is the crash that was shown before."""
        same, self._crash = self._crash is not None and self._crash.id == found.id, found
        title = look.say(found.signature.title if found.signature else "crash", "bold", limit=400)
        if self._chosen in self._among and len(self._among) > 1:
            title.append(f"   {self._among.index(self._chosen) + 1} of {len(self._among)}", style=look.DIM)
        self.query_one("#title", Static).update(title)
        self.query_one("#verdict", Static).update(_summary(found))
        self._fill()
        if not same:
            self.query_one(Rows).move(0)

    def _fill(self) -> None:
        thread = self._crash.crashed_thread if self._crash else None
        frames = thread.frames if thread else ()
        if self._script_only:
            frames = tuple(frame for frame in frames if frame.kind != "native")
        self._items = list(fold(frames))
        self.query_one(Rows).fill(*listed((str(at), look.frame_cells(item)) for at, item in enumerate(self._items)))

    @on(Rows.Moved)
    def _show_frame(self) -> None:
        at = self.query_one(Rows).cursor
        pane = self.query_one("#frame", Static)
        width = pane.content_size.width or self.size.width
        known = 0 <= at < len(self._items)
        pane.update(look.frame_details(self._items[at], width) if known else Text("no stack is known"))

    def action_toggle_native(self) -> None:
        """Hide or show the native frames; the cursor stays on its frame, or goes to the nearest caller."""
        rows = self.query_one(Rows)
        below = self._items[rows.cursor :]
        self._script_only = not self._script_only
        self._fill()
        shown = {id(item): at for at, item in enumerate(self._items)}
        rows.move(next((shown[id(item)] for item in below if id(item) in shown), len(self._items) - 1))

    def action_full_text(self) -> None:
        """Open everything as text."""
        if self._crash is not None:
            self.triage.push_screen(TextPlace(self._crash))

    def action_next_crash(self) -> None:
        """The next crash of the cluster."""
        self._go(1)

    def action_previous_crash(self) -> None:
        """The one before."""
        self._go(-1)

    def _go(self, step: int) -> None:
        at = self._among.index(self._chosen) + step if self._chosen in self._among else -1
        if 0 <= at < len(self._among):
            self._chosen = self._among[at]
            self.load()
        else:
            end = "oldest" if step > 0 else "newest"
            self.triage.notify(f"this is the {end} crash listed", markup=False, timeout=2)

    def action_copy(self) -> None:
        """Copy the id of the crash on screen; the chosen one may still be on its way."""
        self.copy(self._crash.id if self._crash else None)


def _summary(crash: Crash) -> Text:
    text = look.verdict(crash)
    runtime = crash.runtime
    request = runtime.request if runtime else None
    version = f"{runtime.name.upper()} {runtime.version} {runtime.sapi or ''}" if runtime else None
    time = clock.iso(crash.time) if crash.time else None
    process = (version, f"pid {crash.pid}", crash.host, time)
    text.append_text(
        look.labelled(
            (
                (
                    "process",
                    "   ".join(part for part in process if part),
                ),
                ("request", f"{request.method or ''} {request.uri or ''}" if request else None),
                ("script", runtime.script if runtime else crash.executable),
            )
        )
    )
    text.append("\n")
    if crash.warnings:
        more = f" (and {len(crash.warnings) - 1} more: t)" if len(crash.warnings) > 1 else ""
        text.append(f"! {clean(crash.warnings[0])}{more}", style=look.WARN)
    text.rstrip()
    return text
