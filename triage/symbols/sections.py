"""Section headers and symbol tables of an ELF file, read in place (gABI, "Sections", "Symbol Table").

A library that parses the whole file does it well, but costs every worker its import and every file a
second copy in memory: 50 MiB and half a second before the first core.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from triage.corefile.elf import Buffer

SYMTAB, STRTAB, NOBITS, DYNSYM = 2, 3, 8, 11
FUNCTION_TYPES = frozenset({0, 2, 10})  # STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


class Section(NamedTuple):
    """One section header; `offset` and `size` in bytes, `link` the number of the section with its strings."""

    name: str
    type: int
    offset: int
    size: int
    link: int


def read_sections(data: Buffer) -> list[Section]:
    """All section headers, names included; empty where the file has none, or a table that leads outside of it."""
    head = data[40:64]
    if len(head) < 24:
        return []
    (table,) = struct.unpack_from("<Q", head)
    entry, count, names = struct.unpack_from("<3H", head, 18)
    if not table or entry != _SECTION.size:
        return []
    if not count or names == 0xFFFF:  # more than fit into the header: the first section tells
        first = data[table : table + entry]
        row = _SECTION.unpack(first) if len(first) == entry else (0,) * 10
        count, names = count or row[5], row[6] if names == 0xFFFF else names
    raw = data[table : table + count * entry]
    rows = list(_SECTION.iter_unpack(raw[: len(raw) // entry * entry]))
    if names >= len(rows):
        return []
    texts = data[rows[names][4] : rows[names][4] + rows[names][5]]
    return [Section(_text(texts, row[0]) or "", row[1], row[4], row[5], row[6]) for row in rows]


def contents(data: Buffer, section: Section) -> bytes:
    """The bytes of a section; none for one that is announced only."""
    return data[section.offset : section.offset + section.size] if section.type != NOBITS else b""


class Table:
    """One symbol table with its strings."""

    def __init__(self, data: Buffer, sections: list[Section], own: Section) -> None:
        self._raw = contents(data, own)
        linked = sections[own.link] if own.link < len(sections) else None
        self._texts = contents(data, linked) if linked is not None and linked.type == STRTAB else b""

    def defined(self) -> Iterator[tuple[str, int, int, int]]:
        """`(name, type, address, size)` of the symbols that are defined and have an address and a name."""
        whole = len(self._raw) // _SYMBOL.size * _SYMBOL.size
        for at, info, _, section, address, size in _SYMBOL.iter_unpack(self._raw[:whole]):
            name = _text(self._texts, at) if section and address else None
            if name is not None:
                yield name, info & 0xF, address, size


def tables(data: Buffer, sections: list[Section]) -> list[Table]:
    """The symbol tables: what is exported first, then all names if they are still there."""
    found = [section for section in sections if section.type in (SYMTAB, DYNSYM)]
    return [Table(data, sections, section) for section in sorted(found, key=lambda section: -section.type)]


def _text(texts: bytes, at: int) -> str | None:
    end = texts.find(b"\0", at) if at < len(texts) else -1
    if end <= at:
        return None
    try:
        return texts[at:end].decode()
    except UnicodeDecodeError:
        return None
