"""The records of PHP's built-in functions, all at once or one: which code is behind each."""

from __future__ import annotations

from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.runtimes.php.builds import Builds
from triage.runtimes.php.columns import Columns, columns, inner_tables, leading, words_of
from triage.runtimes.php.globals import Php
from triage.runtimes.php.names import LIFE_CYCLE
from triage.runtimes.php.reader import Reader

_BUCKET = 32


class Process(NamedTuple):
    """One process's PHP, for reading its tables."""

    memory: CoreMemory
    reader: Reader
    php: Php
    builds: Builds

    def table(self, name: str) -> Columns | None:
        """The columns of EG(`name`)."""
        executor = self.php.address("executor_globals") or 0
        place = self.reader.field(executor, "executor_globals", name)
        return columns(self.reader, place) if place else None

    def leading(self, name: str, count: int, kind: int) -> Columns | None:
        """The first columns of EG(`name`), where exactly so many lead to records of that kind."""
        executor = self.php.address("executor_globals") or 0
        place = self.reader.field(executor, "executor_globals", name)
        return leading(self.memory, self.reader, place, count, kind) if place else None


class Code(NamedTuple):
    """The code behind functions, then methods class by class, then the extensions' life cycles.

    `owners` has, for functions and methods only, the address of the module entry each came with, whoever
    put code behind it.
    """

    addresses: list[int]
    owners: list[int]


def code_of(process: Process, functions: list[int], classes: list[int]) -> Code | None:
    """All of it; `None` where the tables are not as plain as they nearly always are."""
    methods = _methods(process, classes)
    cycles = _life_cycles(process)
    if methods is None or cycles is None:
        return None
    place = process.reader.layout.offset
    wanted = [place("internal_function", field) for field in ("handler", "module")]
    found = words_of(process.memory, functions + methods, wanted)
    return Code(found[0] + cycles, found[1]) if found is not None else None


def code_at(process: Process, functions: list[int], classes: list[int], place: int) -> int | None:
    """One of them, by its place in that order."""
    if place < len(functions):
        return process.reader.field(functions[place], "internal_function", "handler")
    place -= len(functions)
    for owner in classes:
        table = owner + process.reader.layout.offset("class_entry", "function_table")
        used = process.reader.field(table, "array", "nNumUsed") or 0
        if place < used:
            data = process.reader.field(table, "array", "arData") or 0
            record = process.reader.number(data + _BUCKET * place)
            return process.reader.field(record, "internal_function", "handler") if record else None
        place -= used
    extension, field = divmod(place, len(LIFE_CYCLE))
    if extension >= len(process.php.extensions):
        return None
    return process.reader.field(process.php.extensions[extension].entry, "module_entry", list(LIFE_CYCLE)[field])


def files_of(process: Process) -> dict[int, int]:
    """The number of the file each module entry came from, by the entry's address; PHP 7 keeps entries elsewhere."""
    found = {}
    for extension in process.php.extensions:
        entry = extension.entry
        fields = (process.reader.field(entry, "module_entry", field) for field in LIFE_CYCLE)
        spots = process.builds.spots([entry, *(address for address in fields if address)])
        found[entry] = next((at for at, _ in spots if at >= 0), -1)
    return found


def _methods(process: Process, owners: list[int]) -> list[int] | None:
    """The records of the methods of built-in classes."""
    layout = process.reader.layout
    table = layout.offset("class_entry", "function_table")
    used = table + layout.offset("array", "nNumUsed")
    found = words_of(process.memory, owners, [table + layout.offset("array", "arData"), used & ~7])
    if found is None:
        return None
    counts = [word >> (used & 7) * 8 & 0xFFFF_FFFF for word in found[1]]
    return inner_tables(process.memory, list(zip(found[0], counts, strict=True)))


def _life_cycles(process: Process) -> list[int] | None:
    """The addresses of the functions PHP calls as extensions begin and end."""
    places = [process.reader.layout.offset("module_entry", field) for field in LIFE_CYCLE]
    found: list[int] = []
    for extension in process.php.extensions:
        raw = process.memory.read(extension.entry, max(places) + 8)
        if raw is None:
            return None
        found += (int.from_bytes(raw[place : place + 8], "little") for place in places)
    return found
