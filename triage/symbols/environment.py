"""The environment of the crashed process, as the C library keeps it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.memory import CoreMemory
from triage.corefile.movable import Files
from triage.corefile.protocol import c_string
from triage.corefile.twins import Twins
from triage.symbols.finder import Finder
from triage.text import from_bytes

_NAMES = ("environ", "__environ", "_environ")
_MOST = 1000
_FEW = 64  # so many are read at once, and hardly any process has more
_LONGEST = 131_072


def environment(core: CoreFile, finder: Finder) -> dict[str, str]:
    """Variables by name; empty when the C library's table of them cannot be found.

    A program may have a copy of the variable `environ` of its own: that one counts, then.
    """
    twins = finder.kept(Twins)
    program, bases = core.executable, twins.files(core).bases
    own = twins.files(core).modules.index(program) if program is not None else None
    for number, place in twins.alike(core, ("environ", own), lambda files: tuple(_places(files, own, finder))):
        raw = core.memory.read(bases[number] + place, 8)
        found = _entries(core, struct.unpack("<Q", raw)[0]) if raw is not None else {}
        if found:
            return found
    return {}


def _places(files: Files, program: int | None, finder: Finder) -> Iterator[tuple[int, int]]:
    """`(number of the file, distance)` of the variable, in the program, then in the C library."""
    libraries = (
        n for n, (path, *_) in enumerate(files.same) if path.rsplit("/", 1)[-1].startswith(("libc.", "libc-"))
    )
    for number in (*(() if program is None else (program,)), *libraries):
        file = finder.locate(files.modules[number]).file
        place = next((file.symbols[name].address for name in _NAMES if name in file.symbols), None) if file else None
        if place is not None:
            yield number, place


def _entries(core: CoreFile, table: int) -> dict[str, str]:
    texts = list(_texts(core.memory, list(_pointers(core.memory, table))))
    return dict(_named(tuple(texts[: texts.index(None)] if None in texts else texts)))


@lru_cache(maxsize=64)  # one after the other has the same
def _named(texts: tuple[bytes, ...]) -> tuple[tuple[str, str], ...]:
    parts = [from_bytes(text).partition("=") for text in texts]
    return tuple((name, value) for name, found, value in parts if found)


def _texts(memory: CoreMemory, pointers: Sequence[int]) -> Iterator[bytes | None]:
    """The text at each of these addresses; most often one lies behind the other, and all are read at once."""
    first, last = (pointers[0], pointers[-1]) if pointers else (0, 0)
    plain = getattr(memory, "plain", memory)  # where it is noted what was read, only the texts shall be
    raw = plain.read(first, last - first) if first < last < first + _LONGEST else None
    texts = _as_before(raw, tuple([pointer - first for pointer in pointers])) if raw and plain is memory else None
    if texts is not None:
        yield from texts
        yield c_string(memory, last, _LONGEST)
        return
    for at, pointer in enumerate(pointers):
        start, end = pointer - first, pointers[at + 1] - first if at + 1 < len(pointers) else 0
        length = raw.find(b"\0", start, end) - start if raw is not None and 0 <= start < end else -1
        if raw is None or length < 0:
            yield c_string(memory, pointer, _LONGEST)
            continue
        if plain is not memory:
            memory.read(pointer, length + 1)
        yield raw[start : start + length]


class _Known(NamedTuple):
    """Texts with what lies between them left out, as they were in the process before; `take` takes them out."""

    take: struct.Struct
    ended: tuple[bytes, ...]
    texts: tuple[bytes, ...]


_KNOWN: dict[tuple[int, ...], _Known] = {}
_MOST_KNOWN = 64


def _as_before(raw: bytes, places: tuple[int, ...]) -> tuple[bytes, ...] | None:
    """The texts at these places but the last one, which begins where `raw` ends; `None` where they are in no order.

    One process after the other has the same.
    """
    known = _KNOWN.get(places)
    if known is not None and known.take.size == len(raw) and known.take.unpack(raw) == known.ended:
        return known.texts
    parts = [raw[at:behind].partition(b"\0") for at, behind in pairwise(places)]
    if not all(end for _, end, _ in parts):
        return None
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    form = "".join(f"{len(text) + 1}s{len(rest)}x" for text, _, rest in parts)
    texts = tuple(text for text, _, _ in parts)
    _KNOWN[places] = _Known(struct.Struct(f"<{form}"), tuple(text + b"\0" for text in texts), texts)
    return texts


def _pointers(memory: CoreMemory, table: int) -> Iterator[int]:
    """The pointers up to the first that is zero or not known."""
    plain = getattr(memory, "plain", memory)  # where it is noted what was read, only the pointers shall be
    raw = plain.read(table, _FEW * 8)
    words = struct.unpack(f"<{_FEW}Q", raw) if raw is not None else ()
    if 0 in words:
        count = words.index(0)
        if plain is not memory:
            memory.read(table, count * 8 + 8)
        yield from words[:count]
        return
    for at in range(_MOST):
        one = memory.read(table + at * 8, 8)
        if one is None or not any(one):
            return
        yield int.from_bytes(one, "little")
