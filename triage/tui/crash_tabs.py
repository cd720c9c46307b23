"""The tabs of one crash. A tab whose crash has nothing to tell is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from triage.explain import Context, write_page
from triage.model import Crash
from triage.report.crash_text import section
from triage.report.explain_text import page_lines
from triage.report.lines import Line, wrapped
from triage.text import clean, plural
from triage.tui.tabs import Tab

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashView:
    """What the tabs of one crash are made of. `others` are newest crashes of the same cluster, once they are read."""

    crash: Crash
    evidence: bool = False
    context: Context = field(default_factory=Context)
    others: Sequence[Crash] | None = None


def _sections(*names: str) -> Callable[[CrashView], Iterator[Line]]:
    def lines(view: CrashView) -> Iterator[Line]:
        for name in names:
            found = list(section(view.crash, name))
            if found:
                yield from found
                yield Line("")

    return lines


def _explained(view: CrashView) -> Iterator[Line]:
    yield from page_lines(write_page(view.crash, view.context), evidence=view.evidence)


def _registers(view: CrashView) -> Iterator[Line]:
    if view.crash.registers or view.crash.instruction:
        yield from section(view.crash, "registers")


def _modules(view: CrashView) -> Iterator[Line]:
    if view.crash.modules:
        yield from section(view.crash, "modules")


def _threads(view: CrashView) -> Iterator[Line]:
    if len(view.crash.threads) > 1:
        yield from section(view.crash, "threads")
    yield from section(view.crash, "fibers")


def _about(view: CrashView) -> Iterator[Line]:
    """Where the record is from, what could not be read, and how it was grouped."""
    yield from section(view.crash, "summary")
    yield Line("")
    yield from section(view.crash, "warnings")
    if view.crash.signature is not None:
        yield Line("")
        yield Line("Why it is in this cluster", "head")
        yield from wrapped(view.crash.signature.key, "dim")
        for step in view.crash.signature.steps:
            yield from wrapped(step)
    yield Line("")
    yield from section(view.crash, "timing")


def _settings(view: CrashView) -> Iterator[Line]:
    """Directives that differ from their defaults, and how the other crashes of the cluster have them."""
    runtime = view.crash.runtime
    if runtime is None:
        return
    mine = runtime.options
    others = [crash.runtime.options for crash in view.others or () if crash.runtime is not None]
    if not mine and not others:
        return
    yield Line("Directives that differ from PHP's default", "head")
    width = max(map(len, mine), default=0)
    for name in sorted(mine):
        yield _setting(f"{clean(name):<{width}}", mine[name], [one.get(name, "the default") for one in others])
    strange = sorted({name for one in others for name in one} - set(mine))
    if strange:
        yield Line("")
        yield Line("At their default here, changed in other crashes of this cluster", "head")
    for name in strange:
        yield Line(f"  {clean(name):<34} others: {clean(_values([one[name] for one in others if name in one]))}")
    yield Line("")
    yield Line(_read(view, len(others)), "dim")


def _setting(name: str, value: str | None, others: Sequence[str | None]) -> Line:
    text = f"  {name}  {clean(str(value), limit=60) if value else '(empty)'}"
    different = [other for other in others if other != value]
    if not others or not different:
        return Line(text)
    return Line(f"{text}   ← {len(different)} of {len(others)} others: {clean(_values(different))}", "warn")


def _values(values: Sequence[str | None]) -> str:
    every = sorted({str(value) for value in values})
    return ", ".join(every[:_NAMED]) + (" …" if len(every) > _NAMED else "")


def _read(view: CrashView, compared: int) -> str:
    if view.others is None:
        return "  the other crashes of this cluster are being read"
    if not compared:
        return "  no other crash of this cluster to compare with"
    return f"  compared with {plural(compared, 'other crash')} of this cluster, the newest; differences stand beside"


def _heap(view: CrashView) -> Iterator[Line]:
    yield from section(view.crash, "heap")


CRASH_TABS = (
    Tab[CrashView]("stack", lambda view: "Stack"),
    Tab[CrashView]("explained", lambda view: "Explained", _explained, lambda view: True),
    Tab[CrashView]("request", lambda view: "Request", _sections("worker", "request")),
    Tab[CrashView]("php", lambda view: "PHP", _sections("php", "hooks", "opcache")),
    Tab[CrashView]("settings", lambda view: "Settings", _settings),
    Tab[CrashView]("heap", lambda view: "Heap", _heap),
    Tab[CrashView]("registers", lambda view: "Registers", _registers),
    Tab[CrashView]("modules", lambda view: "Modules", _modules),
    Tab[CrashView]("threads", lambda view: "Threads", _threads),
    Tab[CrashView]("about", lambda view: "About", _about),
)
