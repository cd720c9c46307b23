"""Single entries of debug information, read without trust: every walk moves forward and is bounded.

An entry is pyelftools' `DIE`; it has no types of its own, so it is `Any` here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError

# What pyelftools raises on damaged input, besides its own two.
DAMAGE = (
    ELFError, DWARFError, ConstructError, ValueError, LookupError, AttributeError, TypeError, AssertionError,
    OverflowError, RecursionError, struct.error, zlib.error,
)  # fmt: skip

RECORDS = ("DW_TAG_structure_type", "DW_TAG_union_type")
_LAYERS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_atomic_type")
_WITHIN_UNIT = ("DW_FORM_ref1", "DW_FORM_ref2", "DW_FORM_ref4", "DW_FORM_ref8", "DW_FORM_ref_udata")
_MOST_LAYERS = 32
_MOST_ENTRIES = 50_000


def children(parent: Any) -> Iterator[Any]:
    """The direct children, in order."""
    if not parent.has_children:
        return
    at, depth = parent.offset + parent.size, 0
    for _ in range(_MOST_ENTRIES):
        entry = parent.cu.get_DIE_from_refaddr(at)
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


def number(entry: Any, attribute: str) -> int | None:
    """An attribute that is a plain number."""
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def name_of(entry: Any) -> str:
    """The entry's name, empty when it has none."""
    found = entry.attributes.get("DW_AT_name")
    return found.value.decode("utf-8", "replace") if found is not None and isinstance(found.value, bytes) else ""


def stripped(entry: Any) -> Any:
    """The type below typedefs and qualifiers, `None` for void."""
    for _ in range(_MOST_LAYERS):
        if entry.tag not in _LAYERS:
            return entry
        if "DW_AT_type" not in entry.attributes:
            return None
        entry = entry.get_DIE_from_attribute("DW_AT_type")
    return None


def members(record: Any, base: int = 0, depth: int = 0) -> Iterator[tuple[str, tuple[int, Any]]]:
    """`(name, (offset, type))` of each member, those of nameless records inside included."""
    for child in children(record):
        offset = _offset(child) if child.tag == "DW_TAG_member" and "DW_AT_type" in child.attributes else None
        if offset is None:
            continue
        kind = child.get_DIE_from_attribute("DW_AT_type")
        name = name_of(child)
        if name:
            yield name, (base + offset, kind)
        elif depth < _MOST_LAYERS and (inner := stripped(kind)) is not None:
            yield from members(inner, base + offset, depth + 1)


def _offset(member: Any) -> int | None:
    """Where a member begins; a bit field: the byte in which it does. A union's members say nothing."""
    if "DW_AT_data_bit_offset" in member.attributes:
        bits = number(member, "DW_AT_data_bit_offset")
        return bits // 8 if bits is not None else None
    if "DW_AT_data_member_location" in member.attributes:
        return number(member, "DW_AT_data_member_location")
    return 0


def size_of(kind: Any, depth: int = 0) -> int:
    """Size in bytes of a type below its typedefs; 0 for an array without a length."""
    if kind is None or depth > _MOST_LAYERS:
        return 0
    size = number(kind, "DW_AT_byte_size")
    if size is not None:
        return size
    if kind.tag == "DW_TAG_pointer_type":
        return int(kind.cu["address_size"])  # clang leaves it unsaid
    if kind.tag != "DW_TAG_array_type":
        return 0
    total = size_of(stripped(kind.get_DIE_from_attribute("DW_AT_type")), depth + 1)
    for child in children(kind):
        if child.tag == "DW_TAG_subrange_type":
            total *= _length(child)
    return total


def _length(subrange: Any) -> int:
    count = number(subrange, "DW_AT_count")
    if count is not None:
        return count
    last = number(subrange, "DW_AT_upper_bound")
    return last + 1 if last is not None else 0
