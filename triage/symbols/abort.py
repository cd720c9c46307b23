"""The last words of a program that ended itself: glibc keeps them for the debugger.

`__abort_msg` is exported by every libc.so.6, stripped or not; it points to `{ u32 size; char text[] }`,
on a page of its own that begins with its size. Where the C library's file is not at hand, that page
is looked for.
"""

from __future__ import annotations

import struct

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.protocol import Region, c_string
from triage.symbols.finder import Finder
from triage.text import from_bytes

_PAGE = 4096
_MOST_PAGES = 4
_MOST_SEARCHED = 200_000


def abort_message(core: CoreFile, finder: Finder) -> str | None:
    """The message of abort(), assert() or a glibc check; `None` when there was none."""
    signal = core.notes.signal
    if signal is None or signal.name != "SIGABRT":
        return None
    for module in core.modules:
        if "/libc.so" not in module.path and "/libc-2" not in module.path:
            continue
        file = finder.locate(module).file
        symbol = file.symbols.get("__abort_msg") if file else None
        if symbol is None:
            break
        raw = core.memory.read(symbol.address + module.base, 8)
        at = int.from_bytes(raw, "little") if raw else 0
        text = c_string(core.memory, at + 4) if at else None
        return from_bytes(text).strip() if text else None
    return _searched(core)


def _searched(core: CoreFile) -> str | None:
    """The page by its looks: writable memory of no file, its own size first, then one line of text, then zeros."""
    left = _MOST_SEARCHED
    for region in core.memory.regions():
        if region.path is not None or not region.flags & PF_W:
            continue
        for page in range(region.start, region.end, _PAGE):
            left -= 1
            if left < 0:
                return None
            text = _message_page(core, region, page)
            if text:
                return text
    return None


def _message_page(core: CoreFile, region: Region, page: int) -> str | None:
    head = core.memory.read(page, 4)
    size = struct.unpack("<I", head)[0] if head else 0
    if size == 0 or size % _PAGE or size > _MOST_PAGES * _PAGE or page + size > region.end:
        return None
    raw = core.memory.read(page + 4, size - 4) or b""
    text, _, rest = raw.partition(b"\0")
    if not len(text) >= 4 or any(rest) or not text.rstrip(b"\n") or b"\n" in text.rstrip(b"\n"):
        return None
    return from_bytes(text).strip() if all(32 <= byte < 127 or byte in b"\t\n" for byte in text) else None
