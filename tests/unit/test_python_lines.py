"""Line tables of every form against the lines CPython itself gives for the same code."""

from __future__ import annotations

import sys
from types import CodeType

import pytest

from triage.runtimes.python.lines import line_at

SOURCE = """
def f(x,
      y):
    total = (x +

             y)
    for item in range(3): total += item


    return [n
            for n in (
        total,
    )]
"""


def codes(code: CodeType) -> list[CodeType]:
    """A code object and all inside of it."""
    return [code, *(inner for const in code.co_consts if isinstance(const, CodeType) for inner in codes(const))]


def test_this_pythons_own_tables() -> None:
    gap = "\n" * 700
    whole = compile(f"a = 1{gap}{SOURCE}{gap}b = 2", "x", "exec")
    version = (sys.version_info[0], sys.version_info[1])
    for code in codes(whole):
        for start, end, line in code.co_lines():
            for offset in range(start, end, 2):
                assert line_at(version, code.co_linetable, code.co_firstlineno, offset) == line


@pytest.mark.parametrize(
    ("version", "table", "offset", "line"),
    [
        ((3, 8), bytes([6, 1, 10, 2, 0, 127, 4, 255]), 5, 10),
        ((3, 8), bytes([6, 1, 10, 2, 0, 127, 4, 255]), 6, 11),
        ((3, 8), bytes([6, 1, 10, 2, 0, 127, 4, 255]), 16, 140),
        ((3, 9), bytes([6, 1, 10, 2, 0, 127, 4, 255]), 30, 139),
        ((3, 10), bytes([4, 1, 2, 128, 6, 3]), 2, 11),
        ((3, 10), bytes([4, 1, 2, 128, 6, 3]), 4, None),
        ((3, 10), bytes([4, 1, 2, 128, 6, 3]), 8, 14),
        ((3, 10), bytes([4, 1, 2, 128, 6, 3]), 12, None),
        ((3, 11), bytes([0xF8 | 0, 0x80 | 13 << 3, 0x43, 0x01]), 0, None),
        ((3, 11), bytes([0xF8 | 0, 0x80 | 13 << 3, 0x43, 0x01]), 2, 10 - 33),
    ],
)
def test_forms_by_hand(version: tuple[int, int], table: bytes, offset: int, line: int | None) -> None:
    assert line_at(version, table, 10, offset) == line


def test_garbage_ends() -> None:
    for fill in range(256):
        line_at((3, 11), bytes([fill]) * 5000, 1, 1 << 40)
        line_at((3, 10), bytes([fill]) * 5001, 1, 1 << 40)
        line_at((3, 9), bytes([fill]) * 5001, 1, 1 << 40)
