"""The dynamic loader's own list of what it loaded: under which name, at which address.

A debugger opens libraries by these names (`/lib/…/libffi.so.8`), while NT_FILE holds the names
the links lead to (`libffi.so.8.1.2`). Layouts: glibc and musl <link.h>, `r_debug`, `link_map`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from triage.corefile.elf import PT_DYNAMIC
from triage.corefile.modules import AT_PHDR
from triage.corefile.protocol import Memory, c_string

_AT_PHENT, _AT_PHNUM = 4, 5
_PT_PHDR, _DT_DEBUG = 6, 21
_MOST = 4096


def loader_ranges(memory: Memory, auxv: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """`(address, size)` of all that a debugger reads to list what was loaded; no other data is in them."""
    dynamic, debug = _dynamic(memory, auxv)
    if dynamic is not None:
        yield dynamic
    if debug is None:
        return
    yield debug, 40
    entry = _word(memory, debug + 8)
    seen: set[int] = set()
    while entry and entry not in seen and len(seen) < _MOST:
        seen.add(entry)
        yield entry, 40
        name_at, following = _word(memory, entry + 8), _word(memory, entry + 24)
        name = c_string(memory, name_at) if name_at else None
        if name_at and name is not None:
            yield name_at, len(name) + 1
        entry = following


def _word(memory: Memory, address: int) -> int | None:
    raw = memory.read(address, 8)
    return int.from_bytes(raw, "little") if raw else None


def loaded_names(memory: Memory, auxv: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    """Yield `(load address, name)` for each entry; nothing when the list is not readable."""
    entry = _first(memory, auxv)
    seen: set[int] = set()
    while entry and entry not in seen and len(seen) < _MOST:
        seen.add(entry)
        raw = memory.read(entry, 32)
        if raw is None:
            return
        address, name_at, _, following = struct.unpack("<4Q", raw)
        name = c_string(memory, name_at) if name_at else None
        if name:
            yield address, name.decode("utf-8", "surrogateescape")
        entry = following


def _first(memory: Memory, auxv: Mapping[int, int]) -> int | None:
    """The head of the list, from the executable's DT_DEBUG."""
    _, debug = _dynamic(memory, auxv)
    return _word(memory, debug + 8) if debug else None


def _dynamic(memory: Memory, auxv: Mapping[int, int]) -> tuple[tuple[int, int] | None, int | None]:
    """`((address, size) of the executable's dynamic section, address of its r_debug)`."""
    table, size, count = auxv.get(AT_PHDR), auxv.get(_AT_PHENT), auxv.get(_AT_PHNUM)
    raw = memory.read(table, size * min(count, 64)) if table and count and size == 56 else None
    if raw is None or table is None:
        return None, None
    rows = list(struct.iter_unpack("<IIQQQQQQ", raw))
    own = next((row[3] for row in rows if row[0] == _PT_PHDR), None)
    dynamic = next((row for row in rows if row[0] == PT_DYNAMIC), None)
    if own is None or dynamic is None:
        return None, None
    place = dynamic[3] + table - own, min(dynamic[6], 65536) // 16 * 16
    words = memory.read(*place)
    pairs = dict(struct.iter_unpack("<QQ", words)) if words else {}
    return place, pairs.get(_DT_DEBUG) or None
