"""One crash: the verdict, and below it the stack and everything else in tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from triage import clock
from triage.explain import write_page
from triage.explain.context import context_of
from triage.model import Crash, Frame
from triage.report.crash_text import crash_lines
from triage.report.explain_text import page_lines
from triage.report.exports import Export
from triage.report.lines import Line
from triage.text import clean
from triage.tui import look
from triage.tui.actions import CRASH, bindings
from triage.tui.among import Among
from triage.tui.console_pane import ConsolePane
from triage.tui.copying import Copying
from triage.tui.crash_tabs import CRASH_TABS, CrashView
from triage.tui.decide import Deciding
from triage.tui.exporting import Exporting
from triage.tui.keybar import KeyBar
from triage.tui.outside import Outside
from triage.tui.rereading import Rereading
from triage.tui.stack_pane import StackPane
from triage.tui.tabbed import Paper, Tabbed
from triage.tui.tabs import TabBar
from triage.wire import crash_to_json

_OTHERS = 50  # crashes whose settings are compared: half a second's reading


class CrashPlace(Tabbed, Deciding, Copying, Outside, Among, Rereading, Exporting):
    """One crash; `among` are the ids to go to with next and previous."""

    place = CRASH
    BINDINGS = bindings(CRASH)
    TABS = CRASH_TABS
    ZOOMS = ("", "-list-alone", "-pane-alone")
    ENDS = ("newest crash", "oldest crash")

    def __init__(self, crash: str, among: Sequence[str] = ()) -> None:
        super().__init__()
        self._chosen = crash
        self._among = among
        self._crash: Crash | None = None
        self._evidence = False

    def compose(self) -> ComposeResult:
        """Verdict, tabs, the open tab, console, keys."""
        yield Static(id="title", markup=False)
        yield Static(id="verdict", markup=False)
        yield TabBar()
        yield Paper(classes="body tab-text", id="paper")
        yield StackPane(lambda crash, frame: self.triage.source_of(crash, frame))
        yield ConsolePane()
        yield KeyBar(CRASH)

    def fetch(self) -> CrashView:
        """The crash whole."""
        crash = self.triage.reader.crash(self._chosen)
        return CrashView(crash=crash, context=context_of(crash, self.triage.reader.clusters(members=False)))

    def present(self, found: CrashView) -> None:
        """Show it; cursor and tab stay if this is the crash that was shown before."""
        crash = found.crash
        before, self._crash = self._crash, crash
        title = Text("triage ▸ ", style=look.DIM, no_wrap=True, overflow="ellipsis")
        title.append(f"{clean(crash.cluster or 'no cluster')} ▸ {clean(crash.id)}   ")
        if self._chosen in self._among and len(self._among) > 1:
            title.append(f"{self._among.index(self._chosen) + 1} of {len(self._among)}   ")
        title.append_text(look.say(crash.signature.title if crash.signature else "crash", "not dim bold", limit=400))
        self.query_one("#title", Static).update(title)
        self.query_one("#verdict", Static).update(summary(crash))
        self.query_one(StackPane).show(crash)
        others = self._view.others if before is not None and before.id == crash.id and self._view else None
        self.show_tabs(replace(found, evidence=self._evidence, others=others))
        if before is not None and before.id != crash.id:
            self.query_one(ConsolePane).close()
        self.tab_opened()

    def tab_opened(self) -> None:
        """Settings are compared with the cluster's others, which are read when the tab is opened."""
        view: CrashView | None = self._view
        if self.tab == "settings" and view is not None and view.others is None:
            self.read(lambda: self._others(view.crash), lambda found: self._compared(view.crash, found))

    def _others(self, crash: Crash) -> list[Crash]:
        if crash.cluster is None:
            return []
        rows = self.triage.reader.crash_rows(crash.cluster, limit=_OTHERS + 1)
        return [self.triage.reader.crash(row.id) for row in islice((r for r in rows if r.id != crash.id), _OTHERS)]

    def _compared(self, crash: Crash, others: list[Crash]) -> None:
        if self._view is not None and self._view.crash.id == crash.id and self.is_attached:
            self.show_tabs(replace(self._view, others=others))

    @property
    def crash(self) -> Crash | None:
        """The crash on screen; the chosen one may still be on its way."""
        return self._crash

    def with_crash(self, then: Callable[[Crash], None]) -> None:
        """Go on with the crash on screen."""
        if self._crash is not None:
            then(self._crash)

    def chosen_cluster(self) -> str | None:
        """The crash's cluster."""
        return self._crash.cluster if self._crash else None

    def copy_id(self) -> str | None:
        """The crash's id."""
        return self._crash.id if self._crash else None

    def chosen_frame(self) -> Frame | None:
        """The frame under the cursor; if it is no script's, the nearest caller that is."""
        frame = self.query_one(StackPane).frame
        thread = self._crash.crashed_thread if self._crash else None
        if thread is None or frame is None:
            return None
        at = next((at for at, one in enumerate(thread.frames) if one is frame), 0)
        return next((one for one in thread.frames[at:] if one.kind not in ("native", "gap") and one.file), None)

    def action_why(self) -> None:
        """The explanation, with or without what each sentence rests on."""
        self._evidence = not self._evidence
        if self._view is not None:
            self.show_tabs(replace(self._view, evidence=self._evidence))
            self.action_tab([tab.name for tab in self._shown].index("explained") + 1)

    def action_toggle_native(self) -> None:
        """PHP frames only, or all."""
        self.query_one(StackPane).toggle_native()

    def action_unfold(self) -> None:
        """Each frame of a recursion, or folded."""
        self.query_one(StackPane).toggle_folding()

    def action_source(self) -> None:
        """The code at the frame, or its facts."""
        self.query_one(StackPane).toggle_source()

    def action_console(self) -> None:
        """Open the console, or close it."""
        self.with_crash(lambda crash: self.query_one(ConsolePane).toggle(crash))

    def chosen(self) -> str:
        """The crash that was asked for."""
        return self._chosen

    def choose(self, name: str) -> None:
        """Another crash of the list."""
        self._chosen = name

    def cores(self) -> Sequence[str]:
        """Its core."""
        return [self._crash.core] if self._crash else []

    def action_pin(self) -> None:
        """Keep the frame below the stack, or let it follow the cursor."""
        pinned = self.query_one(StackPane).toggle_pin()
        self.triage.say("this frame stays below the stack; p lets go" if pinned else "it follows the cursor again")

    def export(self) -> Export | None:
        """The crash whole, as `triage show -v` and `--json` have it."""
        if self._crash is None:
            return None
        lines = [*page_lines(write_page(self._crash, self._view.context), evidence=True), Line("")]
        return Export(
            title=self._crash.signature.title if self._crash.signature else self._crash.id, name=self._crash.id,
            lines=[*lines, *crash_lines(self._crash, details=True)], value=crash_to_json(self._crash),
        )  # fmt: skip


def summary(crash: Crash) -> Text:
    """The verdict and the facts that a reader asks for first."""
    text = look.verdict(crash)
    runtime = crash.runtime
    request = runtime.request if runtime else None
    version = " ".join(part for part in (runtime.language, runtime.version, runtime.sapi) if part) if runtime else ""
    time = clock.iso(crash.time) if crash.time else None
    process = (version, f"pid {crash.pid}", crash.host, time)
    rows = (
        ("process", "   ".join(part for part in process if part)),
        ("request", f"{request.method or ''} {request.uri or ''}" if request else None),
        ("script", runtime.script if runtime else crash.executable),
    )
    text.append_text(look.labelled(rows))
    text.append("\n")
    if crash.warnings:
        more = f" (and {len(crash.warnings) - 1} more: see About)" if len(crash.warnings) > 1 else ""
        text.append(f"! {clean(crash.warnings[0])}{more}", style=look.WARN)
    text.rstrip()
    return text
