"""The built-in defaults of ini directives kept by build: found in one core, held against every further one.

A default is a matter of the builds; values, and which directives there are, are read from every core.
What was learned is used only where the core has the very same directives in the same order, each with
the handlers of the definition that was found.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from triage.corefile.memory import CoreMemory
from triage.runtimes.php.builds import Builds, Spot
from triage.runtimes.php.columns import Columns, columns, rows_of, texts
from triage.runtimes.php.ini import Directive, differs
from triage.runtimes.php.reader import Reader

_MOST = 16
_VARIANTS = 4  # of one set of directives: opcache puts a handler of its own to one of them, or does not
_NAME, _ORIGIN, _VALUE, _ORIGINAL = 0, slice(1, 5), 5, 6  # words of a zend_ini_entry; _ORIGIN is four


class _Table(NamedTuple):
    """EG(ini_directives) of one core: its columns, and the first words of each entry."""

    columns: Columns
    rows: list[list[int]]
    owners: list[int]

    @property
    def origins(self) -> list[int]:
        """What each entry copied of its definition, four words a directive."""
        return [word for row in self.rows for word in row[_ORIGIN]]


class _Known(NamedTuple):
    hashes: list[int]
    owners: list[int]
    origins: list[Spot]
    found: list[Directive]
    defaults: list[set[str | None]]
    """For each directive the values met so far that say what its default says."""


class KnownDefaults:
    """What was learned, by builds and directives; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], list[_Known]] = OrderedDict()

    def changed(self, memory: CoreMemory, reader: Reader, place: int, builds: Builds) -> list[Directive] | None:
        """Of the table at `place` those directives that may differ from their default; `None`: read them anew."""
        table, known, values = self._find(memory, reader, place, builds)
        if table is None or known is None:
            return None
        news = [at for at, value in enumerate(values) if value not in known.defaults[at]]
        modified = _part(reader, table.rows, "modified")
        found = []
        for at in news:
            one = _directive(reader, known.found[at], table.rows[at], values[at], modified[at])
            found.append(one)
            if one.known and not differs(one):
                known.defaults[at].add(one.value)
        return found

    def directives(
        self, memory: CoreMemory, reader: Reader, place: int, builds: Builds, read: Callable[[], list[Directive]]
    ) -> list[Directive]:
        """All directives of the table at `place`; `read` reads them anew."""
        table, known, values = self._find(memory, reader, place, builds)
        if table is not None and known is not None:
            rest = zip(known.found, table.rows, values, _part(reader, table.rows, "modified"), strict=True)
            return [_directive(reader, *one) for one in rest]
        found = read()
        if table is not None and _whole(table, found):
            spots = builds.spots(table.origins)
            nothing: list[set[str | None]] = [set() for _ in found]
            variants = self._known.setdefault(_key(builds, table), [])
            variants.insert(0, _Known(table.columns.hashes, table.owners, spots, found, nothing))
            del variants[_VARIANTS:]
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found

    def _find(
        self, memory: CoreMemory, reader: Reader, place: int, builds: Builds
    ) -> tuple[_Table | None, _Known | None, list[str | None]]:
        """The table, what is known that holds for it, and then the values of now."""
        table = _table(memory, reader, place)
        key = _key(builds, table) if table is not None else ()
        known = next((one for one in self._known.get(key, ()) if table and _fits(one, table, builds)), None)
        if table is None or known is None:
            return table, None, []
        addresses = [row[_VALUE] for row in table.rows]
        values = texts(memory, reader, addresses)
        if any(address and value is None for address, value in zip(addresses, values, strict=True)):
            return table, None, []  # where values are out of reach, so may be names
        self._known.move_to_end(key)
        return table, known, values


def _key(builds: Builds, table: _Table) -> tuple[object, ...]:
    return builds.key, hash(tuple(table.columns.hashes))


def _table(memory: CoreMemory, reader: Reader, place: int) -> _Table | None:
    layout = reader.layout
    if any(layout.offset("ini_entry", name) != 8 * at for at, name in enumerate(_ORDER)):
        return None
    found = columns(reader, place)
    rows = rows_of(memory, found.payloads, layout.size("ini_entry") // 8) if found is not None else None
    if found is None or rows is None or not _named(memory, reader, [row[_NAME] for row in rows], found.keys):
        return None
    return _Table(found, rows, _part(reader, rows, "module_number"))


def _named(memory: CoreMemory, reader: Reader, names: list[int], keys: list[int]) -> bool:
    """Whether each entry has the name it is filed under: one string, or two alike where opcache has its own."""
    if names == keys:
        return True
    own = texts(memory, reader, names)
    return None not in own and own == texts(memory, reader, keys)


_ORDER = ("name", "on_modify", "mh_arg1", "mh_arg2", "mh_arg3", "value", "orig_value")


def _part(reader: Reader, rows: Sequence[list[int]], field: str) -> list[int]:
    """A field smaller than a word of each entry."""
    offset, size = reader.layout.place("ini_entry", field)
    at, shift, mask = offset // 8, offset % 8 * 8, (1 << 8 * size) - 1
    return [row[at] >> shift & mask for row in rows]


def _fits(known: _Known, table: _Table, builds: Builds) -> bool:
    same = known.hashes == table.columns.hashes and known.owners == table.owners
    return same and builds.addresses(known.origins) == table.origins


def _whole(table: _Table, found: Sequence[Directive]) -> bool:
    """Whether nothing that can be found was missed: a definition may be in memory that the core lacks."""
    if len(found) != len(table.rows):
        return False
    return all(one.known or one.taken or not any(row[_ORIGIN]) for one, row in zip(found, table.rows, strict=True))


def _directive(reader: Reader, old: Directive, row: list[int], value: str | None, modified: int) -> Directive:
    """A directive as it is in this core."""
    before = reader.string(row[_ORIGINAL]) if modified else value
    return Directive(old.name, value, before, old.default, old.known, bool(modified))
