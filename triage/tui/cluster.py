"""One cluster: what is known of it in tabs, its crashes among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Static
from textual.worker import get_current_worker

from triage import clock
from triage.explain import Part
from triage.model import Cluster, Crash, CrashRow
from triage.report.exports import Export
from triage.report.lines import Line
from triage.text import plural
from triage.tui import look
from triage.tui.actions import CLUSTER, bindings
from triage.tui.among import Among
from triage.tui.comparing import Comparing
from triage.tui.copying import Copying
from triage.tui.decide import Deciding
from triage.tui.exporting import Exporting
from triage.tui.insight import insight
from triage.tui.keybar import KeyBar
from triage.tui.outside import Outside
from triage.tui.rereading import Rereading
from triage.tui.rows import Cells, Column, Rows
from triage.tui.stack_pane import StackPane
from triage.tui.summary import ClusterView, bug_lines, correlation_lines, explained, summary_lines, timeline_lines
from triage.tui.tabbed import Paper, Tabbed
from triage.tui.tabs import Tab, TabBar
from triage.wire import cluster_to_json

CRASH_COLUMNS = (
    Column("time (UTC)", 19),
    Column("host", 12, share=1),
    Column("pid", 7, right=True),
    Column("runtime", 10),
    Column("script", 12, share=3, keep="end"),
)
_WINDOW, _BEFORE = 500, 200  # how many crashes are read at once, and how many of them above the view
_KEPT = 10_000
_TIMELINE = timedelta(days=400)


def _has_stack(view: ClusterView) -> bool:
    return view.newest is not None and view.newest.crashed_thread is not None


class ClusterPlace(Tabbed, Deciding, Copying, Comparing, Outside, Among, Rereading, Exporting):
    """One cluster of `among`: all ids of its crashes, and the rows about as far as they are on screen."""

    place = CLUSTER
    BINDINGS = bindings(CLUSTER)
    ZOOMS = ("", "-list-alone", "-pane-alone")
    ENDS = ("first cluster", "last cluster")
    TABS = (
        Tab[ClusterView]("summary", lambda view: "Summary", summary_lines, lambda view: True),
        Tab[ClusterView]("stack", lambda view: "Stack", None, _has_stack),
        Tab[ClusterView]("correlations", lambda view: "Correlations", correlation_lines, lambda view: True),
        Tab[ClusterView]("timeline", lambda view: "Timeline", timeline_lines),
        Tab[ClusterView]("crashes", lambda view: f"Crashes {view.cluster.count}"),
        Tab[ClusterView]("bugs", lambda view: "Bugs & notes", bug_lines, lambda view: True),
    )

    def __init__(self, cluster: str, among: Sequence[str] = ()) -> None:
        super().__init__()
        self._cluster = cluster
        self._among = list(among)
        self._rows: dict[str, CrashRow] = {}
        self._offset = 0
        self._evidence = False
        self._insight: dict[str, tuple[Part, ...]] = {}
        self._investigated: Cluster | None = None

    def compose(self) -> ComposeResult:
        """Title, tabs, the open tab, keys."""
        yield Static(id="title", markup=False)
        yield TabBar()
        yield Paper(classes="body tab-text", id="paper")
        yield StackPane(lambda crash, frame: self.triage.source_of(crash, frame))
        yield Rows(CRASH_COLUMNS, id="crashes", classes="body tab-crashes")
        yield KeyBar(CLUSTER)

    def fetch(self) -> tuple[ClusterView, list[CrashRow]]:
        """The cluster whole, and those of its crashes that are on screen and about it."""
        reader, id_ = self.triage.reader, self._cluster
        cluster = reader.cluster(id_)
        newest = reader.crash_rows(id_, limit=1)
        crash = reader.crash(newest[0].id) if newest else None
        since = (cluster.last_seen or clock.now()) - _TIMELINE
        view = ClusterView(
            cluster=cluster,
            newest=crash,
            page=explained(crash, reader.clusters(members=False)),
            decisions=tuple(reader.decisions(id_)),
            days=reader.per_day(since, id_).get(id_, {}),
            changes=tuple(reader.changes()),
            evidence=self._evidence,
        )
        return view, self._window(self._offset)

    def _window(self, offset: int) -> list[CrashRow]:
        return self.triage.reader.crash_rows(self._cluster, limit=_WINDOW, offset=offset)

    def present(self, found: tuple[ClusterView, list[CrashRow]]) -> None:
        """Fill title and tabs."""
        view, rows = found
        self._rows = {row.id: row for row in rows}
        self._draw_title(view)
        if view.newest is not None:
            self.query_one(StackPane).show(view.newest)
        self.query_one("#crashes", Rows).fill(view.cluster.crashes, self._cells)
        self.show_tabs(replace(view, insight=self._insight.get(view.cluster.id)))
        if self._insight.get(view.cluster.id) is None or self._investigated != view.cluster:
            self._investigated = view.cluster
            self._investigate(view.cluster)

    @work(thread=True, exclusive=True, group="insight")
    def _investigate(self, cluster: Cluster) -> None:
        worker = get_current_worker()
        found = insight(self.triage.store_url, cluster.id, lambda: worker.is_cancelled)
        if not worker.is_cancelled:
            self.triage.call_later(self._know, cluster, found)

    def _know(self, cluster: Cluster, found: tuple[Part, ...]) -> None:
        self._insight[cluster.id] = found
        view: ClusterView | None = self._view
        if self.is_attached and view is not None and view.cluster.id == cluster.id:
            self.show_tabs(replace(view, insight=found))

    def _draw_title(self, view: ClusterView) -> None:
        cluster = view.cluster
        title = Text("triage ▸ ", style=look.DIM, no_wrap=True, overflow="ellipsis")
        title.append(f"{cluster.id} ", style="not dim bold").append_text(look.state(cluster))
        title.append(f"  {plural(cluster.count, 'crash')}, {plural(len(cluster.hosts), 'host')}  ")
        title.append_text(look.say(cluster.title, "bold", limit=400))
        self.query_one("#title", Static).update(title)

    def _cells(self, crash: str) -> Cells | None:
        row = self._rows.get(crash)
        if row is None:
            return None
        cells = row_cells(row)
        return (Text("◆ ").append_text(cells[0]), *cells[1:]) if self.triage.is_marked(crash) else cells

    @on(Rows.Viewed)
    def _read_what_is_seen(self) -> None:
        table = self.query_one("#crashes", Rows)
        seen = table.visible_rows
        offset = max(0, seen.start - _BEFORE)
        # The same window is not read twice in a row: a crash that is not in it would be asked for for ever.
        if offset != self._offset and any(table.keys[at] not in self._rows for at in seen):
            self._offset = offset
            self._read_window(offset)

    @work(thread=True, exclusive=True, group="window")
    def _read_window(self, offset: int) -> None:
        self.guarded(lambda: self._window(offset), self._add)

    def _add(self, rows: list[CrashRow]) -> None:
        if len(self._rows) > _KEPT:
            self._rows.clear()
        self._rows.update((row.id, row) for row in rows)
        self.query_one("#crashes", Rows).refresh()

    @on(Rows.Opened)
    def action_open(self) -> None:
        """Open the crash under the cursor; from the other tabs the newest."""
        table = self.query_one("#crashes", Rows)
        chosen = table.current if self.tab == "crashes" else (self._view.newest.id if self._newest() else None)
        if chosen is not None:
            self.triage.open_crash(chosen, table.keys)

    def _newest(self) -> Crash | None:
        view: ClusterView | None = self._view
        return view.newest if view is not None else None

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the crash under the cursor, or the newest."""
        chosen = self.query_one("#crashes", Rows).current if self.tab == "crashes" else None
        newest = self._newest()
        if chosen is not None and (newest is None or chosen != newest.id):
            self.read(lambda: self.triage.reader.crash(chosen), then)
        elif newest is not None:
            then(newest)

    def chosen_cluster(self) -> str | None:
        """This one."""
        return self._cluster

    def copy_id(self) -> str | None:
        """The crash under the cursor among the crashes, else the cluster."""
        return self.query_one("#crashes", Rows).current if self.tab == "crashes" else self._cluster

    def marked_changed(self) -> None:
        """Draw the marks."""
        self.query_one("#crashes", Rows).refresh()

    def action_why(self) -> None:
        """Show or hide what each sentence rests on."""
        self._evidence = not self._evidence
        if self._view is not None:
            self.show_tabs(replace(self._view, evidence=self._evidence))
        if self.tab != "summary":
            self.action_tab(1)

    def action_toggle_native(self) -> None:
        """PHP frames only, or all."""
        self.query_one(StackPane).toggle_native()

    def chosen(self) -> str:
        """The cluster that was asked for."""
        return self._cluster

    def choose(self, name: str) -> None:
        """Another cluster of the list."""
        self._cluster, self._offset, self._rows = name, 0, {}

    def cores(self) -> Sequence[str]:
        """Those of its crashes, the newest first."""
        return [row.core for row in self.triage.reader.crash_rows(self._cluster)]

    def action_pin(self) -> None:
        """Keep the frame below the stack, or let it follow the cursor."""
        pinned = self.query_one(StackPane).toggle_pin()
        self.triage.say("this frame stays below the stack; p lets go" if pinned else "it follows the cursor again")

    def export(self) -> Export | None:
        """All tabs of text, as `triage clusters --json` has the cluster."""
        view: ClusterView | None = self._view
        if view is None:
            return None
        lines: list[Line] = []
        for tab in self._shown:
            if tab.lines is not None:
                lines += [Line(tab.title(view), "head"), *tab.lines(view), Line("")]
        return Export(
            title=view.cluster.title, name=view.cluster.id, lines=lines, value=cluster_to_json(view.cluster)
        )


def row_cells(row: CrashRow) -> tuple[Text, ...]:
    """A crash in a list, for CRASH_COLUMNS."""
    return (
        Text(clock.iso(row.time).replace("T", " ").rstrip("Z") if row.time else "unknown"),
        look.say(row.host or ""),
        Text(str(row.pid or "")),
        look.say(row.runtime or row.signal or ""),
        look.say(look.shorten(row.script or row.executable or row.core)),
    )
