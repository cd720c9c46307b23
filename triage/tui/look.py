"""How records look: rich Text made from untrusted strings. Nothing here is ever read as markup."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.text import Text

from triage import clock
from triage.folding import Repeat
from triage.model import Cluster, Confidence, Crash, Finding, Flag, Frame, State, Topic
from triage.report.lines import Line
from triage.report.stack import frame_name, frame_note, frame_place
from triage.text import clean
from triage.tui.fit import crop

# After Okabe and Ito: told apart by those who do not see red or green; no colour stands without a word or a sign.
PHP, NATIVE, DIM, HEAD, WARN, GOOD = "#009e73", "#8aa0bd", "grey58", "bold #56b4e9", "#e69f00", "#009e73"
BAD, SPIKE = "#d55e00", "#56b4e9"
LABEL_WIDTH = 10
_STEP = 150
_KINDS = {"python": "PY"}
_LONGEST = 240  # a text that fills the screen hides the rest; the full text has all of it
_STATES = {
    State.NEW: ("● new", f"bold {WARN}"), State.KNOWN: ("# known", DIM), State.IGNORED: ("- ignored", DIM),
    State.FIXED: ("✓ fixed", GOOD),
}  # fmt: skip
_FLAGS = {
    Flag.REGRESSED: ("▲ REGRESSED", f"bold {BAD}"), Flag.AWAKE: ("◆ awake", f"bold {SPIKE}"),
    Flag.PENDING: ("✓ pending", GOOD), Flag.SPIKING: ("◆ spiking", f"bold {SPIKE}"),
}  # fmt: skip
_SURE = {Confidence.PROVED: GOOD, Confidence.LIKELY: WARN, Confidence.GUESS: BAD}
_LOOKS = {"title": "bold", "head": HEAD, "php": PHP, "native": NATIVE, "dim": DIM, "warn": WARN}


def say(value: object, style: str = "", *, limit: int | None = None) -> Text:
    """A foreign string as text: control characters made visible, no markup, one line."""
    return Text(clean(str(value), limit=limit), style=style, no_wrap=True, overflow="ellipsis", end="")


def line(text: str, look: str) -> Text:
    """A line of `report.crash_text` with its look; wraps where it is too long."""
    return Text(clean(text), style=_LOOKS.get(look, ""))


def state(cluster: Cluster) -> Text:
    """A cluster's state, or what has become of it: a sign, a word and a colour that say the same."""
    for flag in cluster.flags:
        if flag is Flag.SPIKING and cluster.state is State.NEW:
            return Text("◆ new spike", style=f"bold {WARN}")
        if flag in _FLAGS:
            return Text(*_FLAGS[flag])
    return Text(*_STATES[cluster.state])


def sure(confidence: Confidence) -> Text:
    """How sure a statement is, as a word."""
    return Text(str(confidence), style=_SURE[confidence])


def joined(lines: Iterable[Line]) -> Text:
    """Lines of a report as one text, safe to show."""
    return Text("\n").join(line(one.text, one.look) for one in lines)


def shorten(path: str) -> str:
    """The last two parts of a path: enough to know a file by."""
    parts = path.rsplit("/", 2)
    return "/".join(parts[-2:]) if len(parts) > 2 else path


def labelled(rows: Iterable[tuple[str, object]]) -> Text:
    """`label  value` lines; a row without a value is left out."""
    text = Text()
    for label, value in rows:
        if value:
            text.append(f"{label:<{LABEL_WIDTH}}", style=DIM)
            text.append(clean(str(value), limit=_LONGEST) + "\n")
    text.rstrip()
    return text


def verdict(crash: Crash) -> Text:
    """What happened, in plain words, and how sure that is."""
    text = Text()
    for finding in crash.findings:
        text.append_text(_finding(finding))
    if not crash.findings:
        text.append("What kind of fault this is, is not known.\n", style=WARN)
    return text


def _finding(finding: Finding) -> Text:
    text = Text()
    text.append(clean(finding.title, limit=_LONGEST), style="bold")
    text.append(f"  {finding.confidence}\n", style=_SURE[finding.confidence])
    for step in finding.next_steps[:1] if finding.topic is Topic.FAULT else ():
        text.append("→ ", style=GOOD)
        text.append(clean(step, limit=_STEP) + "\n")
    return text


def moment(value: datetime | None) -> str:
    """A time with how long ago that is."""
    if value is None:
        return "unknown"
    ago = clock.ago(value)
    return f"{clock.iso(value)} ({ago if ago == 'now' else f'{ago} ago'})"


def seen(cluster: Cluster) -> str:
    """When a cluster was seen first and last."""
    first, last = cluster.first_seen, cluster.last_seen
    if first is None or last is None:
        return "unknown"
    return f"{moment(last)}, first {clock.iso(first)}"


def frame_cells(item: Frame | Repeat) -> tuple[Text, Text, Text]:
    """`(kind, function, place)` of a frame; the kind is a word too, not a colour alone."""
    if isinstance(item, Repeat):
        return Text(""), Text(item.text, style=DIM), Text("")
    if item.kind == "gap":
        return Text(""), say(f"… {item.note}", DIM), Text("")
    style = NATIVE if item.kind == "native" else PHP
    kind = "C" if item.kind == "native" else _KINDS.get(item.kind, item.kind.upper()[:3])
    name = say(frame_name(item), style)
    note = frame_note(item)
    if note:
        name.append(f"  {clean(note)}", style=DIM)
    place = say(shorten(frame_place(item) or ""), DIM if kind == "C" else "")
    return Text(kind, style=style), name, place


def frame_details(item: Frame | Repeat, width: int) -> Text:
    """Everything known about one frame, a line each: a long path must not push out what is below it."""
    if isinstance(item, Repeat):
        return Text(item.text)
    if item.kind == "gap":
        return say(item.note or "")
    where = f"{item.file}:{item.line}" if item.file and item.line else item.file
    offset = f" + {item.offset:#x}" if item.offset is not None else ""
    rows = (
        ("function", frame_name(item), "start"),
        ("file", where, "end"),
        ("module", f"{item.module}{offset}" if item.module else None, "end"),
        ("address", f"{item.address:#x}" if item.address is not None else None, "start"),
        ("note", item.note, "start"),
    )
    return labelled((label, _fitted(value, width, keep)) for label, value, keep in rows)


def _fitted(value: str | None, width: int, keep: str) -> str | None:
    return value and crop(Text(clean(value)), max(1, width - LABEL_WIDTH), keep=keep).plain
