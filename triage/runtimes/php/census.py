"""The names of PHP's built-in functions kept by build: read from one core, held against every further one.

A name and the machine code behind it are a matter of the builds; which functions there are, and in
which order, is a matter of the settings (disable_functions, dl()), and an extension may put its own code
behind one (debuggers do). So the hashes of all names and all code addresses of a core are compared with
those the names were learned with. Only where all are equal are they used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.runtimes.php.builds import Builds, Spot
from triage.runtimes.php.columns import columns, inner_tables, words_of
from triage.runtimes.php.globals import Php
from triage.runtimes.php.names import INTERNAL, INTERNAL_CLASS, LIFE_CYCLE
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.replica import Replica

_MOST = 16


class Census(NamedTuple):
    """All built-in functions of a process: of the engine, of the classes, of the extensions' life cycles."""

    functions: int
    classes: int
    hashes: list[int]
    code: list[int]


class _Known(NamedTuple):
    functions: int
    classes: int
    hashes: list[int]
    code: list[Spot]
    names: Mapping[Spot, str]


class KnownNames:
    """What was learned, by builds; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], _Known] = OrderedDict()
        self._placed: tuple[object, list[int]] = (None, [])
        self._last = Replica()

    def names(
        self, core: CoreMemory, reader: Reader, php: Php, builds: Builds, read: Callable[[], dict[int, str]]
    ) -> Mapping[int, str]:
        """Names by absolute start address; `read` reads them anew."""
        for key in [key for key in reversed(self._known) if key[0] == builds.key]:
            known = self._known[key]
            found = take(core, reader, php, (known.functions, known.classes), self._last)
            if found is not None and found.hashes == known.hashes and found.code == self._code(key, known, builds):
                self._known.move_to_end(key)
                return Placed(known.names, builds)
        names = read()
        found = take(core, reader, php, None, self._last)
        if found is not None:
            self._learn(found, names, builds)
        return names

    def _code(self, key: object, known: _Known, builds: Builds) -> list[int]:
        """The code addresses as they must be here; processes of one master have their files at one place."""
        place = key, builds.bases
        if self._placed[0] != place:
            self._placed = place, builds.addresses(known.code)
        return self._placed[1]

    def _learn(self, found: Census, names: Mapping[int, str], builds: Builds) -> None:
        spots = dict(zip(builds.spots(names), names.values(), strict=True))
        if any(at < 0 for at, _ in spots) or not set(found.code) - {0} <= set(names):
            return  # code of a file that is not among the builds, or a name that could not be read
        key = builds.key, hash((*found.hashes, *builds.spots(found.code)))
        self._known[key] = _Known(found.functions, found.classes, found.hashes, builds.spots(found.code), spots)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)


class Placed(Mapping[int, str]):
    """Names by spot seen as names by address."""

    def __init__(self, names: Mapping[Spot, str], builds: Builds) -> None:
        self._names = names
        self._builds = builds

    def __getitem__(self, address: int) -> str:
        return self._names[self._builds.spots((address,))[0]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._builds.addresses(self._names))

    def __len__(self) -> int:
        return len(self._names)


def take(
    memory: CoreMemory, reader: Reader, php: Php, counts: tuple[int, int] | None, last: Replica
) -> Census | None:
    """The census; `counts` are the numbers of built-in functions and classes there should be, `last` the one before.

    `None` where the tables are not as plain as they nearly always are.
    """
    executor = php.address("executor_globals") or 0
    tables = (reader.field(executor, "executor_globals", name) for name in ("function_table", "class_table"))
    functions, classes = (columns(reader, table) if table else None for table in tables)
    cycles = _life_cycles(reader, php)
    if functions is None or classes is None or cycles is None:
        return None
    if counts is None:
        counts = _leading(reader, functions.payloads, INTERNAL), _leading(reader, classes.payloads, INTERNAL_CLASS)
    count, class_count = counts
    if _any(reader, functions.payloads[count:], INTERNAL) or _any(
        reader, classes.payloads[class_count:], INTERNAL_CLASS
    ):
        return None
    owners = classes.payloads[:class_count]
    methods = last.methods(memory, owners) or _methods(memory, reader, owners, last)
    code = _code(memory, reader, functions.payloads[:count] + methods[1], last) if methods is not None else None
    if methods is None or code is None:
        return None
    hashes = functions.hashes[:count] + classes.hashes[:class_count] + methods[0]
    return Census(count, class_count, hashes, code + cycles)


def _code(memory: CoreMemory, reader: Reader, records: list[int], last: Replica) -> list[int] | None:
    """The addresses of the machine code behind functions."""
    handler = reader.layout.offset("internal_function", "handler")
    code = last.words(memory, records, handler)
    if code is not None:
        return code
    found = words_of(memory, records, [handler])
    if found is None:
        return None
    last.keep_records(memory, records, handler)
    return found[0]


def _methods(
    memory: CoreMemory, reader: Reader, owners: list[int], last: Replica
) -> tuple[list[int], list[int]] | None:
    """`(hashes, records)` of the methods of built-in classes; the number of each class's comes first."""
    layout = reader.layout
    table = layout.offset("class_entry", "function_table")
    used = table + layout.offset("array", "nNumUsed")
    found = words_of(memory, owners, [table + layout.offset("array", "arData"), used & ~7])
    if found is None:
        return None
    shift = (used & 7) * 8
    counts = [word >> shift & 0xFFFF_FFFF for word in found[1]]
    methods = inner_tables(memory, list(zip(found[0], counts, strict=True)))
    if methods is None:
        return None
    read = counts + methods.hashes, methods.payloads
    heads = [(owner + table, layout.size("array")) for owner in owners]
    last.keep(
        memory, owners, [*heads, *((data, 32 * count) for data, count in zip(found[0], counts, strict=True))], read
    )
    return read


def _life_cycles(reader: Reader, php: Php) -> list[int] | None:
    """The addresses of the functions PHP calls as extensions begin and end."""
    places = [reader.layout.offset("module_entry", field) for field in LIFE_CYCLE]
    found: list[int] = []
    for extension in php.extensions:
        raw = reader.memory.read(extension.entry, max(places) + 8)
        if raw is None:
            return None
        found += (int.from_bytes(raw[place : place + 8], "little") for place in places)
    return found


def _leading(reader: Reader, records: list[int], kind: int) -> int:
    """How many of the first records have that type; it is their first byte."""
    count = 0
    for record in records:
        if reader.memory.read(record, 1) != bytes([kind]):
            break
        count += 1
    return count


def _any(reader: Reader, records: list[int], kind: int) -> bool:
    wanted = bytes([kind])
    read = reader.memory.read
    return any(read(record, 1) == wanted for record in records)
