"""The last words of a program that ended itself: glibc keeps them for the debugger.

`__abort_msg` is exported by every libc.so.6, stripped or not; it points to `{ u32 size; char text[] }`.
"""

from __future__ import annotations

from triage.corefile import CoreFile
from triage.corefile.protocol import c_string
from triage.symbols.finder import Finder
from triage.text import from_bytes


def abort_message(core: CoreFile, finder: Finder) -> str | None:
    """The message of abort(), assert() or a glibc check; `None` when there was none."""
    for module in core.modules:
        if "/libc.so" not in module.path and "/libc-2" not in module.path:
            continue
        file = finder.locate(module).file
        symbol = file.symbols.get("__abort_msg") if file else None
        raw = core.memory.read(symbol.address + module.base, 8) if symbol else None
        at = int.from_bytes(raw, "little") if raw else 0
        text = c_string(core.memory, at + 4) if at else None
        return from_bytes(text).strip() if text else None
    return None
