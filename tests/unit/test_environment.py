"""The texts of the environment, which lie one behind the other, or anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from triage.corefile.elf import PF_R, PF_W, PT_LOAD, Segment, columns_of
from triage.corefile.evidence import Noting
from triage.corefile.memory import CoreMemory
from triage.corefile.protocol import c_string
from triage.symbols.environment import _texts

_BASE = 0x1000
_RAW = b"PATH=/bin\0HOME=/\0\0TERM=x\0" + bytes(64) + b"LAST=1\0"


def memory(raw: bytes = _RAW) -> CoreMemory:
    return CoreMemory(raw, columns_of([Segment(PT_LOAD, PF_R | PF_W, 0, _BASE, len(raw), len(raw), 1)]), [])


@pytest.mark.parametrize(
    "places",
    [
        [],
        [0],
        [0, 10, 18],
        [0, 10, 17, 18],
        [18, 10, 0],
        [0, 10, 10, 18],
        [0, 10, 18, len(_RAW) - 7],
        [0, 10, 0x9000],
        [0, 3, 10],
        [0, 10, 18, 1 << 30],
    ],
)
def test_each_text_is_what_it_is_read_alone(places: Sequence[int]) -> None:
    pointers = [_BASE + place for place in places]
    expected = [c_string(memory(), pointer) for pointer in pointers]
    assert list(_texts(memory(), pointers)) == expected
    assert list(_texts(Noting(memory()), pointers)) == expected


def test_of_a_table_that_leads_over_a_hole_what_can_be_read_is_read() -> None:
    assert list(_texts(memory(b"A=1\0B=2"), [_BASE, _BASE + 4])) == [b"A=1", None]


def test_only_the_texts_are_noted() -> None:
    noting = Noting(memory())
    list(_texts(noting, [_BASE, _BASE + 10, _BASE + 18]))
    assert sorted(noting.answers) == [(_BASE, 10), (_BASE + 10, 7), (_BASE + 18, 7)]
