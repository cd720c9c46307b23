"""Which ini directives differ from what PHP was built with.

A directive's built-in default is in the core too: each module's table of `zend_ini_entry_def`
has pointers in it, so the loader wrote to it and the kernel dumped it. An entry copies four
pointers of its definition (`on_modify`, `mh_arg1…3`); those 32 bytes are looked up in the
modules' data, and the definition counts only when its name is the entry's name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from triage import redact
from triage.runtimes.php.reader import Reader

_SIZE, _VALUE, _NAME_LENGTH = 64, 40, 60  # zend_ini_entry_def, the same since 7.3
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
    for element in reader.elements(table):
        entry = element.value.payload
        name = reader.string(reader.field(entry, "ini_entry", "name")) if reader.sound(entry) else None
        if name is None or name != element.key:
            continue
        value = reader.string(reader.field(entry, "ini_entry", "value"))
        owner = reader.field(entry, "ini_entry", "module_number")
        known, default, taken = definitions.default(entry, name, data(owner))
        modified = bool(reader.field(entry, "ini_entry", "modified"))
        before = reader.string(reader.field(entry, "ini_entry", "orig_value")) if modified else value
        yield Directive(name, value, before, default, known, modified, taken)


class _Definitions:
    """Finds definitions. They lie in tables: when one is found its neighbours are noted, and need no search."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._noted: dict[str, bytes] = {}

    def default(self, entry: int, name: str, data: Sequence[tuple[int, bytes]]) -> tuple[bool, str | None, bool]:
        """`(known, default, taken)` of a directive."""
        at = entry + self._reader.layout.offset("ini_entry", "on_modify")
        pattern = self._reader.memory.read(at, 32)
        if pattern is None or not any(pattern):
            return False, None, False
        record = self._noted.get(name)
        if record is None or record[8:40] != pattern:
            record = self._search(pattern, name, data)
        if record is None:
            return False, None, name in self._noted
        (value_at,) = struct.unpack_from("<Q", record, _VALUE)
        return True, self._reader.c_string(value_at) if value_at else None, False

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
