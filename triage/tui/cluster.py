"""One cluster: what its crashes share, and the crashes."""

from __future__ import annotations

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Footer, Static

from triage import clock
from triage.model import Cluster, CrashRow
from triage.text import plural
from triage.tui import look
from triage.tui.actions import CLUSTER, bindings
from triage.tui.crash import CrashPlace
from triage.tui.place import Place
from triage.tui.rows import Cells, Column, Rows

_COLUMNS = (
    Column("time (UTC)", 19),
    Column("host", 12, share=1),
    Column("pid", 7, right=True),
    Column("runtime", 10),
    Column("script", 12, share=3, keep="end"),
)
_WINDOW, _BEFORE = 500, 200  # how many crashes are read at once, and how many of them above the view
_KEPT = 10_000


class ClusterPlace(Place):
    """The crashes of one cluster: all their ids, and the rows about as far as they are on screen."""

    place = CLUSTER
    BINDINGS = bindings(CLUSTER)

    def __init__(self, cluster: str) -> None:
        super().__init__()
        self._cluster = cluster
        self._rows: dict[str, CrashRow] = {}
        self._offset = 0

    def compose(self) -> ComposeResult:
        """Facts above, crashes below."""
        yield Static(id="title")
        yield Static(id="facts")
        yield Rows(_COLUMNS)
        yield Footer()

    def fetch(self) -> tuple[Cluster, list[CrashRow]]:
        """The cluster, and those of its crashes that are on screen and about it."""
        return self.triage.reader.cluster(self._cluster), self._window(self._offset)

    def _window(self, offset: int) -> list[CrashRow]:
        return self.triage.reader.crash_rows(self._cluster, limit=_WINDOW, offset=offset)

    def present(self, found: tuple[Cluster, list[CrashRow]]) -> None:
        """Fill facts and list."""
        cluster, rows = found
        self._rows = {row.id: row for row in rows}
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
        self.query_one(Rows).fill(cluster.crashes, self._cells)

    def _cells(self, crash: str) -> Cells | None:
        row = self._rows.get(crash)
        return None if row is None else _cells(row)

    @on(Rows.Viewed)
    def _read_what_is_seen(self) -> None:
        table = self.query_one(Rows)
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
        self.query_one(Rows).refresh()

    @on(Rows.Opened)
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
        Text(str(row.pid or "")),
        look.say(row.runtime or row.signal or ""),
        look.say(look.shorten(row.script or row.executable or row.core)),
    )
