"""The first screen: clusters, and what is known about the one under the cursor."""

from __future__ import annotations

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Footer, Input, Static

from triage import clock
from triage.model import Cluster, Crash
from triage.report.stack import frame_name
from triage.text import clean, plural
from triage.tui import look
from triage.tui.actions import INBOX, bindings
from triage.tui.cluster import ClusterPlace
from triage.tui.place import Place
from triage.tui.rows import Column, Rows, listed

_WIDE = 132
_COLUMNS = (
    Column("state", 7),
    Column("N", 6, right=True),
    Column("last", 4, right=True),
    Column("what died ◂ called from", 12, share=1),
)
_EMPTY = (
    "No crashes yet.\n\n"
    "triage batch /var/crash   triages the cores in a folder\n"
    "triage demo               makes a few real crashes to look at\n\n"
    "This list follows the store: what is triaged meanwhile appears by itself."
)


class InboxPlace(Place):
    """All clusters."""

    place = INBOX
    BINDINGS = bindings(INBOX)

    def __init__(self) -> None:
        super().__init__()
        self._clusters: dict[str, Cluster] = {}
        self._words: list[str] = []
        self._previewed: Cluster | None = None

    def compose(self) -> ComposeResult:
        """Title, list, preview, filter, keys."""
        yield Static(id="title")
        with Container(id="split"):
            yield Rows(_COLUMNS, id="list")
            yield Static(id="preview")
        yield Static(_EMPTY, id="empty", markup=False)
        yield Input(placeholder="words the title must hold; enter keeps, esc drops", id="filter")
        yield Footer()

    def on_resize(self, event: events.Resize) -> None:
        """Beside each other where there is room."""
        self.set_class(event.size.width >= _WIDE, "wide")

    def fetch(self) -> list[Cluster]:
        """All clusters."""
        return self.triage.reader.clusters()

    def present(self, found: list[Cluster]) -> None:
        """Fill the list."""
        self._clusters = {cluster.id: cluster for cluster in found}
        self.set_class(not found, "nothing")
        self._fill()

    def _fill(self) -> None:
        shown = [cluster for cluster in self._clusters.values() if self._matches(cluster)]
        crashes = sum(cluster.count for cluster in shown)
        counts = f"{plural(len(shown), 'cluster')}, {plural(crashes, 'crash')}"
        note = f"  filter: {' '.join(self._words)}" if self._words else ""
        title = Text("triage ", style="bold")
        title.append_text(look.say(f" {self.triage.label}   ", look.DIM))
        title.append(counts + clean(note))
        self.query_one("#title", Static).update(title)
        self.query_one(Rows).fill(*listed((cluster.id, _cells(cluster)) for cluster in shown))
        self._preview_current()

    def _matches(self, cluster: Cluster) -> bool:
        text = f"{cluster.title} {cluster.id} {cluster.state}".lower()
        return all(word in text for word in self._words)

    @on(Rows.Moved)
    def _preview_current(self) -> None:
        cluster = self._clusters.get(self.query_one(Rows).current or "")
        preview = self.query_one("#preview", Static)
        if cluster is None:
            self._previewed = None
            preview.update("")
            return
        if self._previewed != cluster:  # also after its note or its hosts changed
            self._previewed = cluster
            preview.update(_preview(cluster, None))
            self._read_newest(cluster)

    @work(thread=True, exclusive=True, group="preview")
    def _read_newest(self, cluster: Cluster) -> None:
        def fetch() -> Crash | None:
            rows = self.triage.reader.crash_rows(cluster.id, limit=1)
            return self.triage.reader.crash(rows[0].id) if rows else None

        def display(crash: Crash | None) -> None:
            if self._previewed == cluster:
                self.query_one("#preview", Static).update(_preview(cluster, crash))

        self.guarded(fetch, display)

    @on(Rows.Opened)
    def action_open(self) -> None:
        """Open the cluster under the cursor."""
        chosen = self.query_one(Rows).current
        if chosen is not None:
            self.triage.push_screen(ClusterPlace(chosen))

    def action_leave(self) -> None:
        """End the program."""
        self.triage.exit()

    def action_filter(self) -> None:
        """Ask for words."""
        field = self.query_one(Input)
        field.display = True
        field.focus()

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        self._set_filter(event.value)

    @on(Input.Submitted)
    def _close_filter(self) -> None:
        self.query_one(Input).display = False
        self.query_one(Rows).focus()

    def _set_filter(self, text: str) -> None:
        field = self.query_one(Input)
        if field.value != text:
            field.value = text
        self._words = text.lower().split()
        self._fill()

    def action_drop_filter(self) -> None:
        """Show all clusters again."""
        self._set_filter("")
        self._close_filter()

    def action_copy(self) -> None:
        """Copy the cluster's id."""
        self.copy(self.query_one(Rows).current)


def _cells(cluster: Cluster) -> tuple[Text, ...]:
    last = clock.ago(cluster.last_seen) if cluster.last_seen else ""
    return (
        look.state(cluster.state),
        Text(str(cluster.count)),
        Text(last),
        look.say(cluster.title, limit=400),
    )


def _preview(cluster: Cluster, crash: Crash | None) -> Text:
    text = Text()
    text.append(clean(cluster.title, limit=160) + "\n", style="bold")
    if crash is not None:
        text.append_text(look.verdict(crash))
    text.append_text(
        look.labelled(
            (
                ("PHP code", _script_place(crash) if crash else None),
                ("note", cluster.note),
                ("last seen", look.seen(cluster)),
                ("versions", ", ".join(cluster.versions)),
                ("hosts", ", ".join(cluster.hosts)),
                ("cluster", cluster.id),
            )
        )
    )
    return text


def _script_place(crash: Crash) -> str | None:
    """The innermost script code, as `NAME in FILE:LINE`."""
    thread = crash.crashed_thread
    frames = thread.frames if thread else ()
    frame = next((each for each in frames if each.kind not in ("native", "gap") and each.file), None)
    return f"{frame_name(frame)} in {frame.file}:{frame.line}" if frame is not None else None
