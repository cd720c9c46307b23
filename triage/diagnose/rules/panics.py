"""Programs in Rust and Go that stopped themselves: where, by what is left on the stack.

Rust keeps the place of every check that can fail as a constant (core::panic::Location: file, line, column), and
passes its address along; on the way to abort() it lies on the stack.
"""

from __future__ import annotations

import re
import struct

from triage.diagnose.case import Case
from triage.model import Frame

_MOST_STACK = 16 << 10
_MOST_LINES, _MOST_COLUMNS, _LONGEST = 1 << 20, 1 << 12, 512
_STANDARD = re.compile(r"/rustc/|library/|.*/\.cargo/registry/")
_RUST = re.compile(r"(?:<?&?(?:std|core|alloc|panic_abort|panic_unwind|__rustc)::|__?rust|rust_).*")
GO_STOPS = r"runtime\.(?:gopanic|fatalpanic|fatalthrow|fatalerror|throw|dieFromSignal|crash|sigpanic|goPanic\w+)"


def is_rust_runtime(frame: Frame) -> bool:
    """Whether a frame is of Rust's standard library, which is on the stack of every panic."""
    return _RUST.fullmatch(frame.function or "") is not None


def panicked_at(case: Case) -> str | None:
    """`src/main.rs:3:5`: the innermost place on the stack that is not the standard library's; `None` without one."""
    top = case.stack_pointer
    region = case.region(top) if top else None
    if top is None or region is None:
        return None
    raw = case.memory.read(top, min(region.end - top, _MOST_STACK) // 8 * 8)
    for (word,) in struct.iter_unpack("<Q", raw) if raw is not None else ():
        place = _location(case, word)
        if place is not None:
            return place
    return None


def _location(case: Case, address: int) -> str | None:
    record = case.memory.read(address, 24) if address % 8 == 0 and address > 4096 else None
    if record is None:
        return None
    text_at, length, line, column = struct.unpack("<QQII", record)
    if not (3 < length <= _LONGEST and 0 < line < _MOST_LINES and 0 < column < _MOST_COLUMNS):
        return None
    text = case.memory.read(text_at, length)
    name = text.decode("utf-8", "replace") if text is not None else ""
    if not name.endswith(".rs") or not name.isprintable() or _STANDARD.match(name):
        return None
    return f"{name}:{line}:{column}"
