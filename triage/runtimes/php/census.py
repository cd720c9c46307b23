"""The names of PHP's built-in functions kept by build: read from one core, used for the next.

Which code implements which function is a matter of the builds. Which functions there are, and in which
order, is a matter of the settings (disable_functions, dl()): so names are used only where the hashes of
all built-in functions and classes are those of the core they were learned from. An extension may put its
own code behind a function of PHP (debuggers do): where code of an extension has no name, all code
addresses of the core are compared with the learned ones before that is believed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.runtimes.php.builds import Builds, Spot
from triage.runtimes.php.columns import Columns, columns, inner_tables, words_of
from triage.runtimes.php.globals import Php
from triage.runtimes.php.names import INTERNAL, INTERNAL_CLASS, LIFE_CYCLE
from triage.runtimes.php.reader import Reader

_MOST = 16
_ENGINE = 0  # PHP's own file is the first of the builds


class _Known(NamedTuple):
    """What was learned: the hashes of built-in functions and of classes, all code, whose it is, and the names."""

    functions: list[int]
    classes: list[int]
    code: list[Spot]
    owners: frozenset[int]
    names: Mapping[Spot, str]


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


class KnownNames:
    """What was learned, by builds; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], _Known] = OrderedDict()

    def names(self, process: Process, read: Callable[[], dict[int, str]]) -> Mapping[int, str]:
        """Names by absolute start address; `read` reads them anew."""
        functions, classes = process.table("function_table"), process.table("class_table")
        if functions is None or classes is None:
            return read()
        for key in [key for key in reversed(self._known) if key[0] == process.builds.key]:
            known = self._known[key]
            if _same(process.reader, functions, known.functions, INTERNAL) and _same(
                process.reader, classes, known.classes, INTERNAL_CLASS
            ):
                self._known.move_to_end(key)
                return Placed(known, process, classes, functions, lambda: self._learned(process, read))
        return self._learned(process, read)

    def _learned(self, process: Process, read: Callable[[], dict[int, str]]) -> Mapping[int, str]:
        """The names read anew, and kept if nothing of them was out of reach."""
        names = read()
        functions, classes = process.table("function_table"), process.table("class_table")
        if functions is None or classes is None:
            return names
        own = _built_in(process.reader, functions, INTERNAL), _built_in(process.reader, classes, INTERNAL_CLASS)
        code = code_of(process, functions.payloads[: len(own[0])], classes.payloads[: len(own[1])])
        spots = dict(zip(process.builds.spots(names), names.values(), strict=True))
        # Nothing is learned from code of other files, or where a name could not be read.
        if code is not None and set(code) - {0} <= set(names) and all(at >= 0 for at, _ in spots):
            places = process.builds.spots(code)
            key = process.builds.key, hash((*own[0], *own[1], *places))
            self._known[key] = _Known(*own, places, frozenset(at for at, _ in places), spots)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return names


class Placed(Mapping[int, str]):
    """What was learned from another process as names in this one."""

    def __init__(
        self,
        known: _Known,
        process: Process,
        classes: Columns,
        functions: Columns,
        anew: Callable[[], Mapping[int, str]],
    ) -> None:
        self._known = known
        self._process = process
        self._tables = functions.payloads[: len(known.functions)], classes.payloads[: len(known.classes)]
        self._anew = anew

    def __getitem__(self, address: int) -> str:
        spot = self._process.builds.spots((address,))[0]
        found = self._known.names.get(spot)
        if found is not None:
            return found
        if spot[0] == _ENGINE or spot[0] not in self._known.owners:
            raise KeyError(address)
        return self._checked[address]

    @cached_property
    def _checked(self) -> Mapping[int, str]:
        """Names for what had none in the other process: none here, where the same code is behind all functions."""
        same = code_of(self._process, *self._tables) == self._process.builds.addresses(self._known.code)
        return {} if same else self._anew()

    def __iter__(self) -> Iterator[int]:
        return iter(self._process.builds.addresses(self._known.names))

    def __len__(self) -> int:
        return len(self._known.names)


def _same(reader: Reader, table: Columns, hashes: list[int], kind: int) -> bool:
    """Whether exactly these are built in: the first ones of the table, and none behind them."""
    if table.hashes[: len(hashes)] != hashes:
        return False
    wanted = bytes([kind])
    read = reader.memory.read
    return not any(read(record, 1) == wanted for record in table.payloads[len(hashes) :])


def _built_in(reader: Reader, table: Columns, kind: int) -> list[int]:
    """The hashes of the first elements that are built in; their type is their first byte."""
    wanted, count = bytes([kind]), 0
    while count < len(table.payloads) and reader.memory.read(table.payloads[count], 1) == wanted:
        count += 1
    return table.hashes[:count]


def code_of(process: Process, functions: list[int], classes: list[int]) -> list[int] | None:
    """The addresses of all code behind built-in functions, methods and the extensions' life cycles, in PHP's order.

    `None` where the tables are not as plain as they nearly always are.
    """
    methods = _methods(process, classes)
    cycles = _life_cycles(process)
    if methods is None or cycles is None:
        return None
    handler = process.reader.layout.offset("internal_function", "handler")
    found = words_of(process.memory, functions + methods, [handler])
    return found[0] + cycles if found is not None else None


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
