"""Which ini directives differ from what PHP was built with.

A directive's built-in default is in the core too: each module's table of `zend_ini_entry_def`
has pointers in it, so the loader wrote to it and the kernel dumped it. An entry copies four
pointers of its definition (`on_modify`, `mh_arg1…3`); those 32 bytes are looked up in the
modules' data, and the definition counts only when its name is the entry's name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage import redact
from triage.runtimes.php.reader import Reader

_DEFINITION_VALUE = 40
_OFF = {"", "0", "off", "no", "false", "none"}
_ON = {"1", "on", "yes", "true"}


@dataclass(frozen=True, slots=True)
class Directive:
    """One ini directive. `default` is `None` when no definition was found, `known` tells."""

    name: str
    value: str | None
    default: str | None
    known: bool
    modified: bool


def directives(reader: Reader, table: int, data: Sequence[tuple[int, bytes]]) -> Iterator[Directive]:
    """All directives in EG(ini_directives); `data` are the modules' data as (address, bytes)."""
    for element in reader.elements(table):
        entry = element.value.payload
        name = reader.string(reader.field(entry, "ini_entry", "name")) if reader.sound(entry) else None
        if name is None or name != element.key:
            continue
        value = reader.string(reader.field(entry, "ini_entry", "value"))
        known, default = _default(reader, entry, name, data)
        modified = bool(reader.field(entry, "ini_entry", "modified"))
        yield Directive(name, value, default, known, modified)


def _default(reader: Reader, entry: int, name: str, data: Sequence[tuple[int, bytes]]) -> tuple[bool, str | None]:
    pattern = reader.memory.read(entry + reader.layout.offset("ini_entry", "on_modify"), 32)
    if pattern is None or not any(pattern):
        return False, None
    for start, block in data:
        at = block.find(pattern)
        while at >= 8:
            if reader.c_string(struct.unpack_from("<Q", block, at - 8)[0]) == name:
                value_at = reader.number(start + at - 8 + _DEFINITION_VALUE)
                return True, reader.c_string(value_at) if value_at else None
            at = block.find(pattern, at + 8)
    return False, None


def changed(found: Iterator[Directive]) -> dict[str, str | None]:
    """The directives a person or a package changed, values with secrets hidden, sorted by name."""
    kept = {d.name: redact.setting(d.name, d.value) for d in found if _is_changed(d)}
    return dict(sorted(kept.items()))


def _is_changed(directive: Directive) -> bool:
    if not directive.known:
        return directive.modified
    return _plain(directive.value) != _plain(directive.default)


def _plain(value: str | None) -> str:
    """One spelling for the ways to write off and on."""
    text = (value or "").strip().lower()
    if text in _OFF:
        return "0"
    return "1" if text in _ON else text
