"""Where Ruby keeps its state: by name where its library exports it (up to 3.2), else by a search that verifies."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.modules import MappedModule
from triage.runtimes.first import first_read
from triage.runtimes.layout import Layout, known, load
from triage.runtimes.ruby.values import Values
from triage.symbols import Finder

_LOOKS_LIKE_RUBY = re.compile(r"/(?:lib)?ruby(?:-?\d[.\d]*)?(?:\.so[.\d]*)?$")
_VERSION = re.compile(r"(\d+\.\d+)")
_PACKAGE = __package__ or ""
_MOST_SEARCHED = 16 << 20
_THREAD_AREA = 16 << 10  # bytes of thread-local variables looked through, below the C library's record
_HIGHEST = 1 << 47


@dataclass(frozen=True, slots=True)
class Ruby:
    """Ruby found in a core: the virtual machine, and the crashed thread's execution context (`None`: not found)."""

    module: MappedModule
    machine: int
    context: int | None
    version: str
    layout: Layout
    words: tuple[int, ...]
    """The values of the library's own variables."""


def find_ruby(core: CoreFile, finder: Finder) -> Ruby | str | None:
    """Ruby in this core; `None` when there is none; a sentence when there is but it cannot be read."""
    candidates = [module for module in core.modules if _LOOKS_LIKE_RUBY.search(module.path)]
    candidates.sort(key=lambda module: ".so" not in module.path)
    return first_read(_in_module(core, finder, module) for module in candidates)


def _in_module(core: CoreFile, finder: Finder, module: MappedModule) -> Ruby | str | None:
    file = finder.locate(module).file
    symbol = file.symbols.get("ruby_version") if file is not None else None
    raw = core.memory.read(module.base + symbol.address, 8) if symbol is not None else None
    told = raw.split(b"\0")[0].decode("ascii", "replace") if raw else module.path.rsplit("/", 1)[-1]
    version = _VERSION.search(told)
    if version is None:
        return None  # the thin program of a shared library
    what = f"Ruby's own state was not read: {module.path}"
    layout = load(_PACKAGE, version[1])
    if layout is None:
        return f"{what}: no structure table for Ruby {told}; known are {', '.join(known(_PACKAGE))}"
    values = Values(core.memory, layout)
    words = tuple(_words(core, module))
    pointer = file.symbols.get("ruby_current_vm_ptr") if file is not None else None
    named = values.number(module.base + pointer.address) if pointer is not None else None
    machine = (
        named if named and is_machine(values, named) else next((w for w in words if is_machine(values, w)), None)
    )
    if machine is None:
        return f"{what} ({told}) has no virtual machine that holds together; it was starting, ending, or is damaged"
    return Ruby(module, machine, _context(core, values, machine), told, layout, words)


def _words(core: CoreFile, module: MappedModule) -> Iterator[int]:
    for region in core.memory.regions():
        if region.flags & PF_W and module.start <= region.start < module.end:
            raw = core.memory.read(region.start, min(region.end - region.start, _MOST_SEARCHED) // 8 * 8)
            yield from (word for (word,) in struct.iter_unpack("<Q", raw)) if raw is not None else ()


def is_machine(values: Values, address: int) -> bool:
    """Whether the main thread of the virtual machine at `address` says that it belongs to it."""
    if address % 8 or not 4096 <= address < _HIGHEST:
        return False
    thread = values.pointer(address, "vm", "main_thread")
    if thread is None or values.field(thread, "thread", "vm") != address:
        return False
    context = values.pointer(thread, "thread", "ec")
    return context is not None and values.field(context, "context", "thread") == thread


def _context(core: CoreFile, values: Values, machine: int) -> int | None:
    """What the crashed thread runs: its own variable where it has one, else the main thread's."""
    first = core.notes.threads[0]
    base = first.registers.get("fs_base") or 0
    raw = core.memory.read(base - _THREAD_AREA, _THREAD_AREA) if base > _THREAD_AREA else None
    if raw is None and base and (size := _below(core, base)):
        raw = core.memory.read(base - size, size)
    for (word,) in struct.iter_unpack("<Q", raw) if raw is not None else ():
        if _is_context(values, word, machine):
            return int(word)
    process = core.notes.process
    thread = values.pointer(machine, "vm", "main_thread")
    if thread is None or (process is not None and process.pid != first.id):
        return None
    return values.pointer(thread, "thread", "ec")


def _below(core: CoreFile, base: int) -> int:
    """How many bytes are mapped right below an address, in its own mapping."""
    region = core.memory.region_at(base - 8)
    return min(base - region.start, _THREAD_AREA) // 8 * 8 if region is not None else 0


def _is_context(values: Values, address: int, machine: int) -> bool:
    if address % 8 or not 4096 <= address < _HIGHEST:
        return False
    thread = values.pointer(address, "context", "thread")
    return (
        thread is not None
        and values.field(thread, "thread", "vm") == machine
        and values.field(thread, "thread", "ec") == address
    )
