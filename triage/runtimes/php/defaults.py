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
from triage.runtimes.php.ini import Directive
from triage.runtimes.php.reader import Reader

_MOST = 16
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


class KnownDefaults:
    """What was learned, by builds and directives; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], _Known] = OrderedDict()

    def directives(
        self, memory: CoreMemory, reader: Reader, place: int, builds: Builds, read: Callable[[], list[Directive]]
    ) -> list[Directive]:
        """All directives of the table at `place`; `read` reads them anew."""
        table = _table(memory, reader, place)
        if table is None:
            return read()
        key = builds.key, hash(tuple(table.columns.hashes))
        known = self._known.get(key)
        if known is not None and _fits(known, table, builds):
            self._known.move_to_end(key)
            return _directives(memory, reader, table, known)
        found = read()
        if _whole(table, found):
            spots = builds.spots(table.origins)
            self._known[key] = _Known(table.columns.hashes, table.owners, spots, found)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found


def _table(memory: CoreMemory, reader: Reader, place: int) -> _Table | None:
    layout = reader.layout
    if any(layout.offset("ini_entry", name) != 8 * at for at, name in enumerate(_ORDER)):
        return None
    found = columns(reader, place)
    rows = rows_of(memory, found.payloads, layout.size("ini_entry") // 8) if found is not None else None
    if found is None or rows is None or [row[_NAME] for row in rows] != found.keys:
        return None
    return _Table(found, rows, _part(reader, rows, "module_number"))


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
    return all(one.known or not any(row[_ORIGIN]) for one, row in zip(found, table.rows, strict=True))


def _directives(memory: CoreMemory, reader: Reader, table: _Table, known: _Known) -> list[Directive]:
    """The directives as they are in this core."""
    values = texts(memory, reader, [row[_VALUE] for row in table.rows])
    changed = _part(reader, table.rows, "modified")
    found = []
    for old, row, value, modified in zip(known.found, table.rows, values, changed, strict=True):
        before = reader.string(row[_ORIGINAL]) if modified else value
        found.append(Directive(old.name, value, before, old.default, old.known, bool(modified)))
    return found
