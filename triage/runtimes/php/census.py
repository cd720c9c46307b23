"""The names of PHP's built-in functions kept by build: read from one core, used for the next.

Which code implements which function is a matter of the builds. Which functions there are, and in which
order, is a matter of the settings (disable_functions, dl()): so names are used only where the hashes of
all built-in functions and classes are those of the core they were learned from. And an extension may put
its own code behind a function of PHP (opcache and debuggers do). So a name counts when its function's
record has that very code in this core as well; code without a name has none when the functions that were
taken over still are, and, for an extension's code, when it is behind no function.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from triage.runtimes.php.builds import Spot
from triage.runtimes.php.columns import Columns, Leading
from triage.runtimes.php.names import IN_DOUBT, INTERNAL, INTERNAL_CLASS
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.records import Code, Process, all_code, code_at, code_of, files_of

_MOST = 16
_SWITCHED_OFF_ARE_GONE = 80_000
_ENGINE = 0  # PHP's own file is the first of the builds


class _Known(NamedTuple):
    """What was learned.

    `functions` and `classes` are the hashes of what is built in, `code` where all code lies, in the order
    of `Code`, as `firsts` are; `owners` whose code it is. `names` have with each name the place of its
    function in that order; `taken` are the places of functions behind which another file put its code.
    """

    functions: bytes
    classes: bytes
    code: list[Spot]
    firsts: list[int]
    owners: frozenset[int]
    names: Mapping[Spot, tuple[str, int]]
    taken: tuple[int, ...]


class KnownNames:
    """What was learned, by builds; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], _Known] = OrderedDict()

    def names(self, process: Process, read: Callable[[], dict[int, str]]) -> Mapping[int, str]:
        """Names by absolute start address; `read` reads them anew."""
        for key in [key for key in reversed(self._known) if key[0] == process.builds.key]:
            known = self._known[key]
            functions = process.leading("function_table", len(known.functions) // 8, INTERNAL)
            if functions is None or functions.hashes != known.functions:
                continue
            classes = process.leading("class_table", len(known.classes) // 8, INTERNAL_CLASS)
            if classes is not None and classes.hashes == known.classes:
                self._known.move_to_end(key)
                return Placed(known, process, functions, classes, lambda: self._learned(process, read))
        return self._learned(process, read)

    def _learned(self, process: Process, read: Callable[[], dict[int, str]]) -> Mapping[int, str]:
        """The names read anew, and kept if nothing of them was out of reach."""
        names = read()
        functions, classes = process.table("function_table"), process.table("class_table")
        if functions is None or classes is None:
            return names
        own = _built_in(process.reader, functions, INTERNAL), _built_in(process.reader, classes, INTERNAL_CLASS)
        found = code_of(process, functions.payloads[: own[0]], classes.payloads[: own[1]])
        owners = found.owners(process) if found is not None else None
        # Nothing is learned where a name could not be read.
        if found is not None and owners is not None and set(found.addresses) - {0} == set(names):
            hashes = _packed(functions, own[0]), _packed(classes, own[1])
            known = _known(process, found, owners, names, *hashes)
            self._known[process.builds.key, hash((known.functions, known.classes, *known.code))] = known
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return names


def _known(
    process: Process,
    found: Code,
    owners: Sequence[int],
    names: Mapping[int, str],
    functions: bytes,
    classes: bytes,
) -> _Known:
    spots, files = process.builds.spots, files_of(process)
    code = spots(found.addresses)
    first = {address: at for at, address in reversed(list(enumerate(found.addresses)))}
    placed = {spots((address,))[0]: (name, first[address]) for address, name in names.items()}
    brought = (files.get(owner, -1) for owner in owners)
    taken = tuple(at for at, (file, spot) in enumerate(zip(brought, code, strict=False)) if 0 <= file != spot[0] >= 0)
    return _Known(functions, classes, code, found.firsts, frozenset(at for at, _ in code), placed, taken)


def _packed(table: Columns, count: int) -> bytes:
    """The first hashes, as they lie in memory."""
    return struct.pack(f"<{count}Q", *table.hashes[:count])


class Placed(Mapping[int, str]):
    """What was learned from another process as names in this one; `anew` reads them where that does not fit."""

    def __init__(
        self,
        known: _Known,
        process: Process,
        functions: Leading,
        classes: Leading,
        anew: Callable[[], Mapping[int, str]],
    ) -> None:
        self._known = known
        self._process = process
        self._tables = functions, classes
        self._anew = anew

    def __getitem__(self, address: int) -> str:
        found = self.sooner(address)
        if found != IN_DOUBT:
            return found
        code = self._code_of_all
        if code is not None and address not in code:
            raise KeyError(address)
        return self._read[address]

    def sooner(self, address: int) -> str:
        """The same, but `IN_DOUBT` where all functions would have to be looked at."""
        spot = self._process.builds.spots((address,))[0]
        found = self._known.names.get(spot)
        if found is not None:
            return found[0] if self._code(found[1]) == address else self._read[address]
        # PHP 7 puts code of its own behind functions that are switched off.
        engine = spot[0] == _ENGINE and self._process.reader.layout.version_id >= _SWITCHED_OFF_ARE_GONE
        mine = engine or spot[0] not in self._known.owners
        if mine and self._still_taken:
            raise KeyError(address)
        return IN_DOUBT

    def _code(self, place: int) -> int | None:
        return code_at(self._process, *self._tables, self._known.firsts, place)

    @cached_property
    def _still_taken(self) -> bool:
        """Whether the functions that had another file's code behind them have it here."""
        known = self._known
        expected = self._process.builds.addresses(known.code[at] for at in known.taken)
        return [self._code(at) for at in known.taken] == expected

    @cached_property
    def _code_of_all(self) -> Collection[int] | None:
        """The code behind all functions; what is not among it has no name."""
        return all_code(self._process, *(table.payloads() for table in self._tables))

    @cached_property
    def _read(self) -> Mapping[int, str]:
        return self._anew()

    def __iter__(self) -> Iterator[int]:
        return iter(self._process.builds.addresses(self._known.names))

    def __len__(self) -> int:
        return len(self._known.names)


def sooner(names: Mapping[int, str]) -> Mapping[int, str]:
    """The same names, `IN_DOUBT` where all functions would have to be looked at."""
    return _Sooner(names) if isinstance(names, Placed) else names


class _Sooner(Mapping[int, str]):
    """Of `Placed` what it can tell without looking at all functions."""

    def __init__(self, placed: Placed) -> None:
        self._placed = placed

    def __getitem__(self, address: int) -> str:
        return self._placed.sooner(address)

    def __iter__(self) -> Iterator[int]:
        return iter(self._placed)

    def __len__(self) -> int:
        return len(self._placed)


def _built_in(reader: Reader, table: Columns, kind: int) -> int:
    """How many of the first elements are built in; their type is their first byte."""
    wanted, count = bytes([kind]), 0
    while count < len(table.payloads) and reader.memory.read(table.payloads[count], 1) == wanted:
        count += 1
    return count
