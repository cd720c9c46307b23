"""Finds the entry that describes a named type, without reading all of the debug information.

A debug file of PHP holds millions of entries. So a type is found the other way round: its name in
the string section, the places that refer to that string, and of those the entry whose name it is.
Four bytes can look like a reference by chance, so the entry must also be one that its unit has at
that very place. In DWARF 5 by clang a name is the number of a slot in a table, too short to be looked
for: there the units whose table holds the name are walked, some of them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from triage.symbols.dwarf_entries import DAMAGE, children, name_of

# Sizes of the forms that always take the same room, in bytes.
_FIXED = {
    "DW_FORM_data1": 1, "DW_FORM_data2": 2, "DW_FORM_data4": 4, "DW_FORM_data8": 8, "DW_FORM_ref1": 1,
    "DW_FORM_ref2": 2, "DW_FORM_ref4": 4, "DW_FORM_ref8": 8, "DW_FORM_flag": 1, "DW_FORM_flag_present": 0,
    "DW_FORM_implicit_const": 0, "DW_FORM_strp": 4, "DW_FORM_sec_offset": 4, "DW_FORM_ref_addr": 4,
    "DW_FORM_GNU_ref_alt": 4, "DW_FORM_GNU_strp_alt": 4,
}  # fmt: skip
_OWN, _OTHERS = "DW_FORM_strp", "DW_FORM_GNU_strp_alt"
_MOST_CODES = 20_000
_MOST_PLACES = 200_000
_MOST_UNITS = 256
_MOST_WALKED = 24  # units; each holds thousands of entries, and pyelftools keeps them in memory


class _Shape(NamedTuple):
    """How an entry may begin: its code, then `distance` bytes of other attributes, then its name's reference."""

    code: bytes
    distance: int
    form: str


class TypeSearch:
    """Entries of one file's debug information (pyelftools' `DWARFInfo`) by tag and name.

    `info.supplementary_dwarfinfo`, when set, is the file that shares its strings with this one.
    """

    def __init__(self, info: Any) -> None:
        self._info = info
        self._entries: dict[int, frozenset[int]] = {}
        self._shapes: dict[int, dict[str, list[_Shape]]] = {}
        self._names: dict[int, dict[tuple[str, bytes], Any]] = {}

    def named(self, tag: str, name: bytes) -> Iterator[Any]:
        """Every entry found with this tag and name, declarations too. Damage is raised as it is met."""
        yield from self._by_reference(tag, name, _OWN, _strings(self._info))
        other = self._info.supplementary_dwarfinfo
        if other is not None:
            yield from self._by_reference(tag, name, _OTHERS, _strings(other))
        yield from self._by_slot(tag, name)

    @cached_property
    def _text(self) -> bytes:
        return bytes(self._info.debug_info_sec.stream.getvalue())

    @cached_property
    def _units(self) -> tuple[list[int], list[Any]]:
        units: list[Any] = []
        try:
            units.extend(self._info.iter_CUs())
        except DAMAGE:
            pass  # those before the damage can be used
        return [unit.cu_offset for unit in units], units

    def _by_reference(self, tag: str, name: bytes, form: str, strings: bytes) -> Iterator[Any]:
        # A linker may keep only the longest of several strings that end alike, so any place in the
        # section where the name ends a string is a reference to be looked for.
        for at in _occurrences(strings, name + b"\0"):
            for position in _occurrences(self._text, struct.pack("<I", at)):
                entry = self._entry_named_at(tag, position, form)
                if entry is not None:
                    yield entry

    def _entry_named_at(self, tag: str, position: int, form: str) -> Any:
        """The entry whose name is the string reference at `position`."""
        unit = self._unit_at(position)
        for shape in self._shapes_of(unit).get(tag, ()) if unit is not None else ():
            start = position - shape.distance - len(shape.code)
            if shape.form == form and self._text.startswith(shape.code, start) and start in self._entries_of(unit):
                return unit.get_DIE_from_refaddr(start)
        return None

    def _unit_at(self, position: int) -> Any:
        starts, units = self._units
        index = bisect_right(starts, position) - 1
        if index < 0 or position >= starts[index] + units[index].size:
            return None
        return units[index]

    def _shapes_of(self, unit: Any) -> dict[str, list[_Shape]]:
        key = unit["debug_abbrev_offset"]
        if key not in self._shapes:
            self._shapes[key] = _shapes(unit)
        return self._shapes[key]

    def _entries_of(self, unit: Any) -> frozenset[int]:
        """Where the entries directly below the unit's own begin."""
        if unit.cu_offset not in self._entries:
            if len(self._entries) >= _MOST_UNITS:
                return frozenset()
            self._entries[unit.cu_offset] = frozenset(entry.offset for entry in children(unit.get_top_DIE()))
        return self._entries[unit.cu_offset]

    def _by_slot(self, tag: str, name: bytes) -> Iterator[Any]:
        slots = [struct.pack("<I", at) for at in _occurrences(_strings(self._info), name + b"\0")]
        for unit, table in self._tables if slots else ():
            if unit.cu_offset not in self._names:
                if len(self._names) >= _MOST_WALKED or not any(slot in table for slot in slots):
                    continue
                self._names[unit.cu_offset] = {
                    (entry.tag, name_of(entry).encode()): entry for entry in children(unit.get_top_DIE())
                }
            found = self._names[unit.cu_offset].get((tag, name))
            if found is not None:
                yield found

    @cached_property
    def _tables(self) -> list[tuple[Any, bytes]]:
        """Each unit that has a table of its names, and that table: offsets into the string section."""
        section = self._info.debug_str_offsets_sec
        raw = bytes(section.stream.getvalue()) if section is not None else b""
        found = []
        for unit in self._units[1] if raw else ():
            base = unit.get_top_DIE().attributes.get("DW_AT_str_offsets_base")
            if base is not None and 8 <= base.value <= len(raw):
                length = int.from_bytes(raw[base.value - 8 : base.value - 4], "little")
                found.append((unit, raw[base.value : base.value - 4 + length]))
        return found


def _strings(info: Any) -> bytes:
    section = info.debug_str_sec
    return bytes(section.stream.getvalue()) if section is not None else b""


def _occurrences(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    for _ in range(_MOST_PLACES):
        if at < 0:
            return
        yield at
        at = text.find(wanted, at + 1)


def _shapes(unit: Any) -> dict[str, list[_Shape]]:
    """The shapes of entries in the unit, by tag."""
    table = unit.get_abbrev_table()
    found: dict[str, list[_Shape]] = {}
    for code in range(1, _MOST_CODES):
        try:
            declaration = table.get_abbrev(code).decl
        except LookupError:
            break  # compilers count them from 1 upwards
        place = _place_of_name(declaration["attr_spec"])
        if place is not None:
            found.setdefault(declaration["tag"], []).append(_Shape(_leb128(code), *place))
    return found


def _place_of_name(attributes: Any) -> tuple[int, str] | None:
    """How many bytes lie before a name by reference, and its form; `None` when that varies."""
    distance = 0
    for attribute in attributes:
        if attribute["name"] == "DW_AT_name":
            form = attribute["form"]
            return (distance, form) if form in (_OWN, _OTHERS) else None
        size = _FIXED.get(attribute["form"])
        if size is None:
            return None
        distance += size
    return None


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
