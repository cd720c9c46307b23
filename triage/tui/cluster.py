"""One cluster: what its crashes share, and the crashes."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import DataTable, Footer, Static

from triage import clock
from triage.model import Cluster, CrashRow
from triage.text import plural
from triage.tui import look
from triage.tui.actions import CLUSTER, bindings
from triage.tui.crash import CrashPlace
from triage.tui.place import Place
from triage.tui.rows import Column, Rows

_PAGE = 500


class ClusterPlace(Place):
    """The crashes of one cluster, read a page at a time."""

    place = CLUSTER
    BINDINGS = bindings(CLUSTER)

    def __init__(self, cluster: str) -> None:
        super().__init__()
        self._cluster = cluster
        self._most = _PAGE
        self._total = 0

    def compose(self) -> ComposeResult:
        """Facts above, crashes below."""
        yield Static(id="title")
        yield Static(id="facts")
        yield Rows(
            (Column("time (UTC)", 19), Column("host", 12), Column("pid", 8), Column("runtime", 10), Column("script"))
        )
        yield Footer()

    def fetch(self) -> tuple[Cluster, list[CrashRow]]:
        """The cluster and as many of its crashes as are on screen."""
        reader = self.triage.reader
        return reader.cluster(self._cluster), reader.crash_rows(self._cluster, limit=self._most)

    def present(self, found: tuple[Cluster, list[CrashRow]]) -> None:
        """Fill facts and list."""
        cluster, rows = found
        self._total = cluster.count
        title = look.say(cluster.title, "bold", limit=400)
        self.query_one("#title", Static).update(title)
        facts = (
            ("cluster", f"{cluster.id}   {cluster.state}   {plural(cluster.count, 'crash')}"),
            ("last seen", look.seen(cluster)),
            ("versions", ", ".join(cluster.versions)),
            ("hosts", ", ".join(cluster.hosts)),
            ("note", cluster.note),
        )
        self.query_one("#facts", Static).update(look.labelled(facts))
        self.query_one(Rows).fill((row.id, _cells(row)) for row in rows)

    @on(DataTable.RowHighlighted)
    def _near_the_end(self) -> None:
        """Read the next page before the cursor reaches the last row."""
        table = self.query_one(Rows)
        if self._most < self._total and table.cursor_row > table.row_count - 50:
            self._most += _PAGE
            self.load()

    @on(DataTable.RowSelected)
    def action_open(self) -> None:
        """Open the crash under the cursor."""
        table = self.query_one(Rows)
        if table.current is not None:
            self.triage.push_screen(CrashPlace(table.current, table.keys))

    def action_copy(self) -> None:
        """Copy the crash's id."""
        self.copy(self.query_one(Rows).current)


def _cells(row: CrashRow) -> tuple[Text, ...]:
    return (
        Text(clock.iso(row.time).replace("T", " ").rstrip("Z") if row.time else ""),
        look.say(row.host or ""),
        Text(str(row.pid or ""), justify="right"),
        look.say(row.runtime or row.signal or ""),
        look.say(look.shorten(row.script or row.executable or row.core)),
    )
