"""The merged stack with a cursor, and below it what is known about the frame under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static
from textual.worker import get_current_worker

from triage.folding import Repeat, fold
from triage.model import Crash, Frame
from triage.tui import look
from triage.tui.rows import Column, Rows, listed

_COLUMNS = (
    Column("#", 3, right=True),
    Column("", 3),
    Column("the stack, innermost first", 20, share=2),
    Column("where", 16, share=1, keep="end"),
    Column("trust", 6, since=110),
)
_TRUST = {"context": "●●●●", "cfi": "●●●·", "frame-pointer": "●●··", "scan": "●···"}
Source = Callable[[Crash, Frame], Text]


class StackPane(Vertical):
    """A crash's stack. `source` gives the code around a frame; it is called in a thread."""

    def __init__(self, source: Source) -> None:
        super().__init__(classes="body tab-stack")
        self._source = source
        self._crash: Crash | None = None
        self._items: list[Frame | Repeat] = []
        self._numbers: dict[int, int] = {}
        self.script_only = False
        self.unfolded = False
        self.with_source = False
        self._pinned: Frame | Repeat | None = None

    def compose(self) -> ComposeResult:
        """Rows above, the frame below."""
        yield Rows(_COLUMNS, id="stack")
        yield Static(id="frame", markup=False)

    def show(self, crash: Crash) -> None:
        """Show a crash; the cursor stays if it is the one shown before."""
        same, self._crash = self._crash is not None and self._crash.id == crash.id, crash
        self._pinned = self._pinned if same else None
        self._fill()
        if not same:
            self.query_one(Rows).move(0)

    @property
    def frame(self) -> Frame | None:
        """The frame under the cursor."""
        at = self.query_one(Rows).cursor
        item = self._items[at] if 0 <= at < len(self._items) else None
        return item if isinstance(item, Frame) else None

    def toggle_native(self) -> None:
        """Hide or show the native frames; the cursor stays on its frame, or goes to the nearest caller."""
        self._refill("script_only")

    def toggle_folding(self) -> None:
        """Show every frame of a recursion, or fold them."""
        self._refill("unfolded")

    def toggle_source(self) -> None:
        """The code around the frame, or its facts."""
        self.with_source = not self.with_source
        self._show_frame()

    def toggle_pin(self) -> bool:
        """Keep the frame below on screen while the cursor moves, or let it go; says which."""
        at = self.query_one(Rows).cursor
        here = self._items[at] if 0 <= at < len(self._items) else None
        self._pinned, before = (here, None) if self._pinned is None else (None, self._pinned)
        if before is not None:
            self._show_frame()
        return self._pinned is not None

    def _refill(self, switch: str) -> None:
        rows = self.query_one(Rows)
        below = self._items[rows.cursor :]
        setattr(self, switch, not getattr(self, switch))
        self._fill()
        shown = {id(item): at for at, item in enumerate(self._items)}
        rows.move(next((shown[id(item)] for item in below if id(item) in shown), len(self._items) - 1))

    def _fill(self) -> None:
        thread = self._crash.crashed_thread if self._crash else None
        frames: Sequence[Frame] = thread.frames if thread else ()
        self._numbers = {id(frame): at for at, frame in enumerate(frames)}
        if self.script_only:
            frames = tuple(frame for frame in frames if frame.kind != "native")
        self._items = list(frames if self.unfolded else fold(frames))
        self.query_one("#stack", Rows).fill(
            *listed((str(at), self._cells(item)) for at, item in enumerate(self._items))
        )

    def _cells(self, item: Frame | Repeat) -> tuple[Text, ...]:
        number = self._numbers.get(id(item))
        trust = _TRUST.get(item.trust or "", "") if isinstance(item, Frame) and item.kind == "native" else ""
        return (
            Text("" if number is None else str(number), style=look.DIM),
            *look.frame_cells(item),
            Text(trust, style=look.DIM),
        )

    @on(Rows.Moved)
    def _show_frame(self) -> None:
        if self._pinned is not None:
            return
        at = self.query_one(Rows).cursor
        pane = self.query_one("#frame", Static)
        width = self.app.size.width - 2  # of the screen: the pane itself has none while its tab is closed
        if not 0 <= at < len(self._items):
            pane.update(Text("no stack is known"))
            return
        pane.update(look.frame_details(self._items[at], width))
        if self.with_source and self.frame is not None and self._crash is not None:
            self._read_source(self._crash, self.frame)

    @work(thread=True, exclusive=True, group="source")
    def _read_source(self, crash: Crash, frame: Frame) -> None:
        code = self._source(crash, frame)
        if not get_current_worker().is_cancelled:
            self.call_later(self._show_source, frame, code)

    def _show_source(self, frame: Frame, code: Text) -> None:
        if self.is_attached and self.frame is frame and self.with_source:
            self.query_one("#frame", Static).update(code)
