"""Two crashes side by side: what is the same, and where they part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from triage import clock
from triage.model import Crash, Frame, Topic
from triage.report.lines import Line, wrapped
from triage.report.stack import frame_name, frame_place
from triage.text import clean, plural

_MOST_FRAMES = 120
_AROUND = 2  # equal frames shown around those that differ
_LABEL = 13


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that both may have; `None` where a crash has it not."""

    label: str
    a: str | None
    b: str | None

    @property
    def same(self) -> bool:
        """Whether it is the same in both."""
        return self.a == self.b


@dataclass(frozen=True, slots=True)
class Comparison:
    """Facts and frames of two crashes; `frames` are aligned, `reading` says what that tells, if anything."""

    a: str
    b: str
    facts: tuple[Row, ...]
    frames: tuple[Row, ...]
    reading: str | None

    @property
    def alike(self) -> float:
        """The share of frames that are the same, from 0 to 1."""
        return sum(row.same for row in self.frames) / len(self.frames) if self.frames else 0.0


def compare(a: Crash, b: Crash) -> Comparison:
    """Hold two crashes against each other."""
    frames = tuple(_frames(a, b))
    return Comparison(a.id, b.id, tuple(_facts(a, b)), frames, _reading(a, b, frames))


def _facts(a: Crash, b: Crash) -> Iterator[Row]:
    one, other = dict(_of(a)), dict(_of(b))
    for label in dict.fromkeys([*one, *other]):
        row = Row(label, one.get(label), other.get(label))
        if row.a or row.b:
            yield row


def _of(crash: Crash) -> Iterator[tuple[str, str | None]]:
    signal, runtime = crash.signal, crash.runtime
    yield "cluster", crash.cluster
    yield "signal", signal.name if signal else None
    yield "address", f"{signal.address:#x}" if signal and signal.address is not None else None
    for finding in crash.findings:
        if finding.topic in (Topic.FAULT, Topic.DAMAGE):
            yield f"{finding.topic}", finding.title
    yield "time", clock.iso(crash.time) if crash.time else None
    yield "host", crash.host
    yield "program", crash.executable
    yield "build", crash.build_id
    if runtime is None:
        return
    yield runtime.name, runtime.version
    yield "sapi", runtime.sapi
    yield "pool", runtime.worker.pool if runtime.worker else None
    yield "script", runtime.script
    yield (
        "request",
        f"{runtime.request.method or ''} {runtime.request.uri or ''}".strip() if runtime.request else None,
    )
    yield "heap", runtime.heap.state if runtime.heap else None
    yield from _named("ext", runtime.extensions, "loaded")
    yield from _named("opt", runtime.options, "")


def _named(key: str, values: Mapping[str, str | None], otherwise: str) -> Iterator[tuple[str, str]]:
    for name in sorted(values):
        yield f"{key} {name}", values[name] or otherwise


def _frames(a: Crash, b: Crash) -> Iterator[Row]:
    one, other = _names(a), _names(b)
    for kind, low, high, first, last in SequenceMatcher(a=one, b=other, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (Row("", name, name) for name in one[low:high])
            continue
        for at in range(max(high - low, last - first)):
            mine = one[low + at] if low + at < high else None
            theirs = other[first + at] if first + at < last else None
            yield Row("", mine, theirs)


def _names(crash: Crash) -> list[str]:
    thread = crash.crashed_thread
    return [_frame(frame) for frame in thread.frames[:_MOST_FRAMES]] if thread else []


def _frame(frame: Frame) -> str:
    """A frame as it can be compared between two processes: without addresses, which differ in each."""
    if frame.kind == "gap":
        return f"… {frame.note or 'frames left out'}"
    if frame.kind == "native" and frame.function is None:
        return f"{frame_place(frame) or '?'}+{frame.offset or 0:#x}"
    place = frame_place(frame)
    return f"{frame_name(frame)} {place}" if place and frame.kind != "native" else frame_name(frame)


def _reading(a: Crash, b: Crash, frames: tuple[Row, ...]) -> str | None:
    """What follows, where something does."""
    if not frames:
        return None
    if all(row.same for row in frames):
        return "The stacks are the same, frame by frame."
    died_alike = frames[0].same
    script_alike = _script(a) == _script(b)
    if died_alike and not script_alike:
        return (
            "They died in the same place of native code, called from other PHP code. That fits a cause that lies "
            "in neither of the two scripts (a guess: compare more of this cluster)."
        )
    if not died_alike and script_alike and _script(a):
        return (
            "The same PHP code ran, and died in other native code. That fits damage done earlier, which shows "
            "wherever memory is used next (a guess)."
        )
    return None


def _script(crash: Crash) -> list[str]:
    thread = crash.crashed_thread
    return [_frame(f) for f in thread.frames if f.kind not in ("native", "gap")] if thread else []


def comparison_lines(found: Comparison, *, width: int = 100, equal: bool = False) -> Iterator[Line]:
    """The comparison as text: what differs, the stacks, and with `equal` what is the same."""
    half = max(16, (width - _LABEL - 4) // 2)
    yield Line(f"  {'':<{_LABEL}}{_cell('A  ' + found.a, half)}  {_cell('B  ' + found.b, half)}".rstrip(), "title")
    differ = [row for row in found.facts if not row.same]
    same = [row for row in found.facts if row.same]
    yield Line("")
    yield Line("What differs", "head")
    for row in differ:
        yield from _row(row, half)
    if not differ:
        yield Line("  nothing that is known")
    yield Line("")
    yield Line(f"What is the same ({len(same)})", "head")
    if equal:
        for row in same:
            yield Line(f"  {clean(row.label, limit=30):<{_LABEL}}{clean(row.a or '', limit=width)}")
    else:
        yield from wrapped(", ".join(row.label for row in same) or "nothing", "dim")
    yield Line("")
    yield Line(f"The stacks, innermost first ({found.alike:.0%} of the frames are the same)", "head")
    yield from _stack(found.frames, half, equal=equal)
    if found.reading:
        yield Line("")
        yield from wrapped(found.reading)


def _row(row: Row, half: int) -> Iterator[Line]:
    label = clean(row.label, limit=40)
    if len(label) >= _LABEL:
        yield Line(f"  {label}")
        label = ""
    yield Line(f"  {label:<{_LABEL}}{_cell(row.a or '—', half)}  {_cell(row.b or '—', half)}".rstrip(), "warn")


def _stack(frames: tuple[Row, ...], half: int, *, equal: bool) -> Iterator[Line]:
    near = {at + by for at, row in enumerate(frames) if not row.same for by in range(-_AROUND, _AROUND + 1)}
    folded = 0
    for at, row in enumerate(frames):
        if row.same and not equal and at not in near:
            folded += 1
            continue
        if folded:
            yield Line(f"  {'':<{_LABEL}}┄┄ {plural(folded, 'equal frame')} ┄┄", "dim")
            folded = 0
        text = f"  {'=' if row.same else '≠':<{_LABEL}}"
        if row.same:
            yield Line(text + clean(row.a or "", limit=2 * half), "dim")
        else:
            yield Line(f"{text}{_cell(row.a or '—', half)}  {_cell(row.b or '—', half)}".rstrip(), "php")
    if folded:
        yield Line(f"  {'':<{_LABEL}}┄┄ {plural(folded, 'equal frame')} ┄┄", "dim")


def _cell(text: str, width: int) -> str:
    """Cut in the middle: of names and paths both ends tell."""
    shown = clean(text)
    if len(shown) > width:
        head = (width - 1) // 3
        shown = f"{shown[:head]}…{shown[len(shown) - (width - 1 - head) :]}"
    return f"{shown:<{width}}"
