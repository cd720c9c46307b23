"""The records of PHP's built-in functions, all at once or one: which code is behind each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.runtimes.php.builds import Builds
from triage.runtimes.php.columns import Columns, Leading, columns, inner_tables, leading, words_among, words_of
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

    def leading(self, name: str, count: int, kind: int) -> Leading | None:
        """The first elements of EG(`name`), where exactly so many lead to records of that kind."""
        executor = self.php.address("executor_globals") or 0
        place = self.reader.field(executor, "executor_globals", name)
        return leading(self.memory, self.reader, place, count, kind) if place else None


class Code(NamedTuple):
    """The code behind functions, then methods class by class, then the extensions' life cycles.

    `records` are those of functions and methods; `firsts` has the place of each class's first method, and then
    that behind the last.
    """

    addresses: list[int]
    records: list[int]
    firsts: list[int]

    def owners(self, process: Process) -> list[int] | None:
        """For functions and methods the address of the module entry each came with, whoever put code behind it."""
        at = process.reader.layout.offset("internal_function", "module")
        found = words_of(process.memory, self.records, [at])
        return found[0] if found is not None else None


def code_of(process: Process, functions: list[int], classes: list[int]) -> Code | None:
    """All of it; `None` where the tables are not as plain as they nearly always are."""
    inner, cycles = _inner_tables(process, classes), _life_cycles(process)
    methods = inner_tables(process.memory, inner) if inner is not None else None
    if inner is None or methods is None or cycles is None:
        return None
    records = [*functions, *methods]
    found = words_of(process.memory, records, [process.reader.layout.offset("internal_function", "handler")])
    firsts = list(accumulate((count for _, count in inner), initial=len(functions)))
    return Code(found[0] + cycles, records, firsts) if found is not None else None


def all_code(process: Process, functions: list[int], classes: list[int]) -> tuple[int, ...] | None:
    """The same addresses in no order."""
    inner, cycles = _inner_tables(process, classes), _life_cycles(process)
    methods = inner_tables(process.memory, inner) if inner is not None else None
    if methods is None or cycles is None:
        return None
    handler = process.reader.layout.offset("internal_function", "handler")
    found = words_among(process.memory, [*functions, *methods], handler)
    return (*found, *cycles) if found is not None else None


def code_at(process: Process, functions: Leading, classes: Leading, firsts: Sequence[int], place: int) -> int | None:
    """One of them, by its place in that order; `firsts` are where each class's methods begin in it."""
    reader = process.reader
    if place < firsts[0]:
        return reader.field(functions.payload(place), "internal_function", "handler")
    if place < firsts[-1]:
        owner = bisect_right(firsts, place) - 1
        table = classes.payload(owner) + reader.layout.offset("class_entry", "function_table")
        data, used = reader.field(table, "array", "arData") or 0, reader.field(table, "array", "nNumUsed") or 0
        at = place - firsts[owner]
        record = reader.number(data + _BUCKET * at) if at < used else None
        return reader.field(record, "internal_function", "handler") if record else None
    extension, field = divmod(place - firsts[-1], len(LIFE_CYCLE))
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


def _inner_tables(process: Process, owners: list[int]) -> list[tuple[int, int]] | None:
    """The tables of the methods of built-in classes, as `(arData, nNumUsed)`."""
    layout = process.reader.layout
    table = layout.offset("class_entry", "function_table")
    used = table + layout.offset("array", "nNumUsed")
    found = words_of(process.memory, owners, [table + layout.offset("array", "arData"), used & ~7])
    if found is None:
        return None
    counts = [word >> (used & 7) * 8 & 0xFFFF_FFFF for word in found[1]]
    return list(zip(found[0], counts, strict=True))


def _life_cycles(process: Process) -> list[int] | None:
    """The addresses of the functions PHP calls as extensions begin and end."""
    places = [process.reader.layout.offset("module_entry", field) for field in LIFE_CYCLE]
    fields = itemgetter(*(place // 8 for place in places))
    found: list[int] = []
    for extension in process.php.extensions:
        raw = process.memory.read(extension.entry, max(places) + 8)
        if raw is None:
            return None
        found += fields(memoryview(raw).cast("Q"))
    return found
