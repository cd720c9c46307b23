"""A stack made readable: runs of equal frames told once, with their count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage.folding import Repeat, fold
from triage.model import Argument, Frame
from triage.report.lines import Line
from triage.text import clean


def _argument(item: Argument) -> str:
    """`name: type` or, where values were asked for, `name: value`."""
    what = item.value if item.value is not None else _class(item.type)
    return f"{item.name}: {what}" if item.name else what


def frame_name(frame: Frame, *, arguments: bool = False) -> str:
    """`Class->method()`, `{main}`, a native function's name, or what stands in for one."""
    if frame.kind == "native":
        if frame.function is not None:
            return frame.function
        return "code made by the JIT" if frame.note == "jit" else f"unnamed code at {frame.address or 0:#x}"
    name = frame.function or "unreadable frame"
    inside = ", ".join(_argument(item) for item in frame.arguments) if arguments else ""
    call = name if name.startswith("{main}") or frame.function is None else f"{name}({inside})"
    return f"{_class(frame.class_name)}{frame.call or '::'}{call}" if frame.class_name else call


def _class(name: str) -> str:
    """PHP names an anonymous class by its place, after a NUL; its own messages leave that out."""
    return name.split("\0", 1)[0]


def stack_lines(frames: Sequence[Frame], *, arguments: bool = False) -> Iterator[Line]:
    """The merged stack, a line a frame; runs of equal frames are folded with their count."""
    for item in fold(frames):
        if isinstance(item, Repeat):
            yield Line(f"        {item.text}", "dim")
        else:
            yield _line(item, arguments=arguments or any(a.value is not None for a in item.arguments))


def _line(frame: Frame, *, arguments: bool) -> Line:
    if frame.kind == "gap":
        return Line(f"        … {clean(frame.note or 'frames left out')}", "dim")
    where = frame_place(frame)
    note = f"  [{frame_note(frame)}]" if frame_note(frame) else ""
    text = f"  {frame.kind:<7} {clean(frame_name(frame, arguments=arguments))}"
    if where:
        text = f"{text:<48}  {clean(where)}"
    return Line(text + clean(note), "native" if frame.kind == "native" else "php")


def frame_place(frame: Frame) -> str | None:
    """`FILE:LINE` of a script frame, the file name of a native frame's module."""
    if frame.file is not None and frame.kind != "native":
        return f"{frame.file}:{frame.line}" if frame.line else frame.file
    if frame.module is not None:
        return frame.module.rsplit("/", 1)[-1]
    return None


def frame_note(frame: Frame) -> str | None:
    """The frame's note, unless it only says where the name is from."""
    return None if frame.note is None or frame.note.startswith("named by") else frame.note
