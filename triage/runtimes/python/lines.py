"""From a place in a function's code to a line, by the tables a code object carries.

Three forms: `co_lnotab` up to 3.9, the line table of 3.10 (PEP 626), the location table since 3.11
(Objects/locations.md in CPython's source). Offsets are in bytes of code.
"""

from __future__ import annotations

from collections.abc import Iterator

_NONE, _LONG, _NO_COLUMN = 15, 14, 13
_ONE_LINE = (10, 11, 12)
_MOST_SHIFT = 30


def line_at(version: tuple[int, int], table: bytes, first: int, offset: int) -> int | None:
    """The line of the instruction at `offset`, `None` where the code belongs to no line."""
    if version < (3, 10):
        return _by_increments(table, first, offset)
    rows = _ranges(table, first) if version == (3, 10) else _locations(table, first)
    return next((line for end, line in rows if offset < end), None)


def _by_increments(table: bytes, line: int, offset: int) -> int:
    """`co_lnotab`: pairs of what to add to the offset and (signed) to the line."""
    at = 0
    for step, more in zip(table[::2], table[1::2], strict=False):
        at += step
        if at > offset:
            break
        line += _signed(more)
    return line


def _ranges(table: bytes, line: int) -> Iterator[tuple[int, int | None]]:
    """3.10: pairs of a length and a signed line delta, -128 for no line. Yields `(end, line)`."""
    end = 0
    for step, more in zip(table[::2], table[1::2], strict=False):
        end += step
        delta = _signed(more)
        line += delta if delta != -128 else 0
        yield end, line if delta != -128 else None


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _locations(table: bytes, line: int) -> Iterator[tuple[int, int | None]]:
    """3.11 and newer: entries that begin with a byte whose top bit is set. Yields `(end, line)`."""
    at = end = 0
    while at < len(table) and table[at] & 0x80:
        code, units = table[at] >> 3 & 15, (table[at] & 7) + 1
        end += units * 2
        if code in (_LONG, _NO_COLUMN):
            line += _delta(table, at + 1)
        elif code in _ONE_LINE:
            line += code - _ONE_LINE[0]
        yield end, None if code == _NONE else line
        at += 1
        while at < len(table) and not table[at] & 0x80:
            at += 1


def _delta(table: bytes, at: int) -> int:
    """A signed number in pieces of six bits, the lowest first; its lowest bit is the sign."""
    value = shift = 0
    for byte in table[at : at + 6]:
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64 or shift > _MOST_SHIFT:
            break
    return -(value >> 1) if value & 1 else value >> 1
