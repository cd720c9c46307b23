"""Which ini directives differ from what PHP was built with.

A directive's built-in default is in the core too: each module's table of `zend_ini_entry_def`
has pointers in it, so the loader wrote to it and the kernel dumped it. An entry copies four
pointers of its definition (`on_modify`, `mh_arg1…3`); those 32 bytes are looked up in the
modules' data, and the definition counts only when its name is the entry's name. A directive
that nothing handles (`disable_functions`) has none of the four: its definition is a neighbour
of others, or is looked up by the length of its name and what may change it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from triage import redact
from triage.runtimes.php.reader import Reader

_SIZE, _VALUE, _NAME_LENGTH = 64, 40, 60  # zend_ini_entry_def, the same since 7.3
_LONGEST_NAME = 0xFFFF  # it has two bytes for the name's length
_OFF = {"", "0", "off", "no", "false", "none"}
_ON = {"1", "on", "yes", "true"}


class Directive(NamedTuple):
    """One ini directive. `default` is `None` when no definition was found, `known` tells.

    `original` is the value it had before a script, a pool's settings or `.user.ini` changed it at
    run time (`modified`); otherwise the same as `value`. `taken` tells that there is a definition, but
    somebody put other handlers to the directive, as opcache does.
    """

    name: str
    value: str | None
    original: str | None
    default: str | None
    known: bool
    modified: bool
    taken: bool = False


def directives(
    reader: Reader, table: int, data: Callable[[int | None], Sequence[tuple[int, bytes]]]
) -> Iterator[Directive]:
    """All directives in EG(ini_directives); `data` gives a module's data as (address, bytes) by its number."""
    definitions = _Definitions(reader)
    entries = list(_entries(reader, table))
    # Those with handlers first: the definitions of the others are mostly neighbours of theirs.
    found = {
        name: definitions.default(entry, name, data(reader.field(entry, "ini_entry", "module_number")))
        for entry, name in sorted(entries, key=lambda one: not definitions.is_handled(one[0]))
    }
    for entry, name in entries:
        value = reader.string(reader.field(entry, "ini_entry", "value"))
        known, default, taken = found[name]
        modified = bool(reader.field(entry, "ini_entry", "modified"))
        before = reader.string(reader.field(entry, "ini_entry", "orig_value")) if modified else value
        yield Directive(name, value, before, default, known, modified, taken)


def _entries(reader: Reader, table: int) -> Iterator[tuple[int, str]]:
    """`(address, name)` of each entry in the table."""
    for element in reader.elements(table):
        entry = element.value.payload
        name = reader.string(reader.field(entry, "ini_entry", "name")) if reader.sound(entry) else None
        if name is not None and name == element.key:
            yield entry, name


class _Definitions:
    """Finds definitions. They lie in tables: when one is found its neighbours are noted, and need no search."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._noted: dict[str, bytes] = {}

    def default(self, entry: int, name: str, data: Sequence[tuple[int, bytes]]) -> tuple[bool, str | None, bool]:
        """`(known, default, taken)` of a directive."""
        pattern = self._handlers(entry)
        if pattern is None:
            return False, None, False
        record = self._noted.get(name)
        if record is None or record[8:40] != pattern:
            record = self._search(pattern, name, data) if any(pattern) else self._unhandled(name, data)
        if record is None:
            return False, None, name in self._noted
        (value_at,) = struct.unpack_from("<Q", record, _VALUE)
        return True, self._reader.c_string(value_at) if value_at else None, False

    def is_handled(self, entry: int) -> bool:
        """Whether the entry has anything of its definition's that can be looked up."""
        return any(self._handlers(entry) or b"")

    def _handlers(self, entry: int) -> bytes | None:
        return self._reader.memory.read(entry + self._reader.layout.offset("ini_entry", "on_modify"), 32)

    def _unhandled(self, name: str, data: Sequence[tuple[int, bytes]]) -> bytes | None:
        """The definition of a directive without handlers, by its shape: four times nothing, the name's length."""
        if len(name) > _LONGEST_NAME:
            return None
        shape = re.compile(b"(?=.{8}\\0{32}.{20}" + re.escape(struct.pack("<H", len(name))) + b"[\\1-\\7]\\0)", re.S)
        for _, block in data:
            for found in shape.finditer(block):
                record = block[found.start() : found.start() + _SIZE]
                if found.start() % 8 == 0 and self._name(record) == name:
                    self._note(block, found.start())
                    return record
        return None

    def _search(self, pattern: bytes, name: str, data: Sequence[tuple[int, bytes]]) -> bytes | None:
        for _, block in data:
            at = block.find(pattern)
            while at >= 8:
                record = block[at - 8 : at - 8 + _SIZE]
                if self._name(record) == name:
                    self._note(block, at - 8)
                    return record
                at = block.find(pattern, at + 8)
        return None

    def _note(self, block: bytes, at: int) -> None:
        """Note the definitions before and after the one at `at`."""
        for step in (-_SIZE, _SIZE):
            place = at + step
            while 0 <= place <= len(block) - _SIZE:
                record = block[place : place + _SIZE]
                name = self._name(record)
                if name is None:
                    break
                self._noted[name] = record
                place += step

    def _name(self, record: bytes) -> str | None:
        """The name in a definition, when its length is the one noted beside it."""
        if len(record) < _SIZE:
            return None
        (name_at,) = struct.unpack_from("<Q", record)
        (length,) = struct.unpack_from("<H", record, _NAME_LENGTH)
        name = self._reader.c_string(name_at, 256) if name_at and length else None
        return name if name is not None and len(name) == length else None


def changed(found: Iterable[Directive]) -> dict[str, str | None]:
    """The directives a person or a package changed, values with secrets hidden, sorted by name."""
    kept = {d.name: redact.setting(d.name, d.value) for d in found if differs(d)}
    return dict(sorted(kept.items()))


def differs(directive: Directive) -> bool:
    """Whether it is not what its default says; where that is not known, whether it was changed at run time."""
    if not directive.known:
        return directive.modified
    return _plain(directive.value) != _plain(directive.default)


@lru_cache(maxsize=2048)
def _plain(value: str | None) -> str:
    """One spelling for the ways to write off and on."""
    text = (value or "").strip().lower()
    if text in _OFF:
        return "0"
    return "1" if text in _ON else text
