"""The other globals, followed from a verified executor: module list, core settings."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W
from triage.corefile.modules import MappedModule
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.roots.words import places

_MOST_FUNCTIONS = 50
_MOST_MODULES = 400
_MOST_DATA = 64 * 1024 * 1024
_ANCHOR = "html_errors"
"""A directive that keeps its value in core_globals: its entry has the address and the distance."""


def registry(core: CoreFile, reader: Reader, executor: int, php: MappedModule) -> int | None:
    """The address of module_registry: the table in PHP's own data that lists a known function's module."""
    module = _some_module(reader, executor)
    if module is None:
        return None
    for bucket in _buckets(core, module, reader):
        for table in _tables(core, php, bucket):
            names = [element.key for element in reader.elements(table)]
            if 0 < len(names) <= _MOST_MODULES and "standard" in names and "core" in names:
                return table
    return None


def _some_module(reader: Reader, executor: int) -> int | None:
    """The module_entry of one of the first built-in functions."""
    table = reader.pointer(executor, "executor_globals", "function_table")
    for target in reader.payloads(table)[:_MOST_FUNCTIONS] if table else ():
        if reader.field(target, "internal_function", "type") == 1:
            module = reader.pointer(target, "internal_function", "module")
            if module is not None and reader.c_string(reader.field(module, "module_entry", "name")):
                return module
    return None


def _buckets(core: CoreFile, module: int, reader: Reader) -> Iterator[int]:
    """Addresses of table elements that point to the module_entry."""
    for address, _, _ in places(core, module, most=_MOST_DATA):
        key = reader.number(address + 24)
        if key and reader.string(key):
            yield address


def _tables(core: CoreFile, php: MappedModule, bucket: int) -> Iterator[int]:
    """Tables in PHP's own data whose elements include the one at `bucket`."""
    for region in core.memory.regions():
        if not (php.start <= region.start < php.end and region.flags & PF_W):
            continue
        data = core.memory.dumped(region.start, min(region.end - region.start, _MOST_DATA)) or b""
        for at, word in enumerate(struct.unpack_from(f"<{len(data) // 8}Q", data)):
            if 0 <= bucket - word < 32 * _MOST_MODULES and (bucket - word) % 32 == 0:
                yield region.start + at * 8 - 16


def core_globals(reader: Reader, executor: int, storage: int | None) -> int | None:
    """The address of core_globals, from the entry of a directive that lives in it.

    With threads (`storage`: the thread's table of resources) the entry has the number of the
    resource instead of the address.
    """
    table = reader.pointer(executor, "executor_globals", "ini_directives")
    value = reader.find(table, _ANCHOR) if table else None
    if value is None or not reader.sound(value.payload):
        return None
    distance = reader.field(value.payload, "ini_entry", "mh_arg1")
    place = reader.field(value.payload, "ini_entry", "mh_arg2")
    if not place or distance != reader.layout.offset("core_globals", _ANCHOR):
        return None
    if storage is None:
        return place if reader.sound(place) else None
    number = reader.number(place, 4)
    return reader.number(storage + (number - 1) * 8) if number and number < 1000 else None
