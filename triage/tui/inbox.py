"""The first screen: clusters, and what is known about the one under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer
from textual.widgets import Input, Static

from triage import clock
from triage.errors import UsageError
from triage.model import Cluster, Crash
from triage.query import Query, parse_query
from triage.report.lines import Line
from triage.report.stack import frame_name
from triage.text import clean, plural
from triage.tui import look
from triage.tui.actions import INBOX, bindings
from triage.tui.comparing import Comparing
from triage.tui.copying import Copying
from triage.tui.days import last_days
from triage.tui.decide import Deciding
from triage.tui.exporting import Exporting
from triage.tui.found import DAYS, Found, find
from triage.tui.glyphs import sparkline
from triage.tui.keybar import KeyBar
from triage.tui.preview import preview
from triage.tui.rows import Column, Rows, listed

if TYPE_CHECKING:
    from triage.explain import Page
    from triage.report.exports import Export

_NO_CLUSTER = "?"
_WHY_LOOSE = (
    "Of these cores too little could be read to say which are the same: mostly they are cut off. ⏎ lists them; each "
    "says what is missing. D checks whether this machine writes whole cores."
)
_SORTS = {
    "state": "state", "what died ◂ called from": "title", "N": "n", "hosts": "hosts", "last": "last",
    "7 days": "first", "14 days": "first",
}  # fmt: skip
_PAUSE = 0.15  # seconds without a key after which a query is taken as typed
_COLUMNS = (
    Column("state", 11),
    Column("what died ◂ called from", 12, share=1),
    Column("N", 6, right=True),
    Column("hosts", 5, since=100, right=True),
    Column("7 days", 7, until=100),
    Column("14 days", 14, since=100),
    Column("last", 4, right=True),
)
_EMPTY = (
    "No crashes yet.\n\n"
    "i                         reads the cores in a folder, from here\n"
    "triage batch /var/crash   does the same on the command line\n"
    "triage demo               makes a few real crashes to look at\n\n"
    "This list follows the store: what is triaged meanwhile appears by itself."
)


class InboxPlace(Deciding, Copying, Comparing, Exporting):
    """All clusters, or those that a filter selects."""

    place = INBOX
    ZOOMS = ("", "-list-alone", "-pane-alone")
    BINDINGS = bindings(INBOX)

    def __init__(self) -> None:
        super().__init__()
        self._clusters: dict[str, Cluster] = {}
        self._days: Mapping[str, Mapping[int, int]] = {}
        self._order: list[str] = []
        self._waiting: list[str] = []
        self._query = Query()
        self._total = self._loose = 0
        self._previewed: Cluster | None = None
        self._pinned = False
        self._resort = True
        self._history: list[str] = []
        self._back = 0
        self._typing: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, filter, list, preview, keys."""
        yield Static(id="title", markup=False)
        yield Static(id="query", markup=False)
        with Container(id="split"):
            yield Rows(_COLUMNS, id="list")
            yield Static(id="preview", markup=False)
        yield Static(_EMPTY, id="empty", markup=False)
        yield Input(placeholder="is:open ext:redis last:7d   (? lists all keys)", id="filter")
        yield KeyBar(INBOX)

    def fetch(self) -> Found:
        """The clusters that the filter selects."""
        early = self.triage.take_early()
        return early.result() if early is not None else find(self.triage.reader, self._query)

    def present(self, found: Found) -> None:
        """Fill the list. What is new waits until it is asked for: nothing moves under the reader's eyes."""
        self._clusters = {cluster.id: cluster for cluster in found.clusters}
        self._days, self._total, self._loose = found.days, found.total, found.loose
        if self._resort or not self._order:
            self._order, self._waiting, self._resort = list(self._clusters), [], False
        else:
            self._order = [id_ for id_ in self._order if id_ in self._clusters]
            shown = set(self._order)
            self._waiting = [id_ for id_ in self._clusters if id_ not in shown]
        self.set_class(not found.total and not found.loose, "nothing")
        self._fill()
        self.call_after_refresh(self.triage.begun)

    def _fill(self) -> None:
        shown = [self._clusters[id_] for id_ in self._order]
        self.query_one("#title", Static).update(self._title(shown))
        rows = [(cluster.id, self._cells(cluster)) for cluster in shown]
        if self._loose and not self._query.terms:
            rows.append((_NO_CLUSTER, _loose_cells(self._loose)))
        self.query_one(Rows).fill(*listed(rows))
        self._preview_current()

    def _title(self, shown: Sequence[Cluster]) -> Text:
        crashes = sum(cluster.count for cluster in shown)
        count = f"{len(shown)} of {self._total} clusters" if self._query.terms else plural(len(shown), "cluster")
        title = Text("triage", style="bold", no_wrap=True, overflow="ellipsis")
        title.append(f" ▸ {count}, {plural(crashes, 'crash')}", style="not bold")
        if self._waiting:
            title.append(f"   {len(self._waiting)} new: press .", style=f"bold {look.WARN}")
        running = self.triage.ingest_line()
        if running:
            title.append(f"   {running}", style=look.SPIKE)
        return title.append_text(look.say(f"   {self.triage.label}", f"not bold {look.DIM}"))

    def _cells(self, cluster: Cluster) -> tuple[Text, ...]:
        last = clock.ago(cluster.last_seen) if cluster.last_seen else ""
        days = last_days(self._days.get(cluster.id, {}), clock.now(), DAYS)
        state = look.state(cluster)
        if self.triage.is_marked(cluster.id):
            state = Text("◆ ", style="bold").append_text(state)
        return (
            state,
            look.say(cluster.title, limit=400),
            Text(str(cluster.count)),
            Text(str(len(cluster.hosts))),
            Text(sparkline(days[-7:]), style=look.SPIKE),
            Text(sparkline(days), style=look.SPIKE),
            Text(last),
        )

    @on(Rows.Moved)
    def _preview_current(self) -> None:
        if self._pinned:
            return
        cluster = self._clusters.get(self.query_one(Rows).current or "")
        pane = self.query_one("#preview", Static)
        if cluster is None:
            self._previewed = None
            pane.update(self._nothing_found())
            return
        if self._previewed != cluster:  # also after its note or its hosts changed
            self._previewed = cluster
            pane.update(preview(cluster, None, None))
            self.call_after_refresh(self._read_newest, cluster)  # the list itself comes first

    def _nothing_found(self) -> Text:
        if self.query_one(Rows).current == _NO_CLUSTER:
            return Text(_WHY_LOOSE)
        if not self._query.terms:
            return Text("")
        return Text("no cluster matches; esc drops the filter, ? lists what can be asked for", style=look.DIM)

    @work(thread=True, exclusive=True, group="preview")
    def _read_newest(self, cluster: Cluster) -> None:
        from triage.tui.summary import explained

        def fetch() -> tuple[Page | None, str | None]:
            crash = self.newest(cluster.id)
            return explained(crash, list(self._clusters.values())), script_place(crash)

        def display(found: tuple[Page | None, str | None]) -> None:
            if self._previewed == cluster:
                self.query_one("#preview", Static).update(preview(cluster, *found))

        self.guarded(fetch, display)

    def newest(self, cluster: str) -> Crash | None:
        """The newest crash of a cluster; reads the store."""
        rows = self.triage.reader.crash_rows(cluster, limit=1)
        return self.triage.reader.crash(rows[0].id) if rows else None

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the newest crash of the cluster under the cursor."""
        cluster = self.chosen_cluster()
        if cluster is not None:
            self.read(lambda: self.newest(cluster), lambda crash: then(crash) if crash else None)

    def chosen_cluster(self) -> str | None:
        """The cluster under the cursor."""
        current = self.query_one(Rows).current
        return None if current == _NO_CLUSTER else current

    def copy_id(self) -> str | None:
        """The cluster's id."""
        return self.chosen_cluster()

    def marked_changed(self) -> None:
        """Draw the marks."""
        self._fill()

    @on(Rows.Opened)
    def action_open(self) -> None:
        """Open the cluster under the cursor."""
        chosen = self.chosen_cluster()
        if chosen is not None:
            self.triage.open_cluster(chosen, self._order)
        elif self.query_one(Rows).current == _NO_CLUSTER:
            self.triage.open_loose()

    def action_pin(self) -> None:
        """Keep the preview as it is, or let it follow the cursor again."""
        self._pinned = not self._pinned
        shown = self._previewed.id if self._previewed is not None else "what is below"
        self.triage.say(f"{shown} stays below the list; p lets go" if self._pinned else "it follows the cursor again")
        self._preview_current()

    @on(Rows.Headed)
    def _sort_by(self, event: Rows.Headed) -> None:
        """A click on a head sorts by it, as `sort:` in the filter does."""
        sort = _SORTS.get(event.label)
        if sort is not None:
            words = [word for word in self._query.text.split(" ") if not word.lower().startswith("sort:")]
            self.set_query(" ".join([*words, f"sort:{sort}"]).strip())

    def export(self) -> Export | None:
        """The clusters in the list, as `triage clusters --json` has them."""
        from triage.report.exports import Export
        from triage.wire import cluster_to_json

        whole = {cluster.id: cluster for cluster in self.triage.reader.clusters()}  # the list names no crashes
        shown = [whole[id_] for id_ in self._order if id_ in whole]
        if not shown:
            return None
        return Export(
            title=f"{plural(len(shown), 'cluster')} {self._query.text}".strip(), name="clusters",
            lines=[_written(cluster) for cluster in shown], value=[cluster_to_json(cluster) for cluster in shown],
        )  # fmt: skip

    def action_leave(self) -> None:
        """End the program."""
        self.triage.exit()

    def action_merge_new(self) -> None:
        """Show what is new, in its place."""
        self._resort = True
        self.load()

    def action_reload(self) -> None:
        """Read and sort anew."""
        self._resort = True
        super().action_reload()

    def action_ingest(self) -> None:
        """Read cores."""
        self.triage.open_ingest()

    def action_doctor(self) -> None:
        """Check this machine."""
        self.triage.open_doctor()

    def action_filter(self) -> None:
        """Ask for a query."""
        field = self.query_one(Input)
        field.display = True
        field.focus()
        self._back = 0
        self.query_one(KeyBar).typing("⏎ take it  esc drop it  ↑ an earlier one   !not  a,b either  * anything")

    def set_query(self, text: str) -> None:
        """Select by a query; what is wrong with it is said, and the list stays as it is."""
        line = self.query_one("#query", Static)
        try:
            self._query = parse_query(text)
        except UsageError as error:
            line.update(Text(clean(f"{error.message}. {error.help or ''}"), style=look.WARN))
            self.set_class(True, "filtered")  # noqa: FBT003 - Textual's own signature
            return
        line.update(Text(f"filter  {clean(self._query.text)}"))
        self.set_class(bool(self._query.text), "filtered")
        self._resort = True
        self.load()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        # Not at each key: half a query is another query, or wrong.
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_PAUSE, lambda: self.set_query(event.value))

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        field = self.query_one(Input)
        if self._typing is not None:
            self._typing.stop()
            self._typing = None
            self.set_query(field.value)
        if field.value.strip() and field.value not in self._history:
            self._history.append(field.value)
        field.display = False
        self.query_one(KeyBar).show_keys()
        self.query_one(Rows).focus()

    def on_key(self, event: events.Key) -> None:
        """In the filter, ↑ and ↓ go through earlier ones and esc drops it."""
        field = self.query_one(Input)
        if not field.has_focus or event.key not in ("up", "down", "escape"):
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self.action_drop_filter()
        elif self._history:
            step = 1 if event.key == "up" else -1
            self._back = min(max(0, self._back + step), len(self._history))
            field.value = self._history[-self._back] if self._back else ""
            field.cursor_position = len(field.value)

    def action_drop_filter(self) -> None:
        """Show all clusters again."""
        self.query_one(Input).value = ""
        self.set_query("")
        self._close_filter()


def _written(cluster: Cluster) -> Line:
    state = str(cluster.flags[0] if cluster.flags else cluster.state)
    last = clock.iso(cluster.last_seen) if cluster.last_seen else "unknown"
    return Line(f"{cluster.id}  {state:<9}  {cluster.count:>6}  {last:<20}  {clean(cluster.title)}")


def _loose_cells(count: int) -> tuple[Text, ...]:
    nothing = Text("")
    what = Text(f"{plural(count, 'crash')} without a usable stack", style=look.DIM)
    return Text("? partial", style=look.DIM), what, Text(str(count)), nothing, nothing, nothing, nothing


def script_place(crash: Crash | None) -> str | None:
    """The innermost script code, as `NAME in FILE:LINE`."""
    thread = crash.crashed_thread if crash else None
    frames = thread.frames if thread else ()
    frame = next((each for each in frames if each.kind not in ("native", "gap") and each.file), None)
    return f"{frame_name(frame)} in {frame.file}:{frame.line}" if frame is not None else None
