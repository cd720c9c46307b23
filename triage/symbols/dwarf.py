"""Structures as the debug information (DWARF) of one ELF file describes them.

A debug file of PHP holds millions of entries, and reading them all takes minutes. So a type is found
the other way round: its name in the string section, the places that refer to that string, and of
those the entry whose name it is. Four bytes can look like a reference by chance, so the entry must
also be one that its unit has at that very place. Only files that keep names elsewhere (DWARF 5 by
clang) are walked, and then only up to a limit.

Nothing here trusts the file: every walk moves forward and is bounded.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from triage.errors import InputError

# What pyelftools raises on damaged input, besides its own two.
DAMAGE = (ELFError, DWARFError, ValueError, LookupError, AttributeError, TypeError, AssertionError, zlib.error)

_TAGS = {
    "struct": "DW_TAG_structure_type",
    "union": "DW_TAG_union_type",
    "enum": "DW_TAG_enumeration_type",
    "typedef": "DW_TAG_typedef",
}
_LAYERS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_atomic_type")
_RECORDS = ("DW_TAG_structure_type", "DW_TAG_union_type")
_WITHIN_UNIT = ("DW_FORM_ref1", "DW_FORM_ref2", "DW_FORM_ref4", "DW_FORM_ref8", "DW_FORM_ref_udata")
# Sizes of the forms that always take the same room, in bytes.
_FIXED = {
    "DW_FORM_data1": 1, "DW_FORM_data2": 2, "DW_FORM_data4": 4, "DW_FORM_data8": 8, "DW_FORM_ref1": 1,
    "DW_FORM_ref2": 2, "DW_FORM_ref4": 4, "DW_FORM_ref8": 8, "DW_FORM_flag": 1, "DW_FORM_flag_present": 0,
    "DW_FORM_implicit_const": 0, "DW_FORM_strp": 4, "DW_FORM_sec_offset": 4, "DW_FORM_ref_addr": 4,
}  # fmt: skip
_MOST_LAYERS = 32
_MOST_CODES = 20_000
_MOST_UNITS = 256
_MOST_ENTRIES = 50_000
_MOST_PLACES = 200_000
_MOST_WALKED = 400_000
_MOST_BYTES = 1 << 30


class Structure:
    """One structure or union; all figures in bytes."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.size = _number(entry, "DW_AT_byte_size") or 0

    @cached_property
    def _members(self) -> dict[str, tuple[int, Any]]:
        return dict(_members(self._entry, 0, 0))

    def place(self, path: str) -> tuple[int, int] | None:
        """`(offset, size)` of a member such as `len` or `gc.u.type_info`; `None` when there is none.

        Members of a nameless structure inside count as members of the outer one, as in C. An array
        without a length has size 0.
        """
        name, _, rest = path.partition(".")
        if name not in self._members:
            return None
        offset, entry = self._members[name]
        kind = _stripped(entry)
        if not rest:
            return offset, _size(kind, 0)
        if kind is None or kind.tag not in _RECORDS:
            return None
        inner = Structure(kind).place(rest)
        return (offset + inner[0], inner[1]) if inner else None


class DebugTypes:
    """The types in one file's debug information. Sections are read into memory once.

    Raises:
        InputError: `unreadable` or `damaged-debug-info`, when the file is not ELF or has none.
    """

    def __init__(self, path: Path) -> None:
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise InputError("too-large", f"more than {_MOST_BYTES >> 20} MiB of debug information")
            with path.open("rb") as stream:
                file = ELFFile(stream)
                self.build_id = _build_id(file)
                self._info: Any = file.get_dwarf_info(follow_links=False)
        except OSError as error:
            raise InputError("unreadable", f"the debug information cannot be read: {error.strerror}") from error
        except DAMAGE as error:
            raise InputError("damaged-debug-info", "the debug information is damaged") from error
        if self._info.debug_info_sec is None:
            raise InputError("no-debug-info", "the file has no debug information")
        self._entries: dict[int, frozenset[int]] = {}
        self._shapes: dict[int, dict[str, list[tuple[bytes, int]]]] = {}

    def structure(self, name: str) -> Structure | None:
        """A structure by its C name: `struct _zval_struct`, or the typedef of a nameless one.

        `None` when it is not described here, or the description is damaged.
        """
        try:
            kind = self._find(name)
        except DAMAGE:
            return None  # a part that cannot be read describes nothing
        return Structure(kind) if kind is not None else None

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of an enumeration such as `enum colour`; empty when there is none."""
        kind = self._find(name)
        found = _children(kind) if kind is not None else ()
        return {_name(child): _number(child, "DW_AT_const_value") or 0 for child in found}

    def _find(self, name: str) -> Any:
        """The complete description of a type, `None` when there is none."""
        word, _, rest = name.rpartition(" ")
        tag = _TAGS[word or "typedef"]
        for entry in self._named(tag, rest.encode()):
            kind = _stripped(entry)
            if kind is not None and "DW_AT_byte_size" in kind.attributes:
                return kind
        return None

    def _named(self, tag: str, name: bytes) -> Iterator[Any]:
        """Every entry with this tag and name, those that are found at once before those that need a walk."""
        yield from self._by_string(tag, name)
        yield from self._walked.get((tag, name), ())

    @cached_property
    def _text(self) -> bytes:
        return bytes(self._info.debug_info_sec.stream.getvalue())

    @cached_property
    def _strings(self) -> bytes:
        section = self._info.debug_str_sec
        return bytes(section.stream.getvalue()) if section is not None else b""

    @cached_property
    def _units(self) -> tuple[list[int], list[Any]]:
        units: list[Any] = []
        try:
            units.extend(self._info.iter_CUs())
        except DAMAGE:
            pass  # those before the damage can be used
        return [unit.cu_offset for unit in units], units

    def _by_string(self, tag: str, name: bytes) -> Iterator[Any]:
        # A linker may keep only the longest of several strings that end alike, so any place in the
        # section where the name ends a string is a reference to be looked for.
        for at in _occurrences(self._strings, name + b"\0"):
            for position in _occurrences(self._text, struct.pack("<I", at)):
                entry = self._entry_named_at(tag, position)
                if entry is not None:
                    yield entry

    def _entry_named_at(self, tag: str, position: int) -> Any:
        """The entry whose name is the string reference at `position`."""
        unit = self._unit_at(position)
        if unit is None:
            return None
        for code, distance in self._shapes_of(unit).get(tag, ()):
            start = position - distance - len(code)
            if self._text.startswith(code, max(start, 0)) and start in self._entries_of(unit):
                return unit.get_DIE_from_refaddr(start)
        return None

    def _shapes_of(self, unit: Any) -> dict[str, list[tuple[bytes, int]]]:
        """For each tag, how its entries may begin: the code they start with, and how far behind it the name is."""
        key = unit["debug_abbrev_offset"]
        if key not in self._shapes:
            self._shapes[key] = _shapes(unit)
        return self._shapes[key]

    def _entries_of(self, unit: Any) -> frozenset[int]:
        """Where the entries directly below the unit's own begin."""
        if unit.cu_offset not in self._entries:
            if len(self._entries) >= _MOST_UNITS:
                return frozenset()
            self._entries[unit.cu_offset] = frozenset(entry.offset for entry in _children(unit.get_top_DIE()))
        return self._entries[unit.cu_offset]

    def _unit_at(self, position: int) -> Any:
        starts, units = self._units
        index = bisect_right(starts, position) - 1
        if index < 0 or position >= starts[index] + units[index].size:
            return None
        return units[index]

    @cached_property
    def _walked(self) -> dict[tuple[str, bytes], list[Any]]:
        """Types whose name is not a plain string reference, by tag and name."""
        found: dict[tuple[str, bytes], list[Any]] = {}
        for entry in islice(self._indirectly_named(), _MOST_WALKED):
            if entry.tag in _TAGS.values():
                found.setdefault((entry.tag, _name(entry).encode()), []).append(entry)
        return found

    def _indirectly_named(self) -> Iterator[Any]:
        for unit in self._units[1]:
            try:
                top = unit.get_top_DIE()
                name = top.attributes.get("DW_AT_name")
                if name is not None and name.form not in ("DW_FORM_strp", "DW_FORM_line_strp", "DW_FORM_string"):
                    yield from _children(top)
            except DAMAGE:
                continue  # the next unit may be whole


def _shapes(unit: Any) -> dict[str, list[tuple[bytes, int]]]:
    table, found = unit.get_abbrev_table(), dict[str, list[tuple[bytes, int]]]()
    for code in range(1, _MOST_CODES):
        try:
            declaration = table.get_abbrev(code).decl
        except LookupError:
            break  # compilers count them from 1 upwards
        distance = _distance_of_name(declaration["attr_spec"])
        if distance is not None:
            found.setdefault(declaration["tag"], []).append((_leb128(code), distance))
    return found


def _distance_of_name(attributes: Any) -> int | None:
    """How many bytes of other attributes lie before a name by reference; `None` when their size varies."""
    distance = 0
    for attribute in attributes:
        if attribute["name"] == "DW_AT_name":
            return distance if attribute["form"] == "DW_FORM_strp" else None
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


def _occurrences(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    for _ in range(_MOST_PLACES):
        if at < 0:
            return
        yield at
        at = text.find(wanted, at + 1)


def _children(parent: Any) -> Iterator[Any]:
    """The direct children, in order and always forward."""
    if not parent.has_children:
        return
    at, depth = parent.offset + parent.size, 0
    for _ in range(_MOST_ENTRIES):
        entry: DIE = parent.cu.get_DIE_from_refaddr(at)
        if entry.is_null():
            depth -= 1
            if depth < 0:
                return
        elif depth == 0:
            yield entry
        after = _sibling(entry)
        if after is not None:
            at = after
            continue
        if not entry.is_null() and entry.has_children:
            depth += 1
        at += entry.size


def _sibling(entry: Any) -> int | None:
    """Where the entry says the next one on its level begins, if that lies ahead in the same unit."""
    found = entry.attributes.get("DW_AT_sibling") if not entry.is_null() else None
    if found is None or found.form not in _WITHIN_UNIT or not isinstance(found.value, int):
        return None
    after: int = entry.cu.cu_offset + found.value
    return after if after >= entry.offset + entry.size else None


def _members(record: Any, base: int, depth: int) -> Iterator[tuple[str, tuple[int, Any]]]:
    """`(name, (offset, type))` of each member, those of nameless records inside included."""
    for child in _children(record):
        if child.tag != "DW_TAG_member" or "DW_AT_type" not in child.attributes:
            continue
        offset = _offset(child)
        if offset is None:
            continue
        kind = child.get_DIE_from_attribute("DW_AT_type")
        name = _name(child)
        if name:
            yield name, (base + offset, kind)
        elif depth < _MOST_LAYERS and (inner := _stripped(kind)) is not None:
            yield from _members(inner, base + offset, depth + 1)


def _offset(member: Any) -> int | None:
    """Where a member begins; a bit field: the byte in which it does. A union's members say nothing."""
    if "DW_AT_data_bit_offset" in member.attributes:
        bits = _number(member, "DW_AT_data_bit_offset")
        return bits // 8 if bits is not None else None
    if "DW_AT_data_member_location" in member.attributes:
        return _number(member, "DW_AT_data_member_location")
    return 0


def _stripped(entry: Any) -> Any:
    """The type below typedefs and qualifiers, `None` for void."""
    for _ in range(_MOST_LAYERS):
        if entry.tag not in _LAYERS:
            return entry
        if "DW_AT_type" not in entry.attributes:
            return None
        entry = entry.get_DIE_from_attribute("DW_AT_type")
    return None


def _size(kind: Any, depth: int) -> int:
    if kind is None or depth > _MOST_LAYERS:
        return 0
    size = _number(kind, "DW_AT_byte_size")
    if size is not None:
        return size
    if kind.tag == "DW_TAG_pointer_type":
        return int(kind.cu["address_size"])  # clang leaves it unsaid
    if kind.tag != "DW_TAG_array_type":
        return 0
    total = _size(_stripped(kind.get_DIE_from_attribute("DW_AT_type")), depth + 1)
    for child in _children(kind):
        if child.tag == "DW_TAG_subrange_type":
            total *= _length(child)
    return total


def _length(subrange: Any) -> int:
    count = _number(subrange, "DW_AT_count")
    if count is not None:
        return count
    last = _number(subrange, "DW_AT_upper_bound")
    return last + 1 if last is not None else 0


def _number(entry: Any, attribute: str) -> int | None:
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def _name(entry: Any) -> str:
    found = entry.attributes.get("DW_AT_name")
    return found.value.decode("utf-8", "replace") if found is not None and isinstance(found.value, bytes) else ""


def _build_id(file: Any) -> str | None:
    section = file.get_section_by_name(".note.gnu.build-id")
    for note in section.iter_notes() if section is not None else ():
        if note["n_type"] == "NT_GNU_BUILD_ID":
            return str(note["n_desc"])
    return None
