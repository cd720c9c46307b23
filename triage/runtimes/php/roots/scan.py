"""PHP found by what its executor must hold, where no name leads to it.

The executor knows its stack as four words in a row: top, end, page, and the page's size, which is
one of two numbers. Where they agree with each other, the table of constants beside them must hold
PHP_VERSION, and that version's own layout must put both at just this distance. Nothing less is
believed. PHP 7.3 and newer (the fourth word is missing before).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.protocol import Region
from triage.runtimes.php.layout import Layout, known_versions, layout_for
from triage.runtimes.php.reader import Reader, Value

_PAGE_SIZES = (0x40000, 0x4000)  # a page of the main stack, of a fiber's
_MOST_REGION = 256 * 1024 * 1024
_MOST_CANDIDATES = 20_000
_MOST_CONSTANTS = 4000


@dataclass(frozen=True, slots=True)
class Executor:
    """An executor_globals that verified; `version`, `zts`, `debug` and `sapi` are constants of its own."""

    address: int
    version: str
    zts: bool
    debug: bool
    sapi: str | None
    layout: Layout


def executors(core: CoreFile, first: tuple[int, int] | None) -> Iterator[Executor]:
    """All executors in the core's writable memory, those in the range `first` before all others."""
    layouts = _distances(core.machine)
    for region in _regions(core, first):
        data = core.memory.dumped(region.start, min(region.end - region.start, _MOST_REGION))
        for place in _stacks(data) if data else ():
            found = _verify(core, region.start + place, layouts)
            if found is not None:
                yield found


def _distances(machine: str | None) -> dict[tuple[int, int], Layout]:
    """One layout for each pair of distances: from the executor's start to the page size, and to the constants."""
    found: dict[tuple[int, int], Layout] = {}
    for key in known_versions():
        minor, mode = key.rsplit("-", 1)
        layout = layout_for(minor, zts=mode == "zts", machine=machine)
        if layout is not None and layout.has("executor_globals", "vm_stack_page_size"):
            size = layout.offset("executor_globals", "vm_stack_page_size")
            found.setdefault((size, layout.offset("executor_globals", "zend_constants")), layout)
    return found


def _regions(core: CoreFile, first: tuple[int, int] | None) -> list[Region]:
    """Writable memory; shared memory, which holds no executor, is left out."""
    usable = [
        r for r in core.memory.regions() if r.flags & PF_W and not (r.path or "").startswith(("/dev/", "/SYSV"))
    ]
    low, high = first or (0, 0)
    return sorted(usable, key=lambda region: (not low <= region.start < high, region.end - region.start))


def _stacks(data: bytes) -> Iterator[int]:
    """Offsets of page sizes that the three words before agree with."""
    given = 0
    for size in _PAGE_SIZES:
        pattern = struct.pack("<Q", size)
        at = data.find(pattern)
        while at >= 0 and given < _MOST_CANDIDATES:
            given += 1
            if at % 8 == 0 and at >= 24:
                top, end, page = struct.unpack_from("<3Q", data, at - 24)
                if page and page < top <= end and page % 8 == 0 and top % 8 == 0 and end - page <= 64 * size:
                    yield at
            at = data.find(pattern, at + 8 if at % 8 == 0 else at + 1)


def _verify(core: CoreFile, place: int, layouts: dict[tuple[int, int], Layout]) -> Executor | None:
    for (size_at, constants_at), layout in layouts.items():
        reader = Reader(core.memory, layout)
        table = reader.number(place - size_at + constants_at)
        if not table or not reader.sound(table):
            continue
        constants = _constants(reader, table)
        version = reader.text_value(constants.get("PHP_VERSION"))
        if version is None:
            continue
        zts, debug = (_flag(reader, constants.get(name)) for name in ("PHP_ZTS", "PHP_DEBUG"))
        own = layout_for(version, zts=bool(zts), machine=core.machine)
        if (
            own is None
            or zts is None
            or (size_at, constants_at)
            != (
                own.offset("executor_globals", "vm_stack_page_size"),
                own.offset("executor_globals", "zend_constants"),
            )
        ):
            continue
        sapi = reader.text_value(constants.get("PHP_SAPI"))
        return Executor(place - size_at, version, zts, bool(debug), sapi, own)
    return None


def _constants(reader: Reader, table: int) -> dict[str, Value]:
    """The constants that tell a build apart; they are among PHP's first."""
    wanted = {"PHP_VERSION", "PHP_ZTS", "PHP_DEBUG", "PHP_SAPI"}
    found: dict[str, Value] = {}
    for at, element in enumerate(reader.elements(table)):
        if at > _MOST_CONSTANTS or len(found) == len(wanted):
            break
        if element.key in wanted and reader.sound(element.value.payload):
            value = reader.value(element.value.payload + reader.layout.offset("constant", "value"))
            if value is not None:
                found[element.key] = value
    return found


def _flag(reader: Reader, value: Value | None) -> bool | None:
    """A switch: a number in old versions; in new ones a type of its own, whose payload means nothing."""
    constant = reader.layout.constant
    if value is None:
        return None
    if value.type == constant("IS_LONG"):
        return bool(value.payload)
    if value.type in (constant("IS_TRUE"), constant("IS_FALSE")):
        return value.type == constant("IS_TRUE")
    return None
