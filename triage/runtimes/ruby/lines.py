"""From an instruction to its line, by the table a piece of Ruby code carries (iseq.c, succ_index_table).

The positions where a line begins are a set of numbers kept as ranks: those below 54 as running counts of 7
bits, nine in a word; the others in blocks of 512 bits, each with the count of all before it and, in 9 bits each, of
what lies before each of its words.
"""

from __future__ import annotations

from triage.runtimes.ruby.values import Values

_IMMEDIATE = 54
_BLOCK = 512
_BLOCK_BYTES = 8 + 8 + _BLOCK // 8
_WORD = (1 << 64) - 1


def line_at(values: Values, body: int, position: int) -> int | None:
    """The line of the instruction at a position (in words) of the code whose body is at `body`."""
    table, count = values.field(body, "body", "lines"), values.field(body, "body", "line_count")
    index = values.field(body, "body", "index")
    if not table or not count:
        return None
    number = 1 if count == 1 else _rank(values, index, position) if index else None
    if number is None or not 1 <= number <= count:
        return None
    at = table + (number - 1) * values.layout.size("line") + values.layout.offset("line", "line")
    return values.number(at, 4)


def _rank(values: Values, index: int, position: int) -> int | None:
    """How many of the set's numbers are not above a position."""
    if position < _IMMEDIATE:
        word = values.number(index + position // 9 * 8)
        return word >> position % 9 * 7 & 0x7F if word is not None else None
    number, bit = divmod(position - _IMMEDIATE, _BLOCK)
    block = index + _IMMEDIATE // 9 * 8 + number * _BLOCK_BYTES
    before, counts = values.number(block, 4), values.number(block + 8)
    word = values.number(block + 16 + bit // 64 * 8)
    if before is None or counts is None or word is None:
        return None
    within = counts >> (bit // 64 - 1) * 9 & 0x1FF if bit >= 64 else 0
    return before + within + (word << 63 - bit % 64 & _WORD).bit_count()
